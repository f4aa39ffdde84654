"""A command may reach Redis long after its sender gave it up. By then what it speaks of may have run to its end.

Each of these comes late: its script is called again with the arguments of then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hegemon.cluster.recovery import REMOVED, Recovery, Rules
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import encode_body, entry_text
from hegemon.queue.errors import Fenced, StoreUnavailable
from hegemon.queue.index import WorkerIndex
from hegemon.queue.jobs import Document
from hegemon.queue.leader_index import Placement
from hegemon.queue.retry import RetryPolicy
from tests.engine.parts import NOW_MS, Index, Jobs, again, document, placement


async def run_to_its_end(index: Index, worker: WorkerIndex, item: Document) -> None:
    """Dispatched, taken, recorded and acknowledged: it leaves no trace in the index."""
    await index.give(worker.worker, item)
    _, taken = await worker.take(10, 10, [])
    assert [entry for entry, _ in taken] == [entry_text(item)]
    await worker.take(0, 10, [(item["_id"], item["attempt"])])
    assert (await index.member.probe([item["_id"]]))[item["_id"]] == 0


async def checked(index: Index) -> list[str]:
    return (await index.leader.round(0)).check


async def test_a_recovery_whose_index_step_comes_late_starts_no_recorded_job_again(
    index: Index, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = document(1)
    await jobs.put(first)
    await index.add(first)
    await index.worker("dies")
    await index.give("dies", first)
    await index.leader.close_worker("dies", NOW_MS, "t", {})
    recovery = Recovery(
        index=index.leader,
        member=index.member,
        store=jobs.store,
        queries=jobs.queries,
        clock=ClusterClock(),
        rules=Rules(crashes_max=3, max_retries=3, policy=RetryPolicy()),
    )
    reindex = index.leader.reindex
    held_back: list[Mapping[str, Placement]] = []

    async def under_way(live: Mapping[str, Placement], _ended: Mapping[str, int]) -> int:
        held_back.append(live)
        raise StoreUnavailable("Redis")

    monkeypatch.setattr(index.leader, "reindex", under_way)
    with pytest.raises(StoreUnavailable):
        await recovery.recover((await index.leader.round(0)).recovering)
    monkeypatch.setattr(index.leader, "reindex", reindex)
    assert await recovery.recover((await index.leader.round(0)).recovering) == 1
    won = await jobs.get(first)
    assert won["attempt"] == 3
    await run_to_its_end(index, await index.worker("w2"), won)
    (late,) = held_back
    assert await reindex(late, {}) == 0
    assert await index.ready() == []


@pytest.mark.parametrize("attempt", [2, 3])
async def test_what_was_put_back_and_has_ended_comes_in_by_nobody_again(index: Index, attempt: int) -> None:
    """Two duties may win the same attempt by the same compare-and-set: both read it back."""
    put = document(1, attempt=3)
    late = put | {"attempt": attempt}
    await index.leader.reindex(placement(put), {})
    await run_to_its_end(index, await index.worker(), put)
    assert await index.leader.reindex(placement(late), {}) == 0
    assert await index.add(late) == 0
    assert await index.ready() == []
    assert await index.leader.reindex(placement(again(put)), {}) == 1, "its next attempt comes in"


async def test_what_a_submitter_put_back_and_has_ended_is_not_put_back_by_the_leader(index: Index) -> None:
    revived = document(1, attempt=2)
    await index.add(revived)
    await run_to_its_end(index, await index.worker(), revived)
    assert await index.leader.reindex(placement(revived), {}) == 0
    assert await index.ready() == []


async def test_a_group_is_applied_to_what_stands_as_its_submitter_saw_it(index: Index) -> None:
    """A worker moves a failed try on by itself: seen between the two, the next attempt is not the submitter's."""
    one = document(1)
    await index.add(one)
    worker = await index.worker()
    seen = await index.member.probe([one["_id"]])
    await index.give("w1", one)
    await worker.take(1, 10, [])
    following = again(one)
    await worker.retry([(entry_text(one), entry_text(following), encode_body(following), 0)])
    await index.leader.promote(10)
    await run_to_its_end(index, worker, following)
    late = (entry_text(following), encode_body(following), None, seen[one["_id"]])
    assert await index.member.add("n1~0", 9, [late]) == (0, 0, [one["_id"]])
    assert await index.ready() == []


async def test_what_was_put_back_is_remembered_until_many_later_ones_are(index: Index) -> None:
    old, new = document(1, attempt=2), document(2, attempt=2)
    await index.leader.reindex(placement(old), {})
    for _ in range(2):
        assert await index.raw("HGET", "again", old["_id"]) or await index.raw("HGET", "again:before", old["_id"])
        await index.raw("SET", "again:since", 0)
        await index.leader.reindex(placement(new), {})
        new = again(new)
    assert await index.raw("HEXISTS", "again", old["_id"]) == 0
    assert await index.raw("HEXISTS", "again:before", old["_id"]) == 0


async def lost_again(index: Index, attempt: int) -> Document:
    """A job that a second worker's death has brought to `recovering`, under this attempt."""
    one = document(1, attempt=attempt)
    await index.leader.reindex(placement(one), {})
    await index.worker("w9")
    await index.give("w9", one)
    await index.leader.close_worker("w9", NOW_MS, "t", {})
    return one


@pytest.mark.parametrize("what", ["settled", "reindex", "ended"])
async def test_what_is_to_be_recovered_for_a_later_reason_stays(index: Index, what: str) -> None:
    lost = await lost_again(index, 5)
    await index.raw("SADD", "check", lost["_id"])
    earlier = lost | {"attempt": 3}
    if what == "settled":
        await index.leader.settled({lost["_id"]: entry_text(earlier)})
    elif what == "reindex":
        assert await index.leader.reindex(placement(earlier), {}) == 0
    else:
        await index.leader.reindex({}, {lost["_id"]: 3})
        assert await checked(index) == [lost["_id"]]
    assert (await index.leader.round(0)).recovering.keys() == {lost["_id"]}
    assert (await index.member.probe([lost["_id"]]))[lost["_id"]] == 5
    await index.leader.settled({lost["_id"]: entry_text(lost)})
    await index.leader.reindex({}, {lost["_id"]: REMOVED})
    assert (await index.leader.round(0)).recovering == {}


async def test_a_late_burial_leaves_a_later_tombstone_to_be_looked_at(index: Index) -> None:
    one = document(1, attempt=5)
    await index.member.cancel(one["_id"], entry_text(one), NOW_MS)
    await index.leader.bury({one["_id"]: 3})
    assert (await index.leader.round(NOW_MS)).tombstones.keys() == {one["_id"]}
    await index.leader.bury({one["_id"]: 5})
    assert (await index.leader.round(NOW_MS)).tombstones == {}


async def test_a_rebuild_that_was_given_up_does_not_begin_over_a_later_one(index: Index) -> None:
    await index.mark("rebuilding", generation=3)
    await index.mark("ready", generation=3)
    with pytest.raises(Fenced, match="older"):
        await index.mark("rebuilding", generation=2)
    await index.leader_of(1, 3).beat()


async def late(worker: WorkerIndex, name: str, turn: int, *args: str) -> Sequence[Any]:
    """A worker's numbered call as it was sent then."""
    return await worker._redis.run(name, worker.generation, worker.worker, turn, *args)


async def test_jobs_that_a_worker_gave_back_too_late_and_took_up_again_stay_its_own(index: Index) -> None:
    one = document(1)
    await index.add(one)
    worker = await index.worker()
    await index.give("w1", one)
    await worker.take(1, 10, [])
    # Turn 1, giving it back, is under way. Nothing is known of that: it is found held and unknown, and runs.
    worker._turn = 1
    assert await worker.reconcile([]) == {one["_id"]}
    assert await worker.reconcile([one["_id"]]) == set()
    _, taken = await worker.take(1, 10, [])
    assert len(taken) == 1
    assert (await late(worker, "give_back", 1, "1", one["_id"]))[1] == 0
    assert await index.ready() == []
    assert (await late(worker, "reconcile", 2, one["_id"]))[1] == 0
    assert await index.leader.inboxes() == {}
    assert await worker.give_back([one["_id"]], inbox=False) == 1
    assert await index.ready() == [one["_id"]]
