"""A language model of random weights, written on the spot: real to a server, and nothing to learn from it.

A llama of two layers with a vocabulary of characters. The first coordinate of every embedding is the same
large number, so that the logit of the end of the text hardly depends on what was said: answers end by
themselves after some dozens of tokens, and a short `max_tokens` still cuts them off.
"""

from pathlib import Path

import gguf
import numpy as np

CONTEXT = 32_768
"""Tokens (characters, about) that a prompt and its answer may have together."""
_WIDTH, _HIDDEN, _LAYERS, _HEADS = 64, 96, 2, 4
_SPECIAL = ["<unk>", "<s>", "</s>"]
_CHARACTERS = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,:;!?'\"()[]{}#-_/*+=<>`\n"
_TEMPLATE = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}assistant: "
_STEADY, _END_OF_TEXT = 4.0, 1.3


def write_random_model(path: Path, seed: int = 0) -> Path:
    """Write the model, about 250 kB.

    Args:
        path: The file to make.
        seed: Of its weights.

    Returns:
        The path.
    """
    draw = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(path, "llama")
    tokens, types = _vocabulary()
    _describe(writer, tokens, types)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return (draw.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float16)

    embedding = draw.standard_normal((len(tokens), _WIDTH)).astype(np.float16)
    embedding[:, 0] = _STEADY
    output = 3 * matrix(len(tokens), _WIDTH)
    output[:, 0] = 0.0
    output[[kind != gguf.TokenType.NORMAL for kind in types]] = 0.0  # bytes and marks are hardly ever said
    output[_SPECIAL.index("</s>"), 0] = _END_OF_TEXT
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(_WIDTH, np.float32))
    for layer in range(_LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(_WIDTH, _WIDTH))
        for name in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", matrix(_HIDDEN, _WIDTH))
        writer.add_tensor(f"blk.{layer}.ffn_down.weight", matrix(_WIDTH, _HIDDEN))
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(_WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _vocabulary() -> tuple[list[str], list[gguf.TokenType]]:
    kinds = gguf.TokenType
    marks = list(zip(_SPECIAL, (kinds.UNKNOWN, kinds.CONTROL, kinds.CONTROL), strict=True))
    every_byte = [(f"<0x{byte:02X}>", kinds.BYTE) for byte in range(256)]
    said = [(character, kinds.NORMAL) for character in dict.fromkeys(_CHARACTERS)]
    tokens, types = zip(*(marks + every_byte + said), strict=True)
    return list(tokens), list(types)


def _describe(writer: gguf.GGUFWriter, tokens: list[str], types: list[gguf.TokenType]) -> None:
    writer.add_name("random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_HIDDEN)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0 if kind == gguf.TokenType.NORMAL else -1000.0 for kind in types])
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE)
