"""Every refusal is a problem document, every answer has its headers, whatever is sent."""

import json
import logging

import pytest
from api_frame import client_of
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from skill_fleet.api.json_body import DEEPEST, strict_json
from skill_fleet.api.problems import KINDS, Refused, kind_of
from skill_fleet.foundation import errors
from skill_fleet.foundation.errors import SkillFleetError

MEMBERS = {"type", "title", "status", "detail", "code", "hint", "retryable", "instance", "request_id"}
JSON = {"Content-Type": "application/json"}


def problem_in(response, status, code):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    found = response.json()
    assert set(found) >= MEMBERS
    assert (found["status"], found["code"]) == (status, code)
    assert found["type"] == f"urn:skill-fleet:problem:{code}"
    assert found["request_id"] == response.headers["x-request-id"]
    assert found["retryable"] == ("retry-after" in response.headers)
    return found


def test_no_such_address(visitor: TestClient) -> None:
    found = problem_in(visitor.get("/api/v2/nothing"), 404, "no_route")
    assert found["instance"] == "/api/v2/nothing"


def test_a_slash_too_many_is_no_redirect(visitor: TestClient) -> None:
    problem_in(visitor.get("/healthz/", follow_redirects=False), 404, "no_route")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"])
def test_another_method_names_all_that_are_known(visitor: TestClient, method: str) -> None:
    response = visitor.request(method, "/probe/item/x")
    problem_in(response, 405, "method_not_allowed")
    assert response.headers["allow"] == "GET, POST"


def test_validation_names_the_field_and_not_what_was_in_it(visitor: TestClient) -> None:
    response = visitor.post("/probe/number", json={"number": "my-secret", "other": 1})
    found = problem_in(response, 422, "invalid_request")
    assert [error["field"] for error in found["errors"]] == ["body.number", "body.other"]
    assert found["errors"][1]["message"] == "There is no such field"
    assert "my-secret" not in response.text


def test_a_missing_body_is_422(visitor: TestClient) -> None:
    problem_in(visitor.post("/probe/echo"), 422, "invalid_request")


def test_a_bug_is_told_to_the_log_and_not_to_the_client(
    visitor: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "skill_fleet.api"):
        response = visitor.get("/probe/bug")
    found = problem_in(response, 500, "bug")
    assert "secret" not in response.text
    assert "ZeroDivision" not in response.text
    assert "secret inside" in caplog.text
    assert found["request_id"] in caplog.text


@pytest.mark.parametrize("code", sorted(KINDS))
def test_each_code_has_its_status(visitor: TestClient, code: str) -> None:
    found = problem_in(visitor.get(f"/probe/raise/{code}"), KINDS[code].status, code)
    inside = KINDS[code].status == 500 or code in {"storage", "unavailable"}
    assert ("went wrong" in found["detail"]) is not inside
    assert "/nowhere" not in found["detail"] or not inside


def test_the_workspace_is_not_named(framed: FastAPI) -> None:
    root = framed.state.service.context.workspace.root

    @framed.get("/probe/where")
    async def where() -> None:
        raise errors.NotFound(f"The skill {root}/skills/a is not there.")

    found = problem_in(client_of(framed).get("/probe/where"), 404, "not_found")
    assert found["detail"] == "The skill skills/a is not there."


def _leaves(kind=SkillFleetError):
    for under in kind.__subclasses__():
        yield under
        yield from _leaves(under)


def test_every_error_of_ours_has_a_meaning_over_http() -> None:
    unknown = {kind.code for kind in _leaves() if kind.__module__ == errors.__name__} - set(KINDS)
    assert not unknown


def test_a_new_code_means_what_its_class_means() -> None:
    assert kind_of(errors.NotFound("x", code="brand_new")) == ("brand_new", KINDS["not_found"])
    assert kind_of(SkillFleetError("x", code="brand_new"))[1].status == 500


def test_answers_carry_their_headers(visitor: TestClient) -> None:
    for path in ("/healthz", "/probe/item/x", "/nothing", "/openapi.json", "/probe/bug"):
        headers = visitor.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["cache-control"] == "no-store", path
        assert "default-src 'none'" in headers["content-security-policy"], path
        assert len(headers["x-request-id"]) == 16, path
        assert "server" not in headers, path
        assert not [name for name in headers if name.startswith("access-control")], path
    ids = {visitor.get("/healthz").headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


def test_there_are_no_pages_that_load_scripts_from_elsewhere(visitor: TestClient) -> None:
    for path in ("/docs", "/redoc"):
        problem_in(visitor.get(path), 404, "no_route")


def test_openapi_documents_the_refusals_of_every_operation(visitor: TestClient) -> None:
    document = visitor.get("/openapi.json").json()
    assert document["components"]["schemas"]["Problem"]["required"]
    assert "HTTPValidationError" not in document["components"]["schemas"]
    ids = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            ids.append(operation["operationId"])
            for status in {"401", "403", "413", "415", "421", "429", "500"} | (
                {"422"} & set(operation["responses"])
            ):
                assert "application/problem+json" in operation["responses"][status]["content"], (path, method)
            assert operation["security"] == ([] if path in {"/healthz", "/readyz"} else [{"key": []}, {}])
    assert len(ids) == len(set(ids))


# --- bodies -------------------------------------------------------------------------------------------

BAD = {
    "not json": b"{",
    "nothing but a space": b" ",
    "two values": b"{} {}",
    "a trailing comma": b'{"a": 1,}',
    "NaN": b'{"a": NaN}',
    "Infinity": b"[-Infinity]",
    "a number beyond floats": b"[1e999]",
    "a number of many digits": b"[" + b"9" * 5000 + b"]",
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, deep": b'[{"a": {"b": 1, "\\u0062": 2}}]',
    "half of a character": b'{"a": "\\ud800"}',
    "half of a character in a key": b'{"\\udfff": 1}',
    "halves in the wrong order": b'["\\udc00\\ud800"]',
    "not UTF-8": b'{"a": "\xff"}',
    "a surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a depth bomb": b"[" * 100_000,
    "a closed depth bomb": b"[" * 5_000 + b"]" * 5_000,
    "a little too deep": b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1),
    "objects too deep": b'{"a":' * (DEEPEST + 1) + b"1" + b"}" * (DEEPEST + 1),
    "a raw control character": b'["\x00"]',
}


@pytest.mark.parametrize("name", BAD)
def test_a_body_that_is_not_json_is_400(visitor: TestClient, name: str) -> None:
    problem_in(visitor.post("/probe/echo", content=BAD[name], headers=JSON), 400, "invalid_json")


def test_a_large_body_is_checked_as_well(visitor: TestClient) -> None:
    large = b'{"a": "' + b"x" * 200_000 + b'", "a": 1}'
    problem_in(visitor.post("/probe/echo", content=large, headers=JSON), 400, "invalid_json")


@pytest.mark.parametrize(
    "value",
    [
        "[" * (DEEPEST - 1) + "]" * (DEEPEST - 1),
        '{"a": "\\ud83d\\ude00 \\u0000 \\\\ud800"}',
        '{"a": [1, 2.5, -0, 1e300, true, null, "é"]}',
        "17",
    ],
)
def test_what_is_json_comes_through(visitor: TestClient, value: str) -> None:
    response = visitor.post("/probe/echo", content=value.encode(), headers=JSON)
    assert response.status_code == 200
    assert response.json()["body"] == json.loads(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        value = strict_json(body)
    except Refused as error:
        refused = error
    else:
        assert json.loads(body) == value
        return
    assert refused.code == "invalid_json"
    assert refused.message.encode()


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**63)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
        ),
    )
)
def test_every_json_value_is_read_as_it_is(value) -> None:
    assert strict_json(json.dumps(value).encode()) == value
