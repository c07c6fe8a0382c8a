"""`compare` with two and with more programs."""

import pytest

DATA = ("--data", "things.json", "--metric", "naming:length")


def test_two_programs_stand_beside_each_other_with_what_they_take(cli, own):
    ended = cli("compare", "naming:Namer", "naming:Namer", *DATA)
    assert ended.code == 0
    assert "No difference shown. B - A: +0.000" in ended.out
    assert "choice" in ended.out
    assert "naming:Namer: nothing is shown to be better" in ended.out
    assert "tokens and dollars" in ended.out


def test_more_than_two_are_each_compared_with_the_first(cli, own):
    assert cli("optimize", *own, "--quiet").code == 0
    program = "config/optimized/namer.json"
    ended = cli("compare", "naming:Namer", program, "latest", *DATA)
    assert ended.code == 0
    assert "Against A: No difference shown: B, C." in ended.out
    assert "all verdicts together (Holm)" in ended.out
    found = cli("compare", "naming:Namer", program, "latest", *DATA, "--json").json
    assert found["candidates"][0]["program"] == program
    assert {one["verdict"] for one in found["candidates"]} == {"not_shown"}
    assert found["test_reads"] == 1, "the same comparison again is no new reading"


@pytest.mark.parametrize("words", [("naming:Namer",), ("naming:Namer", "naming:Namer", "--prefer", "dearer")])
def test_what_cannot_be_meant_is_a_usage_error(cli, own, words):
    assert cli("compare", *words, *DATA).code == 2


def test_a_published_program_is_called_by_its_name_as_everywhere(cli, own):
    run_id = cli("optimize", *own, "--quiet", "--json").json["run_id"]
    for name in ("namer", f"namer@{cli('artifacts', 'list', '--json').lines[0]['version'][:6]}"):
        found = cli("compare", "naming:Namer", name, *DATA, "--json")
        assert (found.code, found.json["b"]["program"]) == (0, name)
    assert cli("evaluate", "--program", "namer", *DATA, "--json").json["program"] == "namer"
    ended = cli("compare", "naming:Namer", "nobody", *DATA)
    assert ended.code == 3
    assert f"Published: namer. Runs: {run_id}." in ended.err
    assert "Measuring" not in ended.err, "what is wrong is said before anything is begun"
    assert "Measuring …" in cli("compare", "naming:Namer", "namer", *DATA).err
