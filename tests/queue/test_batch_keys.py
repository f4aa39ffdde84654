"""Idempotency keys of batches: one batch a key, whole or not at all, whoever asks and whatever is lost in between."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hegemon.queue.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, OutcomeUnknown
from hegemon.queue.jobs import from_document
from hegemon.queue.sealing import Sealer
from tests.engine.parts import Index, Jobs, new_job
from tests.queue.test_submit import build, ended, submitter
from tests.waiting import wait_until

__all__ = ["submitter"]

SEALER = Sealer.of("k1:" + "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")


def batch(count: int = 3) -> list[Any]:
    return [new_job(payload={"n": n}) for n in range(count)]


async def stored(jobs: Jobs) -> int:
    return sum((await jobs.queries.counts()).values())


@pytest.mark.parametrize("sealer", [Sealer({}), SEALER], ids=["plain", "sealed"])
async def test_the_same_key_and_batch_give_the_same_jobs(jobs: Jobs, index: Index, sealer: Sealer) -> None:
    made = build(jobs, index, sealer=sealer)
    running = asyncio.create_task(made.run())
    first, created = await made.submit_batch(batch(), scope="me", idempotency_key="k")
    # From here on what is accepted is indexed without another look, which would find that it is not there.
    await wait_until(made.idle)
    again, once_more = await made.submit_batch(batch(), scope="me", idempotency_key="k")
    assert (created, once_more, again) == (True, False, first)
    await wait_until(made.idle)
    assert await index.ready() == first
    assert await stored(jobs) == 3
    shown = [from_document(found, sealer) for found in (await jobs.queries.many(first)).values()]
    assert sorted(job.idempotency_key or "" for job in shown) == ["", "", "k"]
    await ended([running])


async def test_the_same_key_with_another_batch_or_a_single_job_is_refused(submitter: Any, jobs: Jobs) -> None:
    await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    for other in (batch(2), [*reversed(batch())], [new_job()]):
        with pytest.raises(IdempotencyKeyReused):
            await submitter.submit_batch(other, scope="me", idempotency_key="k")
    with pytest.raises(IdempotencyKeyReused):
        await submitter.submit(batch()[0], scope="me", idempotency_key="k")
    await submitter.submit(new_job(), scope="me", idempotency_key="single")
    with pytest.raises(IdempotencyKeyReused):
        await submitter.submit_batch([new_job()], scope="me", idempotency_key="single")
    assert await stored(jobs) == 4


async def test_a_batchs_key_belongs_to_its_caller(submitter: Any) -> None:
    mine, _ = await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    theirs, created = await submitter.submit_batch(batch(), scope="you", idempotency_key="k")
    assert created
    assert not set(mine) & set(theirs)


async def test_a_batch_whose_first_request_is_still_on_its_way_is_refused_for_now(
    submitter: Any, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert, go = jobs.store.insert_batch, asyncio.Event()

    async def gated(documents: Sequence[Any]) -> bool:
        await go.wait()
        return await insert(documents)

    monkeypatch.setattr(jobs.store, "insert_batch", gated)
    first = asyncio.create_task(submitter.submit_batch(batch(), scope="me", idempotency_key="k"))
    await wait_until(lambda: submitter._replays._held)
    with pytest.raises(IdempotencyKeyInFlight) as refused:
        await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    assert refused.value.retry_after_s
    go.set()
    ids, _ = await first
    assert await submitter.submit_batch(batch(), scope="me", idempotency_key="k") == (ids, False)


async def test_nodes_with_one_key_at_once_make_one_batch(jobs: Jobs, index: Index) -> None:
    nodes = [build(jobs, index) for _ in range(4)]
    running = [asyncio.create_task(node.run()) for node in nodes]
    asked = (node.submit_batch(batch(), scope="me", idempotency_key="k") for node in nodes)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    made = [answer for answer in answers if isinstance(answer, tuple)]
    # Who comes while another node writes is told to come back; whoever is answered is told of the same batch.
    assert all(isinstance(answer, (tuple, IdempotencyKeyInFlight)) for answer in answers), answers
    assert [created for _, created in made].count(True) == 1
    assert len({tuple(ids) for ids, _ in made}) == 1
    assert await stored(jobs) == 3
    await wait_until(lambda: all(node.idle() for node in nodes))
    assert await index.ready() == made[0][0]
    await ended(running)


async def test_a_batch_whose_reply_was_lost_is_given_back_by_its_key(
    submitter: Any, jobs: Jobs, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = jobs.store.insert_batch

    async def lossy(documents: Sequence[Any]) -> bool:
        await insert(documents)
        raise OutcomeUnknown("MongoDB")

    monkeypatch.setattr(jobs.store, "insert_batch", lossy)
    with pytest.raises(OutcomeUnknown):
        await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    monkeypatch.setattr(jobs.store, "insert_batch", insert)
    ids, created = await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    assert not created
    await wait_until(submitter.idle)
    assert sorted(await index.ready()) == sorted(ids)
    assert await stored(jobs) == 3


async def test_a_key_that_was_refused_may_be_used_again(submitter: Any) -> None:
    with pytest.raises(Exception, match="priority"):
        await submitter.submit_batch([new_job(), new_job(priority="urgent")], scope="me", idempotency_key="k")
    _, created = await submitter.submit_batch(batch(), scope="me", idempotency_key="k")
    assert created
