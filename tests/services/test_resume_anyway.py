"""`runs resume` after something that decides the result has changed: refused, or gone on with at a price."""

import contextlib
import importlib
import json
import sqlite3
import sys

import pytest
from dspy.utils.exceptions import LMTimeoutError

from skill_fleet.cli.main import main
from skill_fleet.core.programs import artifact
from skill_fleet.llm.testing import ScriptedModel
from skill_fleet.optimization.planning.changes import Change, changes_since, price_of, resumed_over
from skill_fleet.services.context import open_context

PROGRAM = '''
import dspy


class Namer(dspy.Module):
    """Names a shop."""

    def __init__(self):
        super().__init__()
        self.name = dspy.Predict("task -> name")

    def forward(self, task):
        return self.name(task=task)
'''
METRIC = """
def length(gold, pred, trace=None):
    return (len(gold.task) * 7 % 10) / 10
"""
THINGS = (
    "anvil barometer canoe dynamo easel funnel gyroscope harpoon inkwell jigsaw kettle lantern "
    "mandolin nutcracker otoscope pulley quiver rudder sextant trowel umbrella viola winch xylophone"
).split()


class Place:
    """A workspace with a run that a cap has stopped, and a command line in this process."""

    def __init__(self, root, capsys):
        self.root = root
        self.capsys = capsys
        items = [
            {"task": f"Name a shop that sells nothing but a {thing}.", "group": thing} for thing in THINGS
        ]
        (root / "things.json").write_text(json.dumps(items))
        self.write("naming.py", PROGRAM)
        self.write("scoring.py", METRIC)
        (root / "config").mkdir()

    def write(self, name, text):
        """A module of the user's, edited: what was imported of it before is forgotten."""
        (self.root / name).write_text(text)
        sys.modules.pop(name.removesuffix(".py"), None)
        importlib.invalidate_caches()

    def cli(self, *words):
        self.capsys.readouterr()
        code = main([str(word) for word in words])
        return code, *self.capsys.readouterr()

    def stop(self, *more, calls=20):
        """Begin the run and let a cap stop it."""
        code, out, err = self.cli(
            *("optimize", "--program", "naming:Namer", "--metric", "scoring:length", "--data", "things.json"),
            *("--optimizer", "gepa", "--trials", "1", "--rounds", "1", "--max-calls", calls),
            *("--json", "--quiet", "--yes", *more),
        )
        assert code == 5, err
        return json.loads(out)

    def resume(self, *words):
        """Go on; the result, or the error, and what was said."""
        code, out, err = self.cli("runs", "resume", "latest", "--max-calls", 1000, "--json", *words)
        return code, json.loads(out), err

    def ledger(self, query):
        with contextlib.closing(sqlite3.connect(self.root / ".skill-fleet" / "ledger.sqlite")) as db:
            return db.execute(query).fetchone()[0]


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("DSPY_CACHEDIR", "SKILL_FLEET_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    yield Place(tmp_path, capsys)
    for name in ("naming", "scoring"):
        sys.modules.pop(name, None)


def change_program(place, monkeypatch):
    place.write("naming.py", PROGRAM.replace("Names a shop.", "Names a shop, shortly."))
    return "the program source changed"


def change_prompt(place, monkeypatch):
    place.write("naming.py", PROGRAM.replace('"task -> name"', 'dspy.Signature("task -> name", "Be brief.")'))
    return "the program source changed"


def change_metric(place, monkeypatch):
    place.write("scoring.py", METRIC.replace("* 7", "* 3"))
    return "the metric changed"


def change_model(place, monkeypatch):
    registry = {"offline": {"model": "offline/rules-v1", "temperature": 0.5}}
    (place.root / "config" / "config.yaml").write_text(json.dumps({"models": {"registry": registry}}))
    return "the models changed (evaluation, judge, optimization, profiling)"


def change_dspy(place, monkeypatch):
    now = artifact.versions()
    monkeypatch.setattr(
        "skill_fleet.optimization.planning.identity.versions", lambda: {**now, "dspy": "9.9.9"}
    )
    return f"versions changed (dspy {now['dspy']} -> 9.9.9)"


CHANGES = [change_program, change_prompt, change_metric, change_model, change_dspy]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_refused_by_name_and_gone_on_with_when_asked(place, monkeypatch, change):
    began = place.stop()
    words = change(place, monkeypatch)
    code, refused, _ = place.resume()
    assert code == 1
    assert refused["error"]["code"] == "integrity"
    assert words in refused["error"]["message"]
    assert f"runs resume {began['run_id']} --resume-anyway" in refused["error"]["hint"]
    assert place.ledger("select count(*) from attempt") == 20, "a refusal spends nothing"

    code, result, said = place.resume("--resume-anyway", "--quiet")
    assert code == 0, said
    assert f"Since the run began {words}." in said
    assert "20 calls" in said
    assert result["run_id"] == began["run_id"]
    assert result["resumed_over"] == [words]
    warning = next(w for w in result["warnings"] if w["code"] == "resumed_over_changes")
    assert words in warning["message"]
    manifest = json.loads((place.root / result["manifest"]).read_text())
    assert manifest["resumed_over"] == [words]
    assert result["calls"]["made"] == place.ledger("select count(*) from attempt"), (
        "all that was spent counts"
    )


def test_what_was_paid_before_the_change_counts_and_what_is_the_same_is_not_paid_again(place, monkeypatch):
    place.stop()
    change_metric(place, monkeypatch)
    code, result, said = place.resume("--resume-anyway", "--quiet")
    assert code == 0
    assert "up to 20 are paid again." in said
    twice = (
        "select count(*) from (select 1 from attempt where state='settled' group by key having count(*) > 1)"
    )
    assert place.ledger(twice) == 0
    fresh = "select count(distinct key) from attempt"
    assert result["calls"]["made"] == place.ledger(fresh), "no prompt changed, so no call was made again"


def test_another_model_means_every_call_again_and_says_so(place, monkeypatch):
    place.stop()
    change_model(place, monkeypatch)
    code, _, said = place.resume("--resume-anyway", "--quiet")
    assert code == 0
    assert "up to 20 are paid again, 20 of them for sure." in said


def test_the_caps_count_over_the_change(place, monkeypatch):
    place.stop()
    change_model(place, monkeypatch)
    code, out, _ = place.cli(
        "runs", "resume", "latest", "--max-calls", 25, "--resume-anyway", "--json", "--quiet"
    )
    result = json.loads(out)
    assert code == 5
    assert result["calls"]["made"] == 25
    assert "resumed_over_changes" in {warning["code"] for warning in result["warnings"]}

    # The next resume compares with what the run was gone on with, and does not forget.
    code, result, _ = place.resume("--quiet")
    assert code == 0
    assert result["resumed_over"] == ["the models changed (evaluation, judge, optimization, profiling)"]


def test_changes_gather_and_changing_back_is_a_change(place, monkeypatch):
    place.stop()
    first = change_metric(place, monkeypatch)
    assert place.cli("runs", "resume", "--max-calls", 25, "--resume-anyway", "--quiet")[0] == 5
    place.write("scoring.py", METRIC)
    code, refused, _ = place.resume()
    assert code == 1
    assert first in refused["error"]["message"]
    second = change_program(place, monkeypatch)
    code, result, _ = place.resume("--resume-anyway", "--quiet")
    assert code == 0
    assert result["resumed_over"] == [first, second]


def test_what_the_run_becomes_is_what_a_new_run_would_be(place, monkeypatch):
    """It starts over on the same data, so nothing of what was there before is in its result."""
    place.stop()
    change_prompt(place, monkeypatch)
    _, result, _ = place.resume("--resume-anyway", "--quiet")
    (place.root / result["artifact"]).unlink()
    code, out, _ = place.cli(
        *("optimize", "--program", "naming:Namer", "--metric", "scoring:length", "--data", "things.json"),
        *("--optimizer", "gepa", "--trials", "1", "--rounds", "1", "--json", "--quiet"),
    )
    assert code == 0
    fresh = json.loads(out)
    for name in ("program_hash", "baseline", "optimized", "accuracy"):
        assert fresh[name] == result[name], name
    assert fresh["calls"]["made"] == 0


def test_where_nothing_changed_the_flag_says_nothing(place):
    place.stop()
    code, result, said = place.resume("--resume-anyway", "--quiet")
    assert (code, said) == (0, "")
    assert result["resumed_over"] == []


def test_on_a_terminal_it_asks_and_no_means_no(place, monkeypatch):
    place.stop()
    change_metric(place, monkeypatch)
    answers = iter([False, True])
    monkeypatch.setattr("typer.confirm", lambda *_words, **_options: next(answers))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    code, out, said = place.cli("runs", "resume", "--resume-anyway", "--max-calls", 1000)
    assert (code, out) == (0, "")
    assert "Nothing was started." in said
    assert place.ledger("select count(*) from attempt") == 20
    assert place.resume()[0] == 1, "the run is as it was"
    assert place.resume("--resume-anyway", "--quiet")[0] == 0
    assert list(answers) == []


@pytest.mark.parametrize("word", ["--yes", "--no-input"])
def test_who_said_yes_is_not_asked(place, monkeypatch, word):
    place.stop()
    change_metric(place, monkeypatch)
    monkeypatch.setattr("typer.confirm", lambda *_words, **_options: pytest.fail("asked"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert place.resume("--resume-anyway", "--quiet", word)[0] == 0


def other_fields(place):
    place.write("naming.py", PROGRAM.replace("task", "question"))
    return "has no field 'question'"


def more_fields(place):
    """The stopped run has published the plain program, which the changed one cannot be measured against."""
    place.write("naming.py", PROGRAM.replace("task -> name", "task -> name, reason"))
    return "its predictor 'name' does not have 3 fields"


def no_such_predictor(place):
    place.write("naming.py", PROGRAM.replace("self.name", "self.title"))
    return "name"


def edited_data(place):
    file = next(place.root.glob(".skill-fleet/runs/*/data.json"))
    file.write_text(file.read_text().replace("anvil", "hammer"))
    return "data is damaged"


def cut_data(place):
    file = next(place.root.glob(".skill-fleet/runs/*/data.json"))
    file.write_text(file.read_text()[:200])
    return "data"


def partial_data(place):
    file = next(place.root.glob(".skill-fleet/runs/*/data.json"))
    value = json.loads(file.read_text())
    del value["test"]
    file.write_text(json.dumps(value))
    return "data is damaged"


def other_data(place):
    """The data of another run: whole, and not what this run began with."""
    before, after = sorted(place.root.glob(".skill-fleet/runs/*/data.json"))
    after.write_text(before.read_text())
    return "its data.json is not what it wrote there"


HARM = [other_fields, more_fields, no_such_predictor, edited_data, cut_data, partial_data]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_what_makes_no_sense_to_go_over_is_refused_all_the_same(place, harm):
    place.stop("--module", "name")
    words = harm(place)
    code, refused, _ = place.resume("--resume-anyway", "--yes")
    assert code != 0
    assert words in refused["error"]["message"]
    assert "bug" not in refused["error"]["code"]
    assert place.ledger("select count(*) from attempt") == 20


def test_the_data_of_another_run_are_refused(place):
    place.stop("--seed", "1", calls=5)
    place.stop(calls=20)
    words = other_data(place)
    code, refused, _ = place.resume("--resume-anyway", "--yes")
    assert code == 1
    assert words in refused["error"]["message"]


def test_a_provider_that_stops_the_run_leaves_the_new_identity(place, monkeypatch):
    """The identity is saved before the first call, so a resume that dies at once can be resumed plainly."""
    place.stop()
    change_model(place, monkeypatch)
    dead = ScriptedModel(answer=lambda _request: LMTimeoutError("down"))
    context = open_context(place.root, environ={}, models=lambda _spec, _environ: dead)
    from skill_fleet.llm.budget import Limits
    from skill_fleet.services.optimization import begin, prepare_resume, price_of_changes, start_optimization

    prepared = prepare_resume(context, None, Limits(calls=20), anyway=True)
    price = price_of_changes(context, prepared)
    assert price["again"] == [20, 20]
    finished = start_optimization(context, prepared, begin(context, prepared))
    assert finished.result.status == "stopped"
    code, result, _ = place.resume("--quiet")
    assert code == 0
    assert len(result["resumed_over"]) == 1


def test_only_phases_whose_model_changed_are_paid_again_for_sure():
    before = {"models": {"evaluation": {"temperature": 0}, "optimization": {"temperature": 0}}, "seed": 1}
    now = {"models": {"evaluation": {"temperature": 1}, "optimization": {"temperature": 0}}, "seed": 1}
    changes = changes_since(before, now)
    assert changes == (Change("models", "the models changed (evaluation)", ("evaluation",)),)
    assert changes_since(now, now) == ()
    assert resumed_over({"resumed over": ["a"], **before}, changes) == ("a", changes[0].words)

    from skill_fleet.llm.journal.journal import Spent

    spent = Spent(10, 8, 2, 0, 0, 0, 0.5, 0, {"evaluation": 7, "optimization": 3}, {})
    assert price_of(changes, spent)["again"] == [7, 8]
    assert price_of(changes, spent)["spent"] == {"calls": 10, "usd": 0.5}
    assert price_of((Change("metric", "the metric changed"),), spent)["again"] == [0, 8]
