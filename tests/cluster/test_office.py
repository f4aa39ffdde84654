"""Holding the office on real stores: one holder, no duels, and what a refusal or a loss leads to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hegemon.cluster.office import OfficeKeeper
from hegemon.cluster.shell import ElectionShell
from hegemon.election.solo import Solo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import Office
from hegemon.queue.redis import Redis
from tests.engine.parts import TIMEOUT, Index, Jobs
from tests.waiting import wait_until

BEAT_S, TAKEOVER_S = 0.02, 0.1


@dataclass
class Candidate:
    """A node that seeks the office; `served` are the epochs in which its duties ran, `serving` whether they run now."""

    name: str
    keeper: OfficeKeeper
    task: asyncio.Task[None]
    served: list[int] = field(default_factory=list)
    rebuilt: list[int] = field(default_factory=list)
    serving: bool = False


@asynccontextmanager
async def candidate(index: Index, jobs: Jobs, name: str) -> AsyncIterator[Candidate]:
    shell = ElectionShell(Solo(name), lambda: 0)
    redis = Redis(index.url, index.cluster_id, timeout=TIMEOUT)
    watch = Redis(index.url, index.cluster_id, timeout=TIMEOUT, confirm=False)

    async def duties(leader: LeaderIndex) -> None:
        made.served.append(leader.epoch)
        made.serving = True
        try:
            await asyncio.Event().wait()
        finally:
            made.serving = False

    async def rebuild(office: Office) -> Office | None:
        raised = await jobs.offices.new_generation(office, index.run_id)
        if raised is not None:
            made.rebuilt.append(raised.generation)
            for state in ("rebuilding", "ready"):
                await index.mark(state, epoch=raised.epoch, generation=raised.generation)
        return raised

    keeper = OfficeKeeper(
        shell=shell,
        store=jobs.offices,
        redis=redis,
        watch=watch,
        clock=ClusterClock(),
        node=name,
        incarnation=f"{name}~0",
        url=lambda: f"http://{name}",
        beat_s=BEAT_S,
        takeover_s=TAKEOVER_S,
        duties=duties,
        rebuild=rebuild,
    )

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(shell.run())
            group.create_task(keeper.run())

    made = Candidate(name, keeper, asyncio.create_task(live()))
    try:
        yield made
    finally:
        made.task.cancel()
        await asyncio.gather(made.task, return_exceptions=True)
        await redis.close()
        await watch.close()


@pytest.fixture
async def first(index: Index, jobs: Jobs) -> AsyncIterator[Candidate]:
    """A candidate that has become active."""
    async with candidate(index, jobs, "n1") as made:
        await wait_until(lambda: made.keeper.is_active)
        yield made


async def test_a_new_cluster_gets_a_leader_that_builds_the_index_first(first: Candidate, jobs: Jobs) -> None:
    assert (first.served, first.rebuilt) == ([1], [1])
    office = await jobs.offices.read()
    assert (office.node, office.epoch, office.generation, office.vacant) == ("n1", 1, 1, False)


async def test_a_second_candidate_waits_while_the_holders_counter_moves(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    async with candidate(index, jobs, "n2") as second:
        beat = int(await index.raw("HGET", "office", "beat"))

        async def many_takeover_times_later() -> bool:
            return int(await index.raw("HGET", "office", "beat")) > beat + 5 * TAKEOVER_S / BEAT_S

        await wait_until(many_takeover_times_later)
        assert (second.served, second.keeper.held) == ([], None)
        assert first.keeper.is_active


async def test_a_holder_that_went_silent_is_succeeded_and_its_scripts_are_refused(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    first.task.cancel()
    async with candidate(index, jobs, "n2") as second:
        await wait_until(lambda: second.keeper.is_active)
        assert (second.served, second.rebuilt) == ([2], []), "the index is taken over as it is"
        with pytest.raises(Exception, match="newer"):
            await index.leader_of(1).beat()


async def test_a_resigned_office_is_taken_at_once(first: Candidate, index: Index, jobs: Jobs) -> None:
    held = first.keeper.held
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)
    first.keeper.held = held
    await first.keeper.resign()
    assert (await jobs.offices.read()).vacant
    async with candidate(index, jobs, "n2") as second:
        await wait_until(lambda: second.keeper.is_active)
        assert second.served == [2]


async def test_a_leader_that_meets_a_newer_epoch_stands_down_at_once_and_may_come_again(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    """Such as one that was stopped for a while: its successor has taken the office, and the marker."""
    taken = await jobs.offices.take(await jobs.offices.read(), node="n2", incarnation="n2~0", url="", now_ms=0, term=0)
    assert taken is not None
    await index.leader_of(taken.epoch).take_office("n2")
    await wait_until(lambda: not first.serving)
    # The other is no more than this: its counter stands still, so the first takes the office again.
    await wait_until(lambda: first.served == [1, 3])
    assert (await jobs.offices.read()).node == "n1"


@pytest.mark.parametrize("loss", ["flushed", "another server"])
async def test_a_lost_index_is_rebuilt_by_the_holder_under_the_next_generation(
    first: Candidate, index: Index, jobs: Jobs, loss: str
) -> None:
    if loss == "flushed":
        await index.raw("DEL", "marker")
    else:
        await index.raw("HSET", "marker", "generation", "99")
    await wait_until(lambda: first.rebuilt == [1, 2])
    await wait_until(lambda: first.keeper.is_active and first.serving)
    assert first.served == [1, 1], "the office was kept"
    assert (await jobs.offices.read()).generation == 2
