"""Scripts: answers and faults by prompt, checked in full before anything is served."""

import json

import pytest

from skill_fleet.foundation.errors import DataError, NotFound
from skill_fleet.simulator import Faults
from skill_fleet.simulator.script import Script, read_script, rules_of

YAML = """
- match: "(?i)refund"
  answer: "Billing."
  times: 1
- match: refund
  fault: server_error
  times: 2
- match: Refund
  answer: "Ask a colleague."
"""


def text_of(answer):
    return answer.json()["choices"][0]["message"]["content"]


def written(tmp_path, text):
    path = tmp_path / "script"
    path.write_text(text)
    return path


def test_the_first_rule_that_matches_and_is_left_decides(tmp_path):
    script = Script(read_script(written(tmp_path, YAML)))
    steps = [script.step("A Refund, a refund") for _ in range(5)]
    assert [step and (step.answer or step.fault) for step in steps] == [
        "Billing.",
        "server_error",
        "server_error",
        "Ask a colleague.",
        "Ask a colleague.",
    ]
    assert script.step("hello") is None


def test_json_and_yaml_are_read_alike(tmp_path):
    rules = [{"match": "a|b", "answer": "x", "times": 3}, {"match": "", "fault": "hang"}]
    as_json = read_script(written(tmp_path, json.dumps(rules)))
    as_yaml = "- {match: a|b, answer: x, times: 3}\n- {match: '', fault: hang}"
    assert as_json == read_script(written(tmp_path, as_yaml))
    assert [(rule.match.pattern, rule.times) for rule in as_json] == [("a|b", 3), ("", None)]


def test_a_script_answers_over_http_and_the_model_the_rest(provider, tmp_path):
    rules = read_script(written(tmp_path, YAML))
    here = provider(script=rules, models=("simulated/desk",), faults=Faults({"blank": 1.0}))
    said = "Refund or no refund?"
    assert text_of(here.ask(said, model="simulated/desk")) == "Billing."
    assert [here.ask(said, model="simulated/desk").status_code for _ in range(2)] == [500, 500]
    assert text_of(here.ask(said, model="simulated/desk")) == "Ask a colleague."
    assert text_of(here.ask("Something else.", model="simulated/desk")) == ""  # drawn faults are for the rest
    answer = here.ask(said, model="simulated/desk", max_tokens=2, n=2).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["Ask a co", "Ask a co"]
    assert {choice["finish_reason"] for choice in answer["choices"]} == {"length"}
    assert [record.fault for record in here.server.records()][:3] == [None, "server_error", "server_error"]


def test_the_whole_prompt_is_looked_at(provider):
    here = provider(script=rules_of([{"match": "brief[.]\\n.*hello", "answer": "matched"}], "here"))
    assert text_of(here.ask("Say hello.")) == "matched"


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({}, "not a list"),
        (["x"], "Rule 1 .* is not a mapping"),
        ([{"match": "a", "answer": "b"}, {"answer": "b"}], "Rule 2 .* has no match"),
        ([{"match": "(", "answer": "b"}], "no regular expression"),
        ([{"match": "a"}], "neither an answer nor a fault"),
        ([{"match": "a", "answer": "b", "fault": "hang"}], "both an answer and a fault"),
        ([{"match": "a", "answer": 5}], "an answer that is no text"),
        ([{"match": "a", "fault": "hangs"}], "unknown fault 'hangs'"),
        ([{"match": "a", "fault": ["hang"]}], "unknown fault"),
        ([{"match": "a", "answer": "b", "times": 0}], "times"),
        ([{"match": "a", "answer": "b", "times": True}], "times"),
        ([{"match": "a", "answer": "b", "time": 1}], "unknown key 'time'"),
        ([{"match": "a", "answer": "b", 5: 1}], "unknown key '5'"),
    ],
)
def test_a_script_that_is_none_is_one_sentence(rules, said):
    with pytest.raises(DataError, match=said) as refused:
        rules_of(rules, "s.yaml")
    assert "s.yaml" in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("text", ["- [", "\x00", "- {a: b, a: c}", "[" * 400, "- !!python/name:os.system x"])
def test_a_file_that_is_no_yaml_is_one_sentence(tmp_path, text):
    with pytest.raises(DataError, match=r"The script .* is neither JSON nor YAML"):
        read_script(written(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('"""A program."""\nimport json\n', "line 1 cannot be read"),
        ("- match: a\n  answer: b\n  answer: c\n", "line 3 has a key twice"),
        ("- [", "line 1 cannot be read"),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_line(tmp_path, text, said):
    with pytest.raises(DataError) as refused:
        read_script(written(tmp_path, text))
    assert refused.value.message.endswith(f"is neither JSON nor YAML: {said}.")
    assert refused.value.hint.startswith("A script is a list of rules")


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    with pytest.raises(NotFound, match="There is no script"):
        read_script(tmp_path / "none.yaml")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path, tmp_path / "bytes"):
        with pytest.raises(DataError, match="cannot be read"):
            read_script(path)
