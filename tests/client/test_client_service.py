"""The client against the real service, over a socket."""

import json

import pytest

from running_service import Running, serving, small_trainset, spawned
from skill_fleet.client import Client
from skill_fleet.foundation.errors import (
    IdempotencyConflict,
    NotFound,
    ProviderError,
    StateConflict,
    UsageError,
)

SMALL = {"optimizer": "labeled_few_shot", "rounds": 1, "num_threads": 2}


@pytest.fixture
def client(service: Running):
    with Client(service.url) as opened:
        yield opened


@pytest.fixture
def queued(still: Running):
    """A client of a service where nothing is done."""
    with Client(still.url) as opened:
        yield opened


def test_a_job_from_its_start_to_its_removal(client):
    started = client.start(**SMALL, trainset=small_trainset(), metadata={"commit": "abc"})
    assert started.status == "queued"
    seen = list(client.events(started.job_id))
    assert [event.number for event in seen] == list(range(1, len(seen) + 1))
    assert [seen[0].kind, seen[1].kind, seen[-1].kind] == ["queued", "taken_up", "status"]
    assert seen == list(client.events_so_far(started.job_id))
    assert [event.number for event in client.events(started.job_id, after=3)] == [
        event.number for event in seen[3:]
    ]
    job = client.wait(started.job_id)
    assert (job.status, job.progress, job.metadata, job.simulated) == (
        "succeeded",
        1.0,
        {"commit": "abc"},
        True,
    )
    result = client.result(started.job_id)
    assert (result["run_id"], result["status"]) == (started.job_id, "succeeded")
    assert job.cost["calls"] == result["calls"]["made"]
    assert started.job_id in client.report(started.job_id)
    assert client.delete(started.job_id)
    assert client.delete(started.job_id)
    with pytest.raises(NotFound):
        client.status(started.job_id)


def test_what_is_refused_is_refused_in_the_words_of_the_terminal(client):
    with pytest.raises(UsageError) as caught:
        client.start(optimizer="gepal")
    assert (caught.value.code, caught.value.exit_code) == ("unknown_name", 2)
    assert caught.value.message == "There is no optimizer named 'gepal'."
    assert caught.value.hint == "Did you mean 'gepa'?"
    with pytest.raises(UsageError, match="roundz"):
        client.start(roundz=1)


def test_what_is_asked_without_a_job(client):
    assert client.estimate(**SMALL)["calls"][0] > 0
    assert client.recommend()["optimizer"]
    assert {"gepa", "miprov2"} <= {one["name"] for one in client.optimizers()}
    assert client.config()
    page = client.skills(limit=2)
    path = page["skills"][0]["path"]
    assert len(page["skills"]) == 2
    assert client.skill(path)["path"] == path
    assert client.validate(path=path)["valid"] is True
    assert client.validate(content="nothing")["valid"] is False
    assert 0 < client.evaluate(path)["mean"] <= 1
    content = client.skill(path)["content"]
    assert client.evaluate_content(content)["skills"][0]["quality"] > 0
    assert len(client.evaluate_batch([path])["skills"]) == 1
    assert client.metrics_info()["components"]


def test_the_verbs_of_a_job_that_waits(queued):
    job_id = queued.start(**SMALL).job_id
    assert queued.pause(job_id).status == "paused"
    assert queued.pause(job_id).status == "paused"
    resumed = queued.resume(job_id, budget={"max_calls": 7})
    assert (resumed.status, resumed.attempt, resumed.budget["max_calls"]) == ("queued", 2, 7)
    with pytest.raises(StateConflict):
        queued.resume(job_id)
    assert queued.delete(job_id) is False
    assert queued.status(job_id).status == "cancelled"
    with pytest.raises(StateConflict):
        queued.pause(job_id)
    with pytest.raises(NotFound) as caught:
        queued.result(job_id)
    assert caught.value.code == "no_result"
    assert queued.delete(job_id) is True


def test_one_key_is_one_job(queued):
    first = queued.start(**SMALL, idempotency_key="deploy-7")
    assert queued.start(**SMALL, idempotency_key="deploy-7").job_id == first.job_id
    with pytest.raises(IdempotencyConflict):
        queued.start(**SMALL, seed=1, idempotency_key="deploy-7")


def test_a_skill_is_asked_for_as_a_job(queued):
    job = queued.status(queued.create_skill("Help us roll back a release", best_of=2).job_id)
    assert (job.kind, job.status) == ("creation", "queued")
    assert [one.job_id for one in queued.all_jobs(kind="creation", statuses=["queued"])] == [job.job_id]


def test_jobs_are_listed_page_by_page(queued):
    started = [queued.start(**SMALL, seed=seed).job_id for seed in range(3)]
    first = queued.jobs(limit=2)
    second = queued.jobs(limit=1, cursor=first.next_cursor)
    assert [job.job_id for job in (*first.jobs, *second.jobs)] == started[::-1]
    with pytest.raises(UsageError):
        queued.jobs(kind="creation", cursor=first.next_cursor)


def test_a_watcher_survives_a_restart_of_the_server(tmp_path):
    (tmp_path / "config").mkdir()
    running = serving(tmp_path)
    seen: list[int] = []
    restarted = False
    try:
        with Client(running.url) as client:
            job_id = client.start(**SMALL, trainset=small_trainset()).job_id
            for event in client.events(job_id):
                seen.append(event.number)
                if event.kind == "taken_up" and not restarted:
                    restarted = True
                    assert running.stop() == 0
                    running = running.again()
            assert client.status(job_id).status == "succeeded"
    finally:
        running.stop()
    assert seen == list(range(1, len(seen) + 1))


def test_who_has_no_key_is_not_let_in_and_nobody_sees_the_jobs_of_another(tmp_path):
    def key(name: str, *words: str) -> str:
        process = spawned(tmp_path, "keys", "create", name, "--json", *words)
        out, _ = process.communicate(timeout=60)
        return str(json.loads(out)["key"])

    ann, bob, boss = key("ann"), key("bob"), key("boss", "--scope", "admin")
    running = serving(tmp_path, "--no-worker")
    try:
        with Client(running.url) as client, pytest.raises(ProviderError) as caught:
            client.jobs()
        assert (caught.value.code, caught.value.exit_code) == ("unauthorized", 6)
        with (
            Client(running.url, ann) as of_ann,
            Client(running.url, bob) as of_bob,
            Client(running.url, boss) as all_,
        ):
            job_id = of_ann.start(**SMALL).job_id
            for ask in (of_bob.status, of_bob.cancel, of_bob.delete, lambda name: list(of_bob.events(name))):
                with pytest.raises(NotFound):
                    ask(job_id)
            assert of_bob.jobs().jobs == ()
            assert [job.job_id for job in all_.jobs().jobs] == [job_id]
            assert of_ann.status(job_id).status == "queued"
    finally:
        running.stop()
    assert ann not in (tmp_path / "stderr.txt").read_text()
