"""The scripts for writing, research, product and business work: on real small data, and on bad input."""

import csv
import io
import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[2] / "skills"
Script = Callable[..., subprocess.CompletedProcess[str]]


# ---------------------------------------------------------------- check_changelog


def shipped_changelog() -> str:
    skill = LIBRARY / "communication/documentation/changelog/changelog-writing/SKILL.md"
    return skill.read_text(encoding="utf-8").split("```markdown\n")[1].split("```\n")[0]


def test_check_changelog_accepts_the_one_its_skill_shows(script: Script, write: Callable) -> None:
    done = script("check_changelog", write("C.md", shipped_changelog()), "--expect", "3.0.0")
    assert (done.returncode, done.stdout) == (0, "")


OLDER = "\n## [2.9.3] - 2026-01-05\n\n### Fixed\n\n- It works.\n\n[2.9.3]: https://example.com\n"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[3.0.0] - 2026-02-11", "[2.9.4] - 2026-02-11", "no major bump"),
        ("2026-02-11", "2025-13-01", "is not a date"),
        ("2026-02-11", "2025-12-31", "is dated before 2.9.3"),
        ("[3.0.0] - 2026-02-11", "[2.0.0-rc.1] - 2026-02-11", "stands above 2.9.3"),
        ("### Fixed\n", "### Bugfixes\n", "is none of"),
        ("### Removed\n", "### Removed\n\n### Changed\n", "occurs twice"),
        ("## [Unreleased]\n", "## [Unreleased]\n\n### Added\n", "is empty"),
        ("[3.0.0]: https", "[3.0.1]: https", "no link reference for [3.0.0]"),
        ("## [3.0.0]", "## 3.0.0", "heading is not"),
    ],
)
def test_check_changelog_finds(script: Script, write: Callable, old: str, new: str, words: str) -> None:
    text = shipped_changelog()
    assert old in text
    done = script("check_changelog", write("C.md", text.replace(old, new, 1) + OLDER))
    assert done.returncode == 1
    assert words in done.stdout


# ---------------------------------------------------------------- dedupe_records


def test_dedupe_records_merges_by_doi_and_title(script: Script, write: Callable, tmp_path: Path) -> None:
    write(
        "a.csv",
        "Title,Year,DOI,Authors\n"
        "Pair programming: a meta-analysis,2009,10.1000/X1,Ada\n"
        "Mob programming in practice,2018,,\n"
        "Same words every year,2001,,\n",
    )
    write(
        "b.csv",
        "\ufeffDocument Title,Publication Year,DOI\n"
        "Pair Programming (a Meta Analysis),2009,https://doi.org/10.1000/x1\n"
        '"MOB PROGRAMMING, in practice",2019,\n'
        "Same words every year,2005,\n",
    )
    done = script("dedupe_records", "a.csv", "b.csv", "--output", "u.csv", "--merged", "m.csv")
    assert done.returncode == 0, done.stderr
    assert "total 6, duplicates 2 (doi 1, title 1), to screen 4" in done.stdout
    kept = list(csv.DictReader(io.StringIO((tmp_path / "u.csv").read_text(encoding="utf-8"))))
    assert [row["year"] for row in kept] == ["2009", "2018", "2001", "2005"]
    merged = list(csv.DictReader(io.StringIO((tmp_path / "m.csv").read_text(encoding="utf-8"))))
    assert {(row["dropped"], row["kept"], row["by"]) for row in merged} == {
        ("b.csv:2", "a.csv:2", "doi"),
        ("b.csv:3", "a.csv:3", "title"),
    }


def test_dedupe_records_names_the_file_without_titles(script: Script, write: Callable) -> None:
    done = script("dedupe_records", write("a.csv", "name,year\nx,2001\n"), "--output", "u.csv")
    assert done.returncode == 2
    assert "no title column" in done.stderr


# ---------------------------------------------------------------- ab_test


def test_ab_test_plans_a_size_that_simulation_confirms(script: Script) -> None:
    plan = json.loads(
        script("ab_test", "plan", "--baseline", "0.2", "--absolute", "0.1", "--daily", "100").stdout
    )
    n = plan["units_per_arm"]
    assert plan["days"] == -(-2 * n // 100)
    generator = random.Random(5)
    hits = 0
    for _ in range(400):
        p0, p1 = (sum(generator.random() < p for _ in range(n)) / n for p in (0.2, 0.3))
        pooled = (p0 + p1) / 2
        hits += abs(p1 - p0) / (2 * pooled * (1 - pooled) / n) ** 0.5 > 1.96
    assert 0.74 < hits / 400 < 0.86


def test_ab_test_reads_and_stops_at_a_ratio_mismatch(script: Script) -> None:
    done = script("ab_test", "read", "--control", "4012/100321", "--treatment", "4236/100178")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert 0 < found["interval"][0] < found["difference"] < found["interval"][1]
    assert 0.009 < found["p_value"] < 0.011
    assert script("ab_test", "read", "--control", "9/1000", "--treatment", "9/1200").returncode == 1
    assert script("ab_test", "read", "--control", "9/8", "--treatment", "9/1200").returncode == 2
    assert script("ab_test", "plan", "--baseline", "0.9", "--relative", "0.5").returncode == 2
    assert script("ab_test", "read", "--control", "0/10", "--treatment", "0/10").returncode == 0


# ---------------------------------------------------------------- rank_features

ITEMS = """\
item,reach_low,reach_high,impact_low,impact_high,effort_low,effort_high,needs
export,200,500,0.5,1,2,4,
login,30,60,2,3,5,9,
audit,900,1000,2,3,3,5,login
"""


def test_rank_features_takes_prerequisites_along_and_repeats(script: Script, write: Callable) -> None:
    path = write("i.csv", ITEMS)
    first = script("rank_features", path, "--capacity", 30, "--samples", 300)
    assert first.returncode == 0
    assert first.stdout == script("rank_features", path, "--capacity", 30, "--samples", 300).stdout
    shares = {line.split()[0]: line.split()[-1] for line in first.stdout.splitlines()[1:]}
    assert shares == {"audit": "100%", "login": "100%", "export": "100%"}
    tight = script("rank_features", path, "--capacity", 4.5, "--samples", 300).stdout
    assert "audit" in tight
    assert next(line for line in tight.splitlines() if line.startswith("audit")).endswith(" 0%")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("200,500", "500,200", "reach must be"),
        ("200,500", "0,500", "reach must be"),
        ("200,500", "x,500", "not two numbers"),
        ("5,9,\n", "5,9,audit\n", "circular"),
        (",login\n", ",nothing\n", "unknown items"),
        ("login,30", "export,30", "no name twice"),
        ("effort_low", "effort", "columns are missing"),
    ],
)
def test_rank_features_refuses(script: Script, write: Callable, old: str, new: str, words: str) -> None:
    done = script("rank_features", write("i.csv", ITEMS.replace(old, new, 1)), "--capacity", 10)
    assert done.returncode == 2
    assert words in done.stderr


# ---------------------------------------------------------------- match_invoices


@pytest.fixture
def match(script: Script, write: Callable) -> Callable[[str], tuple[int, list[dict[str, str]], str]]:
    write(
        "orders.csv",
        "po,line,item,quantity,unit_price,currency,supplier\n"
        "P1,1,bolt,100,2.00,EUR,Acme\nP1,2,turbine,1,90000,EUR,Acme\n",
    )
    write("receipts.csv", "po,line,quantity\nP1,1,60\nP1,1,20\nP1,2,1\n")

    def call(lines: str) -> tuple[int, list[dict[str, str]], str]:
        write("inv.csv", "invoice,date,supplier,po,line,quantity,unit_price,currency\n" + lines)
        files = ("--orders", "orders.csv", "--receipts", "receipts.csv", "--invoices", "inv.csv")
        done = script("match_invoices", *files)
        return done.returncode, list(csv.DictReader(io.StringIO(done.stdout))), done.stderr

    return call


def test_match_invoices_is_cumulative_and_by_date(match: Callable) -> None:
    code, rows, _ = match(
        "INV-2,2026-02-09,acme,P1,1,30,2.00,EUR\nINV-1,2026-02-01,Acme,P1,1,60,2.01,EUR\n"
        "INV-3,2026-02-10,Acme,P1,1,20,2.00,EUR\n"
    )
    assert code == 1
    assert [(row["invoice"], row["decision"]) for row in rows] == [
        ("INV-1", "pay"),
        ("INV-2", "hold"),
        ("INV-3", "pay"),
    ]
    assert rows[1]["amount"] == "20.00"  # ten of thirty bolts have not come
    assert match("INV-1,2026-02-01,Acme,P1,1,80,2.00,EUR\n")[0] == 0


@pytest.mark.parametrize(
    ("line", "decision", "words"),
    [
        ("inv 007,2026-02-02,Acme,P1,1,1,2.00,EUR", "dispute", "duplicate of INV-7"),
        ("INV-8,2026-02-02,Acme,P1,1,1,2.05,EUR", "dispute", "ordered at 2.00"),
        ("INV-8,2026-02-02,Acme,P1,2,1,90100,EUR", "dispute", "ordered at 90000"),  # 0.1 %, but 100 each
        ("INV-8,2026-02-02,Acme,P1,1,1,2.00,USD", "dispute", "currency USD"),
        ("INV-8,2026-02-02,Bolts Ltd,P1,1,1,2.00,EUR", "hold", "placed with Acme"),
        ("INV-8,2026-02-02,Acme,P9,1,1,2.00,EUR", "hold", "no such order line"),
    ],
)
def test_match_invoices_stops(match: Callable, line: str, decision: str, words: str) -> None:
    code, rows, _ = match(f"INV-7,2026-02-01,Acme,P1,1,1,2.00,EUR\n{line}\n")
    assert code == 1
    assert rows[0]["decision"] == "pay"
    assert rows[1]["decision"] == decision
    assert words in rows[1]["reason"]


@pytest.mark.parametrize(
    "line", ["I,2026-02-30,Acme,P1,1,1,2,EUR", "I,2026-02-01,Acme,P1,1,NaN,2,EUR", "I,2026-02-01"]
)
def test_match_invoices_refuses_bad_numbers_and_dates(match: Callable, line: str) -> None:
    code, _, message = match(line + "\n")
    assert code == 2
    assert message.startswith("match_invoices: ")
