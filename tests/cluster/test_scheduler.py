"""The scheduler's rounds on a real index: what is dispatched where, what is parked, in which order (invariant I6)."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from hegemon.cluster.balancing import balancer
from hegemon.cluster.scheduler import Scheduler
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import entry_text
from hegemon.queue.errors import Fenced
from hegemon.queue.index import WorkerIndex
from hegemon.queue.jobs import Document
from tests.engine.parts import Index, Jobs, document
from tests.waiting import wait_until

JOBS = 3000


def scheduler(index: Index, jobs: Jobs, strategy: str = "least_loaded") -> Scheduler:
    return Scheduler(
        index=index.leader,
        redis=index.redis,
        store=jobs.store,
        balancer=balancer(strategy, random.Random(7)),
        clock=ClusterClock(),
        deaths=asyncio.Event(),
        woken=asyncio.Event(),
    )


async def settle(made: Scheduler) -> None:
    """Rounds until there is nothing left to do."""
    due: int | None = 0
    for _ in range(100):
        busy, due = await made.round(due)
        if not busy:
            return
    pytest.fail("the rounds do not come to an end")


async def open_worker(index: Index, name: str, **information: Any) -> WorkerIndex:
    worker = WorkerIndex(index.redis, name)
    worker.generation = 1
    window = information.pop("window", 10)
    plain = {"node": "n1", "node_incarnation": "n1~0", "pid": 1, "slots": 10, "solo": False, "types": ["noop"]}
    await worker.open(plain | {"started_at": 0, "priority": 0} | information, window)
    return worker


async def held(index: Index, worker: str) -> set[str]:
    return {item.decode() for item in await index.raw("HKEYS", f"held:{worker}")}


async def taken(worker: WorkerIndex) -> list[str]:
    return [entry[:36] for entry, _ in (await worker.take(10_000, 10_000, []))[1]]


# -- strategies --------------------------------------------------------------------------------------------------------


async def shares(index: Index, jobs: Jobs, strategy: str, workers: dict[str, dict[str, Any]]) -> list[int]:
    """How many of 3,000 jobs each worker gets, when their windows leave it to the strategy."""
    for name, information in workers.items():
        await open_worker(index, name, **({"slots": 2000, "window": 2000} | information))
    await index.add(*(document(n) for n in range(JOBS)))
    await settle(scheduler(index, jobs, strategy))
    assert await index.ready() == []
    return [len(await held(index, name)) for name in workers]


EQUALS: dict[str, dict[str, Any]] = {"w0": {}, "w1": {}, "w2": {}}


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded"])
async def test_equal_workers_get_equal_shares(index: Index, jobs: Jobs, strategy: str) -> None:
    assert await shares(index, jobs, strategy, EQUALS) == [1000, 1000, 1000]


async def test_round_robin_goes_in_turn(index: Index, jobs: Jobs) -> None:
    items = [document(n) for n in range(30)]
    workers = [await open_worker(index, f"w{n}") for n in range(3)]
    await index.add(*items)
    await settle(scheduler(index, jobs, "round_robin"))
    for n, worker in enumerate(workers):
        assert await taken(worker) == [item["_id"] for item in items[n::3]]


async def test_least_loaded_gives_by_slots(index: Index, jobs: Jobs) -> None:
    workers = {"w0": {"slots": 100}, "w1": {"slots": 200}, "w2": {"slots": 300}}
    assert await shares(index, jobs, "least_loaded", workers) == [500, 1000, 1500]


async def test_random_draws_each_with_the_same_chance(index: Index, jobs: Jobs) -> None:
    found = await shares(index, jobs, "random", EQUALS)
    # Binomial: mean 1,000, standard deviation 25.8; the generator is seeded, so this is no matter of luck.
    assert all(abs(share - 1000) < 100 for share in found)
    assert found != [1000, 1000, 1000]


async def test_priority_fills_the_preferred_node_before_the_next_gets_any(index: Index, jobs: Jobs) -> None:
    workers = {"w0": {"priority": 1}, "w1": {"priority": 9}, "w2": {"priority": 5}}
    assert await shares(index, jobs, "priority", workers) == [0, 2000, 1000]


# -- order -------------------------------------------------------------------------------------------------------------


async def test_while_room_is_short_the_higher_priority_goes_and_equals_in_order(index: Index, jobs: Jobs) -> None:
    items = [document(n, priority=priority) for n, priority in enumerate([5, 0, 10, 5, 7, 10])]
    await index.add(*items)
    worker = await open_worker(index, "w1", window=3)
    await settle(scheduler(index, jobs))
    assert await taken(worker) == [items[n]["_id"] for n in (2, 5, 4)]


async def test_nobody_gets_more_than_its_window(index: Index, jobs: Jobs) -> None:
    await index.add(*(document(n) for n in range(100)))
    await open_worker(index, "w1", window=7)
    await open_worker(index, "w2", window=0)
    made = scheduler(index, jobs)
    await settle(made)
    await settle(made)
    assert [len(await held(index, name)) for name in ("w1", "w2")] == [7, 0]


async def test_queues_take_turns(index: Index, jobs: Jobs) -> None:
    """A full queue does not starve another, whatever the priorities: they hold within a queue."""
    await index.add(*(document(n, queue="bulk", priority=10) for n in range(500)))
    await index.add(*(document(n, queue="small", priority=0) for n in range(5)))
    worker = await open_worker(index, "w1", window=20)
    await settle(scheduler(index, jobs))
    _, got = await worker.take(20, 20, [])
    assert Counter(entry.split(":")[5] for entry, _ in got) == {"bulk": 15, "small": 5}


async def test_what_is_due_is_promoted_and_dispatched_in_the_same_round(index: Index, jobs: Jobs) -> None:
    now = await index.leader.beat()
    due = document(1, more={"due": now - 5})
    await index.add(due, document(2, more={"due": now + 60_000}))
    worker = await open_worker(index, "w1")
    _, next_due = await scheduler(index, jobs).round(0)
    assert await taken(worker) == [due["_id"]]
    assert next_due == now + 60_000


# -- parking -----------------------------------------------------------------------------------------------------------


async def test_a_type_that_nobody_handles_is_parked_and_blocks_nobody(index: Index, jobs: Jobs) -> None:
    strange = [document(n, type_="strange", priority=10) for n in range(50)]
    plain = document(99, priority=0)
    await index.add(*strange, plain)
    worker = await open_worker(index, "w1")
    await settle(scheduler(index, jobs))
    assert await taken(worker) == [plain["_id"]]
    assert (await index.member.counts()).ready == 0


async def test_parked_jobs_run_in_their_order_as_soon_as_somebody_handles_them(index: Index, jobs: Jobs) -> None:
    strange = [document(n, type_="strange") for n in range(8)]
    await index.add(*strange)
    await open_worker(index, "w1")
    made = scheduler(index, jobs)
    await settle(made)
    knowing = await open_worker(index, "w2", types=["strange"], window=5)
    await settle(made)
    assert await taken(knowing) == [item["_id"] for item in strange[:5]]
    await knowing.take(0, 5, [(item["_id"], 1) for item in strange[:5]])
    await settle(made)
    assert await taken(knowing) == [item["_id"] for item in strange[5:]]


async def test_a_type_whose_workers_are_full_does_not_hold_back_another(index: Index, jobs: Jobs) -> None:
    await open_worker(index, "w1", types=["slow"], window=1)
    quick = await open_worker(index, "w2", types=["quick"])
    slow = [document(n, type_="slow", priority=9) for n in range(10)]
    others = [document(n, type_="quick", priority=1) for n in range(5)]
    await index.add(*slow, *others)
    made = scheduler(index, jobs)
    await settle(made)
    assert await taken(quick) == [item["_id"] for item in others]
    assert await held(index, "w1") == {slow[0]["_id"]}


async def test_a_suspect_waits_for_a_process_of_its_own(index: Index, jobs: Jobs) -> None:
    suspect, plain = document(1, more={"suspect": True}), document(2)
    await index.add(suspect, plain)
    ordinary = await open_worker(index, "w1")
    made = scheduler(index, jobs)
    await settle(made)
    assert await taken(ordinary) == [plain["_id"]]
    assert (await index.member.beat("n1~0", {}, [])).suspects == 1
    solo = await open_worker(index, "s1", solo=True, window=1)
    await index.add(document(3))
    await settle(made)
    assert await taken(solo) == [suspect["_id"]]


async def test_without_workers_everything_is_kept(index: Index, jobs: Jobs) -> None:
    items = [document(n) for n in range(20)]
    await index.add(*items)
    made = scheduler(index, jobs)
    await settle(made)
    worker = await open_worker(index, "w1", window=20)
    await settle(made)
    assert await taken(worker) == [item["_id"] for item in items]


# -- running -----------------------------------------------------------------------------------------------------------


async def test_a_running_scheduler_is_woken_by_what_comes(index: Index, jobs: Jobs) -> None:
    worker = await open_worker(index, "w1")
    running = asyncio.create_task(scheduler(index, jobs).run())
    found: list[str] = []

    async def dispatched() -> bool:
        found.extend(await taken(worker))
        return len(found) == 2

    now = await index.leader.beat()
    later = document(2, more={"due": now + 200, "status": "scheduled"})
    await jobs.put(later)
    plain: Document = document(1)
    await index.add(plain, later)
    await wait_until(dispatched)
    assert found == [plain["_id"], later["_id"]]

    async def shown() -> bool:
        return bool((await jobs.get(later))["status"] == "pending")

    await wait_until(shown, message="the promoted job to read as pending")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_scheduler_ends_by_the_first_refusal_and_moves_nothing_more(index: Index, jobs: Jobs) -> None:
    running = asyncio.create_task(scheduler(index, jobs).run())
    await index.leader_of(2).take_office("n2")
    await open_worker(index, "w1")
    await index.add(document())
    with pytest.raises(BaseExceptionGroup) as ended:
        await running
    assert ended.group_contains(Fenced)
    assert await held(index, "w1") == set()


async def test_a_death_report_wakes_the_upkeep(index: Index, jobs: Jobs) -> None:
    made = scheduler(index, jobs)
    await open_worker(index, "w1")
    await index.member.report_dead("w1", {})
    await made.round(None)
    assert made._deaths.is_set()


async def test_a_decision_that_was_overtaken_moves_nothing_twice(index: Index, jobs: Jobs) -> None:
    """Two schedulers of one office cannot be, but a decision may be sent late: exactly what was surveyed moves."""
    items = [document(n) for n in range(10)]
    await index.add(*items)
    first, second = await open_worker(index, "w1"), await open_worker(index, "w2")
    survey = await index.leader.survey(100)
    late = [("default:5", [(entry.text, "w2") for entry in survey.queues[0]])]
    await index.leader.dispatch([("default:5", [(entry_text(item), "w1") for item in items[:4]])])
    assert await index.leader.dispatch(late) == (0, 0)
    assert (len(await taken(first)), len(await taken(second))) == (4, 0)
