"""The examples in OpenAPI. A test holds each against its schema, so that what people copy works."""

from __future__ import annotations

from typing import Any, Final

ID: Final = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"
_CREATED: Final = "2025-10-02T08:15:30.123Z"
_STARTED: Final = "2025-10-02T08:15:30.131Z"
_ENDED: Final = "2025-10-02T08:15:30.492Z"

_EMAIL: Final = {"to": "user@example.com", "subject": "Hello"}
SUBMISSIONS: Final[dict[str, Any]] = {
    "now": {"type": "email", "payload": _EMAIL},
    "later": {
        "type": "email",
        "payload": _EMAIL,
        "queue": "mail",
        "priority": "high",
        "delay": 60,
        "tags": ["welcome"],
    },
    "at a time": {"type": "word-count", "payload": {"path": "texts"}, "scheduled_at": "2030-01-01T06:00:00Z"},
    "with limits": {"type": "echo", "payload": {"n": 1}, "priority": 10, "max_retries": 5, "timeout": 30},
}
BATCH: Final[dict[str, Any]] = {
    "two jobs": {"jobs": [{"type": "echo", "payload": {"n": 1}}, {"type": "echo", "payload": {"n": 2}, "priority": 0}]}
}
SELECTIONS: Final[dict[str, Any]] = {
    "by id": {"ids": [ID]},
    "by type and queue": {"type": "email", "queue": "mail"},
    "every one": {"all": True},
}

JOB: Final[dict[str, Any]] = {
    "id": ID,
    "type": "email",
    "queue": "default",
    "status": "pending",
    "priority": 5,
    "payload": _EMAIL,
    "result": None,
    "error": None,
    "attempt": 1,
    "failures": 0,
    "crashes": 0,
    "max_retries": None,
    "timeout": None,
    "progress": None,
    "tags": [],
    "idempotency_key": None,
    "scope": "anonymous",
    "request_id": "9f86d081884c7d65",
    "traceparent": None,
    "node": None,
    "scheduled_at": None,
    "expires_at": None,
    "created_at": _CREATED,
    "updated_at": _CREATED,
    "started_at": None,
    "completed_at": None,
    "history": [],
    "logs": [],
}
_RAN: Final[dict[str, Any]] = {"node": "node-1", "updated_at": _ENDED, "started_at": _STARTED, "completed_at": _ENDED}
_ATTEMPT: Final = {
    "attempt": 1,
    "node": "node-1",
    "worker": "node-1.w0~5f0c9a7e21b3d844",
    "started_at": _STARTED,
    "ended_at": _ENDED,
}
JOB_DONE: Final[dict[str, Any]] = {
    **JOB,
    **_RAN,
    "status": "completed",
    "result": {"accepted": True},
    "history": [{**_ATTEMPT, "outcome": "completed"}],
}
JOB_FAILED: Final[dict[str, Any]] = {
    **JOB,
    **_RAN,
    "status": "failed",
    "failures": 1,
    "error": {"type": "Reject", "message": "no such mailbox", "traceback": "Traceback …"},
    "history": [{**_ATTEMPT, "outcome": "failed", "error": "Reject: no such mailbox"}],
}

_COUNTERS: Final[dict[str, Any]] = {
    "submitted": 20541,
    "taken": 20437,
    "completed": 20417,
    "failed": 3,
    "retried": 1,
    "cancelled": 0,
    "stale": 0,
}
_RATES: Final[dict[str, Any]] = {
    "submitted": {"last_10s": 42.0, "last_60s": 40.5},
    "completed": {"last_10s": 41.5, "last_60s": 41.2},
    "failed": {"last_10s": 0.0, "last_60s": 0.05},
    "retried": {"last_10s": 0.0, "last_60s": 0.02},
    "cancelled": {"last_10s": 0.0, "last_60s": 0.0},
}
STATS: Final[dict[str, Any]] = {
    "jobs": {
        "scheduled": 4,
        "pending": 120,
        "running": 16,
        "retrying": 1,
        "completed": 20417,
        "failed": 3,
        "cancelled": 0,
    },
    "queue": {"ready": 120, "delayed": 5, "held": 16, "parked": {"resize-image": 2}},
    "node": {"id": "node-1", "is_leader": True, "strategy": "least_loaded"},
    "figures": {
        "counters": _COUNTERS,
        "rates": _RATES,
        "wait": {"count": 2480, "p50_ms": 3.1, "p95_ms": 8.8, "p99_ms": 21.5},
        "processing": {"count": 2480, "p50_ms": 1.7, "p95_ms": 4.9, "p99_ms": 9.6},
        "lateness": {"count": 12, "p50_ms": 1.5, "p95_ms": 2.4, "p99_ms": 2.5},
        "queues": [
            {
                "name": "default",
                "ready": 120,
                "delayed": 5,
                "held": 16,
                "parked": 2,
                "oldest_age_s": 3.2,
                "rates": _RATES,
                "wait": {"count": 2480, "p50_ms": 3.1, "p95_ms": 8.8, "p99_ms": 21.5},
                "processing": {"count": 2480, "p50_ms": 1.7, "p95_ms": 4.9, "p99_ms": 9.6},
            }
        ],
        "nodes": [
            {
                "id": "node-1",
                "age_s": 0.0,
                "active": True,
                "workers": 1,
                "slots": 16,
                "busy": 16,
                "worker_deaths": 0,
                "loop_lag_ms": 2.5,
                "uptime_s": 4211.7,
                "counters": _COUNTERS,
                "rates": _RATES,
            }
        ],
        "missing": [],
        "depth_age_s": 1.4,
    },
}
WORKER: Final[dict[str, Any]] = {
    "id": "node-1.w0~5f0c9a7e21b3d844",
    "node": "node-1",
    "pid": 4242,
    "slots": 16,
    "held": 16,
    "solo": False,
    "types": ["echo", "email"],
    "started_at": _CREATED,
}
TYPE: Final[dict[str, Any]] = {
    "type": "email",
    "description": "Send a mail.",
    "schema": {
        "type": "object",
        "properties": {
            "to": {"type": "string", "description": "Who gets it."},
            "subject": {"type": "string"},
            "body": {"type": "string", "default": ""},
        },
        "required": ["to", "subject"],
        "additionalProperties": False,
    },
    "max_retries": 5,
    "timeout": 60.0,
    "nodes": ["node-1"],
    "differing": [],
}
NODE: Final[dict[str, Any]] = {
    "id": "node-1",
    "incarnation": "node-1~9e3f5d1c0b7a2846",
    "url": "http://127.0.0.1:8080",
    "version": "0.1.0",
    "alive": True,
    "is_leader": True,
    "slots": 16,
    "held": 16,
    "strategy": "least_loaded",
    "started_at": _CREATED,
}
LEADER: Final[dict[str, Any]] = {"leader_id": "node-1", "epoch": 7, "generation": 2, "url": "http://127.0.0.1:8080"}
MEMBERS: Final[list[dict[str, Any]]] = [
    {
        "id": f"node-{i}",
        "health": "alive",
        "incarnation": 0,
        "address": f"127.0.0.1:{7945 + i}",
        "rank": None,
        "fit": True,
        "voter": True,
        "url": f"http://127.0.0.1:{8079 + i}",
        "version": "0.1.0",
        "slots": 16,
        "load": 16,
        "types": ["echo", "email"],
    }
    for i in (1, 2, 3)
]
ELECTION: Final[dict[str, Any]] = {
    "node_id": "node-1",
    "current_algorithm": "raft",
    "supported_algorithms": ["solo", "bully", "raft", "gossip"],
    "role": "leader",
    "is_leader": True,
    "active": True,
    "leader_id": "node-1",
    "term": 4,
    "epoch": 7,
    "members": MEMBERS,
    "last_changes": [{"at": _CREATED, "what": "won", "leader": "node-1", "term": 4, "reason": ""}],
    "traffic": {"datagrams_out": 4711, "datagrams_in": 4690},
}
STEP_DOWNS: Final[dict[str, Any]] = {"for the default time": {}, "for a minute": {"pause": 60}}
STEPPED_DOWN: Final[dict[str, Any]] = {
    **ELECTION,
    "role": "resigned",
    "is_leader": False,
    "active": False,
    "leader_id": None,
}
CLUSTER: Final[dict[str, Any]] = {
    "cluster_id": "hegemon",
    "version": "0.1.0",
    "node_id": "node-1",
    "algorithm": "raft",
    "strategy": "least_loaded",
    "generation": 2,
    "leader_id": "node-1",
    "epoch": 7,
    "node_count": 3,
    "members": MEMBERS,
}
HEALTH_LIVE: Final[dict[str, Any]] = {"ok": True, "parts": {"claim loop": "ok"}}
HEALTH_READY: Final[dict[str, Any]] = {"ok": True, "parts": {"mongodb": "ok", "redis": "ok", "index": "ok"}}
HEALTH: Final[dict[str, Any]] = {"ok": True, "version": "0.1.0", "live": HEALTH_LIVE, "ready": HEALTH_READY}
PROBLEM_KIND: Final[dict[str, Any]] = {
    "code": "job_not_found",
    "status": 404,
    "title": "No such job",
    "explanation": "There is no job with this id: it never was, or it was removed.",
}
