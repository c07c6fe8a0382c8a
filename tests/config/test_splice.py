"""A value put into YAML as people write it: what was there stays, to the byte."""

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from skill_fleet.config.splice import CannotSplice, in_yaml, spliced

ENTRY = {"model": "ollama_chat/qwen3", "rpm": 3, "command": ["claude", "-p", "a b, c"]}
WRITTEN = """\
# head
models:
  default: a   # the first
  registry:
    a:
      model: "openai/x"
      # of a

    # about b
    b: {model: openai/y,   rpm: 3}  # flow
# between
phases:
  judge:
empty:
"""


def loaded(text):
    return YAML(typ="safe", pure=True).load(text)


def test_only_lines_are_added():
    made = spliced(WRITTEN, ("models", "registry", "local"), ENTRY)
    added = made.splitlines()[10:14]
    assert added == [
        "    local:",
        "      model: ollama_chat/qwen3",
        "      rpm: 3",
        '      command: [claude, "-p", "a b, c"]',
    ]
    assert made.replace("\n".join(added) + "\n", "") == WRITTEN


def test_a_comment_stays_with_the_entry_it_follows():
    text = "models:\n  registry:\n    a:\n      model: x/y  # here\n      # of a, too\n    # of all\n"
    made = spliced(text, ("models", "registry", "b"), {"rpm": 1})
    assert made == text.replace("    # of all", "    b:\n      rpm: 1\n    # of all")


def test_a_scalar_is_replaced_where_it_stands():
    made = spliced(WRITTEN, ("models", "default"), "local")
    assert made == WRITTEN.replace("default: a ", "default: local ")
    assert spliced(WRITTEN, ("phases", "judge"), "local") == WRITTEN.replace("judge:", "judge: local")


def test_a_replaced_entry_leaves_its_neighbours_and_the_comments_around_it():
    made = spliced(WRITTEN, ("models", "registry", "a"), {"model": "x/y", "rpm": 1})
    assert made == WRITTEN.replace('"openai/x"', "x/y\n      rpm: 1")
    made = spliced(WRITTEN, ("models", "registry", "b"), {"model": "x/y"})
    assert made == WRITTEN.replace("b: {model: openai/y,   rpm: 3}", "b:").replace(
        "b:  # flow", "b:  # flow\n      model: x/y"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a comment",
        "---\n",
        "models:",
        "models:\n  registry: null # none\n",
        "models:\n  registry: {}\n",
        "models: {default: a, registry: {a: {model: x/y},}}",
        "{}\n",
        "---\nmodels:\n    registry:\n        q:\n            model: a/b\n...\n",
        "models:\n  registry:\n    a:\n      model: |\n        x\n\n# c\nphases: {}\n",
        "models:\n  registry:\n    a:\n      command:\n      - x\n      - y  # why\n\n\nphases:\n",
        "base: &b {rpm: 1}\nmodels:\n  registry:\n    a: {<<: *b, model: x/y}\n    c: *b\n",
        "models:\n  registry:\n    ? a\n    : model: x/y\n",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_every_layout_takes_it(text, newline):
    text = text.replace("\n", newline)
    made = spliced(text, ("models", "registry", "my.model"), ENTRY)
    before, after = loaded(text) or {}, loaded(made)
    assert after["models"]["registry"].pop("my.model") == ENTRY
    assert before.get("base") == after.get("base")
    for line in text.split(newline):
        comment = line.partition("#")[2]
        assert not comment or comment in made
    if newline in text:
        assert made.count("\n") == made.count(newline)


@pytest.mark.parametrize(
    "text",
    [
        "a: &x {m: 1}\nmodels: *x\n",  # what is put in would be in `a` too
        "models: [a, b]\n",
        "models: 3\n",
        "base: &b {a: {model: x/y}}\nmodels:\n  <<: {registry: *b}\n",
    ],
)
def test_what_leaves_no_safe_place_is_refused(text):
    with pytest.raises(CannotSplice):
        spliced(text, ("models", "registry", "local"), ENTRY)


@pytest.mark.parametrize("key", ["null", "true", "1", "1.5", "no", "~", "a b", "ü", "-x", "x:", "2026-01-01"])
def test_a_key_that_yaml_would_take_for_something_else_stays_a_text(key):
    made = spliced(WRITTEN, ("models", "registry", key), {"model": key})
    assert loaded(made)["models"]["registry"][key] == {"model": key}


def test_for_people_to_paste():
    assert in_yaml({"model": "x/y"}, "local") == "local:\n  model: x/y"


KEYS = st.text("abcdefg", min_size=1, max_size=2)
SCALARS = st.one_of(st.integers(), st.none(), st.booleans(), st.text("ab #:'\"{}[]&*!|>%@`,?-\n", max_size=6))
TREES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(KEYS, inner, max_size=4) | st.lists(inner, max_size=3)
)


@settings(max_examples=60)
@given(
    tree=st.dictionaries(KEYS, TREES, max_size=4),
    path=st.lists(KEYS, min_size=1, max_size=3),
    value=st.one_of(SCALARS, st.dictionaries(KEYS, SCALARS, min_size=1, max_size=3)),
    flow=st.sampled_from([None, True, False]),
    indent=st.sampled_from([2, 3, 4]),
)
def test_it_holds_the_old_values_and_the_new_one_or_is_refused(tree, path, value, flow, indent):
    import io

    yaml = YAML(typ="rt", pure=True)
    yaml.default_flow_style = flow
    yaml.indent(mapping=indent, sequence=indent, offset=indent - 2)
    stream = io.StringIO()
    yaml.dump(tree, stream)
    text = stream.getvalue()
    try:
        expected = loaded(text) or {}
    except YAMLError:  # its own writer makes what it does not read, such as `{a: :>}`
        assume(False)
    node, mappings = expected, True
    for key in path[:-1]:
        if node.get(key) is None:
            node[key] = {}
        node = node[key]
        if not isinstance(node, dict):
            mappings = False
            break
    try:
        made = spliced(text, path, value)
    except CannotSplice:
        assert not mappings, text
        return
    node[path[-1]] = value
    assert loaded(made) == expected
