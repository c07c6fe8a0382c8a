"""Options that several commands have: declared once, and the same wherever they are."""

import functools
import inspect
from dataclasses import dataclass, field, fields
from typing import Annotated, ClassVar, get_type_hints

import pytest
import typer
from hypothesis import example, given
from hypothesis import strategies as st

from skill_fleet.cli.app import build
from skill_fleet.cli.grouped import grouped
from skill_fleet.cli.option_groups import Caps, Drafting, PhaseModels, Search, options_of
from skill_fleet.client import records
from skill_fleet.config.settings import PHASES, Budget, OptimizationDefaults
from skill_fleet.llm.budget import Limits
from skill_fleet.services import job_requests

HERE = "a service runs no code of its clients and reads no file of theirs"
SERVICE = "what only a service has: where it is, who else may ask, and following it later"
ASKED = "a service asks nobody; the price is POST /optimization/estimate"
PAIRS = {
    ("optimize", "jobs start"): {
        **dict.fromkeys(("program", "metric", "skills", "val_data", "test_data", "reward"), HERE),
        "holdout": "it names groups of a file of this machine",
        **dict.fromkeys(("profile", "dry_run", "yes", "no_input"), ASKED),
        "training_path": "names gold skills of the server's library, in place of --skills",
        **dict.fromkeys(("server", "metadata", "idempotency_key", "watch"), SERVICE),
    },
    ("create-skill", "jobs create-skill"): {
        "output": "a service writes into its own library only",
        **dict.fromkeys(("server", "metadata", "idempotency_key", "watch"), SERVICE),
    },
    ("runs resume", "jobs resume"): {
        "run": "what it goes on with",
        "job": "what it goes on with",
        "resume_anyway": "what has changed is on the server: who runs it decides",
        **dict.fromkeys(("yes", "no_input"), "a service asks nobody"),
        **dict.fromkeys(("server", "watch"), SERVICE),
    },
}
"""Two commands that do the same here and in a service: the options only one of them has, and why."""
REWORDED = {
    ("jobs start", "data"): "the file is sent, and the server has no default set of the client's",
    ("jobs start", "output"): "a name below config/optimized, never a path",
    ("jobs create-skill", "program"): "a name below config/optimized, never a path",
    ("jobs create-skill", "model"): "a client may only name what the server has registered",
}
NEVER_A_CAP = {"models add": "--max-tokens is a setting of the model: its longest answer"}
CAPS = tuple(Budget.model_fields)


@functools.cache
def commands():
    """Every command by its words."""
    return dict(walked(typer.main.get_command(build()), ""))


def walked(group, above):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from walked(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def options_named(words):
    return {one.name: one for one in commands()[words].params if one.name != "help"}


def said(words, name):
    """All that help says of an option: its names, its values, their range, what it means, its default."""
    command = commands()[words]
    option = options_named(words)[name]
    return option.get_help_record(typer.Context(command)), option.multiple, option.default


@pytest.mark.parametrize("pair", PAIRS)
def test_what_is_asked_of_a_service_is_asked_as_of_this_machine(pair):
    here, there = (options_named(words) for words in pair)
    assert here.keys() ^ there.keys() == PAIRS[pair].keys()
    for name in here.keys() & there.keys():
        reworded = (pair[1], name) in REWORDED
        assert (said(pair[0], name) != said(pair[1], name)) == reworded, (pair, name)


def test_what_is_reworded_is_an_option():
    for words, name in REWORDED:
        assert name in options_named(words)


def test_a_command_has_every_cap_or_none():
    with_caps = set()
    for words, command in commands().items():
        caps = {one.name for one in command.params} & set(CAPS)
        if caps and words not in NEVER_A_CAP:
            assert caps == set(CAPS), words
            with_caps.add(words)
    assert with_caps == {
        *("optimize", "estimate", "recommend", "create-skill", "evaluate", "compare"),
        *("runs resume", "jobs start", "jobs create-skill", "jobs resume"),
    }
    assert NEVER_A_CAP.keys() <= commands().keys()


def test_a_body_has_every_cap_or_none():
    bodies = [kind for _, kind in inspect.getmembers(job_requests, inspect.isclass) if is_body(kind)]
    budgets = {kind.__name__ for kind in bodies if "budget" in kind.model_fields}
    assert {"OptimizationBody", "CreationBody", "ResumeBody"} <= budgets
    for kind in bodies:
        caps = kind.model_fields.keys() & set(CAPS)
        assert caps in (set(), set(CAPS)), kind
    assert tuple(job_requests.BudgetBody.model_fields) == CAPS


def is_body(kind):
    return issubclass(kind, job_requests.Body)


def test_the_caps_are_the_same_everywhere():
    assert tuple(one.name for one in fields(Caps)) == CAPS
    assert tuple(get_type_hints(records.Budget)) == CAPS
    given = Caps(1.5, 2, 3, 4.5)
    assert given.limits() == Limits(usd=1.5, calls=2, tokens=3, minutes=4.5)
    assert given.settings() == {f"budget.{name}": getattr(given, name) for name in CAPS}
    assert job_requests.BudgetBody.model_validate(given.body()).model_dump() == given.body()
    assert options_of(given.limits()) == " --max-cost 1.5 --max-calls 2 --max-tokens 3 --max-minutes 4.5"
    assert Caps().body() is None
    assert Caps(max_calls=0).body() == {"max_calls": 0}, "none at all is a cap"
    assert options_of(Limits()) == ""


@grouped
def capped(ctx: typer.Context, caps: Caps) -> Limits:
    """What was typed."""
    assert ctx.args == []
    return caps.limits()


@given(
    st.builds(
        Limits,
        usd=st.none() | st.floats(0, 1e9),
        calls=st.none() | st.integers(0, 10**12),
        tokens=st.none() | st.integers(0, 10**18),
        minutes=st.none() | st.floats(0, 1e7, exclude_min=True),
    )
)
@example(Limits(tokens=10**15))
@example(Limits(usd=1e-7, minutes=5e-324))
def test_caps_are_read_as_they_are_written(caps):
    app = typer.Typer()
    app.command()(capped)
    read = typer.main.get_command(app).main(options_of(caps).split(), standalone_mode=False)
    assert (read.calls, read.tokens) == (caps.calls, caps.tokens)
    for was, now in ((caps.usd, read.usd), (caps.minutes, read.minutes)):
        assert now == (None if was is None else pytest.approx(was, rel=1e-14))


def test_how_to_search_is_the_same_everywhere():
    names = tuple(one.name for one in fields(Search))
    assert set(names) == set(OptimizationDefaults.model_fields)
    assert set(names) <= set(job_requests.OptimizationBody.model_fields)
    assert set(names) <= set(get_type_hints(records.Optimization))
    assert Search(seed=0).settings() == {"optimization.seed": 0}
    assert Search(seed=0).body() == {"seed": 0}


def test_models_and_drafts_are_the_same_everywhere():
    asked = PhaseModels("a", "b", "c", "d").by_phase()
    assert asked == {"evaluation": "a", "profiling": "b", "optimization": "c", "judge": "d"}
    assert asked.keys() == set(PHASES)
    assert PhaseModels(judge_model="d").by_phase() == {"judge": "d"}
    assert {one.name for one in fields(Drafting)} <= set(job_requests.CreationBody.model_fields)
    assert Drafting(refine=2).given() == {"refine": 2}


Loud = Annotated[bool, typer.Option(help="Say it loudly.")]


@dataclass(frozen=True)
class Voice:
    TITLE: ClassVar = "Voice"

    words: Annotated[str, typer.Option(metavar="TEXT", help="What is said.")]
    loud: Loud = False


def test_a_group_is_taken_field_by_field():
    heard = []

    @grouped
    def speak(ctx: typer.Context, voice: Voice, times: int = 1, loud_too: Loud = False) -> int:
        """Say something."""
        heard.append((ctx.info_name, voice, times, loud_too))
        return 3

    assert list(inspect.signature(speak).parameters) == ["ctx", "words", "loud", "times", "loud_too"]
    app = typer.Typer()
    app.command()(speak)
    command = typer.main.get_command(app)
    code = command.main(["--words", "hear", "--loud", "--times", "2"], prog_name="x", standalone_mode=False)
    assert (code, heard) == (3, [("x", Voice("hear", loud=True), 2, False)])
    headings = {one.name: getattr(one, "rich_help_panel", None) for one in command.params}
    assert headings["words"] == headings["loud"] == "Voice"
    assert headings["times"] is headings["loud_too"] is None, "the same option elsewhere has no heading"
    with pytest.raises(typer.TyperException, match="words"):
        command.main([], prog_name="x", standalone_mode=False)


def test_two_options_of_one_name_are_a_mistake_of_ours():
    with pytest.raises(ValueError, match="loud"):

        @grouped
        def speak(voice: Voice, loud: Loud = False) -> None:
            raise AssertionError((voice, loud))


def test_a_default_that_is_made_is_a_mistake_of_ours():
    @dataclass(frozen=True)
    class Names:
        names: Annotated[list[str], typer.Option(help="Names.")] = field(default_factory=list)

    with pytest.raises(ValueError, match="option names of Names needs a plain default"):

        @grouped
        def speak(names: Names) -> None:
            raise AssertionError(names)


@pytest.mark.parametrize(
    "group", ["", "dataset", "runs", "artifacts", "cache", "jobs", "keys", "models", "config"]
)
def test_a_list_of_commands_cuts_nothing_at_80_columns(cli, group, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(*group.split(), "--help").out
    assert max(len(line) for line in shown.splitlines()) <= 80
    rows = [line for line in shown.splitlines() if line.startswith("  ")]
    assert not [line for line in rows if line.endswith("...")]


@pytest.mark.parametrize("words", ["optimize", "jobs start", "create-skill"])
def test_options_stand_under_their_headings_and_whole(cli, words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    shown = cli(*words.split(), "--help").out
    assert "\nCaps:\n  --max-cost USD " in shown
    assert "…" not in shown
    for option in options_named(words).values():
        assert any(f" {name} " in shown or f" {name}, " in shown for name in option.opts), option


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ("estimate", {"dry_run", "yes", "no_input"}),
        ("recommend", {"dry_run", "yes", "no_input", "optimizer", "profile", "output"}),
    ],
)
def test_help_is_silent_of_what_says_nothing_and_it_is_taken_all_the_same(cli, own, words, idle):
    told = {one.name for one in commands()[words].params if not one.hidden}
    assert options_named(words).keys() == options_named("optimize").keys()
    assert options_named("optimize").keys() - told == idle
    assert not any(one.hidden for one in commands()["optimize"].params)
    shown = cli(words, "--help").out
    assert "--dry-run" not in shown
    assert "--yes" not in shown
    assert cli(words, *own[: own.index("--optimizer")], "--dry-run", "--yes", "--no-input").code == 0


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
@pytest.mark.parametrize("option", ["--max-cost", "--max-minutes"])
@pytest.mark.parametrize("words", [("estimate",), ("runs", "resume")])
def test_a_cap_is_a_number(cli, words, option, value):
    ended = cli(*words, option, value)
    assert ended.code == 2
    assert option in ended.err


def test_a_cap_on_tokens_ends_a_run_and_a_raised_one_goes_on(cli, own):
    ended = cli("optimize", *own, "--max-tokens", 4000, "--json")
    assert ended.code == 5, ended.err
    result = ended.json
    assert result["stop_reason"] == "budget"
    assert sum(result["tokens"].values()) <= 4000
    assert " --max-tokens " in ended.err.splitlines()[-1], "it says how to go on"
    gone = cli("runs", "resume", "--max-tokens", 10_000_000, "--json")
    assert (gone.code, gone.json["run_id"]) == (0, result["run_id"])
    assert sum(gone.json["tokens"].values()) > 4000
