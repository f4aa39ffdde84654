"""Cancelling in every state, dead letters and second chances, deletion. One shared node with two slots."""

import httpx
import pytest

from tests.engine.journal import Journal, documents
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {
    "HANDLERS": "examples.jobs,tests.handlers,tests.engine.more_handlers",
    "WORKER_COUNT": "2",
    "MAX_RETRIES": "0",
}


async def cancel(node: NodeProcess, job_id: str) -> httpx.Response:
    return await node.api.post(f"/api/v1/jobs/{job_id}/cancel")


async def occupy(node: NodeProcess, journal: Journal) -> list[str]:
    """Jobs that hold both slots until they are cancelled."""
    busy = [await node.submit("journaled", {"seconds": 3600}, priority=10) for _ in range(2)]
    await wait_until(lambda: all(journal.starts(job_id) for job_id in busy))
    return busy


async def idle(node: NodeProcess) -> None:
    """Nothing is left in the index."""

    async def empty() -> bool:
        queue = (await node.api.get("/api/v1/stats")).json()["queue"]
        return [queue["ready"], queue["delayed"], queue["held"]] == [0, 0, 0]

    await wait_until(empty)


async def test_a_job_for_later_is_cancelled_and_never_runs(shared: NodeProcess, shared_journal: Journal) -> None:
    job_id = await shared.submit("journaled", delay=3600)
    reply = await cancel(shared, job_id)
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
    # What is nowhere in the index cannot come to run.
    await idle(shared)
    assert shared_journal.starts(job_id) == []
    assert (await shared.job(job_id))["status"] == "cancelled"


async def test_a_job_that_waits_behind_busy_slots_is_cancelled_and_never_runs(
    shared: NodeProcess, shared_journal: Journal
) -> None:
    busy = await occupy(shared, shared_journal)
    waiting = [await shared.submit("journaled") for _ in range(4)]
    assert {(await cancel(shared, job_id)).json()["status"] for job_id in waiting[:2]} == {"cancelled"}
    for job_id in busy:
        await cancel(shared, job_id)
    for job_id in waiting[2:]:
        assert (await shared.wait(job_id))["status"] == "completed"
    assert [shared_journal.starts(job_id) for job_id in waiting[:2]] == [[], []]
    await idle(shared)


@pytest.mark.parametrize("type_", ["journaled", "patient-thread"])
async def test_a_running_job_is_cancelled_and_its_handler_told_at_once(
    shared: NodeProcess, shared_journal: Journal, gate: Gate, type_: str
) -> None:
    job_id = await shared.submit(type_, {"gate": gate.path})
    await wait_until(lambda: shared_journal.starts(job_id))
    assert (await cancel(shared, job_id)).json()["status"] == "cancelled"
    await idle(shared)
    assert shared_journal.ends(job_id) == []
    assert (await shared.job(job_id))["status"] == "cancelled"


async def test_a_thread_that_does_not_look_runs_to_its_end_for_nothing(
    shared: NodeProcess, shared_journal: Journal, gate: Gate
) -> None:
    job_id = await shared.submit("journaled-thread", {"gate": gate.path})
    await wait_until(lambda: shared_journal.starts(job_id))
    assert (await cancel(shared, job_id)).json()["status"] == "cancelled"
    gate.open()
    await wait_until(lambda: shared_journal.ends(job_id))
    await idle(shared)
    assert (await shared.job(job_id))["status"] == "cancelled"


async def test_a_job_between_two_tries_is_cancelled_and_not_tried_again(shared: NodeProcess) -> None:
    policy = {"kind": "fixed", "base_ms": 3_600_000, "max_ms": 3_600_000, "jitter": 0}
    job_id = await shared.submit("fail", {"times": 9}, max_retries=5, retry=policy)

    async def retrying() -> bool:
        return bool((await shared.job(job_id))["status"] == "retrying")

    await wait_until(retrying)
    assert (await cancel(shared, job_id)).json()["status"] == "cancelled"
    await idle(shared)
    job = await shared.job(job_id)
    assert (job["status"], job["failures"]) == ("cancelled", 1)


async def test_cancelling_what_has_ended_is_a_conflict_that_says_where_it_stands(shared: NodeProcess) -> None:
    done = await shared.submit("noop")
    await shared.wait(done)
    reply = await cancel(shared, done)
    assert (reply.status_code, reply.json()["job_status"]) == (409, "completed")
    unknown = await cancel(shared, "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "job_not_found")


async def test_cancelling_twice_is_no_second_cancellation(shared: NodeProcess) -> None:
    job_id = await shared.submit("noop", delay=3600)
    assert (await cancel(shared, job_id)).status_code == 200
    assert (await cancel(shared, job_id)).status_code == 409


@pytest.mark.parametrize("type_", ["journaled", "journaled-thread"])
async def test_a_job_cancelled_while_it_ran_can_be_run_again(
    shared: NodeProcess, shared_journal: Journal, gate: Gate, type_: str
) -> None:
    job_id = await shared.submit(type_, {"gate": gate.path})
    await wait_until(lambda: shared_journal.starts(job_id))
    assert (await cancel(shared, job_id)).json()["status"] == "cancelled"
    reply = await shared.api.post(f"/api/v1/jobs/{job_id}/retry")
    assert (reply.status_code, reply.json()["status"]) == (200, "pending")
    gate.open()
    job = await shared.wait(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    assert [line.attempt for line in shared_journal.starts(job_id)] == [1, 2]


async def test_a_dead_letter_runs_again_with_fresh_tries(shared: NodeProcess) -> None:
    job_id = await shared.submit("fail", {"times": 2}, max_retries=1)
    dead = await shared.wait(job_id)
    assert (dead["status"], dead["failures"]) == ("failed", 2)
    reply = await shared.api.post(f"/api/v1/jobs/{job_id}/retry")
    assert (reply.json()["status"], reply.json()["failures"], reply.json()["error"]) == ("pending", 0, None)
    again = await shared.wait(job_id)
    assert (again["status"], again["failures"], again["attempt"]) == ("failed", 2, 4)
    assert len(again["history"]) == 4


async def test_only_failed_and_cancelled_jobs_are_retried(shared: NodeProcess) -> None:
    done, later = await shared.submit("noop"), await shared.submit("noop", delay=3600)
    await shared.wait(done)
    for job_id, status in ((done, "completed"), (later, "scheduled")):
        reply = await shared.api.post(f"/api/v1/jobs/{job_id}/retry")
        assert (reply.status_code, reply.json()["job_status"]) == (409, status)
    await cancel(shared, later)


async def test_dead_letters_are_listed_requeued_and_purged_by_type_and_queue(shared: NodeProcess) -> None:
    ids = [await shared.submit("fail", {"times": 1}, queue="letters") for _ in range(3)]
    other = await shared.submit("picky", {"how": "reject"}, queue="letters")
    for job_id in [*ids, other]:
        assert (await shared.wait(job_id))["status"] == "failed"
    listed = (await shared.api.get("/api/v1/dead", params={"queue": "letters"})).json()["jobs"]
    assert [job["id"] for job in listed] == [other, *ids[::-1]]
    assert all(job["error"]["message"] for job in listed)
    reply = await shared.api.post("/api/v1/dead/requeue", json={"type": "fail", "queue": "letters"})
    assert reply.json() == {"count": 3}
    for job_id in ids:
        assert (await shared.wait(job_id))["attempt"] == 2
    reply = await shared.api.post("/api/v1/dead/purge", json={"ids": [ids[0], other]})
    assert reply.json() == {"count": 2}
    assert (await shared.api.get(f"/api/v1/jobs/{other}")).status_code == 404
    assert (await shared.api.post("/api/v1/dead/purge", json={"queue": "letters"})).json() == {"count": 2}


async def test_a_job_is_deleted_once_it_has_ended_and_not_before(
    shared: NodeProcess, shared_environment: dict[str, str]
) -> None:
    job_id = await shared.submit("noop", delay=3600)
    reply = await shared.api.delete(f"/api/v1/jobs/{job_id}")
    assert (reply.status_code, reply.json()["job_status"]) == (409, "scheduled")
    await cancel(shared, job_id)
    assert (await shared.api.delete(f"/api/v1/jobs/{job_id}")).status_code == 204
    assert (await shared.api.delete(f"/api/v1/jobs/{job_id}")).status_code == 404
    assert documents(shared_environment, {"_id": job_id}) == []
