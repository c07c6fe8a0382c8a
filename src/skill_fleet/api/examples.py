"""What requests and answers look like, for OpenAPI."""

from typing import Any

JOB_ID = "20260115-093000-3f9c1e07ab"
_JOB = f"/api/v2/optimization/jobs/{JOB_ID}"

START_BODY: dict[str, Any] = {
    "optimizer": "miprov2",
    "training_paths": ["technical_skills/programming/web_frameworks/python/fastapi"],
    "auto": "medium",
    "max_bootstrapped_demos": 4,
    "max_labeled_demos": 4,
    "save_path": "skill_creator_optimized.json",
}
RESUME_BODY: dict[str, Any] = {"budget": {"max_cost": 5.0}}
CREATE_BODY: dict[str, Any] = {"task": "Create a skill for asynchronous Python", "best_of": 2}
_NAMED = dict[str, Any]
START_EXAMPLES: _NAMED = {"from the library": {"summary": "From skills of the library", "value": START_BODY}}
RESUME_EXAMPLES: _NAMED = {"with a higher cap": {"summary": "With a higher cap", "value": RESUME_BODY}}
CREATE_EXAMPLES: _NAMED = {"the better of two": {"summary": "The better of two drafts", "value": CREATE_BODY}}
EVALUATE_BODY: dict[str, Any] = {"path": "technical_skills/programming/python/async"}
CONTENT_BODY: dict[str, Any] = {
    "content": "---\nname: make-coffee\ndescription: Makes filter coffee. Use when somebody asks for coffee."
    "\n---\n\n# Coffee\n\n## Overview\n\nGrind 60 g of beans for each litre of water.\n",
    "name": "make-coffee",
}
BATCH_BODY: dict[str, Any] = {"paths": ["technical_skills/programming", "communication"]}
VALIDATE_BODY: dict[str, Any] = {"path": "technical_skills/programming/python/async", "profile": "claude"}

LINKS: dict[str, str] = {
    "self": f"/api/v2/optimization/status/{JOB_ID}",
    "events": f"{_JOB}/events",
    "result": f"{_JOB}/result",
    "report": f"{_JOB}/report",
    "cancel": f"{_JOB}/cancel",
    "pause": f"{_JOB}/pause",
    "resume": f"{_JOB}/resume",
}
STARTED: dict[str, Any] = {
    "job_id": JOB_ID,
    "status": "queued",
    "message": "Waiting for a worker.",
    "links": LINKS,
}
JOB: dict[str, Any] = {
    "job_id": JOB_ID,
    "kind": "optimization",
    "status": "running",
    "progress": 0.5,
    "message": "Running miprov2 optimization...",
    "result": None,
    "error": None,
    "estimated_finish": "2026-01-15T09:42:00Z",
    "created_at": "2026-01-15T09:30:00Z",
    "started_at": "2026-01-15T09:30:01Z",
    "finished_at": None,
    "updated_at": "2026-01-15T09:36:00Z",
    "attempt": 1,
    "crashes": 0,
    "deaths": 0,
    "cost": {
        "calls": 120,
        "possibly_billed": 0,
        "usd": 0.31,
        "usd_range": [0.31, 0.31],
        "usd_unknown_calls": 0,
    },
    "budget": {"max_cost": 2.0, "max_calls": None, "max_tokens": None, "max_minutes": 30.0},
    "metadata": {},
    "simulated": False,
    "links": LINKS,
}
JOB_SUMMARY: dict[str, Any] = {name: value for name, value in JOB.items() if name != "result"}
EVENT: dict[str, Any] = {
    "number": 7,
    "at": "2026-01-15T09:31:00Z",
    "kind": "status",
    "data": {"status": "running"},
}
EVENT_STREAM = (
    'retry: 1000\n\nid: 7\nevent: status\ndata: {"number":7,"at":"2026-01-15T09:31:00Z","kind":"status",'
    '"data":{"status":"succeeded"}}\n\nevent: end\ndata: {"job_id":"…","status":"succeeded"}\n\n'
)
