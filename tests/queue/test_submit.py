"""Accepting jobs: bounds, idempotency, and that what was accepted comes into the index whatever happens in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from hegemon.queue.acceptance import Limits
from hegemon.queue.breaker import Breaker
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import (
    BatchTooLarge,
    IdempotencyKeyInFlight,
    IdempotencyKeyReused,
    InvalidJob,
    OutcomeUnknown,
    Overloaded,
    PayloadTooLarge,
    QueueFull,
    StoreUnavailable,
)
from hegemon.queue.ids import is_id
from hegemon.queue.jobs import Origin
from hegemon.queue.sealing import PLAIN, Sealer
from hegemon.queue.submit import Submitter
from tests.engine.parts import NOW_MS, ORIGIN, Index, Jobs, new_job
from tests.waiting import wait_until

LIMITS = Limits(depth_max=50, buffer_max=20, batch_max=10, payload_bytes_max=100)


async def reborn() -> Origin:
    """The origin of a node that was taken for dead and accepts under a new incarnation."""
    return Origin("n1", "n1~1")


def build(jobs: Jobs, index: Index, limits: Limits = LIMITS, sealer: Sealer = PLAIN) -> Submitter:
    return Submitter(
        store=jobs.store,
        queries=jobs.queries,
        index=index.member,
        clock=ClusterClock(),
        origin=ORIGIN,
        cluster_id="test",
        limits=limits,
        mongo_breaker=Breaker("MongoDB"),
        redis_breaker=Breaker("Redis"),
        indexed=lambda: None,
        working=lambda: False,
        reborn=reborn,
        sealer=sealer,
    )


@pytest.fixture
async def submitter(jobs: Jobs, index: Index) -> AsyncIterator[Submitter]:
    made = build(jobs, index)
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def stalled(jobs: Jobs, index: Index) -> tuple[Submitter, list[asyncio.Task[Any]]]:
    """A submitter whose loops do not run, with 15 submissions waiting for their write."""
    made = build(jobs, index)
    tasks = [asyncio.create_task(made.submit(new_job(), scope="me")) for _ in range(15)]
    await asyncio.sleep(0)
    return made, tasks


async def ended(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_an_accepted_job_is_durable_at_once_and_soon_in_the_index(
    submitter: Submitter, jobs: Jobs, index: Index
) -> None:
    job_id, created, status = await submitter.submit(new_job(payload={"a": 1}), scope="me")
    assert (is_id(job_id), created, status) == (True, True, "pending")
    found = await jobs.queries.get(job_id)
    assert found is not None
    assert (found["scope"], found["payload"]["data"]) == ("me", b'{"a":1}')
    await wait_until(submitter.idle)
    assert await index.ready() == [job_id]


async def test_jobs_offered_together_keep_their_order(submitter: Submitter, index: Index) -> None:
    answers = await asyncio.gather(*(submitter.submit(new_job(), scope="me") for _ in range(20)))
    await wait_until(submitter.idle)
    assert await index.ready() == [job_id for job_id, _, _ in answers]


async def test_a_batch_keeps_its_order_and_goes_in_whole(submitter: Submitter, index: Index) -> None:
    ids, _ = await submitter.submit_batch([new_job() for _ in range(10)], scope="me")
    await wait_until(submitter.idle)
    assert await index.ready() == ids


async def test_a_wrong_job_refuses_its_batch_and_is_named(submitter: Submitter, jobs: Jobs) -> None:
    with pytest.raises(InvalidJob) as refused:
        await submitter.submit_batch([new_job(), new_job(priority="urgent")], scope="me")
    assert refused.value.field == "jobs[1].priority"
    with pytest.raises(PayloadTooLarge, match=r"jobs\[1\].*MAX_PAYLOAD_SIZE"):
        await submitter.submit_batch([new_job(), new_job(payload={"x": "y" * 100})], scope="me")
    assert sum((await jobs.queries.counts()).values()) == 0


async def test_a_batch_above_its_bound_or_empty_is_refused(submitter: Submitter) -> None:
    with pytest.raises(BatchTooLarge, match=r"11 jobs.*at most 10"):
        await submitter.submit_batch([new_job()] * 11, scope="me")
    with pytest.raises(InvalidJob):
        await submitter.submit_batch([], scope="me")


@pytest.mark.parametrize(("length", "fits"), [(92, True), (93, False)])
async def test_a_payload_is_accepted_up_to_its_bound_exactly(submitter: Submitter, length: int, fits: bool) -> None:
    job = new_job(payload={"x": "y" * length})
    assert (len(job.payload) <= 100) is fits
    if fits:
        await submitter.submit(job, scope="me")
    else:
        with pytest.raises(PayloadTooLarge, match="at most 100"):
            await submitter.submit(job, scope="me")


async def test_more_submissions_than_the_buffer_holds_are_told_to_come_back(jobs: Jobs, index: Index) -> None:
    submitter, waiting = await stalled(jobs, index)
    with pytest.raises(Overloaded) as refused:
        await submitter.submit_batch([new_job()] * 6, scope="me")
    assert refused.value.retry_after_s
    await ended(waiting)


async def test_a_full_queue_refuses_and_counts_what_is_on_its_way(jobs: Jobs, index: Index) -> None:
    submitter, waiting = await stalled(jobs, index)
    submitter.depth = 31
    with pytest.raises(QueueFull, match="MAX_QUEUE_DEPTH=50") as refused:
        await submitter.submit_batch([new_job()] * 5, scope="me")
    assert refused.value.retry_after_s
    await ended(waiting)


async def test_an_open_breaker_refuses_before_anything_is_made(jobs: Jobs, index: Index) -> None:
    submitter = build(jobs, index)
    for _ in range(3):
        submitter._mongo.failed(StoreUnavailable("MongoDB"))
    with pytest.raises(StoreUnavailable) as refused:
        await submitter.submit(new_job(), scope="me")
    assert refused.value.retry_after_s
    assert submitter.idle()


# -- idempotency keys --------------------------------------------------------------------------------------------------


async def test_the_same_key_and_body_give_the_same_job(submitter: Submitter, jobs: Jobs) -> None:
    first, created, _ = await submitter.submit(new_job(payload={"a": 1}), scope="me", idempotency_key="k")
    assert created
    again = await submitter.submit(new_job(payload={"a": 1}), scope="me", idempotency_key="k")
    assert again[:2] == (first, False)
    assert (await jobs.queries.counts())["pending"] == 1


@pytest.mark.parametrize("other", [{"payload": {"a": 2}}, {"priority": 6}, {"queue": "q"}, {"delay": 5.0}])
async def test_the_same_key_with_another_body_is_refused(submitter: Submitter, other: dict[str, Any]) -> None:
    body: dict[str, Any] = {"payload": {"a": 1}}
    await submitter.submit(new_job(**body), scope="me", idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await submitter.submit(new_job(**(body | other)), scope="me", idempotency_key="k")


async def test_a_key_belongs_to_its_caller(submitter: Submitter) -> None:
    mine, _, _ = await submitter.submit(new_job(), scope="me", idempotency_key="k")
    theirs, created, _ = await submitter.submit(new_job(payload={"b": 1}), scope="you", idempotency_key="k")
    assert created
    assert mine != theirs


async def test_a_key_whose_first_request_is_still_on_its_way_is_refused_for_now(jobs: Jobs, index: Index) -> None:
    submitter = build(jobs, index)
    first = asyncio.create_task(submitter.submit(new_job(), scope="me", idempotency_key="k"))
    await asyncio.sleep(0)
    with pytest.raises(IdempotencyKeyInFlight):
        await submitter.submit(new_job(), scope="me", idempotency_key="k")
    await ended([first])
    assert submitter._replays._held == set()


async def test_two_nodes_with_one_key_at_once_make_one_job(jobs: Jobs, index: Index) -> None:
    nodes = [build(jobs, index), build(jobs, index)]
    running = [asyncio.create_task(node.run()) for node in nodes]
    answers = await asyncio.gather(*(node.submit(new_job(), scope="me", idempotency_key="k") for node in nodes))
    assert len({job_id for job_id, _, _ in answers}) == 1
    assert sorted(created for _, created, _ in answers) == [False, True]
    await ended(running)


# -- into the index, whatever happens ----------------------------------------------------------------------------------


async def test_what_was_accepted_during_a_rebuild_is_indexed_after_it_and_once(
    submitter: Submitter, index: Index
) -> None:
    await index.mark("rebuilding", generation=2)
    ids = [(await submitter.submit(new_job(), scope="me"))[0] for _ in range(3)]
    assert not submitter.idle()
    await index.mark("ready", generation=2)
    index.member.generation = 2
    await wait_until(submitter.idle)
    assert await index.ready() == ids


async def test_after_a_rebuild_only_what_lives_and_is_absent_is_added(
    submitter: Submitter, jobs: Jobs, index: Index
) -> None:
    await index.mark("rebuilding", generation=2)
    ran, bumped, lost = [(await submitter.submit(new_job(), scope="me"))[0] for _ in range(3)]
    # The rebuild indexed two of them: one has ended since, the other lives under a later attempt.
    await jobs.store.jobs.update_one({"_id": ran}, {"$set": {"status": "completed"}})
    await jobs.store.jobs.update_one({"_id": bumped}, {"$set": {"attempt": 2}})
    await index.raw("HSET", "bodies", bumped, "2:x")
    await index.mark("ready", generation=2)
    index.member.generation = 2
    await wait_until(submitter.idle)
    assert await index.ready() == [lost]
    assert await index.member.probe([ran, bumped]) == {ran: 0, bumped: 2}


async def met_and_ended(jobs: Jobs, index: Index, job_id: str) -> None:
    """A rebuild met this job under its next attempt, and it has run to its end since; the index is whole again."""
    await jobs.store.jobs.update_one({"_id": job_id}, {"$set": {"status": "completed", "attempt": 2}})
    await index.mark("ready", generation=2)
    index.member.generation = 2


async def test_what_was_accepted_while_others_were_probed_after_a_rebuild_is_probed_too(
    submitter: Submitter, jobs: Jobs, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe, go = index.member.probe, asyncio.Event()
    asked = asyncio.Event()

    async def gated(ids: Sequence[str]) -> dict[str, int]:
        asked.set()
        await go.wait()
        return await probe(ids)

    await submitter.submit(new_job(), scope="me")
    await wait_until(submitter.idle)
    await index.mark("rebuilding", generation=2)
    monkeypatch.setattr(index.member, "probe", gated)
    refused, _, _ = await submitter.submit(new_job(), scope="me")
    await asked.wait()
    ran, _, _ = await submitter.submit(new_job(), scope="me")
    await met_and_ended(jobs, index, ran)
    go.set()
    await wait_until(submitter.idle)
    assert (await index.ready())[1:] == [refused]


async def test_what_was_being_written_when_a_rebuild_met_it_is_probed_too(
    submitter: Submitter, jobs: Jobs, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, go = jobs.store.insert, asyncio.Event()
    written: list[str] = []

    async def gated(documents: Sequence[Any]) -> list[str | None]:
        outcome = await insert(documents)
        written.extend(document["_id"] for document in documents)
        await go.wait()
        return outcome

    monkeypatch.setattr(jobs.store, "insert", gated)
    slow = asyncio.create_task(submitter.submit(new_job(), scope="me"))
    await wait_until(lambda: written)
    await index.mark("rebuilding", generation=2)
    await met_and_ended(jobs, index, written[0])
    others, _ = await submitter.submit_batch([new_job()], scope="me")
    await wait_until(lambda: submitter._whole == 2 and not submitter._unindexed)
    go.set()
    await slow
    await wait_until(submitter.idle)
    assert await index.ready() == others


async def test_a_group_whose_reply_was_lost_is_applied_once(
    submitter: Submitter, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = index.member.add, 0

    async def lossy(*args: Any) -> tuple[int, int, list[str]]:
        nonlocal calls
        calls += 1
        answer = await real(*args)
        if calls == 1:
            raise StoreUnavailable("Redis")
        return answer

    monkeypatch.setattr(index.member, "add", lossy)
    job_id, _, _ = await submitter.submit(new_job(), scope="me")
    await wait_until(lambda: calls >= 2 and submitter.idle())
    assert await index.ready() == [job_id]


async def test_a_write_whose_outcome_is_unknown_is_told_so_and_indexed_when_it_shows_up(
    submitter: Submitter, jobs: Jobs, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jobs.store.insert
    held: list[Any] = []

    async def unknown(documents: list[Any]) -> list[str | None]:
        held.extend(documents)
        return ["unknown"] * len(documents)

    monkeypatch.setattr(jobs.store, "insert", unknown)
    with pytest.raises(OutcomeUnknown):
        await submitter.submit(new_job(), scope="me")
    assert not submitter.idle()
    await real(held)
    await wait_until(submitter.idle)
    assert await index.ready() == [held[0]["_id"]]


async def test_a_delayed_job_is_ordered_by_its_due_time(submitter: Submitter, index: Index) -> None:
    later, _, status = await submitter.submit(new_job(delay=60.0), scope="me")
    await wait_until(submitter.idle)
    assert status == "scheduled"
    ((entry, score),) = zip(*[iter(await index.raw("ZRANGE", "delayed", 0, -1, "WITHSCORES"))] * 2, strict=True)
    assert entry.decode().split(":")[0] == later
    assert int(entry.split(b":")[2]) == int(score) * 1000
    assert int(score) > NOW_MS - 10**12


async def test_a_node_that_was_taken_for_dead_goes_on_under_a_new_incarnation(
    submitter: Submitter, jobs: Jobs, index: Index
) -> None:
    await index.leader.close_node(ORIGIN.incarnation)
    swept, _, _ = await submitter.submit(new_job(), scope="me")
    await wait_until(submitter.idle)
    mine, _, _ = await submitter.submit(new_job(), scope="me")
    await wait_until(submitter.idle)
    # What it accepted before is the sweep's; what it accepts now it indexes itself.
    assert await index.ready() == [mine]
    found = await jobs.queries.many([swept, mine])
    assert [found[job_id]["origin"]["incarnation"] for job_id in (swept, mine)] == ["n1~0", "n1~1"]
