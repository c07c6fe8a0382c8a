"""What a program says of its failure: its own words only, and what only looks like a cause."""

import pytest

from skill_fleet.llm.commands.failures import failed, said_instead
from skill_fleet.llm.commands.own_words import own_words
from skill_fleet.llm.failures import redacted, understand

PROMPT = """Below is a conversation, each turn under a heading of its own.

=== user ===
task_description: Write a skill on OAuth authentication and rate limits; the API must not return HTTP 500.
  Indented: the usage limit is reached, 429 Too Many Requests.
short
"""
HEADER = """Reading additional input from stdin...
OpenAI Codex v0.149.1
--------
workdir: /tmp/skill-fleet-x
model: gpt-5-codex
approval: never
sandbox: read-only
reasoning effort: high
session id: 01a03930-d33a-402-9a08-85a2ed8ef268
--------
user
"""
NODE = """/usr/lib/node_modules/x/cli.js:402
            throw error;
            ^

TypeError: Cannot read properties of undefined (reading 'usage')
    at main (/usr/lib/node_modules/x/cli.js:402:11)
    at processTicksAndRejections (native:429:39)
    at async file:///usr/lib/x/chunk.js:500:7
    at new Promise (<anonymous>)

Node.js v22.18.0
"""


def code(words: str, prompt: str = "", printed: str = "") -> str:
    return understand(failed("codex", 1, words, printed, "command/codex", prompt)).code


def test_the_prompt_that_codex_repeats_is_no_cause() -> None:
    words = f"{HEADER}{PROMPT}\nmcp startup: no servers\nERROR: stream disconnected: connection reset\n"
    error = failed("codex", 1, words, "", "command/codex", PROMPT)
    assert understand(error).code == "command_failed"
    assert error.message == "codex ended with status 1: ERROR: stream disconnected: connection reset"
    assert code(words, "") != "command_failed", "without the prompt it cannot be told"


@pytest.mark.parametrize(
    "repeated",
    [
        PROMPT,
        PROMPT[130:],
        "\n".join(f"  {line}  " for line in PROMPT.splitlines()),
        "\n\n".join(PROMPT.splitlines()),
    ],
    ids=["whole", "its end alone", "indented", "with empty lines"],
)
def test_however_it_is_repeated(repeated: str) -> None:
    words = f"{HEADER}{repeated}\nERROR: unexpected status 401 Unauthorized: Missing bearer\n"
    assert own_words(words, PROMPT) == "ERROR: unexpected status 401 Unauthorized: Missing bearer"
    assert code(words, PROMPT) == "auth"


def test_what_was_said_before_the_prompt_is_no_cause_either() -> None:
    before = "warning: no API key found, using the login\n"
    assert code(f"{before}{PROMPT}\nERROR: stream disconnected", PROMPT) == "command_failed"
    assert code(f"{before}ERROR: stream disconnected", PROMPT) == "auth"


def test_a_short_line_that_stands_in_the_prompt_by_chance_is_the_programs_own() -> None:
    assert own_words("HTTP 500", PROMPT) == "HTTP 500"
    assert own_words("short", PROMPT) == "", "but a line that is one of the prompt's is not"


def test_of_much_the_end_counts() -> None:
    words = "rate limit reached\n" + "still working\n" * 40
    assert code(words) == "command_failed"
    assert code(words + "rate limit reached\n") == "rate_limit"


def test_a_stack_trace_is_no_cause_and_not_told() -> None:
    error = failed("claude", 1, NODE, "", "command/claude")
    assert understand(error).code == "command_failed"
    assert "TypeError: Cannot read properties of undefined" in error.message
    assert not [line for line in own_words(NODE, "").splitlines() if line.startswith(("at ", "^"))]
    python = 'Traceback:\n  File "x.py", line 429, in main\n    go()\n    ^^^^\nOSError: gone\n'
    assert own_words(python, "") == "Traceback:\ngo()\nOSError: gone"


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Error: 400 This model's maximum context length is 8192 tokens", "context_window_exceeded"),
        ("Error code: context_length_exceeded", "context_window_exceeded"),
        ("Your input exceeds the context window of this model.", "context_window_exceeded"),
        (
            "Codex ran out of room in the model's context window. Start a new thread",
            "context_window_exceeded",
        ),
        ("Context size has been exceeded.", "context_window_exceeded"),
        ("INFO model=x context window=200000\nError: connection reset by peer", "command_failed"),
        ("reading the context length of the model", "command_failed"),
        ("API Error: 402 {'type':'billing_error'}", "billing"),
        ("Error code: 402 - {'error': 'no'}", "billing"),
        ("TypeError: x is undefined\n at main cli.js:402:11\n  error at x.js:402:1", "command_failed"),
        ("session id: 01a03930-d33a-402-9a08", "command_failed"),
        ("wrote 429 lines; error: the disk is gone", "command_failed"),
        ("error: line 3 of 429 is odd", "command_failed"),
        ("error:429:11 is where it broke", "command_failed"),
        ("Attempt 1 failed with status 429. Retrying with backoff...", "rate_limit"),
        ('[API Error: [{ "error": { "code": 429, "message": "x" }}]]', "rate_limit"),
        ("got HTTP/1.1 429", "rate_limit"),
        ("failed to export (status=429, code=ERR_BAD_REQUEST)", "rate_limit"),
        ("Resource has been exhausted (e.g. check quota).", "rate_limit"),
        ("API Error: 529", "server"),
        ("HTTP status: 503", "server"),
        ("took 503 ms, then the pipe broke", "command_failed"),
        ("unexpected status 403", "auth"),
        ("Authentication failed", "auth"),
        ('{"type":"error","error":{"type":"authentication_error"}}', "auth"),
        ("You must authenticate first", "auth"),
        ('Authenticated via "oauth-personal".\nError: connection reset', "command_failed"),
        ("Loaded cached credentials.\nError: connection reset", "command_failed"),
    ],
)
def test_a_number_and_a_word_count_where_they_are_told_as_a_cause(said: str, kind: str) -> None:
    assert code(said) == kind


@pytest.mark.parametrize(
    ("printed", "kind"),
    [
        ("API Error: Connection error.", "command_failed"),
        ("API Error: Request timed out.", "command_failed"),
        ("API Error (429 {...}) · Retrying", "rate_limit"),
        ("API Error: 529 {'type':'overloaded_error'}", "server"),
        ("API error", "command_failed"),
        ("API errors are returned as problem details.", None),
        ("API error handling: retry three times.", None),
    ],
)
def test_an_api_error_without_a_number_is_no_answer(printed: str, kind: str | None) -> None:
    found = said_instead("claude", printed, "m")
    assert (found and found.code) == kind


def test_a_key_is_taken_out_before_a_line_is_cut_short() -> None:
    key = "planted.word.of.nobody.at.all"
    printed = f"Invalid API key: {'x' * 140}{key}"
    found = said_instead("claude", printed, "m", [key])
    assert found is not None
    assert "planted" not in found.message
    assert "planted" not in failed("p", 1, redacted(printed, [key]), "", "m").message
