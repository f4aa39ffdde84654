"""Invariant I6 over a node with a single slot: within a queue the higher priority first, equals in order."""

import pytest

from tests.engine.journal import Journal
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"WORKER_COUNT": "1"}


async def waiting(node: NodeProcess, ready: int) -> None:
    """Wait until so many jobs wait behind the one that holds the slot, and nothing is delayed any more.

    Also until none of them is in the worker's hands: what it took ahead at an earlier test's speed it gives back.
    """

    async def arrived() -> bool:
        queue = (await node.api.get("/api/v1/stats")).json()["queue"]
        return [queue["ready"], queue["delayed"], queue["held"]] == [ready, 0, 1]

    await wait_until(arrived)


async def order(node: NodeProcess, journal: Journal, gate: Gate, jobs: list[dict[str, object]]) -> list[str]:
    """Submit these while the slot is held; ids in the order of their starts."""
    blocker = await node.submit("journaled", {"gate": gate.path}, priority=10)
    await wait_until(lambda: journal.starts(blocker))
    ids = await node.submit_many(jobs)
    await waiting(node, len(jobs))
    gate.open()
    for job_id in ids:
        await node.wait(job_id)
    started = [line.job_id for line in journal.starts()]
    return [str(ids.index(job_id)) for job_id in started if job_id in ids]


async def test_higher_priorities_start_first_and_equals_in_the_order_of_their_submission(
    shared: NodeProcess, shared_journal: Journal, gate: Gate
) -> None:
    priorities = [5, 0, 10, 5, 7, 10, 0, 1, 5, 7]
    jobs: list[dict[str, object]] = [{"type": "journaled", "priority": priority} for priority in priorities]
    expected = sorted(range(len(priorities)), key=lambda n: (-priorities[n], n))
    assert await order(shared, shared_journal, gate, jobs) == [str(n) for n in expected]


async def test_priorities_have_names(shared: NodeProcess, shared_journal: Journal, gate: Gate) -> None:
    names = ["background", "normal", "critical", "low", "high"]
    jobs: list[dict[str, object]] = [{"type": "journaled", "priority": name} for name in names]
    assert await order(shared, shared_journal, gate, jobs) == ["2", "4", "1", "3", "0"]


async def test_a_long_backlog_is_worked_off_in_order(shared: NodeProcess, shared_journal: Journal, gate: Gate) -> None:
    jobs: list[dict[str, object]] = [{"type": "journaled", "priority": n % 3} for n in range(300)]
    expected = sorted(range(300), key=lambda n: (-(n % 3), n))
    assert await order(shared, shared_journal, gate, jobs) == [str(n) for n in expected]


async def test_a_job_that_became_due_takes_its_place_by_priority(
    shared: NodeProcess, shared_journal: Journal, gate: Gate
) -> None:
    blocker = await shared.submit("journaled", {"gate": gate.path}, priority=10)
    await wait_until(lambda: shared_journal.starts(blocker))
    normal = [await shared.submit("journaled") for _ in range(3)]
    due = await shared.submit("journaled", delay=0.2, priority=9)
    await waiting(shared, 4)
    gate.open()
    for job_id in [*normal, due]:
        await shared.wait(job_id)
    started = [line.job_id for line in shared_journal.starts() if line.job_id in {*normal, due}]
    assert started == [due, *normal]
