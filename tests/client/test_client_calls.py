"""Requests: what is made again, what is not, what refusals become, and where a key never goes."""

import logging
import socket
import typing

import pytest
from scripted_server import Scripted, hang_up, problem, text, value

from skill_fleet.client import Client, Creation, Optimization
from skill_fleet.client.problems import error_from
from skill_fleet.foundation import errors
from skill_fleet.foundation.errors import (
    BudgetExhausted,
    DataError,
    NotFound,
    ProviderError,
    Removed,
    SkillFleetError,
    StateConflict,
    UsageError,
)

KEY = "sf_0123456789ab_" + "f" * 64
JOB = {
    "job_id": "20260101-000000-0123456789",
    "kind": "optimization",
    "status": "running",
    "progress": 0.5,
    "message": "Sealed test.",
    "result": None,
    "error": None,
    "estimated_finish": None,
    "created_at": "2026-01-01T00:00:00.000+00:00",
    "started_at": None,
    "finished_at": None,
    "updated_at": "2026-01-01T00:00:00.000+00:00",
    "attempt": 1,
    "cost": {"calls": 1, "usd": None, "usd_unknown_calls": 1},
    "budget": {"max_cost": None, "max_calls": None},
    "metadata": {},
    "simulated": True,
    "links": {"self": "/"},
    "of_a_later_version": 1,
}
STARTED = {"job_id": JOB["job_id"], "status": "queued", "message": "Waiting.", "links": {}}


def client(server: Scripted, clock, **options) -> Client:
    return Client(server.url, clock=clock, **options)


def test_a_job_is_read_and_what_a_later_version_adds_is_in_its_document(scripted, clock):
    scripted.will(value(JOB))
    with client(scripted, clock) as asking:
        job = asking.status(JOB["job_id"])
    assert (job.status, job.progress, job.over) == ("running", 0.5, False)
    assert job.document == JOB
    assert scripted.asked[0].path == f"/api/v2/optimization/status/{JOB['job_id']}"
    assert "authorization" not in scripted.asked[0].headers


def test_a_list_has_jobs_without_their_results(scripted, clock):
    short = {name: found for name, found in JOB.items() if name != "result"}
    scripted.will(value({"jobs": [short], "next_cursor": None}))
    with client(scripted, clock) as asking:
        (job,) = asking.jobs().jobs
    assert job.result is None
    assert job.document == short


def test_a_start_whose_answer_was_lost_is_made_again_with_the_same_key(scripted, clock):
    scripted.will(hang_up, value(STARTED, 202))
    with client(scripted, clock) as asking:
        assert asking.start(optimizer="gepa").job_id == JOB["job_id"]
    first, second = scripted.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert len(first.headers["idempotency-key"]) == 32
    assert first.body == second.body == {"optimizer": "gepa"}


def test_two_starts_are_two_jobs(scripted, clock):
    scripted.will(value(STARTED, 202), value(STARTED, 202))
    with client(scripted, clock) as asking:
        asking.start()
        asking.start()
    first, second = scripted.asked
    assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


def test_a_resume_whose_answer_was_lost_is_not_made_again(scripted, clock):
    scripted.will(hang_up, value(JOB))
    with client(scripted, clock) as asking, pytest.raises(ProviderError) as caught:
        asking.resume(JOB["job_id"])
    assert caught.value.code == "server_away"
    assert len(scripted.asked) == 1


def test_a_server_that_is_not_ready_is_asked_again_when_it_says(scripted, clock):
    scripted.will(problem(503, "starting", "Not ready.", Retry_After="3"), value(JOB))
    with client(scripted, clock) as asking:
        asking.status(JOB["job_id"])
    assert clock.slept == [3.0]


def test_a_wait_until_midnight_is_not_waited(scripted, clock):
    scripted.will(problem(429, "key_budget", "Nothing is left.", "Midnight.", Retry_After="40000"))
    with client(scripted, clock) as asking, pytest.raises(BudgetExhausted) as caught:
        asking.start()
    assert (caught.value.exit_code, caught.value.code, clock.slept) == (5, "key_budget", [])


def test_a_server_that_is_away_is_one_sentence_after_four_tries(clock):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Client(url, clock=clock) as asking, pytest.raises(ProviderError) as caught:
            asking.resume("x1")
    assert caught.value.message == f"The server {url} does not answer: connection refused."
    assert len(clock.slept) == 3
    assert sum(clock.slept) <= 1.4


@pytest.mark.parametrize(
    ("status", "code", "kind", "exit_code"),
    [
        (404, "not_found", NotFound, 3),
        (404, "no_result", NotFound, 3),
        (410, "removed", Removed, 3),
        (409, "state_conflict", StateConflict, 1),
        (422, "usage", UsageError, 2),
        (422, "unknown_name", UsageError, 2),
        (422, "data", DataError, 1),
        (422, "too_few_groups", UsageError, 2),
        (401, "unauthorized", ProviderError, 6),
        (403, "forbidden", ProviderError, 6),
        (413, "body_too_large", UsageError, 2),
        (500, "bug", SkillFleetError, 1),
        (502, "provider", ProviderError, 6),
    ],
)
def test_a_refusal_is_the_error_that_it_is_here(scripted, clock, status, code, kind, exit_code):
    scripted.will(*[problem(status, code, "It is so.", "Do that.")] * 4)
    with client(scripted, clock) as asking, pytest.raises(SkillFleetError) as caught:
        asking.status("x1")
    assert (type(caught.value), caught.value.exit_code) == (kind, exit_code)
    assert (caught.value.code, caught.value.message, caught.value.hint) == (code, "It is so.", "Do that.")


def test_a_finer_code_has_the_class_of_its_family(scripted, clock):
    document = {"status": 422, "code": "too_few_groups", "family": "data", "detail": "Too few.", "hint": ""}
    scripted.will(value(document, 422))
    with client(scripted, clock) as asking, pytest.raises(DataError) as caught:
        asking.start()
    assert (caught.value.code, caught.value.exit_code) == ("too_few_groups", 1)


def test_every_error_of_the_tree_comes_back_as_itself():
    def tree(kind):
        yield kind
        for child in kind.__subclasses__():
            yield from tree(child)

    for kind in tree(SkillFleetError):
        if kind.__module__ == errors.__name__ and kind is not errors.UnknownName:
            assert type(error_from(kind.code, "So.")) is kind


@pytest.mark.parametrize(
    "answer",
    [text("<html>"), text("[]"), value({"status": "fine"}), value(None)],
    ids=["page", "list", "other", "null"],
)
def test_another_kind_of_server_is_named_as_such(scripted, clock, answer):
    scripted.will(answer)
    with client(scripted, clock) as asking, pytest.raises(ProviderError) as caught:
        asking.status("x1")
    assert caught.value.code == "unreadable_answer"


@pytest.mark.parametrize("status", [301, 403, 404, 500, 501])
@pytest.mark.parametrize("body", ["<html>No</html>", '{"detail": "Not Found"}', '{"code": 5, "title": "x"}'])
def test_who_refuses_in_other_words_is_no_skill_fleet_server(scripted, clock, status, body):
    scripted.will(text(body, status), text(body, status))
    with client(scripted, clock) as asking:
        for ask in (lambda: asking.status("x1"), lambda: next(asking.events("x1"))):
            with pytest.raises(ProviderError) as caught:
                ask()
            assert caught.value.message == (
                f"The server {scripted.url} is no skill-fleet server: it answered {status}."
            )
            assert caught.value.hint.endswith("of the server alone, such as http://127.0.0.1:8000.")
            assert caught.value.code == "other_server"


@pytest.mark.parametrize("found", [[], {}, {"jobs": []}, 7])
def test_another_servers_list_is_not_read(scripted, clock, found):
    for ask in ("jobs", "optimizers", "config"):
        scripted.will(value(found if ask != "config" else [found]))
        with client(scripted, clock) as asking, pytest.raises(ProviderError, match=scripted.url):
            getattr(asking, ask)()


def test_something_that_stands_before_a_server_that_is_away(scripted, clock):
    scripted.will(*[text("<html>Bad gateway</html>", 502)] * 4)
    with client(scripted, clock) as asking, pytest.raises(ProviderError, match=r"cannot answer now \(502\)"):
        asking.status("x1")


def test_an_address_with_the_prefix_is_that_of_the_server(scripted, clock):
    for ending in ("/api/v2", "/api/v2/", "/", ""):
        scripted.will(value({"optimizers": []}))
        with Client(scripted.url + ending, clock=clock) as asking:
            assert asking.url == scripted.url
            assert asking.optimizers() == []
    assert {asked.path for asked in scripted.asked} == {"/api/v2/optimization/optimizers"}


def test_a_call_that_the_server_does_not_know_is_about_its_address(scripted, clock):
    scripted.will(problem(404, "no_route", "There is nothing at this address.", "See /openapi.json."))
    with client(scripted, clock) as asking, pytest.raises(ProviderError) as caught:
        asking.status("x1")
    assert scripted.url in caught.value.message
    assert "openapi" not in caught.value.hint


def test_names_are_one_part_of_the_address(scripted, clock):
    scripted.will(problem(404, "not_found", "No."), problem(404, "not_found", "No."))
    with client(scripted, clock) as asking:
        for name in ("../../metrics", "a/b?x#y"):
            with pytest.raises(NotFound):
                asking.status(name)
        for name in ("", ".", ".."):
            with pytest.raises(NotFound):
                asking.status(name)
    paths = [asked.path for asked in scripted.asked]
    assert paths == [
        "/api/v2/optimization/status/..%2F..%2Fmetrics",
        "/api/v2/optimization/status/a%2Fb%3Fx%23y",
    ]


def test_a_redirect_is_not_followed_with_the_key(scripted, clock):
    scripted.will(text("", 307))
    with client(scripted, clock, key=KEY) as asking, pytest.raises(SkillFleetError):
        asking.status("x1")
    assert len(scripted.asked) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1:8000",
        "http://service.example:8000",
        "http://127.0.0.1.example",
        "http://localhost.example",
    ],
)
def test_a_key_does_not_go_over_the_network_in_the_clear(url):
    with pytest.raises(UsageError) as caught:
        Client(url, KEY)
    assert caught.value.code == "plain_http"
    assert KEY not in str(caught.value)
    Client(url).close()
    Client(url, KEY, plain_http=True).close()
    Client(url.replace("http:", "https:"), KEY).close()


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "http://127.8.8.8:1"]
)
def test_a_key_may_go_to_this_machine(url):
    Client(url, KEY).close()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8000",
        "ftp://127.0.0.1",
        "http://",
        f"http://user:{KEY}@127.0.0.1",
        "http://h?x=1",
        "http://[::1",
    ],
)
def test_what_is_no_address_is_refused_without_being_repeated(url):
    with pytest.raises(UsageError) as caught:
        Client(url)
    assert KEY not in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("key", ["", "sf_a b", "sf_\n", "sf_ü", "sf_\r\nX: y"])
def test_what_is_no_key_is_refused_without_being_repeated(key):
    with pytest.raises(UsageError) as caught:
        Client("http://127.0.0.1:1", key)
    assert caught.value.code == "key"


def test_the_key_is_sent_and_shown_nowhere(scripted, clock, caplog):
    scripted.will(problem(401, "unauthorized", "A good key is needed."))
    with caplog.at_level(logging.DEBUG), client(scripted, clock, key=KEY) as asking:
        with pytest.raises(ProviderError) as caught:
            asking.status("x1")
        shown = f"{asking!r} {asking._calls!r} {caught.value!r} {caught.value.hint}"
    assert scripted.asked[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in shown
    assert KEY not in caplog.text


def test_no_proxy_stands_between_a_machine_and_itself(scripted, clock, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    scripted.will(value(JOB))
    with client(scripted, clock) as asking:
        assert asking.status("x1").status == "running"


def test_what_json_has_not_is_refused_before_it_is_sent(scripted, clock):
    with client(scripted, clock) as asking:
        for wrong in (float("nan"), object()):
            with pytest.raises(UsageError):
                asking.start(metadata={"x": wrong})
    assert not scripted.asked


def test_a_delete_says_whether_the_job_is_gone(scripted, clock):
    scripted.will(
        value({"job_id": "x1", "status": "cancelling"}, 202), lambda handler: handler.reply(204, b"")
    )
    with client(scripted, clock) as asking:
        assert asking.delete("x1") is False
        assert asking.delete("x1") is True


def test_all_jobs_are_read_page_by_page(scripted, clock):
    page = [{**JOB, "job_id": f"j{number}"} for number in range(3)]
    scripted.will(
        value({"jobs": page[:2], "next_cursor": "a b"}), value({"jobs": page[2:], "next_cursor": None})
    )
    with client(scripted, clock) as asking:
        found = [job.job_id for job in asking.all_jobs(statuses=("queued", "running"), kind="creation")]
    assert found == ["j0", "j1", "j2"]
    first, second = (asked.path for asked in scripted.asked)
    assert first.endswith("/jobs?status=queued&status=running&kind=creation&limit=100")
    assert second.endswith(("&cursor=a%20b", "&cursor=a+b"))


def test_what_can_be_asked_for_is_what_the_service_takes():
    from skill_fleet.services.job_requests import BudgetBody, CreationBody, OptimizationBody

    assert typing.get_type_hints(Optimization).keys() == OptimizationBody.model_fields.keys()
    assert typing.get_type_hints(Creation).keys() | {"task"} == CreationBody.model_fields.keys()
    budget = typing.get_type_hints(Optimization)["budget"]
    assert typing.get_type_hints(budget).keys() == BudgetBody.model_fields.keys()


def test_a_job_has_the_fields_that_the_service_answers():
    import dataclasses

    from skill_fleet.api.job_schemas import Event as EventAnswer
    from skill_fleet.api.job_schemas import JobView
    from skill_fleet.client import Event, Job

    own = {field.name for field in dataclasses.fields(Job)} - {"document"}
    assert own == JobView.model_fields.keys() - {"links"}
    assert {field.name for field in dataclasses.fields(Event)} == EventAnswer.model_fields.keys()
