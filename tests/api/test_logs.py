"""A node's log over HTTP: what is asked for is checked, and only admins may read it."""

import json
from typing import Any

import httpx
import pytest

from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode

LOGS = "/api/v1/logs"
JOB = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"


@pytest.fixture(autouse=True)
def _said(node: MemoryNode) -> None:
    for number in range(3):
        fields: dict[str, Any] = {"event": f"e{number}", "level": "info", "timestamp": "2026-11-23T12:00:00.000000Z"}
        node.ring.keep("info", json.dumps(fields))


def test_the_last_lines_are_told_with_where_to_go_on(http: httpx.Client, node: MemoryNode) -> None:
    said = http.get(LOGS, params={"limit": 2}).json()
    assert (said["node"], [line["event"] for line in said["lines"]], said["missed"]) == ("n1", ["e1", "e2"], 0)
    assert http.get(LOGS, params={"after": said["next"]}).json()["lines"] == []
    node.ring.keep("error", json.dumps({"event": "more", "job": JOB}))
    more = http.get(LOGS, params={"after": said["next"], "job": JOB, "level": "error"}).json()
    assert [line["event"] for line in more["lines"]] == ["more"]


@pytest.mark.parametrize(
    "params",
    [
        {"level": "loud"},
        {"job": "x"},
        {"request": "a b"},
        {"request": "x" * 65},
        {"grep": ""},
        {"grep": "x" * 201},
        {"since": "yesterday"},
        {"since": "2026-11-23T12:00:00"},
        {"since": "0001-01-01T00:00:00+23:00"},
        {"after": "4711"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "٣"},
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(http: httpx.Client, params: dict[str, str]) -> None:
    assert_problem(http.get(LOGS, params=params), 422, "invalid_parameter", next(iter(params)))


def test_a_request_goes_by_its_own_id_its_trace_or_a_new_one(http: httpx.Client, node: MemoryNode) -> None:
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    def submitted(**headers: str) -> tuple[str, Any]:
        answer = http.post("/api/v1/jobs", json={"type": "echo"}, headers=headers)
        return answer.headers["x-request-id"], http.get(f"/api/v1/jobs/{answer.json()['id']}").json()

    own, job = submitted(**{"x-request-id": "order-1", "traceparent": parent})
    assert (own, job["request_id"], job["traceparent"]) == ("order-1", "order-1", parent)
    traced, job = submitted(traceparent=parent)
    assert traced == job["request_id"] == parent[3:35]
    # What is malformed is as if it were not there.
    made, job = submitted(**{"x-request-id": "a b", "traceparent": parent.upper()})
    assert made == job["request_id"]
    assert (len(made), job["traceparent"]) == (16, None)
    refused = http.post("/api/v1/jobs", json={"type": 1}, headers={"x-request-id": "order-2"})
    assert refused.json()["request_id"] == "order-2"
