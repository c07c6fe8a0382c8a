"""YAML as SKILL.md files use it: maps, lists and strings, and nothing that runs or repeats.

Every scalar is the text that was written: `no`, `1.10` and `2024-01-01` stay strings. Only an empty value,
`~` and `null` are None. Anchors, aliases, merge keys, tags and duplicate keys are refused with a finding, and
the rest of the frontmatter is still read.
"""
