import asyncio
from typing import Any

import httpx
import pytest

from hegemon.api.app import create_app
from hegemon.cluster.ports import Health
from tests.api.conftest import METRICS, VERSION
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode

STARTED = "2025-10-09T08:53:20.000Z"


def test_stats_count_every_status(http: httpx.Client, job_id: str) -> None:
    stats = http.get("/api/v1/stats").json()
    assert stats["jobs"]["pending"] == 1
    assert len(stats["jobs"]) == 7
    assert stats["queue"] == {"ready": 1, "delayed": 2, "held": 3, "parked": {"resize": 4}}
    assert stats["node"] == {"id": "n1", "is_leader": True, "strategy": "least_loaded"}


@pytest.mark.parametrize(("path", "some"), [
    ("workers", {"workers": [{"id": "n1.w0~1", "pid": 42, "types": ["echo"], "started_at": STARTED}]}),
    ("nodes", {"nodes": [{"id": "n1", "alive": True, "started_at": STARTED}]}),
    ("leader", {"leader_id": None, "epoch": 7, "generation": 2}),
    ("election", {"current_algorithm": "gossip", "last_changes": [{"at": STARTED, "leader": "n1"}]}),
    ("cluster", {"cluster_id": "c", "node_id": "n1", "leader_id": "n1", "epoch": 7, "node_count": 1}),
])  # fmt: skip
def test_the_cluster_is_shown_with_times_as_text(http: httpx.Client, path: str, some: dict[str, Any]) -> None:
    answer = http.get(f"/api/v1/{path}")
    assert answer.status_code == 200
    body = answer.json()
    for name, value in some.items():
        if isinstance(value, list):
            assert [one | {**want} for one, want in zip(body[name], value, strict=True)] == body[name]
        else:
            assert body[name] == value


def test_types_are_shown_with_their_schema_or_as_not_told_yet(http: httpx.Client) -> None:
    bare, echo = http.get("/api/v1/types").json()["types"]
    assert (bare["type"], bare["schema"], bare["description"], bare["timeout"]) == ("bare", None, "", None)
    assert (echo["type"], echo["schema"]["required"], echo["timeout"]) == ("echo", ["text"], 1.5)
    assert (echo["nodes"], echo["differing"]) == (["n1", "n2"], ["n2"])


def test_a_healthy_node_says_so(http: httpx.Client, node: MemoryNode) -> None:
    assert http.get("/livez").json() == {"ok": True, "parts": {"claim loop": "ok"}}
    assert http.get("/readyz?cache=no").json() == {"ok": True, "parts": {"mongodb": "ok"}}
    both = http.get("/health").json()
    assert (both["ok"], both["version"]) == (True, VERSION)


def test_a_node_without_a_store_is_live_but_not_ready(http: httpx.Client, node: MemoryNode) -> None:
    parts = {"mongodb": "does not answer", "redis": "ok"}
    node.health["ready"] = Health(False, parts)
    assert http.get("/livez").status_code == 200
    body = assert_problem(http.get("/readyz"), 503, "not_ready")
    assert (body["ok"], body["parts"], body["detail"]) == (False, parts, "mongodb: does not answer")
    response = http.get("/health")
    assert response.headers["retry-after"] == "1"
    body = assert_problem(response, 503, "not_ready")
    assert (body["live"]["ok"], body["ready"]["ok"], body["version"]) == (True, False, VERSION)


def test_a_node_whose_loops_stand_still_is_not_live(http: httpx.Client, node: MemoryNode) -> None:
    node.health["live"] = Health(False, {"claim loop": "has not turned for 12 s"})
    assert_problem(http.get("/livez"), 503, "not_live")
    assert_problem(http.get("/health"), 503, "not_live")


def test_metrics_come_as_text(http: httpx.Client, node: MemoryNode) -> None:
    answer = http.get("/metrics")
    assert answer.content == METRICS
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_metrics_that_are_off_are_not_there() -> None:
    node = MemoryNode()
    app = create_app(node, node, version=VERSION, request_bytes_max=1000, metrics=None)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://node") as client:
            return await client.get("/metrics")

    assert_problem(asyncio.run(ask()), 404, "not_found")


def test_every_problems_type_leads_to_its_meaning(http: httpx.Client) -> None:
    problem = http.get("/api/v1/jobs/nonsense").json()
    assert http.get(problem["type"]).json()["code"] == problem["code"] == "job_not_found"
    listed = [one["code"] for one in http.get("/problems").json()["problems"]]
    assert "queue_full" in listed
    assert_problem(http.get("/problems/nonsense"), 404, "not_found")
