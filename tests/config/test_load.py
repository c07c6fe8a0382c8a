"""Settings put together: what goes before what, where each value came from, and what is wrong with one."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from skill_fleet.config.load import Loaded, load, model_spec
from skill_fleet.config.settings import ModelSpec, Settings
from skill_fleet.foundation.errors import ConfigError, NotFound, UnknownName

Loader = Callable[..., Loaded]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def read(workspace: Path, home: Path) -> Loader:
    """Loads the workspace with the given files, flags and variables."""

    def loaded(
        own: str | None = None,
        *,
        user: str | None = None,
        env: dict[str, str] | None = None,
        flags: dict[str, Any] | None = None,
        file: Path | None = None,
    ) -> Loaded:
        if own is not None:
            (workspace / "config" / "config.yaml").write_text(own, encoding="utf-8")
        if user is not None:
            (home / "skill-fleet").mkdir(parents=True, exist_ok=True)
            (home / "skill-fleet" / "config.yaml").write_text(user, encoding="utf-8")
        environ = {"XDG_CONFIG_HOME": str(home), **(env or {})}
        return load(workspace, config_file=file, flags=flags, environ=environ)

    return loaded


def refused(read: Loader, *arguments: Any, **options: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **options)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message
    return caught.value


def test_the_shipped_configuration_is_complete_and_says_what_the_types_say(read: Loader) -> None:
    loaded = read()
    assert set(loaded.origins.values()) == {"default"}
    said = loaded.settings
    bare = Settings(models=said.models)
    assert said == bare, "default.yaml and the defaults of the types are one"
    assert said.models.default == "offline"
    assert said.models.registry["offline"].simulated
    for part in ("phases", "optimization", "budget", "server"):
        for name in getattr(bare, part).__class__.model_fields:
            assert f"{part}.{name}" in loaded.origins, "every key is written out"


def test_flag_before_environment_before_workspace_before_user_before_default(
    read: Loader, workspace: Path, home: Path
) -> None:
    user = "optimization: { rounds: 3, seed: 3, num_threads: 3, trials: 3 }"
    own = "optimization: { rounds: 4, seed: 4, num_threads: 4 }"
    env = {"SKILL_FLEET_OPTIMIZATION__ROUNDS": "5", "SKILL_FLEET_OPTIMIZATION__SEED": "5"}
    loaded = read(own, user=user, env=env, flags={"optimization.rounds": 6})
    said = loaded.settings.optimization
    assert (said.rounds, said.seed, said.num_threads, said.trials, said.min_groups) == (6, 5, 4, 3, 10)
    origins = {
        key.split(".")[1]: value for key, value in loaded.origins.items() if key.startswith("optimization.")
    }
    assert origins["rounds"] == "flag"
    assert origins["seed"] == "environment SKILL_FLEET_OPTIMIZATION__SEED"
    assert origins["num_threads"] == str(workspace / "config" / "config.yaml")
    assert origins["trials"] == str(home / "skill-fleet" / "config.yaml")
    assert origins["min_groups"] == "default"


def test_every_value_has_exactly_one_origin(read: Loader) -> None:
    loaded = read("budget: { max_calls: 5 }\nmodels: { registry: { a: { model: x/y, price: null } } }")

    def leaves(value: Any, prefix: str = "") -> list[str]:
        if isinstance(value, dict):
            return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{prefix}{key}.")]
        return [prefix[:-1]]

    dumped = leaves(loaded.settings.model_dump(exclude_unset=True))
    assert sorted(loaded.origins) == sorted(dumped)


def test_a_flag_that_was_not_given_says_nothing(read: Loader) -> None:
    loaded = read("optimization: { rounds: 4 }", flags={"optimization.rounds": None})
    assert loaded.settings.optimization.rounds == 4


def test_null_takes_a_value_back(read: Loader) -> None:
    loaded = read("budget: { max_calls: null }", user="budget: { max_calls: 5, max_cost: 2 }")
    assert loaded.settings.budget.max_calls is None
    assert loaded.settings.budget.max_cost == 2.0


def test_a_heading_with_nothing_under_it_says_nothing(read: Loader) -> None:
    """As is left when every line of a section is commented out."""
    own = "models:\n  registry:\nphases:\nbudget:\n  # max_cost: 3\nevaluation:\n  weights:\n"
    loaded = read(own, user="budget: { max_calls: 5 }")
    assert loaded.settings.models.registry["offline"].simulated
    assert loaded.settings.budget.max_calls == 5


def test_a_registered_model_loses_its_price_by_null(read: Loader) -> None:
    user = (
        "models: { registry: { a: { model: x/y, price: { input_per_million: 1, output_per_million: 2 } } } }"
    )
    loaded = read("models: { registry: { a: { price: null } } }", user=user)
    assert loaded.settings.models.registry["a"] == ModelSpec(model="x/y")
    assert "models.registry.a.price.input_per_million" not in loaded.origins


def test_models_of_several_files_come_together(read: Loader) -> None:
    loaded = read(
        "models: { registry: { a: { temperature: 0.5 }, b: { model: p/b } } }",
        user="models: { registry: { a: { model: p/a, temperature: 0.1 } } }",
    )
    assert set(loaded.settings.models.registry) == {"a", "b", "offline"}
    assert loaded.settings.models.registry["a"] == ModelSpec(model="p/a", temperature=0.5)


@pytest.mark.parametrize(
    ("name", "text", "path", "value"),
    [
        ("BUDGET__MAX_CALLS", "7", "budget.max_calls", 7),
        ("BUDGET__MAX_COST", "0.5", "budget.max_cost", 0.5),
        ("BUDGET__MAX_COST", "null", "budget.max_cost", None),
        ("OPTIMIZATION__OPTIMIZER", "miprov2", "optimization.optimizer", "miprov2"),
        ("OPTIMIZATION__AUTO", "null", "optimization.auto", None),
        ("MODELS__DEFAULT", "ollama_chat/llama3:8b", "models.default", "ollama_chat/llama3:8b"),
        ("PHASES__JUDGE", "openai/gpt-4o", "phases.judge", "openai/gpt-4o"),
        ("OPTIMIZATION__ROUNDS", " 3 ", "optimization.rounds", 3),
    ],
)
def test_values_of_the_environment_are_read_as_in_a_file(
    read: Loader, name: str, text: str, path: str, value: Any
) -> None:
    loaded = read("budget: { max_cost: 9 }", env={f"SKILL_FLEET_{name}": text})
    found: Any = loaded.settings
    for part in path.split("."):
        found = getattr(found, part)
    assert found == value


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_variable_does_not_lift_a_cap(read: Loader, text: str) -> None:
    loaded = read("budget: { max_cost: 2 }", env={"SKILL_FLEET_BUDGET__MAX_COST": text})
    assert loaded.settings.budget.max_cost == 2.0


def test_a_section_in_a_variable_changes_what_it_names_and_no_more(read: Loader) -> None:
    loaded = read("budget: { max_cost: 2, max_calls: 9 }", env={"SKILL_FLEET_BUDGET": "{max_calls: 5}"})
    assert (loaded.settings.budget.max_cost, loaded.settings.budget.max_calls) == (2.0, 5)


def test_a_model_may_be_registered_by_the_environment(read: Loader) -> None:
    env = {
        "SKILL_FLEET_MODELS__REGISTRY__FAST__MODEL": "openai/gpt-4o-mini",
        "SKILL_FLEET_MODELS__REGISTRY__FAST__MAX_TOKENS": "100",
        "SKILL_FLEET_MODELS__DEFAULT": "fast",
    }
    loaded = read(env=env)
    assert model_spec(loaded.settings, None) == (
        "fast",
        ModelSpec(model="openai/gpt-4o-mini", max_tokens=100),
    )


@pytest.mark.parametrize(
    ("own", "key", "near"),
    [
        ("optimization: { rouns: 3 }", "optimization.rouns", "optimization.rounds"),
        ("budget: { currency: eur }", "budget.currency", ""),
        ("budgte: { max_cost: 3 }", "budgte", "budget"),
        (
            "evaluation: { weights: { sectoins: 1 } }",
            "evaluation.weights.sectoins",
            "evaluation.weights.sections",
        ),
        ("extra: 1", "extra", ""),
        ("1: 2", "1", ""),
    ],
)
def test_a_misspelt_key_is_never_ignored(
    read: Loader, workspace: Path, own: str, key: str, near: str
) -> None:
    error = refused(read, own)
    assert error.message == f"{key} (from {workspace / 'config' / 'config.yaml'}) is not a known key."
    assert error.hint == (f"Did you mean '{near}'?" if near else "See: skill-fleet config show.")


def test_a_misspelt_variable_is_never_ignored(read: Loader) -> None:
    error = refused(read, env={"SKILL_FLEET_BUDGET__MAX_CALL": "5"})
    assert (
        "budget.max_call (from environment SKILL_FLEET_BUDGET__MAX_CALL) is not a known key" in error.message
    )
    assert error.hint == "Did you mean 'budget.max_calls'?"
    assert "flag" in refused(read, flags={"budget.max_call": 5}).message


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ("optimization: { rounds: many }", "optimization.rounds"),
        ("optimization: { rounds: 0 }", "optimization.rounds"),
        ("optimization: { num_threads: 257 }", "optimization.num_threads"),
        ("optimization: { auto: huge }", "optimization.auto"),
        ("budget: { max_cost: -1 }", "budget.max_cost"),
        ("budget: { max_minutes: 0 }", "budget.max_minutes"),
        ("budget: 5", "budget"),
        ("phases: [a]", "phases"),
        ("evaluation: { thresholds: { target: 1.5 } }", "evaluation.thresholds.target"),
        ("models: { registry: { offline: { timeout: 120 } } }", "models.registry.offline.timeout"),
        ("models: { registry: { offline: { temperature: hot } } }", "models.registry.offline.temperature"),
        ("models: { registry: { a: { temperature: 1 } } }", "models.registry.a.model"),
        ("models: { registry: { a: { model: gpt-4o } } }", "models.registry.a.model"),
        ("models: { registry: { a: { model: openai/ } } }", "models.registry.a.model"),
        ("models: { registry: { a: { model: 'openai/a b' } } }", "models.registry.a.model"),
        ("models: { registry: { a: openai/gpt-4o } }", "models.registry.a"),
    ],
)
def test_a_wrong_value_is_told_with_key_and_place(read: Loader, workspace: Path, own: str, key: str) -> None:
    error = refused(read, own)
    assert error.message.startswith(f"{key} (from {workspace / 'config' / 'config.yaml'}) is wrong: ")
    assert "Value error" not in error.message


def test_a_model_without_a_provider_is_told_what_form_is_wanted(read: Loader) -> None:
    error = refused(read, "models: { registry: { a: { model: gpt-4o } } }")
    assert "'gpt-4o' is not of the form provider/name, for example openai/gpt-4o-mini" in error.message


def test_a_secret_in_the_file_is_not_a_known_key(read: Loader) -> None:
    """Keys come from the environment only; and what was wrongly written is not repeated."""
    error = refused(read, "models: { registry: { a: { model: x/y, api_key: sk-planted } } }")
    assert "sk-planted" not in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    ("own", "line"),
    [
        ("budget:\n  max_cost: [1\nphases: {}\n", 3),
        ("budget:\n\tmax_cost: 1\n", 2),
        ("a: 1\nb: 2\na: 3\n", 3),
        ("a: b: c\n", 1),
        ("a: &x !!python/object/apply:os.system [ls]\n", 1),
        ("a: *nothing\n", 1),
    ],
    ids=["open list", "tab", "twice", "two colons", "python tag", "unknown alias"],
)
def test_bad_yaml_is_told_with_its_line(read: Loader, workspace: Path, own: str, line: int) -> None:
    error = refused(read, own)
    assert error.message.startswith(
        f"{workspace / 'config' / 'config.yaml'} is not valid YAML: line {line}: "
    )


@pytest.mark.parametrize("own", ["- a\n- b\n", "just text\n", "3\n", "[]\n"])
def test_a_file_that_is_no_mapping_is_named(read: Loader, workspace: Path, own: str) -> None:
    assert str(workspace / "config" / "config.yaml") in refused(read, own).message


@pytest.mark.parametrize(
    "own", ["", "# only a comment\n", "---\n", "null\n", "\ufeffbudget: { max_calls: 5 }\n"]
)
def test_an_empty_file_is_no_mistake(read: Loader, own: str) -> None:
    assert read(own).settings.optimization.rounds == 2


@pytest.mark.parametrize("own", ["a: &x { b: *x }\n", "a: " + "{a: " * 200 + "1" + "}" * 200])
def test_a_file_that_winds_round_itself_is_refused(read: Loader, own: str) -> None:
    refused(read, own)


def test_a_phase_may_name_only_a_model_that_is_there(read: Loader, workspace: Path) -> None:
    error = refused(read, "phases: { judge: fats }\nmodels: { registry: { fast: { model: x/y } } }")
    assert "phases.judge" in error.message
    assert "'fats'" in error.message
    assert error.hint == "Registered: fast, offline."
    assert "models.default" in refused(read, "models: { default: fats }").message
    assert read("phases: { judge: openai/gpt-4o }").settings.phases.judge == "openai/gpt-4o"


def test_a_named_file_is_read_instead_of_the_workspaces_own(read: Loader, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("optimization: { rounds: 9 }")
    loaded = read("optimization: { rounds: 4, seed: 4 }", file=other)
    assert (loaded.settings.optimization.rounds, loaded.settings.optimization.seed) == (9, 0)
    assert loaded.origins["optimization.rounds"] == str(other)


def test_a_named_file_that_is_not_there_is_not_found(read: Loader, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"nowhere\.yaml does not exist") as caught:
        read(file=tmp_path / "nowhere.yaml")
    assert caught.value.exit_code == 3


def test_a_workspace_that_is_no_directory_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a directory"):
        load(tmp_path / "nowhere", environ={})
    with pytest.raises(ConfigError, match="is not a directory"):
        load(environ={"SKILL_FLEET_WORKSPACE": str(tmp_path / "nowhere")})


def test_the_workspace_is_an_argument_then_a_variable_then_here(
    workspace: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    env = {"XDG_CONFIG_HOME": str(home), "SKILL_FLEET_WORKSPACE": str(other)}
    assert load(workspace, environ=env).workspace.root == workspace
    assert load(environ=env).workspace.root == other
    monkeypatch.chdir(workspace)
    assert load(environ={"XDG_CONFIG_HOME": str(home)}).workspace.root == workspace


def test_the_process_environment_is_read_and_prices_stay_local(
    workspace: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    monkeypatch.setenv("SKILL_FLEET_WORKSPACE", str(workspace))
    monkeypatch.setenv("SKILL_FLEET_OPTIMIZATION__SEED", "8")
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    loaded = load()
    assert loaded.settings.optimization.seed == 8
    assert loaded.workspace.root == workspace
    assert os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] == "true"


def test_a_model_is_found_by_name_by_what_it_is_or_as_it_stands(read: Loader) -> None:
    said = read("models: { registry: { fast: { model: openai/gpt-4o-mini, max_tokens: 5 } } }").settings
    assert model_spec(said, None)[0] == "offline"
    assert model_spec(said, "fast")[0] == "fast"
    assert model_spec(said, "openai/gpt-4o-mini") == ("fast", said.models.registry["fast"])
    assert model_spec(said, "openai/other") == ("openai/other", ModelSpec(model="openai/other"))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("fats", "Did you mean 'fast'?"),
        ("Offline", "Did you mean 'offline'?"),
        ("zzz", "Known: fast, offline."),
    ],
)
def test_an_unknown_model_is_told_with_its_nearest(read: Loader, name: str, hint: str) -> None:
    said = read("models: { registry: { fast: { model: x/y } } }").settings
    with pytest.raises(UnknownName) as caught:
        model_spec(said, name)
    assert caught.value.hint == hint
    for odd in ("/", "/x", "x/"):
        with pytest.raises(UnknownName):
            model_spec(said, odd)


def test_a_later_setting_cannot_be_changed_in_place(read: Loader) -> None:
    with pytest.raises(ValueError, match="frozen"):
        read().settings.budget.max_cost = 5.0  # type: ignore[misc]


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=12)


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        WORDS, st.one_of(WORDS, st.integers(), st.none(), st.lists(WORDS, max_size=2)), max_size=3
    )
)
def test_no_file_gives_anything_but_settings_or_one_sentence(values: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "config").mkdir()
        with (root / "config" / "config.yaml").open("w", encoding="utf-8") as stream:
            YAML(typ="safe", pure=True).dump(values, stream)
        said = ""
        try:
            load(root, environ={"XDG_CONFIG_HOME": name})
        except ConfigError as error:
            said = error.message
        assert "\n" not in said


def test_the_address_of_the_database_is_read_and_never_shown(read: Loader) -> None:
    url = "postgresql://me:hunter2@db.example:5433/fleet"
    loaded = read(env={"SKILL_FLEET_DATABASE_URL": f" {url} ", "OPENAI_API_KEY": "sk-hunter2"})
    assert loaded.database == url
    assert "hunter2" not in repr(loaded)
    assert not any("hunter2" in origin for origin in loaded.origins.values())
    assert read().database is None
    assert read(env={"SKILL_FLEET_DATABASE_URL": "  "}).database is None


@pytest.mark.parametrize(
    "url", ["mysql://me:hunter2@db/x", "hunter2", "sqlite:///hunter2.db", "postgresql:hunter2"]
)
def test_another_address_is_refused_without_being_repeated(read: Loader, url: str) -> None:
    error = refused(read, env={"SKILL_FLEET_DATABASE_URL": url})
    assert "SKILL_FLEET_DATABASE_URL" in error.message
    assert "hunter2" not in error.message + error.hint


def test_variables_of_clients_and_of_the_database_are_no_settings(read: Loader) -> None:
    env = {"SKILL_FLEET_SERVER": "https://fleet.example", "SKILL_FLEET_API_KEY": "sf_a_b"}
    assert set(read(env=env).origins.values()) == {"default"}
    port = read(env={**env, "SKILL_FLEET_SERVER__PORT": "9000"})
    assert port.settings.server.port == 9000
    assert port.origins["server.port"] == "environment SKILL_FLEET_SERVER__PORT"


def test_a_database_cannot_be_named_in_a_file(read: Loader) -> None:
    assert "hunter2" not in refused(read, "database_url: postgresql://me:hunter2@db/x\n").message


@pytest.mark.parametrize(
    "own",
    [
        "server: { port: 65536 }",
        "server: { port: -1 }",
        "server: { jobs_at_once: 0 }",
        "server: { heartbeat_seconds: 0 }",
        "server: { body_seconds: -1 }",
        "server: { max_body_bytes: 1 }",
        "server: { allowed_hosts: ['*'] }",
        "server: { allowed_hosts: ['*.example'] }",
        "server: { allowed_hosts: ['abc:80'] }",
        "server: { allowed_hosts: ['http://a.example'] }",
        "server: { host: '' }",
        "server: { allowed_hosts: [''] }",
        "server: { allowed_hosts: fleet.example }",
        "server: { sse_poll_seconds: 0 }",
        "server: { keep_days: 0 }",
        "server: { silent_minutes: 4.9 }",
        "server: { workers: 3 }",
    ],
)
def test_a_server_that_makes_no_sense_is_refused(read: Loader, own: str) -> None:
    assert refused(read, own).message.startswith("server.")


def test_hosts_are_a_list(read: Loader) -> None:
    said = refused(read, "server: { allowed_hosts: fleet.example }").message
    assert "it must be a list" in said
    assert "tuple" not in said
    assert "'*' is not the name of a host" in refused(read, "server: { allowed_hosts: ['*'] }").message
    given = read("server: { allowed_hosts: ['::1', '[::1]', 10.0.0.1, a_b-c.example] }").settings.server
    assert given.allowed_hosts == ("::1", "[::1]", "10.0.0.1", "a_b-c.example")
    assert read("server: { allowed_hosts: [a.example, b.example] }").settings.server.allowed_hosts == (
        "a.example",
        "b.example",
    )


@pytest.mark.parametrize(
    ("own", "key"),
    [
        ("models: &a {registry: *a}", "models.registry"),
        ("&a {models: *a}", "models"),
        ("models: &a {registry: {x: *a}}", "models.registry.x"),
        ("optimization: {seed: &s [1], rounds: &a {x: {y: *a}}}", "optimization.rounds.x.y"),
    ],
)
def test_an_alias_of_what_it_is_in_is_told_by_its_key(read: Loader, own: str, key: str) -> None:
    error = refused(read, own)
    assert error.message.startswith(f"{key} refers to itself")


def test_an_alias_of_something_else_may_be_used_twice(read: Loader) -> None:
    own = "models: {registry: {a: &m {model: openai/x}, b: *m}}"
    registry = read(own).settings.models.registry
    assert registry["a"] == registry["b"]
