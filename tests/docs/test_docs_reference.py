"""The reference says what the program says: commands, settings, fields, errors, floors."""

import dataclasses
import importlib
import inspect
import json
import re
import tomllib
from pathlib import Path

import pytest
from docs_pages import PAGES, README, ROOT, blocks_of, prose_of
from docs_tables import MADE, commands, made
from pydantic import BaseModel

REFERENCE = ROOT / "docs" / "reference"
KEY = re.compile(r"^\| `([^`|]+)` \|", re.MULTILINE)


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def section(page: str, title: str) -> str:
    """What stands under a heading of level 2, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text(page), re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section '{title}'"
    return found[1]


def rows(part: str) -> list[list[str]]:
    """The cells of a section's table rows, code marks taken off."""
    lines = [line for line in part.splitlines() if line.startswith("| ")]
    cells = [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("- ")][1:]


def unchanged(page: Path, name: str, shown: str) -> None:
    anew = f"python tests/docs/docs_tables.py {page.relative_to(ROOT)}"
    assert shown == made(name), f"The table '{name}' is not what the program says; make it anew: {anew}"


@pytest.mark.parametrize("page", ["cli.md", "optimizers.md", "exit-codes-and-errors.md", "providers.md"])
def test_tables_made_of_the_program_are_as_it_makes_them(page):
    path = REFERENCE / page
    tables = list(MADE.finditer(path.read_text()))
    assert tables
    for table in tables:
        unchanged(path, table["name"], table["text"])


def test_every_command_has_a_section_and_every_section_is_a_command():
    titles = re.findall(r"^## (.+)$", text("reference/cli.md"), re.MULTILINE)
    assert sorted(titles) == sorted(commands())


def test_every_command_has_its_table_where_it_belongs():
    for words in commands():
        tables = [found["name"] for found in MADE.finditer(section("reference/cli.md", words))]
        assert tables == ([] if words in {"estimate", "recommend"} else [f"command {words}"])
    optimize, estimate, recommend = (
        made(f"command {w}").splitlines() for w in ("optimize", "estimate", "recommend")
    )
    assert set(recommend) < set(estimate) < set(optimize), (
        "they take the options of optimize but those that say nothing"
    )


def test_the_table_of_a_command_is_its_help():
    for words, command in commands().items():
        shown = "".join(command.get_help(command.make_context(words, [], resilient_parsing=True)).split())
        for names, meaning in rows(made(f"command {words}")):
            assert "".join(names.replace("\\|", "|").split()) in shown
            assert "".join(meaning.replace("\\|", "|").split()) in shown


def without_other_programs(shown: str) -> tuple[str, str]:
    """A page without the command lines of other programs, and these.

    Another program's are code that begins with the name of a program that can be a model, and what an entry's
    `command: [...]` or `--command '...'` gives: a program of the reader's own.
    """
    from skill_fleet.llm.commands.known import KNOWN_COMMANDS

    known = re.compile(rf"`(?:{'|'.join(KNOWN_COMMANDS)}) [^`\n]*`")
    readers_own = re.compile(r"(?<=\bcommand: )\[[^\]\n]*\]|(?<=--command )'[^'\n]*'")
    return readers_own.sub("", known.sub("", shown)), " ".join(known.findall(shown))


def options_in(shown: str) -> set[str]:
    return set(re.findall(r"(?<![\w<-])--[a-z][a-z-]+(?![\w*])", shown))


def test_every_option_that_is_mentioned_exists():
    from skill_fleet.llm.commands.known import KNOWN_COMMANDS

    params = [param for command in commands().values() for param in command.params]
    known = {name for param in params for name in (*param.opts, *param.secondary_opts)}
    known |= {"--workspace", "--version", "--help"}
    others = {"--group", "--frozen", "--check"}  # of uv, pip, ruff
    for benchmark in (ROOT / "benchmarks").glob("*.py"):
        others |= set(re.findall(r"add_argument\(\s*\"(--[a-z-]+)\"", benchmark.read_text()))
    theirs = {word for one in KNOWN_COMMANDS.values() for word in (*one.arguments, *one.note.split())}
    for page in (README, *PAGES, ROOT / "CHANGELOG.md"):
        ours, foreign = without_other_programs(page.read_text())
        options = options_in(ours)
        assert options <= known | others, (page.name, sorted(options - known - others))
        assert options_in(foreign) <= theirs, (page.name, sorted(options_in(foreign) - theirs))


def test_options_of_other_programs_are_told_from_ours():
    page = """
`claude -p --bare` and `skill-fleet models add mine --command 'mine --loud' --quiet`, `--lonely`
`my-claude --not-known`
```yaml
    command: [mine, --list]
```
```bash
skill-fleet optimize --shell
claude --in-a-script
```
"""
    ours, foreign = without_other_programs(page)
    kept = {"--command", "--quiet", "--lonely", "--not-known", "--shell", "--in-a-script"}
    assert options_in(ours) == kept, "what could be ours is looked at"
    assert options_in(foreign) == {"--bare"}


def test_every_command_that_is_mentioned_exists():
    known = set(commands()) | {words.partition(" ")[0] for words in commands()}
    for page in (README, *PAGES, ROOT / "CHANGELOG.md"):
        for words in re.findall(r"(?:`|run )skill-fleet ((?:[a-z][a-z-]*)(?: [a-z]+)?)", page.read_text()):
            assert words in known or words.partition(" ")[0] in known, (page.name, words)


def settings_of(model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Every key of a settings model with its default."""
    from skill_fleet.config.settings import ModelSpec

    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        kind, key = field.annotation, f"{prefix}{name}"
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            found |= settings_of(kind, f"{key}.")
        elif name == "registry":
            found |= settings_of(ModelSpec, f"{key}.<name>.")
        else:
            found[key] = field.get_default(call_default_factory=True)
    return found


def test_every_setting_is_in_the_reference_with_its_default(tmp_path):
    from skill_fleet.config.load import load
    from skill_fleet.config.settings import Settings

    names = ["models", "phases", "calls", "optimization", "budget", "evaluation", "server"]
    shown = {row[0]: row[1] for name in names for row in rows(section("reference/configuration.md", name))}
    expected = settings_of(Settings)
    assert shown.keys() == expected.keys()
    shipped = load(tmp_path, environ={"XDG_CONFIG_HOME": str(tmp_path)}).settings.model_dump()
    for key, default in shown.items():
        value = expected[key]
        if "<name>" not in key:
            value = shipped
            for part in key.split("."):
                value = value[part]
        required = key == "models.registry.<name>.model"
        assert default == ("" if required else json.dumps(value)), key


def test_every_field_of_a_result_is_in_the_reference():
    from skill_fleet.optimization.records.result import RunResult

    result = RunResult("run", "program", "gepa", "offline", simulated=True, seed=0, examples={})
    table = text("reference/result.md").partition("## Warnings")[0]
    assert {row[0] for row in rows(table)} == set(result.to_json())


def test_every_warning_of_a_run_is_in_the_reference():
    source = "".join(path.read_text() for path in (ROOT / "src/skill_fleet/optimization").rglob("*.py"))
    given = set(re.findall(r"(?:\.warn\(|yield) ?\(?\s*\"(\w+)\",", source))
    assert given
    assert {row[0] for row in rows(section("reference/result.md", "Warnings"))} == given


def test_the_files_of_a_run_are_in_the_reference(tmp_path):
    from skill_fleet.optimization.records.runs import JOB_MARK, RunFolder

    folder = RunFolder(tmp_path)
    kinds = {name for name, value in vars(RunFolder).items() if isinstance(value, property)}
    files = {getattr(folder, name).name for name in kinds - {"run_id", "is_job"}} | {JOB_MARK}
    assert {row[0] for row in rows(section("reference/files.md", "Run folder"))} == files


def test_the_manifest_is_in_the_reference():
    from skill_fleet.core.programs.artifact import Manifest

    fields = {field.name for field in dataclasses.fields(Manifest)}
    assert {row[0] for row in rows(section("reference/files.md", "Manifest"))} == fields


def test_the_places_of_a_workspace_are_in_the_reference(tmp_path):
    from skill_fleet.config.paths import Workspace

    place = Workspace.at(tmp_path, {})
    own = tmp_path / "config/training/trainset.json"
    own.parent.mkdir(parents=True)
    own.write_text("[]")
    named = (place.config_file, place.trainset, place.optimized, place.skills, place.state, place.ledger)
    expected = {place.relative(path) for path in (*named, place.responses, place.runs, place.service)}
    shown = {row[0].rstrip("/") for row in rows(section("reference/files.md", "Workspace"))}
    assert shown == expected | {".skill-fleet/drafts", ".skill-fleet/creations"}


def test_the_training_set_that_is_shown_can_be_read():
    from skill_fleet.domain.lint import lint_trainset
    from skill_fleet.domain.trainset import trainset_of

    block = next(block for block in blocks_of(text("reference/files.md")) if block.language == "json")
    trainset = trainset_of(json.loads(block.text))
    assert trainset.is_skill_data
    assert [found for found in lint_trainset(trainset) if found.severity == "error"] == []


def test_exit_codes_are_those_of_the_errors():
    shown = {int(row[0]) for row in rows(text("reference/exit-codes-and-errors.md").partition("## ")[0])}
    codes = {int(row[1]) for row in rows(made("errors"))}
    assert shown == codes | {0}


def test_every_optimizer_has_a_section():
    from skill_fleet.optimization.registry import builtin_optimizers

    names = {found["name"] for found in MADE.finditer(text("reference/optimizers.md"))}
    assert names == {f"optimizer {name}" for name in builtin_optimizers()}


@pytest.mark.parametrize("name", ["MIPROv2", "GEPA", "BootstrapFewShotWithRandomSearch"])
def test_the_arguments_of_the_optimizer_classes_have_the_defaults_shown(name):
    import skill_fleet.optimization as public

    heads = [
        line
        for line in section(
            "reference/python.md", "MIPROv2, GEPA, BootstrapFewShotWithRandomSearch"
        ).splitlines()
        if line.startswith("| argument")
    ]
    column = [cell.strip() for cell in heads[0].split("|")[1:-1]].index(name)
    table = rows(section("reference/python.md", "MIPROv2, GEPA, BootstrapFewShotWithRandomSearch"))
    kind = getattr(public, name)
    defaults: dict[str, object] = {}
    for base in reversed(kind.__mro__):
        if "__init__" in vars(base) and base is not object:
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            defaults |= {one.name: one.default for one in parameters if one.default is not one.empty}
    assert {row[0]: row[column] for row in table} == {key: str(value) for key, value in defaults.items()}


def test_every_name_of_the_package_that_is_mentioned_exists():
    for page in (README, *PAGES, ROOT / "CONTRIBUTING.md"):
        for name in set(re.findall(r"`(skill_fleet(?:\.\w+)+)`", page.read_text())):
            module, _, attribute = name.rpartition(".")
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                assert hasattr(importlib.import_module(module), attribute), (page.name, name)


def test_the_floors_are_those_that_are_enforced():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "floors")
    shown = [row[0].replace("`", "") for row in rows(section("explanation/architecture.md", "Floors"))]
    assert shown == [layer.replace(" | ", ", ") for layer in layers]


def test_every_module_that_the_architecture_names_is_there():
    page = prose_of(text("explanation/architecture.md"))
    for file in re.findall(r"`([a-z_]+/[\w/]+\.py)`", page):
        assert (ROOT / "src/skill_fleet" / file).is_file() or (ROOT / file).is_file(), file


def test_no_page_holds_a_place_of_somebodys_machine():
    for page in (README, *PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
        found = re.search(r"(?<![\w.])/(?:home|root|Users|work|tmp|var)/\S*", page.read_text())
        assert found is None, (page.name, found and found[0])
