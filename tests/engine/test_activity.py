"""What a node does is told by its activity, and is there after its end. One node, a life and the next one."""

from typing import Any

from tests.engine.conftest import Environment
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until


async def activity(one: NodeProcess, **params: Any) -> list[dict[str, Any]]:
    """All events, oldest first."""
    answer = (await one.api.get("/api/v1/activity", params={"limit": 200, "after": "0", **params})).raise_for_status()
    told = answer.json()
    assert (told["complete"], told["missing"]) == (True, [])
    events: list[dict[str, Any]] = told["events"]
    return events


async def happened(one: NodeProcess, kind: str, **fields: Any) -> dict[str, Any]:
    """The first event of this kind with these fields, once it is there."""

    async def found() -> dict[str, Any] | None:
        events = await activity(one, kind=kind)
        return next((event for event in events if event["fields"].items() >= fields.items()), None)

    event: dict[str, Any] | None = await wait_until(found, message=f"{kind} {fields}")
    assert event is not None
    return event


async def test_a_node_tells_what_becomes_of_its_jobs_and_workers_and_what_it_said_outlives_it(
    environment: Environment,
) -> None:
    async with node(environment, start=False) as one:
        await one.start()
        await happened(one, "node.started", url=one.url)
        await happened(one, "office.active", epoch=1)
        worker = (await happened(one, "worker.started", solo=False))["fields"]

        again = await one.submit("fail", {"times": 1}, max_retries=1, queue="mail")
        retried = await happened(one, "job.retried", job=again)
        assert retried["severity"] == "warning"
        assert retried["fields"].items() >= {"type": "fail", "queue": "mail", "attempt": 1, "outcome": "failed"}.items()

        dead = await one.submit("fail", {"times": 9, "message": "the word"}, max_retries=0)
        ended = await happened(one, "job.dead", job=dead)
        assert "the word" not in str(ended)

        later = await one.submit("echo", delay=3600)
        await one.api.post(f"/api/v1/jobs/{later}/cancel")
        await happened(one, "job.cancelled", job=later, worker=None)
        await one.api.post(f"/api/v1/jobs/{later}/retry")
        await happened(one, "job.requeued", job=later)
        await one.wait(later)
        await one.api.delete(f"/api/v1/jobs/{later}")
        await happened(one, "job.deleted", job=later)
        await one.api.post("/api/v1/dead/requeue", json={"ids": [dead]})
        await happened(one, "jobs.requeued", count=1)
        await one.wait(dead)
        await one.api.post("/api/v1/dead/purge", json={"all": True})
        await happened(one, "jobs.purged", count=1)

        crashed = await one.submit("crash", {"how": "kill", "times": 1})
        lost = await happened(one, "worker.lost", worker=worker["worker"])
        assert (lost["fields"]["why"], lost["fields"]["running"]) == ("ended by SIGKILL", 1)
        await happened(one, "worker.closed", worker=worker["worker"])
        await happened(one, "jobs.recovered", count=1)
        await one.wait(crashed)

        assert await one.stop() == 0
        await one.start()
        await happened(one, "node.stopping")
        await happened(one, "node.stopped")
        # What is counted is told at the latest when its node ends; a process that is killed may take some with it.
        assert sum(event["fields"]["count"] for event in await activity(one, kind="jobs.completed")) >= 1
        events = await activity(one)
        # Of each start, every event, in order.
        for boot in (1, 2):
            numbers = [int(event["id"].split(":")[2]) for event in events if event["id"].startswith(f"n1:{boot}:")]
            assert numbers == list(range(1, len(numbers) + 1))
        assert [int(event["cursor"]) for event in events] == list(range(1, len(events) + 1))
