"""`create-skill`, `validate`, `evaluate`, `dataset`: what is written and what is said."""

import json
from pathlib import Path

import pytest

from skill_fleet.domain.skill import Skill
from skill_fleet.domain.spec import check, is_valid

GOLD = Path(__file__).resolve().parents[2] / "skills"
TASK = "Help people write asyncio code in Python with TaskGroup and timeouts"


def test_a_skill_is_created_valid_and_never_overwritten(cli, ws):
    made = cli("create-skill", "--task", TASK, "--json")
    assert made.code == 0
    value = made.json
    file = ws / value["path"]
    assert file.name == "SKILL.md"
    assert file.parent.name == value["name"]
    assert str(file.relative_to(ws / "skills")).startswith(value["taxonomy_path"])
    assert is_valid(check(Skill.read(file), folder=file.parent))
    assert value["simulated"] is True
    assert value["usd"] == 0
    assert 0 < value["quality"] <= 1
    assert value["calls"]["made"] >= 3
    file.write_text(file.read_text() + "\nMine.\n")
    again = cli("create-skill", "--task", TASK, "--json")
    assert again.code == 1
    assert again.json["error"]["code"] == "exists"
    assert file.read_text().endswith("\nMine.\n")
    forced = cli("create-skill", "--task", TASK, "--force", "--json")
    assert forced.code == 0
    assert forced.json["path"] == value["path"]
    assert not file.read_text().endswith("\nMine.\n")
    assert len(list(ws.rglob("SKILL.md"))) == 1


def test_a_skill_goes_where_it_is_told(cli, ws):
    made = cli("create-skill", "--task", TASK, "--output", "out", "--best-of", 3)
    assert made.code == 0
    assert "SIMULATED" in made.out
    (file,) = ws.rglob("SKILL.md")
    assert file.parent.parent == ws / "out"
    assert not (ws / "skills").exists()
    refused = cli("create-skill", "--task", TASK, "--output", "out", "--best-of", 3, "--json")
    assert refused.json["error"]["code"] == "exists"


def test_the_best_of_the_drafts_is_kept_and_a_cap_keeps_what_there_is(cli):
    value = cli("create-skill", "--task", TASK, "--best-of", 4, "--output", "a", "--json").json
    assert len(value["drafts"]) == 4
    assert len(set(value["drafts"])) > 1
    capped = cli(
        "create-skill", "--task", TASK + " now", "--best-of", 9, "--max-calls", 9, "--output", "b", "--json"
    )
    assert capped.code == 5
    assert capped.json["error"]["code"] == "budget"
    assert 1 <= len(capped.json["drafts"]) < 9
    assert capped.json["calls"]["made"] == 9
    none = cli("create-skill", "--task", TASK + " then", "--max-calls", 1, "--output", "c", "--json")
    assert none.code == 5
    assert none.json["error"]["code"] == "budget"


@pytest.mark.parametrize(
    "task", ["../../etc/passwd", "\x00\x1b[2J\u202e", "---\nname: x\n---", "ß" * 5000, "$(rm -rf /)"]
)
def test_a_hostile_task_stays_in_the_library(cli, ws, task):
    ended = cli("create-skill", "--task", task, "--json")
    assert ended.code in {0, 1}
    assert "Traceback" not in ended.err
    written = list(ws.parent.rglob("SKILL.md"))
    assert all(
        file.is_relative_to(ws / "skills") or file.is_relative_to(ws / ".skill-fleet") for file in written
    )


def test_a_library_is_validated_in_one_go(cli, ws):
    good = cli("validate", GOLD, "--json")
    assert good.code == 0
    assert len(good.lines) == len(list(GOLD.rglob("SKILL.md")))
    assert all(line["valid"] for line in good.lines)
    (ws / "skills" / "bad").mkdir(parents=True)
    (ws / "skills" / "bad" / "SKILL.md").write_text("---\nname: Other\n---\n\nDo it.\n")
    bad = cli("validate", "--json")
    assert bad.code == 4
    assert {found["code"] for found in bad.lines[0]["findings"]} >= {"description_missing", "name_folder"}
    assert "error: 1 of 1 skill break" in bad.err
    told = cli("validate")
    assert told.code == 4
    assert "skills/bad/SKILL.md:" in told.out
    assert "Valid: 0 of 1 skill (profile spec)." in told.out


def test_a_profile_changes_the_verdict(cli, ws):
    text = "---\nname: x\ndescription: Does x. Use when x.\nmodel: big\n---\n\n# X\n\nDo it.\n"
    (ws / "x").mkdir()
    (ws / "x" / "SKILL.md").write_text(text)
    assert cli("validate", "x").code == 4
    assert cli("validate", "x", "--profile", "claude").code == 0


def test_skills_are_scored(cli, ws):
    (ws / "x").mkdir()
    (ws / "x" / "SKILL.md").write_text("---\nname: x\ndescription: Does x.\n---\n\nDo it.\n")
    value = cli("evaluate", GOLD / "communication", "x", "--json").json
    *gold, poor = value["skills"]
    assert all(one["quality"] > poor["quality"] for one in gold)
    assert poor["feedback"]
    assert "weakest part" not in cli("evaluate", GOLD / "communication").out
    one = cli("evaluate", "x")
    assert "to do" in one.out


def test_a_data_set_is_built_checked_and_split(cli, ws):
    built = cli("dataset", "build", GOLD, "--output", "data/set.json", "--json")
    assert built.code == 0
    assert built.json["examples"] > 10
    again = cli("dataset", "build", GOLD, "--output", "data/set.json", "--json")
    assert again.json["error"]["code"] == "exists"
    assert cli("dataset", "lint", "data/set.json", "--json").json["valid"] is True
    shown = cli("dataset", "show", "data/set.json")
    assert "in the order" not in shown.out
    assert "examples" in shown.out
    split = cli("dataset", "split", "data/set.json", "--output", "parts", "--seed", 3, "--json").json
    ids = [
        {item["id"] for item in json.loads((ws / split[part]["file"]).read_text())}
        for part in ("train", "validation", "test")
    ]
    assert sum(map(len, ids)) == len(set.union(*ids)) == built.json["examples"]
    other = cli("dataset", "split", "data/set.json", "--output", "others", "--seed", 4, "--json").json
    assert other["digest"] != split["digest"]
    held = cli("dataset", "split", "--holdout", "nothing", "--output", "c", "--json")
    assert held.code == 1
    few = cli("dataset", "split", "data/set.json", "--output", "few", "--min-groups", 500, "--json")
    assert few.json["error"]["code"] == "too_few_groups"


def test_a_data_set_with_errors_fails_the_gate(cli, ws):
    item = {
        "task_description": "Write a skill named make-coffee for espresso machines.",
        "expected_name": "make-coffee",
    }
    (ws / "leaky.json").write_text(json.dumps([{**item, "api": "ghp_" + 18 * "a1"}]))
    ended = cli("dataset", "lint", "leaky.json")
    assert ended.code == 4
    assert "error secret" in ended.out
    assert 18 * "a1" not in ended.out


def test_a_skill_by_a_program_of_the_simulator_says_so(cli, ws):
    from skill_fleet.core.programs.artifact import save_artifact
    from skill_fleet.core.programs.catalog import BUILT_IN, find_program, source_digest

    program = find_program(BUILT_IN).build()
    facts = {
        "program": BUILT_IN,
        "source_digest": source_digest(program),
        "created_at": "",
        "simulated": True,
    }
    save_artifact(program, ws / "p.json", facts)
    value = cli("create-skill", "--task", TASK, "--program", "p.json", "--json").json
    assert value["notes"] == ["It was optimized with the built-in simulator, not with a language model."]
    assert value["program"] == "p.json"
