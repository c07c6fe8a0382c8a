"""A variable that holds what no key can hold: refused in one sentence, before any request, not shown."""

import pytest

from skill_fleet.llm.providers.keys import first_key, key_in
from skill_fleet.simulator import SimulatorSettings, running

ODD = [
    ("wordof\nsomebody", "a line break"),
    ("wordof\r\nsomebody", "a line break"),
    ("wordof\x1b[31msomebody", "a control character"),
    ("wordof\tsomebody", "a control character"),
    ("wordof\x7fsomebody", "a control character"),
    ("wordof\u2013somebody", "a character that is not ASCII"),
    ("wordof\u200bsomebody", "a character that is not ASCII"),
]


@pytest.mark.parametrize(("key", "what"), ODD)
def test_every_command_that_needs_the_key_says_so_and_asks_nobody(cli, monkeypatch, ws, key, what):
    monkeypatch.setenv("SIMKEY", key)
    sentence = f"The variable SIMKEY holds {what}, so it is no key."
    with running(SimulatorSettings(api_key="wordof")) as server:
        entry = ("--model", "openai/offline/rules-v1", "--api-base", server.url, "--api-key-env", "SIMKEY")
        added = cli("models", "add", "it", *entry, "--max-tokens", "900", "--default")
        assert added.code == 0
        tested = cli("models", "test", "--json")
        drafted = cli("create-skill", "--task", "Roll back a release.", "--json")
        doctor = cli("doctor", "--json")
        shown = cli("models", "test")
        assert server.totals().requests == 0
    assert (tested.code, drafted.code, doctor.code) == (6, 6, 1)
    error = tested.json["models"][0]["error"]
    assert (error["code"], error["message"]) == ("key_malformed", sentence)
    assert drafted.json["error"]["code"] == "key_malformed"
    assert drafted.json["error"]["message"] == sentence
    assert [one["message"] for one in doctor.json["checks"] if one["name"] == "model"] == [f"it: {sentence}"]
    for ended in (tested, drafted, doctor, shown):
        assert "somebody" not in ended.out + ended.err
        assert "wordof" not in ended.out + ended.err


@pytest.mark.parametrize(
    ("variable", "model"),
    [
        ("OPENAI_API_KEY", "openai/m"),
        ("ANTHROPIC_API_KEY", "anthropic/m"),
        ("GOOGLE_API_KEY", "gemini/m"),
        ("OPENAI_API_KEY", "litellm/openai/m"),
    ],
)
def test_the_usual_variables_are_looked_at_like_named_ones(cli, monkeypatch, ws, variable, model):
    monkeypatch.delenv("GEMINI_API_KEY", raising=False)
    monkeypatch.setenv(variable, "wordof\nsomebody")
    ended = cli("models", "test", model, "--json")
    assert ended.code == 6
    error = ended.json["models"][0]["error"]
    assert error["message"] == f"The variable {variable} holds a line break, so it is no key."


def test_what_stands_around_a_key_is_no_part_of_it(cli, monkeypatch, ws):
    monkeypatch.setenv("SIMKEY", " wordof \r\n")
    with running(SimulatorSettings(api_key="wordof")) as server:
        entry = ("--model", "openai/offline/rules-v1", "--api-base", server.url, "--api-key-env", "SIMKEY")
        assert cli("models", "add", "it", *entry, "--default").code == 0
        assert cli("models", "test").code == 0
        assert not [one for one in cli("doctor", "--json").json["checks"] if one["status"] == "error"]


def test_nothing_but_blanks_is_no_key(cli, monkeypatch, ws):
    assert key_in("K", {"K": " \n"}) == ""
    assert first_key(("K", "L"), {"K": "\n", "L": "word"}) == "word"
    monkeypatch.setenv("OPENAI_API_KEY", "\n")
    assert cli("models", "test", "openai/m", "--json").json["models"][0]["error"]["code"] == "not_configured"


def test_the_simulator_and_the_client_refuse_it_too(cli, monkeypatch, ws):
    monkeypatch.setenv("SKILL_FLEET_API_KEY", "wordof\nsomebody")
    for words in (
        ("simulate-provider", "--api-key-env", "SKILL_FLEET_API_KEY", "--max-seconds", "0.1"),
        ("jobs", "list", "--server", "http://127.0.0.1:9"),
    ):
        ended = cli(*words)
        assert ended.code == 6
        assert "The variable SKILL_FLEET_API_KEY holds a line break" in ended.err
        assert "somebody" not in ended.out + ended.err
