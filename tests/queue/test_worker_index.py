"""What a worker may do to the index: open, take and acknowledge, retry, give back, drop, reconcile."""

import pytest

from hegemon.queue.entries import decode_body, encode_body, entry_text
from hegemon.queue.errors import IncarnationClosed, IndexRefused
from hegemon.queue.index import WorkerIndex
from hegemon.queue.jobs import Document
from tests.engine.parts import NOW_MS, Index, again, document, placement


async def holding(index: Index, *items: Document, take: bool = True) -> WorkerIndex:
    """An open worker that was given these jobs and, with `take`, has them in its hands."""
    await index.add(*items)
    worker = await index.worker()
    await index.give("w1", *items)
    if take:
        assert len((await worker.take(100, 100, []))[1]) == len(items)
    return worker


def move(item: Document, due: int) -> tuple[str, str, bytes, int]:
    following = again(item, seq=due * 1000)
    return entry_text(item), entry_text(following), encode_body(following), due


async def test_a_worker_takes_its_inbox_by_priority_and_first_come_first_served(index: Index) -> None:
    low, first, second, high = document(1, priority=0), document(2), document(3), document(4, priority=10)
    worker = await holding(index, low, first, second, high, take=False)
    _, three = await worker.take(3, 10, [])
    assert [entry for entry, _ in three] == [entry_text(item) for item in (high, first, second)]
    assert decode_body(three[0][1])[1].priority == 10
    _, rest = await worker.take(3, 10, [])
    assert [entry for entry, _ in rest] == [entry_text(low)]


async def test_what_is_taken_stays_held_until_it_is_acknowledged(index: Index) -> None:
    one, two = document(1), document(2)
    worker = await holding(index, one, two)
    assert await index.raw("HLEN", "held:w1") == 2
    await worker.take(0, 10, [(one["_id"], 1)])
    assert await index.raw("HKEYS", "held:w1") == [two["_id"].encode()]
    assert await index.member.probe([one["_id"], two["_id"]]) == {one["_id"]: 0, two["_id"]: 1}


async def test_an_acknowledgement_sent_twice_does_no_harm(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    await worker.take(0, 10, [(one["_id"], 1)])
    await worker.take(0, 10, [(one["_id"], 1)])
    assert (await index.member.counts()).held == 0


async def test_an_acknowledgement_of_an_earlier_attempt_does_not_touch_the_next(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    following = again(one)
    await index.add(following)
    await index.give("w1", following)
    await worker.take(0, 10, [(one["_id"], 1)])
    assert [entry for entry, _ in (await worker.take(10, 10, []))[1]] == [entry_text(following)]
    await worker.take(0, 10, [(one["_id"], 2)])
    assert (await index.member.probe([one["_id"]]))[one["_id"]] == 0


async def test_an_entry_of_a_stale_attempt_is_dropped_where_it_is_met(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one, take=False)
    await index.raw("HSET", "bodies", one["_id"], encode_body(again(one)).decode("latin-1"))
    assert await worker.take(10, 10, []) == ([], [])
    assert await index.raw("HLEN", "held:w1") == 0
    assert await index.raw("SCARD", "check") == 0, "somebody has the later attempt"


@pytest.mark.parametrize("earlier", [True, False])
async def test_an_entry_without_its_body_goes_on_the_check_list(index: Index, earlier: bool) -> None:
    one = document(1, attempt=3)
    worker = await holding(index, one, take=False)
    if earlier:
        await index.raw("HSET", "bodies", one["_id"], "2:x")
    else:
        await index.raw("HDEL", "bodies", one["_id"])
    assert await worker.take(10, 10, []) == ([], [])
    assert (await index.leader.round(0)).check == [one["_id"]]


async def test_a_retry_moves_a_held_job_to_delayed_under_its_next_attempt_once(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    for _ in range(2):
        await worker.retry([move(one, 5)])
        assert await index.raw("HLEN", "held:w1") == 0
        assert await index.raw("ZRANGE", "delayed", 0, -1, "WITHSCORES") == [
            entry_text(again(one, seq=5000)).encode(),
            b"5",
        ]
    await index.leader.promote(10)
    await worker.retry([move(one, 5)])
    assert (await index.member.counts()).delayed == 0, "a reply was lost, and the job would now stand there twice"


async def test_a_retry_of_a_job_that_was_cancelled_meanwhile_moves_nothing(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    await index.raw("HSET", "bodies", one["_id"], "t:1")
    await worker.retry([move(one, 5)])
    counts = await index.member.counts()
    assert (counts.delayed, counts.held) == (0, 0)


async def test_given_back_jobs_return_to_their_places(index: Index) -> None:
    items = [document(n) for n in range(10)]
    await index.add(*items)
    worker = await index.worker()
    await index.give("w1", *items[:6])
    await worker.take(3, 10, [])
    taken = [item["_id"] for item in items[:3]]
    assert await worker.give_back([taken[2], taken[0]], inbox=False) == 2
    assert await index.ready() == [items[n]["_id"] for n in (0, 2, 6, 7, 8, 9)]
    assert await worker.give_back([taken[1]], inbox=True) == 4
    assert await index.ready() == [item["_id"] for item in items]
    assert await index.raw("HLEN", "held:w1") == 0


async def test_what_a_worker_does_not_hold_it_cannot_give_back(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    await worker.take(0, 10, [(one["_id"], 1)])
    assert await worker.give_back([one["_id"]], inbox=True) == 0
    assert await index.ready() == []


async def test_a_dropped_claim_goes_with_its_body_and_a_later_attempt_stays(index: Index) -> None:
    gone, revived = document(1), document(2)
    worker = await holding(index, gone, revived)
    await index.leader.reindex(placement(again(revived)), {})
    await worker.drop([(gone["_id"], 1), (revived["_id"], 1)])
    assert await index.raw("HLEN", "held:w1") == 0
    assert await index.member.probe([gone["_id"], revived["_id"]]) == {gone["_id"]: 0, revived["_id"]: 2}


async def test_a_claim_of_the_same_worker_on_the_next_attempt_survives_the_drop_of_the_last(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    following = again(one)
    await index.leader.reindex(placement(following), {})
    await index.give("w1", following)
    await worker.drop([(one["_id"], 1)])
    assert [entry for entry, _ in (await worker.take(10, 10, []))[1]] == [entry_text(following)]


async def test_a_take_whose_reply_was_lost_comes_back_through_reconcile(index: Index) -> None:
    lost, waiting = document(1), document(2)
    worker = await holding(index, lost, waiting, take=False)
    await worker.take(1, 10, [])  # This answer never arrived.
    assert await worker.reconcile([]) == {lost["_id"]}
    assert await worker.reconcile([lost["_id"]]) == set()
    assert [entry for entry, _ in (await worker.take(10, 10, []))[1]] == [entry_text(lost), entry_text(waiting)]


async def test_reconcile_leaves_alone_what_is_in_the_inbox_or_not_held(index: Index) -> None:
    waiting, gone = document(1), document(2)
    worker = await holding(index, waiting, gone, take=False)
    await index.raw("HDEL", "held:w1", gone["_id"])
    await index.raw("LREM", "inbox:w1:5", 0, entry_text(gone))
    assert await worker.reconcile([waiting["_id"], gone["_id"]]) == set()
    assert await index.raw("LLEN", "inbox:w1:5") == 1


async def test_a_closed_incarnation_can_do_nothing_and_does_not_open_again(index: Index) -> None:
    one = document(1)
    worker = await holding(index, one)
    await index.leader.close_worker("w1", NOW_MS, "t", {})
    for call in (
        worker.take(1, 1, [(one["_id"], 1)]),
        worker.retry([move(one, 5)]),
        worker.give_back([one["_id"]], inbox=True),
        worker.drop([(one["_id"], 1)]),
        worker.reconcile([]),
        worker.open({}, 1),
    ):
        with pytest.raises(IncarnationClosed):
            await call
    assert (await index.member.probe([one["_id"]]))[one["_id"]] == 1


async def test_a_worker_of_an_earlier_generation_is_refused(index: Index) -> None:
    worker = await index.worker()
    await index.mark("rebuilding", generation=2)
    await index.mark("ready", generation=2)
    with pytest.raises(IndexRefused):
        await worker.take(1, 1, [])
    with pytest.raises(IndexRefused):
        await worker.open({}, 1)


async def test_declarations_are_taken_only_while_the_rebuild_asks_for_them(index: Index) -> None:
    one = document(1)
    worker = await index.worker()
    worker.generation = 2
    for state, taken in (("rebuilding", False), ("declaring", True), ("indexing", False), ("ready", False)):
        await index.mark(state, generation=2)
        if taken:
            await worker.declare({}, 5, {one["_id"]: entry_text(one)})
            assert (await index.leader_of(1, 2).declared())["w1"] == {one["_id"]: entry_text(one)}
        else:
            with pytest.raises(IndexRefused):
                await worker.declare({}, 5, {})


async def test_a_wake_up_ends_the_wait_and_its_absence_ends_with_the_time(index: Index) -> None:
    worker = await holding(index, document(1), take=False)
    assert await worker.wait(5.0) is True
    assert await worker.wait(0.05) is False


async def test_two_thousand_acknowledgements_go_in_one_call(index: Index) -> None:
    items = [document(n) for n in range(5000)]
    await index.add(*items)
    worker = await index.worker()
    await index.leader.dispatch([("default:5", [(entry_text(item), "w1") for item in items])])
    _, taken = await worker.take(5000, 5000, [])
    assert [entry for entry, _ in taken] == [entry_text(item) for item in items]
    await worker.take(0, 10, [(item["_id"], 1) for item in items])
    counts = await index.member.counts()
    assert (counts.held, await index.raw("HLEN", "bodies")) == (0, 0)
