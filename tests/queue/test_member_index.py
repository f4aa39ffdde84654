"""What any node may do to the index: add, probe, cancel, report. Each script's contract, through its typed twin."""

import pytest

from hegemon.queue.entries import encode_body, entry_text
from hegemon.queue.errors import IncarnationClosed, IndexRefused
from hegemon.queue.redis import Redis
from tests.engine.parts import NOW_MS, TIMEOUT, Index, again, document, placement


def offer(item: dict[str, object], seen: int = 0) -> tuple[str, bytes, int | None, int]:
    return entry_text(item), encode_body(item), None, seen


async def test_a_group_is_applied_once_however_often_it_is_sent(index: Index) -> None:
    one = document(1)
    assert await index.member.add("n1~0", 1, [offer(one)]) == (1, 1, [])
    assert await index.member.add("n1~0", 1, [offer(one)]) == (-1, 1, [])
    assert await index.ready() == [one["_id"]]


async def test_a_first_sending_that_arrives_after_a_later_group_is_not_applied(index: Index) -> None:
    """Its sender gave it up, and the job may have run to its end meanwhile."""
    late, later = document(1), document(2)
    await index.member.add("n1~0", 2, [offer(later)])
    assert (await index.member.add("n1~0", 1, [offer(late)]))[0] == -1
    assert await index.ready() == [later["_id"]]


async def test_groups_of_two_incarnations_are_counted_apart(index: Index) -> None:
    one, two = document(1), document(2)
    await index.member.add("n1~0", 5, [offer(one)])
    assert (await index.member.add("n2~0", 1, [offer(two)]))[0] == 1


async def test_a_job_that_is_in_the_index_is_not_added_again_by_another_group(index: Index) -> None:
    one = document(1)
    assert await index.add(one) == 1
    assert await index.add(one, document(2)) == 1
    assert len(await index.ready()) == 2


async def test_a_later_attempt_takes_the_place_of_an_earlier_body(index: Index) -> None:
    one = document(1)
    await index.add(one)
    assert await index.add(again(one)) == 1
    assert (await index.member.probe([one["_id"]]))[one["_id"]] == 2
    assert await index.add(one) == 0, "an earlier attempt came in over a later one"


async def test_what_is_due_later_is_delayed_and_the_rest_is_ready_in_order(index: Index) -> None:
    first, second = document(1), document(2, priority=9)
    later = document(3, more={"due": NOW_MS + 1000})
    third = document(4)
    assert await index.add(first, second, later, third) == 4
    assert await index.ready() == [first["_id"], third["_id"]]
    assert await index.ready("default:9") == [second["_id"]]
    counts = await index.member.counts()
    assert (counts.ready, counts.delayed, counts.held) == (3, 1, 0)


async def test_a_large_group_goes_in_whole(index: Index) -> None:
    """Lua's unpack stops short of 8,000 values."""
    many = [document(n) for n in range(9000)]
    assert await index.add(*many) == 9000
    assert await index.ready() == [item["_id"] for item in many]


@pytest.mark.parametrize("state", ["rebuilding", "declaring", "indexing"])
async def test_nobody_adds_while_the_index_is_being_rebuilt(index: Index, state: str) -> None:
    await index.mark(state)
    with pytest.raises(IndexRefused):
        await index.add(document())


@pytest.mark.parametrize("generation", [1, 3])
async def test_another_generation_than_the_markers_is_refused(index: Index, generation: int) -> None:
    await index.mark("rebuilding", generation=2)
    await index.mark("ready", generation=2)
    index.member.generation = generation
    with pytest.raises(IndexRefused):
        await index.add(document())
    with pytest.raises(IndexRefused):
        await index.member.probe(["x"])


async def test_without_a_marker_everything_is_refused(index: Index) -> None:
    await index.raw("DEL", "marker")
    for call in (
        index.add(document()),
        index.member.probe(["x"]),
        index.member.cancel("x", "x:1:1:5::q:t", 0),
        index.member.cancel_held("w", "x", 1, 0),
        index.member.report_dead("w", {}),
    ):
        with pytest.raises(IndexRefused):
            await call


async def test_a_closed_node_can_bring_in_nothing_more(index: Index) -> None:
    await index.leader.close_node("n1~0")
    with pytest.raises(IncarnationClosed):
        await index.add(document())
    assert await index.add(document(), incarnation="n1~1") == 1


async def test_a_server_that_the_generation_was_not_confirmed_for_is_refused(index: Index) -> None:
    await index.raw("HSET", "marker", "run_id", "of-another-server")
    stranger = Redis(index.url, index.cluster_id, timeout=TIMEOUT)
    try:
        with pytest.raises(IndexRefused, match="rebuilt"):
            await stranger.command("PING")
    finally:
        await stranger.close()


async def test_a_cancelled_job_that_nobody_holds_is_never_dispatched(index: Index) -> None:
    one = document(1)
    await index.add(one)
    assert await index.member.cancel(one["_id"], entry_text(one), NOW_MS) == ""
    worker = await index.worker()
    await index.give("w1", one)
    assert await worker.take(10, 10, []) == ([], [])
    assert await index.raw("HLEN", "held:w1") == 0
    assert await index.raw("SCARD", "check") == 0, "a tombstone is a known end"


async def test_a_tombstone_stands_against_its_attempt_and_gives_way_to_the_next(index: Index) -> None:
    one = document(1)
    await index.member.cancel(one["_id"], entry_text(one), NOW_MS)
    assert await index.add(one) == 0
    assert await index.add(again(one)) == 1
    assert await index.raw("ZCARD", "tombstones") == 0


async def test_cancelling_takes_a_delayed_job_out_at_once(index: Index) -> None:
    one = document(1, more={"due": NOW_MS})
    await index.add(one)
    await index.member.cancel(one["_id"], entry_text(one), NOW_MS)
    assert (await index.member.counts()).delayed == 0


async def test_a_cancelled_job_leaves_the_inbox_in_which_it_waits(index: Index) -> None:
    one = document(1)
    await index.add(one)
    worker = await index.worker()
    await index.give("w1", one)
    assert await index.member.cancel(one["_id"], entry_text(one), NOW_MS) == ""
    assert await worker.take(10, 10, []) == ([], [])
    assert (await index.member.counts()).held == 0
    assert (await index.leader.round(NOW_MS)).tombstones == {one["_id"]: NOW_MS}


async def test_cancelling_names_the_worker_that_has_taken_the_job_and_leaves_it_its_body(index: Index) -> None:
    one = document(1)
    await index.add(one)
    worker = await index.worker()
    await index.give("w1", one)
    assert [entry for entry, _ in (await worker.take(10, 10, []))[1]] == [entry_text(one)]
    assert await index.member.cancel(one["_id"], entry_text(one), NOW_MS) == "w1"
    assert (await index.member.probe([one["_id"]]))[one["_id"]] == 1
    await index.member.cancel_held("w1", one["_id"], 1, NOW_MS)
    assert await worker.take(0, 10, []) == ([(one["_id"], 1)], [])
    assert await worker.take(0, 10, []) == ([], []), "told once"


async def test_a_job_that_its_holder_let_go_before_it_was_told_gets_its_tombstone(index: Index) -> None:
    one, revived = document(1), document(2)
    await index.add(one, revived)
    worker = await index.worker()
    await index.give("w1", one, revived)
    await worker.take(10, 10, [])
    for item in (one, revived):
        assert await index.member.cancel(item["_id"], entry_text(item), NOW_MS) == "w1"
    await worker.give_back([one["_id"], revived["_id"]], inbox=False)
    await index.add(again(revived))
    for item in (one, revived):
        await index.member.cancel_held("w1", item["_id"], 1, NOW_MS)
    assert (await index.leader.round(NOW_MS)).tombstones == {one["_id"]: NOW_MS}
    assert (await index.member.probe([revived["_id"]]))[revived["_id"]] == 2


async def test_burying_forgets_an_end_but_never_a_later_attempt(index: Index) -> None:
    ended, revived = document(1), document(2)
    for item in (ended, revived):
        await index.member.cancel(item["_id"], entry_text(item), NOW_MS)
    await index.add(again(revived))
    await index.leader.bury({ended["_id"]: 1, revived["_id"]: 1})
    assert await index.member.probe([ended["_id"], revived["_id"]]) == {ended["_id"]: 0, revived["_id"]: 2}


async def test_a_beat_moves_the_counters_of_open_workers_and_tells_how_the_index_stands(index: Index) -> None:
    await index.worker("w1")
    await index.add(document())
    before = (await index.leader.round(0)).beats
    marker = await index.member.beat("n1~0", {"id": "n1"}, ["w1", "gone"])
    assert (marker.generation, marker.state, marker.epoch, marker.depth) == (1, "ready", 1, 1)
    assert marker.open == {"w1": True, "gone": False}
    after = (await index.leader.round(0)).beats
    assert after["w1"] == before["w1"] + 1
    assert "gone" not in after


async def test_a_beat_leaves_nothing_behind_where_there_is_no_index(index: Index) -> None:
    await index.raw("DEL", "marker")
    marker = await index.member.beat("n1~0", {"id": "n1"}, ["w1"])
    assert (marker.generation, marker.state, marker.open) == (0, "", {"w1": False})
    assert await index.raw("EXISTS", "nodes") == 0


async def test_a_death_is_reported_for_open_workers_only(index: Index) -> None:
    await index.worker("w1")
    await index.member.report_dead("w1", {"running": ["x"]})
    await index.member.report_dead("w2", {"running": ["y"]})
    assert (await index.leader.round(0)).dead == {"w1": {"running": ["x"]}}


async def test_reindexing_a_document_lays_its_entry_where_it_belongs(index: Index) -> None:
    one = document(1)
    assert await index.leader.reindex(placement(one), {}) == 1
    assert await index.ready() == [one["_id"]]
