"""`offline/rules-v1`: the rule-based simulator that answers when no language model is configured.

It follows what it reads (instruction, field descriptions, inputs, demonstrations) with limited attention and
repeatable luck, so that every part of an optimization can be seen working on a machine without a key.
"""
