"""Who is let in: the Host header, pages of other sites, keys and their scopes."""

import socket

import pytest
from api_frame import HandClock, client_of, frame
from fastapi import FastAPI
from fastapi.testclient import TestClient

from skill_fleet.api.hosts import host_name, is_loopback, own_names
from skill_fleet.api.security import scope_needed
from skill_fleet.api.throttle import FailedKeys
from skill_fleet.foundation.errors import ConfigError


def code_of(response):
    assert response.headers["content-type"] == "application/problem+json"
    return response.status_code, response.json()["code"]


def bearer(secret):
    return {"Authorization": f"Bearer {secret}"}


# --- Host ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8000", "localhost:1", "LOCALHOST.", "[::1]", "[::1]:8000", "[0:0:0:0:0:0:0:1]"],
)
def test_names_of_this_machine_are_ours(visitor: TestClient, host: str) -> None:
    assert visitor.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "user@127.0.0.1",
        "127.0.0.1:8000:1",
        "127.0.0.1/",
        "127.0.0.1 evil.example",
        "127.0.0.1,evil.example",
        "[::1",
        "::1]",
        "10.0.0.7",
        "0.0.0.0",  # noqa: S104 - a header, nothing is bound
        "2130706433",
        "0x7f.1",
        "localhоst",
        "",
        "*",
    ],
)
def test_a_stolen_host_header_is_refused(visitor: TestClient, host: str) -> None:
    for path in ("/healthz", "/probe/item/x", "/nothing", "/openapi.json"):
        response = visitor.get(path, headers={"Host": host.encode()})
        assert code_of(response) == (421, "wrong_host"), path
        assert host not in response.text or not host


def test_two_host_headers_are_refused(visitor: TestClient) -> None:
    response = visitor.get("/healthz", headers=[("Host", "127.0.0.1"), ("Host", "127.0.0.1")])
    assert code_of(response) == (421, "wrong_host")


def test_the_operator_adds_names(tmp_path, hand_clock: HandClock) -> None:
    app = frame(tmp_path, hand_clock, bound="192.0.2.7", SKILL_FLEET_SERVER__ALLOWED_HOSTS="[Skills.Example]")
    for host in ("skills.example", "skills.example:443", "192.0.2.7:8000"):
        assert client_of(app).get("/healthz", headers={"Host": host}).status_code == 200
    assert client_of(app).get("/healthz", headers={"Host": "other.example"}).status_code == 421


def test_host_names_are_compared_in_one_form() -> None:
    assert host_name("EXAMPLE.org.:80") == "example.org"
    assert host_name("[2001:DB8::0:1]") == "2001:db8::1"
    assert host_name("exa mple") is None
    assert own_names("[::1]", ["A.example."]) >= {"::1", "a.example", "localhost"}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])
def test_a_loopback_is_one(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "[::]", "", " ", "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"],  # noqa: S104
)
def test_what_others_reach_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_a_name_is_what_it_resolves_to(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*addresses):
        found = [(2, 1, 6, "", (address, 0)) for address in addresses]
        monkeypatch.setattr("socket.getaddrinfo", lambda *_a, **_o: found)
        return is_loopback("localhost")

    assert resolve("127.0.0.1", "::1")
    assert not resolve("127.0.0.1", "192.0.2.1")
    assert not resolve("fe80::1%eth0")


def test_a_name_of_nothing_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments, **_options):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(ConfigError, match="not an address of this machine"):
        is_loopback("a" * 70)


# --- other sites --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:3000"},
        {"Origin": "http://localhost"},
        {"Origin": "file://"},
        {"Origin": "chrome-extension://127.0.0.1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
)
def test_pages_of_other_sites_are_refused(visitor: TestClient, headers: dict[str, str]) -> None:
    for method in ("GET", "POST"):
        assert code_of(visitor.request(method, "/probe/item/x", headers=headers)) == (403, "cross_site")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
    ],
)
def test_our_own_pages_may(visitor: TestClient, headers: dict[str, str]) -> None:
    assert visitor.post("/probe/item/x", headers=headers).status_code == 200


def test_a_link_of_another_site_may_be_followed_but_nothing_sent(visitor: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert visitor.get("/probe/item/x", headers=link).status_code == 200
    assert visitor.post("/probe/item/x", headers=link).status_code == 403


def test_a_preflight_is_not_answered(visitor: TestClient) -> None:
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    response = visitor.options("/probe/item/x", headers=asked)
    assert response.status_code == 403
    assert not [name for name in response.headers if name.startswith("access-control")]


# --- keys ---------------------------------------------------------------------------------------------


def test_without_any_key_everything_is_open_on_this_machine(visitor: TestClient) -> None:
    found = visitor.get("/probe/item/x").json()
    assert found == {"name": "x", "owner": None, "scopes": ["read", "run", "admin"]}


def test_with_the_first_key_the_door_closes(framed: FastAPI, hand_clock: HandClock) -> None:
    visitor, keys = client_of(framed), framed.state.service.keys
    assert visitor.get("/probe/item/x").status_code == 200
    keys.add("sf_a_1", "read")
    hand_clock.at += 1.0
    assert code_of(visitor.get("/probe/item/x")) == (401, "unauthorized")
    assert visitor.get("/probe/item/x", headers=bearer("sf_a_1")).status_code == 200
    for path in ("/healthz",):
        assert visitor.get(path).status_code == 200
    for path in ("/openapi.json", "/metrics", "/nothing", "/api/v2/optimization/jobs"):
        assert code_of(visitor.get(path)) == (401, "unauthorized"), path


def test_where_others_reach_it_nothing_is_open(tmp_path, hand_clock: HandClock) -> None:
    app = frame(tmp_path, hand_clock, bound="192.0.2.7")
    assert code_of(client_of(app).get("/probe/item/x")) == (401, "unauthorized")
    app.state.service.keys.add("sf_a_1", "read")
    assert client_of(app).get("/probe/item/x", headers=bearer("sf_a_1")).status_code == 200
    app.state.service.keys.good.clear()
    hand_clock.at += 1.0
    assert code_of(client_of(app).get("/probe/item/x")) == (401, "unauthorized")


BAD_KEYS = {
    "none": {},
    "empty": {"Authorization": ""},
    "no word": {"Authorization": "sf_a_1"},
    "another scheme": {"Authorization": "Basic sf_a_1"},
    "only the scheme": {"Authorization": "Bearer"},
    "only the scheme and a space": {"Authorization": "Bearer "},
    "unknown": bearer("sf_b_1"),
    "wrong secret": bearer("sf_a_2"),
    "longer": bearer("sf_a_11"),
    "shorter": bearer("sf_a_"),
    "two keys": bearer("sf_a_1, Bearer sf_a_1"),
    "not ASCII": {"Authorization": "Bearer sf_a_1é".encode()},
    "very long": bearer("x" * 10_000),
    "injection": bearer("' OR 1=1 --"),
}


def test_all_bad_keys_are_refused_in_the_same_words(framed: FastAPI, hand_clock: HandClock) -> None:
    framed.state.service.keys.add("sf_a_1", "read")
    told = set()
    for name, headers in BAD_KEYS.items():
        response = client_of(framed).get("/probe/item/x", headers=headers)
        assert response.status_code == 401, name
        assert response.headers["www-authenticate"] == 'Bearer realm="skill-fleet"', name
        document = response.json()
        document.pop("request_id")
        told.add(str(document))
        hand_clock.at += 60.0
    assert len(told) == 1
    twice = [("Authorization", "Bearer sf_a_1"), ("Authorization", "Bearer sf_a_1")]
    assert client_of(framed).get("/probe/item/x", headers=twice).status_code == 401


def test_a_key_in_the_address_is_no_key(framed: FastAPI) -> None:
    framed.state.service.keys.add("sf_a_1", "read")
    assert client_of(framed).get("/probe/item/x?key=sf_a_1&access_token=sf_a_1").status_code == 401


def test_a_revoked_key_opens_nothing_after_a_second(framed: FastAPI, hand_clock: HandClock) -> None:
    keys, visitor = framed.state.service.keys, client_of(framed)
    keys.add("sf_a_1", "read")
    keys.add("sf_b_1", "read")
    assert visitor.get("/probe/item/x", headers=bearer("sf_a_1")).status_code == 200
    del keys.good["sf_a_1"]
    hand_clock.at += 1.0
    assert code_of(visitor.get("/probe/item/x", headers=bearer("sf_a_1"))) == (401, "unauthorized")


def test_the_store_is_asked_once_a_second(framed: FastAPI, hand_clock: HandClock) -> None:
    keys, visitor = framed.state.service.keys, client_of(framed)
    keys.add("sf_a_1", "read")
    for _ in range(20):
        assert visitor.get("/probe/item/x", headers=bearer("sf_a_1")).status_code == 200
    assert keys.asked == 1
    hand_clock.at += 1.0
    visitor.get("/probe/item/x", headers=bearer("sf_a_1"))
    assert keys.asked == 2


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        (["read"], {"GET"}),
        (["run"], {"GET", "POST"}),
        (["admin"], {"GET", "POST"}),
        (["read", "run"], {"GET", "POST"}),
        ([], set()),
        (["unheard-of"], set()),
    ],
)
def test_scopes(framed: FastAPI, scopes: list[str], may: set[str]) -> None:
    framed.state.service.keys.add("sf_a_1", *scopes)
    for method in ("GET", "POST"):
        response = client_of(framed).request(method, "/probe/item/x", headers=bearer("sf_a_1"))
        if method in may:
            assert response.status_code == 200, method
        else:
            assert code_of(response) == (403, "forbidden"), method


def test_what_nobody_thought_of_needs_the_wider_scope() -> None:
    assert scope_needed("DELETE", "/anything") == "run"
    assert scope_needed("POST", "/api/v2/evaluation/evaluate/") == "run"
    assert scope_needed("POST", "/api/v2/evaluation/evaluate") == "read"
    assert scope_needed("GET", "/healthz/x") == "read"
    assert scope_needed("GET", "/healthz") is None


def test_guessing_is_slowed_down_and_not_written_down_for_ever(
    framed: FastAPI, hand_clock: HandClock
) -> None:
    keys, visitor, audit = framed.state.service.keys, client_of(framed), framed.state.service.audit
    keys.add("sf_a_1", "read")
    assert visitor.get("/probe/item/x", headers=bearer("sf_a_1")).status_code == 200
    for guess in range(10):
        assert visitor.get("/probe/item/x", headers=bearer(f"sf_a_x{guess}")).status_code == 401
    asked = keys.asked
    for guess in range(50):
        response = visitor.get("/probe/item/x", headers=bearer(f"sf_a_y{guess}"))
        assert code_of(response) == (429, "too_many_failures")
        assert 1 <= int(response.headers["retry-after"]) <= 61
    assert keys.asked == asked
    assert audit.lines == [("testclient", "GET /probe/item/x")] * 10
    hand_clock.at += 1.5
    good = visitor.get("/probe/item/x", headers=bearer("sf_a_1"))
    assert good.status_code == 200, "who was good before is not locked out by who guesses beside him"
    hand_clock.at += 60.0
    assert visitor.get("/probe/item/x", headers=bearer("sf_a_z")).status_code == 401


def test_refusals_are_counted_by_network_in_bounded_memory() -> None:
    clock = HandClock()
    failed = FailedKeys(clock, limit=2, seconds=10.0, most=3)
    for end in ("1", "2"):
        failed.failed(f"2001:db8:1:2::{end}")
    assert failed.wait("2001:db8:1:2:ffff::1") == 10.0
    assert failed.wait("2001:db8:1:3::1") == 0.0
    failed.failed("::ffff:192.0.2.1")
    assert failed.failed("192.0.2.1") == 2
    clock.at += 10.0
    assert failed.wait("192.0.2.1") == 0.0
    assert failed.failed("192.0.2.1") == 1
    for number in range(1000):
        failed.failed(f"10.0.{number // 250}.{number % 250}")
    assert len(failed._seen) == 3
