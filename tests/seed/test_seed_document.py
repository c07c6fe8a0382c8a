"""The seed document keeps its word: its own code runs, with the changes listed here and no others.

The blocks are read from the document where it is there, else from the copies in `blocks/`; a test holds the
two to each other.
"""

import ast
import builtins
import hashlib
import inspect
import json
import logging
import os
import re
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import dspy
import pytest

from skill_fleet.core.dspy.examples import coerce_examples
from skill_fleet.core.dspy.signatures import GenerateSkillContent
from skill_fleet.core.programs.artifact import load_artifact
from skill_fleet.core.programs.catalog import clean_state
from skill_fleet.core.programs.skill_creator import SkillCreationProgram
from skill_fleet.domain.trainset import SKILL_INPUTS, load_trainset
from skill_fleet.llm.dspy_config import configure_dspy
from skill_fleet.llm.fleet_lm import FleetLM
from skill_fleet.optimization import BestOfN, BootstrapFewShotWithRandomSearch, MIPROv2, estimate_cost

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENT = REPOSITORY.parent / "shared" / "seed" / "dspy-optimization.md"
COPIES = Path(__file__).parent / "blocks"
TRAINSET = REPOSITORY / "config" / "training" / "trainset.json"


@dataclass(frozen=True)
class Block:
    """One code block of the document.

    Attributes:
        name: Of its copy.
        heading: The heading it stands under.
        given: The names it uses and does not define; the tests give them.
        changes: (printed, run instead, why). Each printed text stands there exactly once.
    """

    name: str
    heading: str
    given: frozenset[str] = frozenset()
    changes: tuple[tuple[str, str, str], ...] = ()


OURS = "the same arguments, but today's DSPy takes others: facts.md, 'where the seed document does not fit'"
MORE = ("    # ... more examples\n", "    *more_examples,\n", "the document leaves the other examples out")
PYTHON = (
    Block(
        "01-miprov2",
        "Usage",
        frozenset({"more_examples", "similarity_score", "valset"}),
        (
            MORE,
            ("from dspy.teleprompt import MIPROv2", "from skill_fleet.optimization import MIPROv2", OURS),
        ),
    ),
    Block("02-training-set", "Training Set Format", frozenset({"dspy", "more_examples"}), (MORE,)),
    Block(
        "03-gepa",
        "Usage",
        frozenset({"metric_fn", "program", "teacher_lm", "trainset", "valset"}),
        (
            (
                "from dspy.teleprompt import BootstrapFewShotWithRandomSearch",
                "from skill_fleet.optimization import BootstrapFewShotWithRandomSearch",
                OURS,
            ),
            ("from dspy.evaluate import Evaluate", "from skill_fleet.optimization import Evaluate", OURS),
        ),
    ),
    Block(
        "04-cache-configuration",
        "Cache Configuration",
        frozenset({"cache_dir"}),
        (('"/var/cache/dspy"', "cache_dir", "a directory of the test's own"),),
    ),
    Block("05-cache-invalidation", "Cache Invalidation", frozenset({"os"})),
    Block(
        "06-best-of-n",
        "Usage",
        frozenset({"BestOfN", "GenerateSkillContent", "instructions", "metadata", "plan", "score_quality"}),
        (("dspy.BestOfN(", "BestOfN(", OURS),),
    ),
    Block("07-reward-function", "Reward Function Design"),
    Block("08-parallel", "Parallel Optimization", frozenset({"MIPROv2", "metric_fn"})),
    Block(
        "09-cost",
        "Cost Estimation",
        frozenset({"avg_tokens_per_trial", "model_cost_per_1k_tokens", "num_examples", "num_trials"}),
    ),
    Block("10-logging", "Logging", frozenset({"best_instructions", "round_num", "score"})),
)
BY_NAME = {block.name: block for block in PYTHON}


def printed() -> list[tuple[str, str]]:
    """Heading and text of every Python block of the document, in its order."""
    found, heading, lines = [], "", None
    for line in DOCUMENT.read_text(encoding="utf-8").split("\n"):
        if lines is not None:
            if line == "```":
                found.append((heading, "\n".join(lines) + "\n"))
                lines = None
            else:
                lines.append(line)
        elif line == "```python":
            lines = []
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    return found


def adapted(block: Block, text: str) -> str:
    """The text with the block's changes."""
    for old, new, _ in block.changes:
        assert text.count(old) == 1, f"{block.name}: {old!r} stands there {text.count(old)} times"
        text = text.replace(old, new)
    return text


def text_of(name: str) -> str:
    """What is run: the document's own block where the document is there, else the copy."""
    if not DOCUMENT.exists():
        return (COPIES / f"{name}.py.txt").read_text(encoding="utf-8")
    block = BY_NAME[name]
    return adapted(block, printed()[PYTHON.index(block)][1])


def run(name: str, **given) -> dict:
    """Run a block with the names it does not define; returns the names it leaves."""
    assert set(given) == BY_NAME[name].given
    names = {"__name__": f"seed_{name[:2]}", **given}
    exec(compile(text_of(name), f"{name}.py", "exec"), names)  # noqa: S102 - to run it is the test
    return names


def undefined(text: str) -> set[str]:
    """The names that a text uses and does not bind anywhere."""
    used, bound = set(), set(dir(builtins))
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
    return used - bound


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A fresh workspace as the current directory, nothing configured, nothing cached."""
    root = tmp_path / "workspace"
    root.mkdir()
    monkeypatch.chdir(root)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("DSPY_CACHEDIR", "set by a block, put back by the fixture")
    monkeypatch.delenv("DSPY_CACHEDIR")
    for name in [name for name in os.environ if name.startswith("SKILL_FLEET_")]:
        monkeypatch.delenv(name)
    before = dspy.settings.lm
    yield root
    dspy.configure(lm=before)


@pytest.fixture
def lines():
    """What the logger `dspy` says, as (level, text)."""
    said = []

    class Listener(logging.Handler):
        def emit(self, record):
            said.append((record.levelno, record.getMessage()))

    listener = Listener()
    logging.getLogger("dspy").addHandler(listener)
    yield said
    logging.getLogger("dspy").removeHandler(listener)


@pytest.fixture
def items():
    """Items of the shipped training set, one a group."""
    first = {}
    for item in json.loads(TRAINSET.read_text(encoding="utf-8")):
        first.setdefault(item["group"], item)
    return [first[group] for group in sorted(first)]


def similarity_score(gold, pred):
    """How much of what is expected was planned; the document's own example only says that it wants a text."""
    wanted = gold.get("expected_sections") or ["Overview", "Examples"]
    return sum(title in pred.sections for title in wanted) / len(wanted)


def metric_fn(gold, pred, trace=None):
    return similarity_score(gold, pred)


def score_quality(prediction):
    return int(hashlib.sha256(prediction.skill_content.encode()).hexdigest()[:6], 16) / 0xFFFFFF


def attempts(root):
    """The lines of the ledger."""
    with sqlite3.connect(root / ".skill-fleet" / "ledger.sqlite") as ledger:
        found = ledger.execute("select attempt, key, state from attempt order by id").fetchall()
    ledger.close()
    return found


METADATA = {
    "skill_metadata": json.dumps(
        {
            "name": "python-async-await",
            "description": "Writes asyncio code. Use when someone asks for async functions in Python.",
            "taxonomy_path": "technical_skills/programming/python/async",
        }
    ),
    "content_plan": "Overview\nSyntax\nExamples",
    "generation_instructions": "Task: Create a Python async skill\nSpeak about: asyncio, await, event loop",
}


# The document and what is run of it


def test_the_copies_are_the_document_with_the_listed_changes():
    if not DOCUMENT.exists():
        pytest.skip("shared corpus absent")
    found = printed()
    assert [heading for heading, _ in found] == [block.heading for block in PYTHON]
    for block, (_, text) in zip(PYTHON, found, strict=True):
        copy = (COPIES / f"{block.name}.py.txt").read_text(encoding="utf-8")
        assert copy == adapted(block, text), block.name


def test_there_is_a_copy_of_every_block_and_nothing_else():
    names = sorted(file.name.removesuffix(".py.txt") for file in COPIES.glob("*.py.txt"))
    assert names == [block.name for block in PYTHON]


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_only_names_that_the_block_does_not_define_are_given(block):
    assert undefined(text_of(block.name)) == block.given


def test_our_classes_stand_in_for_dspys_by_name_alone():
    changes = [change for block in PYTHON for change in block.changes]
    assert {why for _, _, why in changes} == {OURS, MORE[2], "a directory of the test's own"}
    for old, new, why in changes:
        if why is OURS:
            home = re.sub(r"from dspy\.\w+", "from skill_fleet.optimization", old)
            assert new == home.replace("dspy.", "")


# Its Python


def test_miprov2_optimizes_and_what_it_saves_loads(place, items, lines):
    names = run(
        "01-miprov2",
        more_examples=items[:5],
        valset=items[20:23],
        similarity_score=similarity_score,
    )
    saved = place / "optimized_program.json"
    json.loads(saved.read_text())
    optimized = names["optimized_program"]
    plain = SkillCreationProgram()
    plain.load(str(saved))
    assert clean_state(plain) == clean_state(optimized) == clean_state(load_artifact(saved).program)
    assert clean_state(names["program"]) == clean_state(SkillCreationProgram())
    assert clean_state(optimized) != clean_state(SkillCreationProgram())
    assert {state for _, _, state in attempts(place)} == {"settled"}
    rounds = [line for level, line in lines if level == logging.INFO and line.startswith("Round ")]
    assert 1 <= len(rounds) <= 2
    assert all(re.fullmatch(rf"Round {n}: score=[01]\.\d{{3}}", line) for n, line in enumerate(rounds, 1))
    best = [line for level, line in lines if level == logging.INFO and line.startswith("Best instructions: ")]
    assert len(best) == len(rounds)
    instructions = ast.literal_eval(best[-1].removeprefix("Best instructions: "))
    assert instructions == {name: p.signature.instructions for name, p in optimized.named_predictors()}


def test_the_training_set_gives_inputs_and_no_labels_whatever_it_names(place):
    more = [
        dspy.Example(
            task_description=f"Create a skill about {topic}",
            expected_skill_metadata="SECRET metadata",
            expected_content_outline="SECRET outline",
        ).with_inputs("expected_skill_metadata", "expected_content_outline")
        for topic in ("decorators", "generators", "type hints")
    ]
    trainset = run("02-training-set", dspy=dspy, more_examples=more)["trainset"]
    assert all(
        example._input_keys == {"expected_skill_metadata", "expected_content_outline"} for example in trainset
    )
    for example in coerce_examples(trainset, SKILL_INPUTS):
        assert set(example.inputs()) == set(SKILL_INPUTS)
    lm = configure_dspy()
    asked = []

    class Ear(dspy.utils.callback.BaseCallback):
        def on_lm_start(self, call_id, instance, inputs):
            asked.append(str(inputs))

    with dspy.context(callbacks=[Ear()]):
        optimizer = BootstrapFewShotWithRandomSearch(lambda gold, pred: len(pred.sections) / 20, num_trials=1)
        optimizer.compile(SkillCreationProgram(), trainset=trainset, valset=trainset)
    assert any("Create a Python decorators skill" in text for text in asked)
    assert any("user_1" in text for text in asked)
    assert not any("SECRET" in text for text in asked)
    assert isinstance(lm, FleetLM)


def test_random_search_optimizes_and_the_score_prints(place, items, capsys):
    lm = configure_dspy()
    program = SkillCreationProgram()
    names = run(
        "03-gepa",
        metric_fn=metric_fn,
        teacher_lm=lm,
        program=program,
        trainset=items[:4],
        valset=items[20:23],
    )
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith("Optimized score:")]
    assert re.fullmatch(r"Optimized score: \d+(\.\d+)?", line)
    assert 0 < names["score"] <= 100
    assert names["score"] >= names["evaluate"](program)


def test_the_cache_directory_is_used_and_can_be_deleted(place, tmp_path):
    cache = tmp_path / "var" / "cache" / "dspy"
    lm = run("04-cache-configuration", cache_dir=str(cache))["lm"]
    assert dspy.settings.lm is lm
    first = lm("Say something about asyncio.")
    assert lm("Say something about asyncio.") == first
    assert lm("Say something else about asyncio.") != first
    assert (cache / "responses.sqlite").exists()
    assert not (place / ".skill-fleet" / "cache").exists()
    before = attempts(place)
    assert [state for _, _, state in before] == ["settled", "settled"]

    run("05-cache-invalidation", os=os)

    assert not cache.exists()
    assert attempts(place) == before


def test_without_a_cache_directory_nothing_but_the_named_one_would_be_deleted(place):
    (place / ".dspy_cache").mkdir()
    configure_dspy()("Say something.")
    run("05-cache-invalidation", os=os)
    assert not (place / ".dspy_cache").exists()
    assert (place / ".skill-fleet" / "cache" / "responses.sqlite").exists()


def test_best_of_n_returns_the_candidate_of_highest_reward(place):
    configure_dspy()
    rewards = {}

    def noted(prediction):
        reward = score_quality(prediction)
        rewards[prediction.skill_content] = reward
        return reward

    names = run(
        "06-best-of-n",
        BestOfN=BestOfN,
        GenerateSkillContent=GenerateSkillContent,
        score_quality=noted,
        metadata=METADATA["skill_metadata"],
        plan=METADATA["content_plan"],
        instructions=METADATA["generation_instructions"],
    )
    assert len(attempts(place)) == 3
    assert len(rewards) >= 2
    assert names["result"].skill_content == max(rewards, key=rewards.get)


def test_the_reward_function_is_one_for_best_of_n(place):
    configure_dspy()
    reward = run("07-reward-function")["reward_fn"]
    whole = "---\nname: x\n---\n\n## Overview\n\n## Examples\n\n" + "```\ncode\n```\n\n" * 2 + "text " * 120
    assert reward(dspy.Prediction(skill_content=whole)) == pytest.approx(1.0)
    assert reward(dspy.Prediction(skill_content="")) == 0.0
    seen = []

    def noted(prediction, trace=None):
        seen.append(reward(prediction, trace))
        return seen[-1]

    best = BestOfN(dspy.ChainOfThought(GenerateSkillContent), n=3, reward_fn=noted)(**METADATA)
    assert len(seen) == 3
    assert reward(best) == max(seen) > 0


def test_the_parallel_optimizer_optimizes_in_parallel(place, lines):
    def by_hash(gold, pred, trace=None):
        return int(hashlib.sha256(pred.skill_content.encode()).hexdigest()[:4], 16) / 0xFFFF

    optimizer = run("08-parallel", MIPROv2=MIPROv2, metric_fn=by_hash)["optimizer"]
    examples = [
        {**METADATA, "content_plan": f"Overview\n{title}"} for title in ("Syntax", "Examples", "Limits")
    ]
    program = dspy.Predict(GenerateSkillContent)
    best = optimizer.compile(program, trainset=examples[:2], valset=examples)
    alone = MIPROv2(metric=by_hash, num_threads=1, num_trials=20).compile(
        program, trainset=examples[:2], valset=examples
    )
    assert clean_state(best) == clean_state(alone)
    assert clean_state(best) != clean_state(program)


def test_the_cost_formula_gives_a_dollar():
    numbers = {
        "num_examples": 50,
        "num_trials": 10,
        "avg_tokens_per_trial": 2000,
        "model_cost_per_1k_tokens": 0.001,
    }
    assert run("09-cost", **numbers)["cost"] == pytest.approx(1.00)
    assert estimate_cost(**numbers) == pytest.approx(1.00)


def test_the_log_lines_are_those_of_a_run(lines):
    run("10-logging", round_num=2, score=0.81234, best_instructions={"write": "Write."})
    assert lines == [
        (logging.INFO, "Round 2: score=0.812"),
        (logging.INFO, "Best instructions: {'write': 'Write.'}"),
    ]


# Its tables and its training set


def test_the_table_of_parameters_is_the_signature():
    if not DOCUMENT.exists():
        pytest.skip("shared corpus absent")
    table = (
        DOCUMENT.read_text(encoding="utf-8").partition("### Configuration Parameters")[2].partition("###")[0]
    )
    rows = re.findall(r"^\| `(\w+)` +\| (\S+) ", table, re.MULTILINE)
    assert len(rows) == 7
    parameters = inspect.signature(MIPROv2).parameters
    for name, default in rows:
        printed_default = (
            inspect.Parameter.empty if default == "Required" else ast.literal_eval(default.strip("`"))
        )
        assert parameters[name].default == printed_default, name


def test_the_json_training_set_is_read(tmp_path):
    if not DOCUMENT.exists():
        pytest.skip("shared corpus absent")
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (text,) = [block for block in blocks if '"expected"' in block]
    for old, new in (("{...}", '{"technical_skills": {}}'), ("[...]", '["technical_skills/programming"]')):
        assert text.count(old) == 1
        text = text.replace(old, new)
    file = tmp_path / "trainset.json"
    file.write_text(text)
    (item,) = load_trainset(file).items
    assert item.expected == {
        "taxonomy_path": "technical_skills/programming/python/async",
        "name": "python-async-await",
        "sections": ["Overview", "Syntax", "Examples"],
    }
    assert item.fields["task_description"] == "Create a Python async/await skill"
    assert item.fields["user_context"] == {"user_id": "user_1"}
    assert item.group == "technical_skills/programming/python"
