"""What a node's /stats and /activity say of a cluster with three queues and a little of everything."""

from typing import Any


def rate(short: float, long: float | None = None) -> dict[str, float]:
    return {"last_10s": short, "last_60s": short if long is None else long}


def rates(completed: float, submitted: float = 0.0, failed: float = 0.0) -> dict[str, Any]:
    none = rate(0.0)
    known = {"completed": rate(completed), "submitted": rate(submitted), "failed": rate(0.0, failed)}
    return {**known, "retried": none, "cancelled": none}


def spread(p50: float | None, p95: float | None, p99: float | None) -> dict[str, Any]:
    return {"count": 10, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99}


def queue(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "ready": 0,
        "delayed": 0,
        "held": 0,
        "parked": 0,
        "oldest_age_s": None,
        "rates": rates(0.0),
        "wait": spread(1.0, 2.0, 3.0),
        "processing": spread(None, None, None),
        **more,
    }


def node(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "age_s": 0.5,
        "active": False,
        "workers": 1,
        "slots": 10,
        "busy": 2,
        "worker_deaths": 0,
        "loop_lag_ms": 2.5,
        "uptime_s": 4211.7,
        "rates": rates(7.0, 3.0),
        **more,
    }


def figures() -> dict[str, Any]:
    """`figures` of /stats."""
    return {
        "rates": rates(41.5, 42.0),
        "wait": spread(3.1, 8.8, 21.5),
        "processing": spread(1.7, 4.9, 9.6),
        "lateness": spread(1.5, 2.4, 2.5),
        "queues": [
            queue("default", ready=120, oldest_age_s=3.2, rates=rates(1.0)),
            queue("mail", ready=7, oldest_age_s=93.0, rates=rates(30.0)),
            queue("q10", ready=1, parked=3),
        ],
        "nodes": [node("n1", active=True, busy=9), node("n2", worker_deaths=4, loop_lag_ms=1000.0)],
        "missing": [],
        "depth_age_s": 0.4,
    }


def activity() -> dict[str, Any]:
    """An answer of /activity: 40 events, the newest last."""
    events = [
        {
            "id": f"n1:1:{number}",
            "cursor": str(number),
            "at": f"2026-11-22T12:00:{number:02}.000Z",
            "node": "n1",
            "kind": "job.dead" if number == 40 else "office.taken",
            "severity": "error" if number == 40 else "info",
            "fields": {"epoch": number, "text": "a\x1b[31mb"},
        }
        for number in range(1, 41)
    ]
    return {"events": events, "next": "40", "complete": True, "missing": []}
