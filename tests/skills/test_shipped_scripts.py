"""The technical scripts of the gold library: on real small data, on bad input, and asked for help."""

import base64
import json
import subprocess
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "skills"
SCRIPTS = sorted(path.stem for path in LIBRARY.rglob("scripts/*.py"))

Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_says_what_the_exit_codes_mean(script: Script, name: str) -> None:
    done = script(name, "--help")
    assert done.returncode == 0
    assert "Exit codes:" in done.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_unknown_options_are_a_usage_error(script: Script, name: str) -> None:
    done = script(name, "--no-such-option")
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_every_script_is_tried_here() -> None:
    tested = {
        "ab_test", "check_changelog", "check_migration", "dedupe_records", "find_secret_copies",
        "match_invoices", "profile_csv", "rank_features", "rollout_check",
    }  # fmt: skip
    assert set(SCRIPTS) == tested


# ---------------------------------------------------------------- rollout_check


def deployment(**changes: object) -> dict:
    probe = {"httpGet": {"path": "/readyz", "port": 80}}
    container = {
        "name": "web", "image": "r.example.com/web:1.2", "ports": [{"containerPort": 80}],
        "readinessProbe": probe, "resources": {"requests": {"memory": "1Mi"}},
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
    } | changes  # fmt: skip
    spec = {"replicas": 4, "template": {"spec": {"containers": [container]}}}
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def test_rollout_check_accepts_a_sound_deployment(script: Script) -> None:
    done = script("rollout_check", "-", "--fail-on", "warning", stdin=json.dumps(deployment()))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": "r.example.com:5000/web"}, "fixed tag"),
        ({"image": "web:latest"}, "fixed tag"),
        ({"readinessProbe": None}, "readinessProbe"),
        ({"lifecycle": {"preStop": {"exec": {"command": ["sh", "-c", "sleep 30"]}}}}, "uses up"),
    ],
)
def test_rollout_check_finds_what_hurts(script: Script, changes: dict, words: str) -> None:
    both = {"kind": "List", "items": [deployment(), deployment(**changes)]}
    done = script("rollout_check", "-", stdin=json.dumps(both))
    assert done.returncode == 1
    assert words in done.stdout


def test_rollout_check_sees_an_update_that_cannot_move(script: Script) -> None:
    stuck = deployment()
    stuck["spec"]["strategy"] = {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "20%"}}
    done = script("rollout_check", "-", stdin=json.dumps(stuck))
    assert "cannot move" in done.stdout  # 20 % of 4, rounded down


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"kind": "Pod"}', '{"kind": "Deployment", "spec": 1}', '{"kind": 1}']
)
def test_rollout_check_refuses_other_input(script: Script, text: str) -> None:
    done = script("rollout_check", "-", stdin=text)
    assert done.returncode == 2
    assert done.stderr.startswith("rollout_check: ")


# ---------------------------------------------------------------- profile_csv


def test_profile_csv_reports_columns(script: Script, write: Callable) -> None:
    raw = "id;name;paid;born\r\n007;Müller;1.234,50;03/04/26\r\n008;=1+1;n/a;05/06/26\r\n".encode("cp1252")
    done = script("profile_csv", write("a.csv", raw), "--json")
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert (found["encoding"], found["delimiter"], found["rows"]) == ("cp1252", ";", 2)
    columns = {column["column"]: column for column in found["columns"]}
    assert columns["id"]["types"] == ["identifier (keep as text)"]
    assert columns["name"]["odd"] == {"spreadsheet formula": 1}
    assert columns["paid"]["types"] == ["decimal comma"]
    assert columns["paid"]["filled"] == 0.5
    assert columns["born"]["odd"] == {"day and month cannot be told apart": 2}


def test_profile_csv_finds_broken_structure(script: Script, write: Callable) -> None:
    done = script("profile_csv", write("a.csv", 'a,a,\n1,"x\ny",3\n1,2\n'))
    assert done.returncode == 1
    assert "duplicate header: a" in done.stdout
    assert "empty header at position 3" in done.stdout
    assert "line 4: 2 fields" in done.stdout


@pytest.mark.parametrize("raw", [b"", b"\xff\xfea\x00,\x00"])
def test_profile_csv_refuses_what_is_no_csv(script: Script, write: Callable, raw: bytes) -> None:
    assert script("profile_csv", write("a.csv", raw)).returncode == 2


# ---------------------------------------------------------------- check_migration

SAFE = """\
SET lock_timeout = '3s';
ALTER TABLE orders ADD COLUMN region text;
ALTER TABLE orders ADD COLUMN locked boolean NOT NULL DEFAULT false;
ALTER TABLE orders ADD CONSTRAINT region_set CHECK (region IS NOT NULL) NOT VALID;
ALTER TABLE orders VALIDATE CONSTRAINT region_set;
CREATE UNIQUE INDEX CONCURRENTLY i ON orders (region);
ALTER TABLE orders ADD CONSTRAINT u UNIQUE USING INDEX i;
UPDATE orders SET note = 'drop column; truncate' WHERE id < 10;
CREATE TABLE fresh (id bigint PRIMARY KEY);
CREATE INDEX ON fresh (id);
CREATE FUNCTION f() RETURNS void AS $body$ BEGIN DELETE FROM orders; END $body$ LANGUAGE plpgsql;
"""


def test_check_migration_lets_safe_forms_pass(script: Script, write: Callable) -> None:
    done = script("check_migration", "--strict", write("a.sql", SAFE))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("CREATE UNIQUE INDEX i ON orders (a)", "index"),
        ("BEGIN; CREATE INDEX CONCURRENTLY i ON orders (a)", "transaction"),
        ("ALTER TABLE orders ADD COLUMN u uuid DEFAULT gen_random_uuid()", "volatile-default"),
        ("ALTER TABLE ONLY public.orders ADD n bigserial", "serial"),
        ('ALTER TABLE "orders" ALTER COLUMN "a" SET NOT NULL', "not-null"),
        ("ALTER TABLE orders ALTER a TYPE bigint", "type"),
        ("ALTER TABLE orders ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES b (id)", "constraint"),
        ("ALTER TABLE orders ADD COLUMN b_id bigint REFERENCES b (id)", "inline-fk"),
        ("ALTER TABLE orders ADD PRIMARY KEY (a)", "unique"),
        ("ALTER TABLE orders RENAME COLUMN a TO b", "rename"),
        ("ALTER TABLE orders DROP COLUMN a", "drop-column"),
        ("UPDATE orders SET a = 'x where y'", "mass-write"),
        ("VACUUM (FULL, ANALYZE) orders", "rewrite"),
    ],
)
def test_check_migration_flags(script: Script, write: Callable, statement: str, rule: str) -> None:
    path = write("a.sql", f"SET lock_timeout = '1s';\n/* ; */ -- ;\n{statement};\n")
    done = script("check_migration", path)
    assert done.returncode == 1
    assert f":3: error: {rule}:" in done.stdout
    assert script("check_migration", "--allow", rule, path).returncode == 0
    assert (
        script("check_migration", write("b.sql", f"-- check: allow {rule}\nSELECT 1;{statement};")).returncode
        == 1
    )


def test_check_migration_asks_for_a_lock_timeout(script: Script, write: Callable) -> None:
    path = write("a.sql", "ALTER TABLE orders ADD COLUMN a int;\n")
    assert script("check_migration", path).returncode == 0
    done = script("check_migration", "--strict", path)
    assert done.returncode == 1
    assert ":1: warning: lock-timeout:" in done.stdout


# ---------------------------------------------------------------- find_secret_copies


def test_find_secret_copies_finds_each_encoding_and_never_prints_it(script: Script, write: Callable) -> None:
    wanted = "not/a+real?value~1"
    forms = {
        "plain": f"x={wanted}",
        "url": urllib.parse.quote(wanted, safe=""),
        "hex": wanted.encode().hex().upper(),
    }
    for before in range(4):
        for after in range(4):
            text = ("b" * before + wanted + "a" * after).encode()
            forms[f"b64-{before}{after}"] = base64.b64encode(text).decode()
            forms[f"url64-{before}{after}"] = base64.urlsafe_b64encode(text).decode()
    for name, text in forms.items():
        write(f"{name}.txt", f"first line\n{text}\n")
    write("innocent.txt", "not/a+real?value~2\n")
    done = script("find_secret_copies", ".", stdin=wanted + "\n")
    assert done.returncode == 1
    found = {line.split(":")[0] for line in done.stdout.splitlines()}
    assert found == {f"{name}.txt" for name in forms}
    assert all(line.split(":")[1] == "2" for line in done.stdout.splitlines())
    assert wanted not in done.stdout + done.stderr


def test_find_secret_copies_refuses_what_would_match_everywhere(script: Script) -> None:
    assert script("find_secret_copies", ".", stdin="short\n").returncode == 2
    assert script("find_secret_copies", "missing", stdin="long enough\n").returncode == 2
    assert script("find_secret_copies", ".", stdin="long enough\n").returncode == 0
