"""`artifacts`: the list, one program, putting back, publishing by hand."""

import json
import shutil

import pytest

NAME = "namer"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where the workspace of the one run is kept for all tests."""
    return tmp_path_factory.mktemp("kept") / "ws"


@pytest.fixture
def published(cli, ws, own, kept):
    """A run that published the plain program, since nothing was shown."""
    if not kept.exists():
        assert cli("optimize", *own, "--json", "--quiet").json["published"] == "baseline"
        # A connection that is closed just now takes its log along.
        shutil.copytree(ws, kept, ignore=shutil.ignore_patterns("*-wal", "*-shm"))
    shutil.copytree(kept, ws, dirs_exist_ok=True)
    (file,) = (ws / ".skill-fleet" / "runs").glob("*/result.json")
    return json.loads(file.read_text())


def files(ws):
    folder = ws / "config" / "optimized"
    return (folder / f"{NAME}.json").read_bytes(), (folder / f"{NAME}.manifest.json").read_bytes()


def instruct(ws, run_id, text):
    """Give a run's candidate another instruction, as an optimizer would have."""
    from skill_fleet.core.programs.artifact import load_artifact, save_artifact

    file = ws / ".skill-fleet" / "runs" / run_id / "candidate.json"
    loaded = load_artifact(file, search=ws)
    [(_, predictor)] = loaded.program.named_predictors()
    predictor.signature = predictor.signature.with_instructions(text)
    facts = dict(vars(loaded.manifest))
    for made in ("program_sha256", "program_hash", "versions", "format"):
        del facts[made]
    save_artifact(loaded.program, file, {**facts, "optimizer": "gepa", "verdict": "not_shown"})


def test_nothing_published_is_said_and_is_no_error(cli):
    ended = cli("artifacts", "list")
    assert (ended.code, ended.out) == (0, "")
    assert "Nothing is published yet" in ended.err
    assert cli("artifacts", "list", "--json").out == ""
    missing = cli("artifacts", "show", "nobody")
    assert missing.code == 3
    assert "Nothing is published" in missing.err


def test_promote_roll_back_and_forth(cli, ws, published):
    run_id = published["run_id"]
    plain = files(ws)
    instruct(ws, run_id, "Give it a short name.")
    done = cli("artifacts", "promote", run_id[:12], "--json").json
    promoted = files(ws)
    assert promoted != plain
    assert done["verdict"] == "not_shown"
    assert json.loads(promoted[1])["verdict"] == "not_shown"
    assert json.loads(plain[1])["program_hash"].startswith(done["replaced"])
    assert done["artifact"] == f"config/optimized/{NAME}.json"

    listed = cli("artifacts", "list", "--json").lines
    assert [(one["version"], one["current"]) for one in listed] == [
        (done["version"], True),
        (done["replaced"], False),
    ]
    assert [one["optimizer"] for one in listed] == ["gepa", None]
    assert {one["run_id"] for one in listed} == {run_id}
    assert all(one["simulated"] is True and one["problem"] is None for one in listed)
    assert listed[1]["quality"] == published["baseline"]["test"]
    told = cli("artifacts", "list").out
    assert f"{done['version']} *" in told
    assert f"{done['replaced']} *" not in told

    for expected in (plain, promoted, plain):
        back = cli("artifacts", "rollback", NAME, "--json")
        assert back.code == 0
        assert files(ws) == expected
    back = cli("artifacts", "rollback", f"config/optimized/{NAME}.json", "--to", done["version"][:8])
    assert files(ws) == promoted
    assert f"version {done['version']}" in back.out
    assert f"version {done['replaced']}, which is kept" in back.out
    assert len(cli("artifacts", "list", "--json").lines) == 2


def test_by_hand_says_that_nothing_was_shown_and_the_same_again_replaces_nothing(cli, ws, published):
    instruct(ws, published["run_id"], "Give it a short name.")
    assert "not_shown. It was not shown to be better" in cli("artifacts", "promote", "latest").out
    again = cli("artifacts", "promote", "latest", "--json").json
    assert again["replaced"] is None
    other = cli("artifacts", "promote", "latest", "--output", "other/", "--json").json
    assert other["artifact"] == f"other/{NAME}.json"
    assert other["replaced"] is None
    assert (ws / "other" / f"{NAME}.manifest.json").exists()


def test_show_says_where_it_came_from_and_what_is_in_it(cli, ws, published):
    instruct(ws, published["run_id"], "Give it a short name.")
    done = cli("artifacts", "promote", "latest", "--json").json
    value = cli("artifacts", "show", NAME, "--json").json
    assert value["manifest"]["run_id"] == published["run_id"]
    assert [one["now"] for one in value["instructions"].values()] == ["Give it a short name."]
    assert list(value["demos"]) == ["name"]
    assert any("simulator" in note for note in value["notes"])
    told = cli("artifacts", "show", NAME).out
    assert "1 of 1 changed" in told
    assert "Give it a short name." in told
    earlier = cli("artifacts", "show", f"{NAME}@{done['replaced'][:6]}", "--json").json
    assert (earlier["version"], earlier["current"], earlier["instructions"]) == (done["replaced"], False, {})
    candidate = f".skill-fleet/runs/{published['run_id']}/candidate.json"
    assert cli("artifacts", "show", candidate, "--json").json["version"] == done["version"]


def test_a_difference_to_the_present_code_is_said(cli, ws, published):
    file = ws / "config" / "optimized" / f"{NAME}.manifest.json"
    manifest = json.loads(file.read_text())
    file.write_text(json.dumps({**manifest, "source_digest": "another"}))
    notes = cli("artifacts", "show", NAME, "--json").json["notes"]
    assert any("has changed since" in note for note in notes)


def test_what_was_touched_is_refused_and_does_not_hide_the_rest(cli, ws, published):
    instruct(ws, published["run_id"], "Give it a short name.")
    done = cli("artifacts", "promote", "latest", "--json").json
    before = files(ws)
    version = ws / "config" / "optimized" / "versions" / NAME / f"{done['replaced']}.json"
    version.write_text(version.read_text() + " ")
    ended = cli("artifacts", "rollback", NAME, "--json")
    assert ended.code == 1
    assert ended.json["error"]["code"] == "integrity"
    assert files(ws) == before
    assert cli("artifacts", "show", f"{NAME}@{done['replaced']}").code == 1
    listed = cli("artifacts", "list", "--json").lines
    assert [bool(one["problem"]) for one in listed] == [False, True]
    assert "not the program its manifest describes" in cli("artifacts", "list").out

    candidate = ws / ".skill-fleet" / "runs" / published["run_id"] / "candidate.json"
    candidate.write_text(candidate.read_text() + " ")
    assert cli("artifacts", "promote", "latest").code == 1
    assert files(ws) == before


def test_what_is_published_may_be_damaged_and_is_put_back(cli, ws, published):
    instruct(ws, published["run_id"], "Give it a short name.")
    done = cli("artifacts", "promote", "latest", "--json").json
    file = ws / "config" / "optimized" / f"{NAME}.json"
    file.write_text(file.read_text() + " ")
    assert cli("artifacts", "show", NAME).code == 1
    back = cli("artifacts", "rollback", NAME, "--json")
    assert back.json["version"] == done["replaced"]
    assert cli("artifacts", "show", NAME).code == 0


@pytest.mark.parametrize(
    "name", ["../namer", "/etc/passwd", "a/../../x", "", ".hidden", "na\0mer", "namer/", "nam*", "naмer "]
)
def test_a_name_leads_nowhere_else(cli, published, name):
    for words in (("show", name), ("show", f"{name}@abc"), ("rollback", name)):
        ended = cli("artifacts", *words)
        assert ended.code == 3, words
        assert len(ended.err.splitlines()) <= 2


def test_errors_have_their_codes(cli, ws, published):
    assert cli("artifacts", "rollback", NAME).code == 3
    assert cli("artifacts", "rollback", NAME, "--to", "ffff").code == 3
    assert cli("artifacts", "show", f"{NAME}@../{NAME}").code == 3
    assert cli("artifacts", "show", "nothing.json").code == 3
    assert cli("artifacts", "promote", "20010101").code == 3
    assert cli("artifacts", "promote", "latest", "--output", "x.txt").code == 2
    current = cli("artifacts", "list", "--json").lines[0]["version"]
    ended = cli("artifacts", "rollback", NAME, "--to", current, "--json")
    assert (ended.code, ended.json["error"]["code"]) == (1, "current")
    (ws / ".skill-fleet" / "runs" / published["run_id"] / "candidate.json").unlink()
    assert cli("artifacts", "promote", "latest").code == 3


def test_a_file_outside_of_the_workspace_is_not_written(cli, ws, published):
    outside = ws.parent / "elsewhere" / f"{NAME}.json"
    assert cli("artifacts", "promote", "latest", "--output", outside).code == 0
    before = outside.read_bytes()
    for place in (outside, f"../elsewhere/{NAME}.json"):
        assert cli("artifacts", "rollback", place).code == 2
    (ws / "config" / "optimized" / "door").symlink_to(outside.parent)
    assert cli("artifacts", "rollback", f"door/{NAME}").code == 2
    assert outside.read_bytes() == before


def test_one_program_does_not_take_the_place_of_another(cli, ws, published):
    file = ws / "config" / "optimized" / f"{NAME}.manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "program": "other:Thing"}))
    ended = cli("artifacts", "promote", "latest")
    assert ended.code == 1
    assert "other:Thing" in ended.err


def test_a_run_that_publishes_over_a_program_keeps_it(cli, ws, own, published, monkeypatch):
    from skill_fleet.optimization import run

    before = files(ws)
    monkeypatch.setattr(run, "decide", lambda *_: "candidate")
    again = cli("optimize", *own, "--seed", "1", "--json", "--quiet").json
    assert again["published"] == "candidate"
    listed = cli("artifacts", "list", "--json").lines
    assert [one["run_id"] for one in listed] == [again["run_id"], published["run_id"]]
    assert cli("artifacts", "rollback", NAME).code == 0
    assert files(ws) == before


def test_the_same_program_again_makes_no_version(cli, ws, published):
    before = files(ws)
    done = cli("artifacts", "promote", "latest", "--json").json
    assert (done["replaced"], done["verdict"]) == (None, None)
    assert files(ws) == before
    told = cli("artifacts", "promote", "latest").out
    assert "published before" in told
    [only] = cli("artifacts", "list", "--json").lines
    assert (only["version"], only["optimizer"]) == (done["version"], None)
    candidate = ws / ".skill-fleet" / "runs" / published["run_id"] / "candidate.manifest.json"
    assert json.loads(candidate.read_text())["optimizer"] is None, "no optimizer made the plain program"


def test_a_run_that_is_gone_on_with_publishes_the_same_program_once(cli, own):
    assert cli("optimize", *own, "--quiet", "--max-calls", "12").code != 0
    first = cli("artifacts", "list", "--json").lines
    assert first, "the plain program was published where the cap was reached"
    for calls in (14, 16, 10_000):
        cli("runs", "resume", "latest", "--max-calls", calls, "--quiet", "--no-input")
    found = cli("artifacts", "list", "--json").lines
    assert [one["current"] for one in found] == [True]
    assert found[0]["quality"] is not None, "its manifest is that of the whole run"
    assert all(one["version"] == found[0]["version"] for one in first)
