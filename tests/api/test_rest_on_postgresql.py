"""The same over PostgreSQL: the routes of a job from its start to its removal, events among them."""

import contextlib
import json
import threading

from rest_server import client, events_of, make_workspace, opened, serving

BODY = {"optimizer": "labeled_few_shot", "seed": 3, "metadata": {"text": "é\u2028"}}


def test_a_job_from_start_to_removal(tmp_path, postgres_url):
    root = make_workspace(tmp_path / "workspace")
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(opened(root, SKILL_FLEET_DATABASE_URL=postgres_url))
        rest = stack.enter_context(client(stack.enter_context(serving(service))))
        assert "secret" not in rest.get("/optimization/config").text
        headers = {"Idempotency-Key": "once"}
        first, again = (rest.post("/optimization/start", json=BODY, headers=headers) for _ in range(2))
        assert (first.status_code, again.status_code) == (202, 202), first.text
        job_id = first.json()["job_id"]
        assert again.json()["job_id"] == job_id
        lease = service.jobs.claim(job_id, 1, "worker-1")
        told = []

        def listen():
            with rest.stream("GET", f"/optimization/jobs/{job_id}/events") as answer:
                told.extend(events_of(answer.iter_lines()))

        listening = threading.Thread(target=listen)
        listening.start()
        for n in range(20):
            service.jobs.append(lease, [("stage", {"n": n})])
        service.jobs.conclude(lease, "stopped", result={"n": 1}, error=None, message="A cap was met.")
        listening.join(20)
        assert [int(one["id"]) for one in told[:-1]] == [one.number for one in service.jobs.events(job_id)]
        assert json.loads(told[-1]["data"]) == {"job_id": job_id, "status": "stopped"}
        status = rest.get(f"/optimization/status/{job_id}")
        assert status.json()["metadata"] == BODY["metadata"]
        etag = {"If-None-Match": status.headers["etag"]}
        assert rest.get(f"/optimization/status/{job_id}", headers=etag).status_code == 304
        assert rest.get(f"/optimization/jobs/{job_id}/result").json() == {"n": 1}
        resumed = rest.post(f"/optimization/jobs/{job_id}/resume", json={"budget": {"max_cost": 2.5}})
        assert (resumed.json()["attempt"], resumed.json()["budget"]["max_cost"]) == (2, 2.5)
        assert rest.post(f"/optimization/jobs/{job_id}/pause").json()["status"] == "paused"
        assert [rest.delete(f"/optimization/jobs/{job_id}").status_code for _ in range(3)] == [
            202,
            204,
            204,
        ]
        assert rest.get("/optimization/jobs").json()["jobs"] == []
        assert rest.get(f"/optimization/jobs/{job_id}/events?after=0").status_code == 410
