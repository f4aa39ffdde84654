"""What a node and its workers log is found by job and by request, on stderr and in the node's memory alike."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.nodes import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"HANDLERS": "examples.jobs,tests.handlers,tests.engine.talkative_handlers"}


async def lines(one: NodeProcess, **params: Any) -> list[dict[str, Any]]:
    """What the node remembers."""
    answer = (await one.api.get("/api/v1/logs", params={"limit": 1000, **params})).raise_for_status().json()
    found: list[dict[str, Any]] = answer["lines"]
    return found


async def line(one: NodeProcess, event: str, **params: Any) -> dict[str, Any]:
    """The first line of this name, once it is there."""

    async def found() -> dict[str, Any] | None:
        return next((said for said in await lines(one, **params) if said["event"] == event), None)

    said: dict[str, Any] | None = await wait_until(found, message=f"the line {event} {params}")
    assert said is not None
    return said


async def submitted(one: NodeProcess, type_: str, payload: dict[str, Any], **headers: str) -> dict[str, Any]:
    answer = await one.api.post("/api/v1/jobs", json={"type": type_, "payload": payload}, headers=headers)
    assert answer.status_code == 201, answer.text
    return {"id": answer.json()["id"], "request_id": answer.headers["x-request-id"]}


async def test_a_handlers_own_lines_name_their_job_attempt_request_worker_and_node(shared: NodeProcess) -> None:
    made = await submitted(shared, "talk", {"word": "hello"}, **{"X-Request-ID": "order-4711"})
    job = await shared.wait(made["id"])
    assert job["request_id"] == job["result"]["request_id"] == "order-4711"
    for event in ("by logging: hello", "by_structlog"):
        said = await line(shared, event, request="order-4711")
        assert (said["job"], said["attempt"], said["node"]) == (made["id"], 1, "n1")
        assert said["worker"].startswith("n1.w0~")
    assert (await line(shared, "by_structlog", job=made["id"]))["word"] == "hello"
    # The same on stderr, for whoever collects that.
    written = [json.loads(text) for text in shared.log.splitlines() if made["id"] in text]
    assert {said["event"] for said in written} >= {"by logging: hello", "by_structlog"}
    assert {said["request_id"] for said in written} == {"order-4711"}


async def test_lines_of_a_thread_name_its_job_too(shared: NodeProcess) -> None:
    made = await submitted(shared, "talk-in-a-thread", {"word": "deep"})
    said = await line(shared, "in a thread: deep", job=made["id"])
    # Without a name of the caller's own the node makes one.
    assert said["request_id"] == made["request_id"]


async def test_a_failed_try_is_one_line_with_its_request(shared: NodeProcess) -> None:
    made = await submitted(shared, "talk", {"word": "bread", "fail": True})
    await shared.wait(made["id"])
    said = await line(shared, "job_retried", request=made["request_id"])
    assert (said["level"], said["job"], said["attempt"], said["error"]) == ("warning", made["id"], 1, "ConnectionError")
    # The words of the error are the handler's; they stand with the job.
    assert "no bread" not in json.dumps(said)
    attempts = [one["attempt"] for one in await lines(shared, job=made["id"]) if one["event"] == "by_structlog"]
    assert attempts == [1, 2]
    assert [one["event"] for one in await lines(shared, job=made["id"], level="warning")].count("job_retried") == 1


async def test_a_trace_without_a_request_id_names_the_request(shared: NodeProcess) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    made = await submitted(shared, "talk", {"word": "traced"}, traceparent=parent, tracestate="vendor=1")
    assert made["request_id"] == trace
    job = await shared.wait(made["id"])
    # With tracing off the context goes through all the same, and costs nothing else.
    assert job["traceparent"] == job["result"]["traceparent"] == parent


async def test_a_handler_that_talks_too_much_is_written_in_full_and_remembered_in_part(shared: NodeProcess) -> None:
    made = await submitted(shared, "chatter", {"lines": 3000})
    await shared.wait(made["id"])
    await wait_until(lambda: shared.log.count(made["id"]) >= 3000, message="all lines on stderr")
    left_out = await line(shared, "worker_lines_left_out")
    assert left_out["count"] > 0
    assert 0 < len(await lines(shared, job=made["id"])) < 3000


async def test_the_leaders_lines_carry_its_epoch_and_term(shared: NodeProcess) -> None:
    said = await line(shared, "leader_active", grep="leader_active")
    assert said["epoch"] == (await shared.api.get("/api/v1/leader")).json()["epoch"]
    assert "term" in said


async def test_secrets_are_masked_in_what_is_remembered(shared: NodeProcess) -> None:
    made = await submitted(shared, "talk", {"word": "redis://me:hunter2@host/0"})
    said = await line(shared, "by_structlog", job=made["id"])
    assert said["word"] == "redis://me:********@host/0"
    assert "hunter2" not in json.dumps(await lines(shared))
    assert "hunter2" not in shared.log
