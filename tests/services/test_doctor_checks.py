"""What the doctor looks at on this machine: versions, limits, caps, disk, journal, leftovers."""

import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.services.context import open_context
from skill_fleet.services.doctor import examination, examine
from skill_fleet.services.doctor.disk import filesystem, locked_twice, locking_trouble
from skill_fleet.services.doctor.journal import journal
from skill_fleet.services.doctor.versions import fits, numbers, unfit, versions


@pytest.fixture
def checks(workspace, monkeypatch):
    """All checks of a workspace with a configuration, nobody asked."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "xdg"))

    def look(text="", *names):
        (workspace / "config" / "config.yaml").write_text(text)
        return [one for one in examine(workspace, offline=True) if not names or one.name in names]

    return look


def model(entry, more=""):
    entry = f"model: ollama_chat/m, max_tokens: 1000, {entry}".rstrip(", ")
    return f"models: {{default: it, registry: {{it: {{{entry}}}}}}}\n{more}"


def test_a_sound_workspace_has_nothing_wrong(checks):
    found = checks(model("in_flight: 8"))
    assert [one for one in found if one.status != "ok"] == []
    assert {"versions", "configuration", "model", "state", "cache", "training set"} <= {
        one.name for one in found
    }


@pytest.mark.parametrize(
    ("entry", "more", "said"),
    [
        ("in_flight: 1", "", "8 threads, but 1 at once"),
        ("in_flight: 8", "optimization: {num_threads: 9}", "9 threads, but 8 at once"),
        ("rpm: 3", "", "3 requests a minute for 8 threads: each waits about 160 s"),
        ("tpm: 999", "", "one answer may take 1000 tokens, and a minute has 999"),
        ("timeout: 2", "", "a timeout of 2 s is short"),
        ("timeout: 5.5, max_tokens: 2000", "", "2000 tokens rarely come within"),
        ("timeout: 90", "calls: {outage_seconds: 60}", "outlasts calls.outage_seconds, 60"),
    ],
)
def test_limits_that_do_not_go_together(checks, entry, more, said):
    text = model(entry.replace(", max_tokens: 2000", ""), more)
    if "max_tokens: 2000" in entry:
        text = text.replace("max_tokens: 1000", "max_tokens: 2000")
    (check,) = checks(text, "limits")
    assert check.status == "warning"
    assert said in check.message
    assert check.hint


@pytest.mark.parametrize("entry", ["in_flight: 8", "rpm: 8", "tpm: 1000", "timeout: 5", ""])
def test_limits_at_the_edge_are_fine(checks, entry):
    assert checks(model(entry), "limits") == []


def test_what_a_cap_on_cost_needs(checks):
    text = "models: {default: it, registry: {it: {model: ollama_chat/m}}}\n"
    assert [(one.status, "no longest length" in one.message) for one in checks(text, "model")] == [
        ("ok", False),
        ("warning", True),
    ]
    found = checks(f"{text}budget: {{max_cost: 5}}\n", "model")
    assert [one.status for one in found] == ["ok", "error", "error"]
    assert "its price is unknown" in found[2].message
    assert found[2].hint == "Set models.registry.it.price."
    priced = text.replace("}}}", ", max_tokens: 9, price: {input_per_million: 0, output_per_million: 0}}}}")
    assert [one.status for one in checks(f"{priced}budget: {{max_cost: 5}}\n", "model")] == ["ok"]


def test_programs_of_commands(checks, tmp_path, monkeypatch):
    program = tmp_path / "answerer"
    text = "models: {default: it, registry: {it: {model: command/mine, command: [answerer], in_flight: 8}}}\n"
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = checks(text, "model")
    assert (check.status, "answerer" in check.message) == ("error", True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (check,) = checks(text, "model")
    assert (check.status, str(program) in check.message) == ("ok", True)
    (wrong,) = (one for one in checks(f"{text}budget: {{max_cost: 1}}\n", "model") if one.status != "ok")
    assert "cannot hold for a command" in wrong.message


def test_a_simulated_provider_is_said_to_be_one(checks):
    text = (
        "models: {default: it, registry: {it: {model: openai/offline/rules-v1, api_base: 'http://h/v1'}}}\n"
    )
    check, _ = checks(text, "model")
    assert check.message == "it: openai/offline/rules-v1 at http://h/v1, which is simulated."


def test_an_address_that_is_none(checks):
    text = model("api_base: 'localhost:8000'")
    (check,) = checks(text, "model")
    assert (check.status, "not the address of a web server" in check.message) == ("error", True)


def test_a_model_without_a_route_is_one_error(checks):
    text = "models: {default: it, registry: {it: {model: mistral/large}}}\nbudget: {max_cost: 5}\n"
    (check,) = checks(text, "model")
    assert (check.status, "There is no route to mistral/large" in check.message) == ("error", True)


def test_proxies_are_named_without_their_password(checks, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://user:hunter2@proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("HTTP_PROXY", "proxy.example:3128")
    found = checks("", "proxy")
    assert [one.status for one in found] == ["ok", "warning"]
    assert found[0].message == (
        "HTTPS_PROXY: providers are reached through proxy.example:3128, but for localhost."
    )
    assert "hunter2" not in str(found)


def test_a_damaged_ledger(checks, workspace):
    state = workspace / ".skill-fleet"
    state.mkdir()
    (state / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    (check,) = checks("", "ledger")
    assert check.status == "error"
    assert "damaged" in check.message


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "a b", "ä;&=b"])
def test_a_sound_ledger_is_sound_wherever_it_is_and_nothing_is_made_beside_it(
    tmp_path, monkeypatch, clock, name
):
    workspace = tmp_path / name
    state = workspace / ".skill-fleet"
    state.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    with closing(sqlite3.connect(state / "ledger.sqlite")) as db:
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", ((n,) for n in range(10_000)))
        db.commit()
    before = sorted(tmp_path.rglob("*"))
    (check,) = journal(open_context(workspace, clock=clock))
    assert (check.status, check.message) == ("ok", f"{state / 'ledger.sqlite'}: sound, 0.1 MB.")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_damaged_ledger_is_kept_and_a_locked_one_is_left_where_it_is(checks, workspace):
    state = workspace / ".skill-fleet"
    state.mkdir()
    ledger = state / "ledger.sqlite"
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("create table t (x)")
        db.execute("begin exclusive")
        (check,) = checks("", "ledger")
        assert check.status == "warning"
        assert "cannot be looked at: database is locked" in check.message
        assert "is damaged" not in check.message
        assert "aside" not in check.hint
        db.execute("rollback")
    assert [one.status for one in checks("", "ledger")] == ["ok"]
    ledger.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    (check,) = checks("", "ledger")
    assert (check.status, "is damaged" in check.message) == ("error", True)
    assert "Keep it: what was paid stands in it." in check.hint


def test_damage_that_only_a_whole_look_finds(checks, workspace):
    state = workspace / ".skill-fleet"
    state.mkdir()
    ledger = state / "ledger.sqlite"
    with closing(sqlite3.connect(ledger)) as db:
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", (("x" * 400,) for _ in range(200)))
        db.commit()
    torn = bytearray(ledger.read_bytes())
    torn[3 * 4096 : 5 * 4096] = b"\xff" * 8192
    ledger.write_bytes(torn)
    (check,) = checks("", "ledger")
    assert (check.status, "is damaged" in check.message) == ("error", True)


@contextmanager
def kept_out(folder):
    """A folder of another user's: for root, who may look everywhere, by being nobody meanwhile."""
    folder.chmod(0)
    root = os.geteuid() == 0
    try:
        if root:
            os.seteuid(65534)
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_state_folder_of_somebody_else_is_told_and_nothing_breaks(checks, workspace, monkeypatch):
    for parent in workspace.parents:
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)
    monkeypatch.delenv("DSPY_CACHEDIR", raising=False)
    state = workspace / ".skill-fleet"
    state.mkdir()
    (state / "ledger.sqlite").write_bytes(b"")
    checks("")  # what is imported on the way is there
    with kept_out(state):
        found = {one.name: one for one in examine(workspace, offline=True)}
    assert found["ledger"].message == f"{state}/ledger.sqlite cannot be looked at: Permission denied."
    assert found["state"].status == "error"
    assert found["state"].message == f"{state} cannot be written: {state} is not writable."
    assert "cannot be written" in found["cache"].message
    assert {one.status for name, one in found.items() if name in {"state", "cache", "ledger"}} == {"error"}
    assert not any("Unexpected" in one.message for one in found.values())


@pytest.mark.parametrize("whose", ["the user's", "the workspace's"])
def test_a_configuration_that_may_not_be_seen_is_an_error_and_is_not_left_out(
    checks, workspace, tmp_path, monkeypatch, whose
):
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(0o711)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    checks("")
    closed = home if whose == "the user's" else workspace / "config"
    with kept_out(closed):
        found = examine(workspace, offline=True)
    (check,) = (one for one in found if one.status == "error")
    assert check.name == "configuration"
    assert check.message.startswith(f"{closed}/")
    assert check.message.endswith("config.yaml cannot be looked at: Permission denied.")
    assert "XDG_CONFIG_HOME" in check.hint


def test_a_look_that_a_file_breaks_off_is_told_and_the_others_go_on(checks, workspace, monkeypatch):
    def broken(_):
        raise PermissionError(13, "Permission denied", "/somewhere")
        yield

    monkeypatch.setattr(examination, "_HERE", (broken, *examination._HERE))
    found = checks("")
    assert [one.message for one in found if one.name == "broken"] == [
        "/somewhere cannot be looked at: Permission denied."
    ]
    assert "training set" in {one.name for one in found}


def test_a_large_ledger_is_looked_at_in_part(workspace, clock, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(workspace / "xdg"))
    state = workspace / ".skill-fleet"
    state.mkdir()
    with closing(sqlite3.connect(state / "ledger.sqlite")) as db:
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", ((n,) for n in range(60_000)))
        db.commit()
    context = open_context(workspace, clock=clock)
    (whole,) = journal(context)
    assert whole.message.endswith("sound, 0.6 MB.")

    class Hurried(type(clock)):
        def monotonic(self):
            self.time += 10
            return self.time

    (part,) = journal(open_context(workspace, clock=Hurried()))
    assert part.status == "ok"
    assert "no damage in the part that was read" in part.message


def test_files_of_killed_processes(checks, workspace):
    half = workspace / "config" / ".config.yaml.abcdefgh"
    half.write_text("x")
    assert checks("", "files") == [], "one that is being written is left alone"
    os.utime(half, (0, 0))
    (check,) = checks("", "files")
    assert check.status == "warning"
    assert str(half) in check.message


def test_sqlite_locks_here_and_leaves_nothing(tmp_path):
    assert locking_trouble(tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert "No such file" in locking_trouble(tmp_path / "nowhere")


def test_locks_that_do_not_hold_are_seen(tmp_path):
    assert locked_twice((tmp_path / "a").as_uri()) == ""
    assert "write-ahead log" in locked_twice(f"{(tmp_path / 'b').as_uri()}?nolock=1")
    assert locked_twice("file:one?mode=memory") != ""


def test_network_file_systems_are_told_by_the_nearest_mount(tmp_path, checks, monkeypatch, workspace):
    table = tmp_path / "mounts"
    table.write_text(
        "/dev/a / ext4 rw 0 0\nbad\nserver:/x /home/a\\040b nfs4 rw 0 0\n/dev/b /home/a\\040b/c xfs rw\n"
    )
    assert filesystem(Path("/home/a b/d"), table) == "nfs4"
    assert filesystem(Path("/home/a b/c/d"), table) == "xfs"
    assert filesystem(Path("/home"), table) == "ext4"
    assert filesystem(Path("/home"), tmp_path / "none") is None
    table.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {workspace} nfs rw 0 0\n")
    monkeypatch.setattr(filesystem, "__defaults__", (table,))
    found = [one for one in checks("", "state", "cache") if one.status == "warning"]
    assert len(found) == 2
    assert "network file system (nfs)" in found[0].message


def test_what_is_installed_fits():
    assert [one.status for one in versions()] == ["ok"]


@pytest.mark.parametrize(
    ("version", "bounds", "fit"),
    [
        ("3.4.1", ">=3.4.1,<3.5", True),
        ("3.5.0", ">=3.4.1,<3.5", False),
        ("3.4", ">=3.4.1", False),
        ("3.4.0", "==3.4", True),
        ("3.4.2rc1", "!=3.4.2", False),
        ("1.10", ">1.9", True),
        ("1.0", "~=3", True),
        ("1.0", "", True),
    ],
)
def test_bounds(version, bounds, fit):
    assert fits(version, bounds) is fit


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.text(max_size=6))
def test_numbers_of_any_version(parts, rest):
    text = ".".join(map(str, parts))
    found = numbers(text + rest)
    assert found[: len(parts) - 1] == tuple(parts[:-1])


def test_a_package_that_is_missing_or_unfit():
    said = [
        one.message for one in unfit(["ruamel.yaml<0.1", "no-such-package>=1", "no-such; sys_platform=='x'"])
    ]
    assert said[0].startswith("ruamel.yaml 0.")
    assert said[0].endswith("is installed, and <0.1 is needed.")
    assert said[1:] == ["no-such-package is not installed."]


@pytest.mark.parametrize("missing", ["optuna", "gepa"])
def test_a_package_of_those_named_that_is_missing_is_told(monkeypatch, missing):
    import importlib.metadata

    real = importlib.metadata.version

    def version(name):
        if name == missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    first = next(iter(versions()))
    assert (first.status, f"{missing} missing" in first.message) == ("error", True)
    assert first.hint == "Install skill-fleet anew."


def test_poisoned_releases(monkeypatch):
    import importlib.metadata

    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "1.82.7" if name == "litellm" else real(name)
    )
    found = [one for one in versions() if one.status == "error"]
    assert [one.message for one in found] == ["litellm 1.82.7 is a release that steals credentials."]


def test_a_dspy_that_the_transport_does_not_know_is_a_warning(monkeypatch):
    from skill_fleet.llm.providers import known_inside

    assert [check.status for check in versions()] == ["ok"]
    monkeypatch.setattr(known_inside, "_OPEN", ("self", "something", "else"))
    (warning,) = [check for check in versions() if check.status == "warning"]
    assert "dspy.LM" in warning.message
    assert warning.hint
