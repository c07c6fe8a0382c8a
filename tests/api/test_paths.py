"""No path that a client names leaves the library, and what is refused says nothing of what is outside."""

import http.client
import json
import os
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_server import API, opened, serving

from skill_fleet.domain.library import Library
from skill_fleet.foundation.errors import NotFound, SkillFleetError, UsageError
from skill_fleet.services.context import open_context
from skill_fleet.services.library_paths import library_path, path_of, skill_at, skills_at
from skill_fleet.services.skills import evaluate_batch, list_skills, read_skill

PRIVATE = "the content of a file that is nobody's business"
SKILL = "---\nname: {name}\ndescription: Does {name}. Use when {name}.\n---\n\n# {name}\n\n{text}\n"

BAD = {
    "empty": "",
    "traversal": "../outside",
    "traversal deep": "food/../../outside",
    "traversal inside": "food/../food/coffee",
    "dot": "./food",
    "dots": "food/...",
    "absolute": "/etc",
    "absolute skill": "/food/coffee",
    "double slash": "//host/share",
    "empty part": "food//coffee",
    "trailing slash": "food/",
    "home": "~",
    "somebody's home": "~root/skills",
    "home inside": "food/~",
    "backslash": "..\\outside",
    "backslashes": "food\\coffee",
    "drive": "C:\\Windows",
    "drive relative": "C:outside",
    "drive slash": "C:/Windows",
    "UNC": "\\\\host\\share",
    "UNC device": "\\\\?\\C:\\Windows",
    "percent": "%2e%2e/outside",
    "percent twice": "%252e%252e%252foutside",
    "percent overlong": "%c0%ae%c0%ae/outside",
    "NUL": "food\x00",
    "NUL and suffix": "food/coffee\x00.md",
    "newline": "food\ncoffee",
    "tab": "food\t",
    "escape": "food\x1b[2J",
    "delete": "food\x7f",
    "space": "food coffee",
    "trailing space": "food ",
    "trailing dot": "food.",
    "overlong part": "a" * 65,
    "overlong": "/".join(["a"] * 17),
    "very long": "a/" * 900 + "a",
    "state": ".skill-fleet",
    "state inside": "food/.skill-fleet/x",
    "git": ".git/config",
    "hidden": ".hidden",
    "hidden inside": "food/.hidden/secret",
    "fullwidth dots": "\uff0e\uff0e/outside",
    "fullwidth slash": "food\uff0f..\uff0foutside",
    "combining": "foo\u0301d",
    "right to left": "food\u202e",
    "wildcard": "*",
    "wildcards": "food/*",
    "question": "food/coffe?",
    "brackets": "food/[c]offee",
    "shell": "food;id",
    "variable": "$HOME",
    "stream": "food/coffee:secret",
    "scheme": "file:///etc/passwd",
    "leading hyphen": "-rf",
}

LINKED = ("link-out", "food/link-out", "link-file", "link-loop", "food/link-up")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A workspace with three skills, hidden ones, and links out of the library."""
    tmp_path = tmp_path_factory.mktemp("machine")
    root = tmp_path / "workspace"
    for path in ("food/coffee/make-coffee", "food/tea", "Odd.Names/Skill_1"):
        put(root / "skills" / path)
    for path in ("skills/.hidden/secret", "skills/food/.hidden/secret", ".skill-fleet/secret"):
        put(root / path, PRIVATE)
    outside = tmp_path / "outside"
    put(outside / "secret", PRIVATE)
    put(outside / "secret" / "below", PRIVATE)
    links = {
        "link-out": outside,
        "food/link-out": outside / "secret",
        "food/link-up": root / "skills" / "..",
        "link-loop": root / "skills" / "link-loop",
    }
    for name, target in links.items():
        (root / "skills" / name).symlink_to(target)
    (root / "skills" / "link-file").mkdir()
    (root / "skills" / "link-file" / "SKILL.md").symlink_to(outside / "secret" / "SKILL.md")
    (root / "skills" / "link-hidden").symlink_to(root / "skills" / ".hidden")
    return root


def put(folder, text="Do it."):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "SKILL.md").write_text(SKILL.format(name=folder.name, text=text))


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_such_a_path_is_refused_as_text(text, place):
    with pytest.raises(UsageError) as refused:
        library_path(text)
    assert refused.value.code == "path"
    assert len(refused.value.message) < 250
    for find in (skill_at, lambda library, path: skills_at(library, [path])):
        with pytest.raises(UsageError):
            find(Library(place / "skills"), text)


@pytest.mark.parametrize(
    "text", [*LINKED, "link-hidden", "link-hidden/secret", "link-out/secret", "food/nothing"]
)
def test_a_link_that_leads_out_is_not_there(text, place):
    context = open_context(place, environ={})
    for use in (lambda: read_skill(context, text), lambda: skills_at(Library(place / "skills"), [text])):
        with pytest.raises(NotFound) as refused:
            use()
        assert refused.value.message == f"There is no skill at '{text}' in the library."


def test_the_list_holds_the_library_and_nothing_else(place):
    listed = list_skills(open_context(place, environ={}), limit=100)
    assert [one["path"] for one in listed["skills"]] == [
        "Odd.Names/Skill_1",
        "food/coffee/make-coffee",
        "food/tea",
    ]
    assert PRIVATE not in json.dumps(listed)


def test_a_batch_names_what_it_refuses_and_scores_the_rest(place):
    found = evaluate_batch(open_context(place, environ={}), [*BAD.values(), *LINKED, "food"])
    assert [one["path"] for one in found["skills"]] == ["food/coffee/make-coffee", "food/tea"]
    assert len(found["errors"]) == len(set(BAD.values()) | set(LINKED))
    assert {one["code"] for one in found["errors"]} == {"path", "not_found"}


@given(
    st.text(max_size=60)
    | st.lists(st.sampled_from(["..", ".", "~", "food", "%2e", "\\", "a\x00", ""])).map("/".join)
)
def test_a_path_is_refused_or_stays_below_the_root(text):
    root = "/somewhere/skills"
    try:
        path = library_path(text)
    except UsageError:
        return
    joined = os.path.normpath(f"{root}/{path}")
    assert joined == f"{root}/{path}"
    assert all(not part.startswith(".") for part in path.split("/"))


def test_paths_given_are_paths_taken(place):
    library = Library(place / "skills")
    for file in skills_at(library, ["food", "Odd.Names"]):
        assert skill_at(library, path_of(library, file)) == file
    assert skill_at(library, "food/coffee").parent.name == "make-coffee"
    with pytest.raises(SkillFleetError):
        skill_at(library, "food/coffee/make-coffee/SKILL.md")


# Over the wire


@pytest.fixture(scope="module")
def wire(place):
    """Sends a request exactly as given, and takes the answer; clients tidy paths up."""
    with opened(place) as service, serving(service) as address:
        host, _, port = address.removeprefix("http://").partition(":")

        def send(method, target, body=None):
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            data = None if body is None else json.dumps(body).encode()
            headers = {"Content-Type": "application/json"} if data else {}
            connection.request(method, f"{API}{target}", data, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            connection.close()
            return answer.status, text

        yield send


BODIES = {
    "/evaluation/evaluate": lambda path: {"path": path},
    "/skills/validate": lambda path: {"path": path},
    "/optimization/start": lambda path: {"training_paths": [path]},
    "/optimization/estimate": lambda path: {"training_paths": [path]},
    "/optimization/recommend": lambda path: {"training_paths": [path]},
}
FILES = {
    "/optimization/start save_path": lambda path: {"save_path": path},
    "/optimization/estimate save_path": lambda path: {"save_path": f"{path}/x.json"},
    "/skills program": lambda path: {"task": "x", "program": path},
    "/skills program below": lambda path: {"task": "x", "program": f"{path}/x.json"},
}
HARMLESS = {"trailing dot", "leading hyphen", "very long", "overlong", "overlong part"}
"""No files of ours, but names like others where a file is to be written below `config/optimized`."""
OUTSIDE = [*BAD.items(), *((name, name) for name in (*LINKED, "link-hidden/secret", "link-out/secret"))]


def refused(place, answer, path):
    status, text = answer
    assert status in {404, 422}, text
    assert PRIVATE not in text
    assert str(place.parent) not in text
    problem = json.loads(text)
    assert problem["status"] == status
    assert problem["code"] in {"path", "not_found", "invalid_request", "usage", "body", "no_route"}, path


@pytest.mark.parametrize("route", BODIES)
def test_no_path_of_a_body_leaves_the_library(wire, place, route):
    every = 1 if route in {"/evaluation/evaluate", "/skills/validate", "/optimization/start"} else 5
    for _, path in OUTSIDE[::every]:
        refused(place, wire("POST", route, BODIES[route](path)), path)


@pytest.mark.parametrize("route", FILES)
def test_no_file_of_a_body_is_outside_of_the_programs(wire, place, route):
    for name, path in BAD.items():
        if name not in HARMLESS:
            refused(place, wire("POST", route.partition(" ")[0], FILES[route](path)), path)


def test_no_path_of_an_address_leaves_the_library(wire, place):
    for _, path in OUTSIDE:
        if path:
            once = quote(path, safe="")
            for written in (once, quote(once, safe=""), quote(path), once.replace("%2F", "%2f")):
                if written != "food/coffee":
                    refused(place, wire("GET", f"/skills/{written}"), path)
    for raw in (
        "..",
        "../..",
        "%2e%2e",
        "%2e%2e/%2e%2e",
        "..;/",
        "food/..%2f..",
        "%5c%5chost%5cshare",
        "%ff%fe",
        "%00",
    ):
        refused(place, wire("GET", f"/skills/{raw}"), raw)


def test_no_prefix_leaves_the_library(wire, place):
    for path in BAD.values():
        if path:
            refused(place, wire("GET", f"/skills?prefix={quote(path, safe='')}"), path)
    for path in LINKED:
        assert json.loads(wire("GET", f"/skills?prefix={path}")[1])["skills"] == []


def test_a_batch_over_the_wire_gives_nothing_away(wire, place):
    status, text = wire("POST", "/evaluation/evaluate-batch", {"paths": [path or "/" for _, path in OUTSIDE]})
    assert status == 200
    assert json.loads(text)["skills"] == []
    assert PRIVATE not in text
    assert str(place.parent) not in text


def test_what_is_outside_cannot_be_told_from_what_is_nowhere(wire):
    """The same words for a file that is there, one that may not be read, and one that is nowhere."""
    pairs = [
        ("../outside/secret", "../outside/nothing"),
        ("link-out/secret", "link-out/nothing"),
        ("/etc", "/nowhere"),
    ]
    for pair in pairs:
        for route, body in BODIES.items():
            answers = [wire("POST", route, body(path)) for path in pair]
            said = [
                (status, json.loads(text)["detail"].replace(path, "PATH"))
                for (status, text), path in zip(answers, pair, strict=True)
            ]
            assert said[0] == said[1]
