"""Holding the office on real stores: one holder, no duels, and what a refusal or a loss leads to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hegemon.cluster import witness
from hegemon.cluster.office import OfficeKeeper
from hegemon.cluster.shell import ElectionShell
from hegemon.cluster.witness import Witness
from hegemon.election.contract import (
    Changed,
    Effect,
    Elector,
    Event,
    Lost,
    Member,
    Observed,
    OfficeLost,
    Resign,
    Role,
    View,
    Won,
)
from hegemon.election.solo import Solo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.index import MemberIndex
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import Office
from hegemon.queue.redis import Redis
from tests.engine.parts import TIMEOUT, Index, Jobs
from tests.waiting import wait_until

# The beats of a busy machine come late, too, but not so late.
BEAT_S, TAKEOVER_S = 0.02, 2.0


class Told:
    """An elector that wins when it is told to, in the term that it is told."""

    def __init__(self, node: str, term: int = 0) -> None:
        self.view = View(None, 0, Role.FOLLOWER, (Member(node),))
        self._node, self._term = node, term

    def deadline(self) -> float | None:
        return None

    def start(self, now: float) -> list[Effect]:
        return self._win(self._term) if self._term else []

    def handle(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Observed(term=term):
                return self._win(term)
            case OfficeLost(reason) | Resign(reason) if self.view.role is Role.LEADER:
                self.view = View(None, self.view.term, Role.FOLLOWER, self.view.members)
                return [Lost(None, reason), Changed(self.view)]
        return []

    def _win(self, term: int) -> list[Effect]:
        self.view = View(self._node, term, Role.LEADER, self.view.members)
        return [Changed(self.view), Won(term)]


class Hasty(Told):
    """An elector that loses and wins again in one turn, as one does that has many words of its peers to read."""

    def handle(self, event: Event, now: float) -> list[Effect]:
        effects = super().handle(event, now)
        return [*effects, *self._win(self.view.term + 1)] if Lost in map(type, effects) else effects


@dataclass
class Candidate:
    """A node that seeks the office; `served` are the epochs in which its duties ran, `serving` whether they run now."""

    name: str
    keeper: OfficeKeeper
    shell: ElectionShell
    witness: Witness
    task: asyncio.Task[None]
    served: list[int] = field(default_factory=list)
    rebuilt: list[int] = field(default_factory=list)
    serving: bool = False
    looked: list[frozenset[str]] = field(default_factory=list)
    fit: list[bool] = field(default_factory=list)
    recorded: list[int] = field(default_factory=list)


@asynccontextmanager
async def candidate(
    index: Index, jobs: Jobs, name: str, *, elector: Elector | None = None, by_majority: bool = False
) -> AsyncIterator[Candidate]:
    shell = ElectionShell(elector or Solo(name), lambda: 0)
    made_fit: list[bool] = []
    made_recorded: list[int] = []
    made_looked: list[frozenset[str]] = []
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

    witness = Witness(
        node=name,
        index=MemberIndex(watch),
        offices=jobs.offices,
        beat_s=BEAT_S,
        interval_s=10 * BEAT_S,
        holding=lambda: keeper.held is not None,
        looked=made_looked.append,
        fit=made_fit.append,
        registered=lambda nodes: None,
        recorded=made_recorded.append,
    )
    keeper = OfficeKeeper(
        shell=shell,
        store=jobs.offices,
        redis=redis,
        witness=witness,
        clock=ClusterClock(),
        node=name,
        incarnation=lambda: f"{name}~0",
        url=lambda: f"http://{name}",
        beat_s=BEAT_S,
        takeover_s=TAKEOVER_S,
        duties=duties,
        rebuild=rebuild,
        by_majority=by_majority,
    )

    async def live() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(shell.run())
            group.create_task(witness.run())
            group.create_task(keeper.run())

    work = asyncio.create_task(live())
    made = Candidate(name, keeper, shell, witness, work, looked=made_looked, fit=made_fit, recorded=made_recorded)
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

        async def long_after_a_takeover_time() -> bool:
            return int(await index.raw("HGET", "office", "beat")) > beat + 1.5 * TAKEOVER_S / BEAT_S

        await wait_until(long_after_a_takeover_time)
        assert (second.served, second.keeper.held) == ([], None)
        assert (first.served, first.serving) == ([1], True), "it lost the office"
        await wait_until(lambda: first.keeper.is_active)  # a slow answer makes it pause


async def test_a_holder_that_went_silent_is_succeeded_and_its_scripts_are_refused(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    first.task.cancel()
    async with candidate(index, jobs, "n2") as second:
        await wait_until(lambda: second.keeper.is_active)
        assert (second.served, second.rebuilt) == ([2], []), "the index is taken over as it is"
        with pytest.raises(Exception, match="newer"):
            await index.leader_of(1).beat()


async def test_who_loses_the_election_stops_its_duties_and_vacates_at_once(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    await first.shell.resign("an operator asked for it")
    await wait_until(lambda: first.keeper.held is None)
    assert not first.serving

    async def vacant() -> bool:
        return (await jobs.offices.read()).vacant

    await wait_until(vacant)
    async with candidate(index, jobs, "n2") as second:
        await wait_until(lambda: second.keeper.is_active)
        assert second.served == [2]


async def test_a_majority_of_a_newer_term_need_not_wait_for_the_holders_silence(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    async with candidate(index, jobs, "n2", elector=Told("n2", 5), by_majority=True) as second:
        await wait_until(lambda: second.keeper.is_active)
        await wait_until(lambda: not first.serving)
        assert (second.served, (await jobs.offices.read()).term) == ([2], 5)


async def test_without_a_majority_a_newer_term_waits_like_any_other(first: Candidate, index: Index, jobs: Jobs) -> None:
    async with candidate(index, jobs, "n2", elector=Told("n2", 5)) as second:
        beat = int(await index.raw("HGET", "office", "beat"))

        async def long_after_a_takeover_time() -> bool:
            return int(await index.raw("HGET", "office", "beat")) > beat + 1.5 * TAKEOVER_S / BEAT_S

        await wait_until(long_after_a_takeover_time)
        assert second.served == []


async def test_a_holder_that_has_not_raised_the_marker_yet_is_not_called_silent(
    first: Candidate, index: Index, jobs: Jobs
) -> None:
    """Its predecessor's counter stands still, but the office is hardly older than that."""
    first.task.cancel()
    await asyncio.gather(first.task, return_exceptions=True)
    async with candidate(index, jobs, "n2", elector=Told("n2")) as second:
        await wait_until(lambda: second.witness.vacated(TAKEOVER_S))
        taken = await jobs.offices.take(
            await jobs.offices.read(), node="n3", incarnation="n3~0", url="", now_ms=0, term=0
        )
        assert taken is not None
        began = asyncio.get_running_loop().time()
        second.shell.tell(Observed(Role.LEADER, 1, "n2", True, ()))
        await wait_until(lambda: second.keeper.held is not None)
        assert asyncio.get_running_loop().time() - began >= TAKEOVER_S


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


async def test_a_win_that_follows_a_loss_at_once_is_not_overlooked(index: Index, jobs: Jobs) -> None:
    async with candidate(index, jobs, "n1", elector=Hasty("n1", term=1)) as hasty:
        await wait_until(lambda: hasty.keeper.is_active)
        office = await jobs.offices.read()
        other = await jobs.offices.take(office, node="n2", incarnation="n2~0", url="", now_ms=0, term=0)
        assert other is not None
        await index.leader_of(other.epoch).take_office("n2")
        await wait_until(lambda: hasty.served == [1, 3])
        assert (await jobs.offices.read()).term == 2
        # Also when it holds the office: each win has an office of its own, so that its term is the recorded one.
        hasty.shell.tell(Resign("asked"))
        await wait_until(lambda: hasty.served == [1, 3, 4])
        assert (await jobs.offices.read()).term == 3


@pytest.mark.parametrize("loss", ["flushed", "another server"])
async def test_a_lost_index_is_rebuilt_by_the_holder_under_the_next_generation(
    first: Candidate, index: Index, jobs: Jobs, loss: str
) -> None:
    if loss == "flushed":
        await index.raw("DEL", "marker")
    else:
        await index.raw("HSET", "marker", "generation", "0")
    await wait_until(lambda: first.rebuilt == [1, 2])
    await wait_until(lambda: first.keeper.is_active and first.serving)
    assert first.served == [1, 1], "the office was kept"
    assert (await jobs.offices.read()).generation == 2


async def test_a_bystander_sees_the_holders_counter_move_and_its_own_stores_answer(
    first: Candidate, index: Index, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(witness, "REACH_S", 10 * TAKEOVER_S)  # a store that answers late does answer
    async with candidate(index, jobs, "n2", elector=Told("n2")) as second:
        await wait_until(lambda: sum(moved == {"n1"} for moved in second.looked) > 3)
        assert second.witness.still_s() < TAKEOVER_S
        first.task.cancel()
        await wait_until(lambda: second.witness.still_s() > 1.5 * TAKEOVER_S)
        assert second.fit == []


async def test_a_bystander_is_told_in_which_term_the_office_was_taken_at_each_look(index: Index, jobs: Jobs) -> None:
    async with candidate(index, jobs, "n2", elector=Told("n2")) as bystander:
        await wait_until(lambda: set(bystander.recorded) == {0})
        async with candidate(index, jobs, "n1", elector=Told("n1", 5), by_majority=True) as taker:
            await wait_until(lambda: taker.keeper.held is not None)
            await wait_until(lambda: bystander.recorded[-2:] == [5, 5])


async def test_a_pause_of_the_bystander_is_not_taken_for_the_holders(index: Index, jobs: Jobs) -> None:
    async with candidate(index, jobs, "n1"), candidate(index, jobs, "n2", elector=Told("n2")) as second:
        await wait_until(lambda: second.looked)
        # As if it had not looked for a long time: what it knew of the counter is old.
        second.witness._looked_s -= 60.0
        second.witness._still_since_s -= 60.0
        assert second.witness.still_s() == 0.0
        assert not second.witness.vacated(TAKEOVER_S)
