"""What the leader may do to the index, and the fence around all of it."""

import pytest

from hegemon.queue.entries import encode_body, entry_text
from hegemon.queue.errors import Fenced
from hegemon.queue.leader_index import Placement
from tests.engine.parts import NOW_MS, Index, again, document, place, placement


@pytest.mark.parametrize(
    ("epoch", "generation", "reason"), [(1, 1, "newer"), (3, 1, "older"), (2, 2, "older"), (1, 9, "newer")]
)
async def test_every_script_of_a_leader_passes_only_under_exactly_its_own_marker(
    index: Index, epoch: int, generation: int, reason: str
) -> None:
    one = document(1)
    await index.add(one)
    await index.leader_of(2).take_office("n2")
    stranger = index.leader_of(epoch, generation)
    calls = (
        stranger.beat(),
        stranger.promote(1),
        stranger.survey(1),
        stranger.dispatch([(place(one), [(entry_text(one), "!type:noop")])]),
        stranger.unpark("x", 1),
        stranger.inboxes(),
        stranger.reclaim("w1"),
        stranger.close_worker("w1", 0, "t", {}),
        stranger.close_node("n1~0"),
        stranger.reindex(placement(again(one)), {}),
        stranger.bury({one["_id"]: 1}),
        stranger.round(0),
    )
    for call in calls:
        with pytest.raises(Fenced) as refused:
            await call
        assert refused.value.reason == reason
    assert await index.ready() == [one["_id"]]
    await index.leader_of(2).beat()


async def test_without_a_marker_a_leader_is_refused_and_taking_office_makes_none(index: Index) -> None:
    await index.raw("DEL", "marker")
    for call in (index.leader.beat(), index.leader.take_office("n1")):
        with pytest.raises(Fenced) as refused:
            await call
        assert refused.value.reason == "absent"
    assert await index.raw("EXISTS", "marker") == 0


@pytest.mark.parametrize("state", ["rebuilding", "declaring", "indexing"])
async def test_no_duty_is_done_on_an_index_that_is_not_whole(index: Index, state: str) -> None:
    await index.mark(state)
    for call in (index.leader.survey(1), index.leader.take_office("n1")):
        with pytest.raises(Fenced) as refused:
            await call
        assert refused.value.reason == "older"


async def test_taking_office_raises_the_epoch_and_never_lowers_it(index: Index) -> None:
    await index.leader_of(5).take_office("n2")
    with pytest.raises(Fenced, match="newer"):
        await index.leader_of(4).take_office("n1")
    with pytest.raises(Fenced, match="newer"):
        await index.leader.beat()


async def test_a_rebuild_of_an_older_epoch_cannot_take_a_newer_marker_over(index: Index) -> None:
    await index.leader_of(5).take_office("n2")
    with pytest.raises(Fenced, match="newer"):
        await index.mark("rebuilding", epoch=4, generation=9)


async def test_a_rebuild_that_was_overtaken_by_another_is_refused(index: Index) -> None:
    await index.mark("rebuilding", generation=2)
    await index.mark("rebuilding", generation=3)
    with pytest.raises(Fenced, match="older"):
        await index.mark("ready", generation=2)
    one = document(1)
    with pytest.raises(Fenced, match="older"):
        await index.leader_of(1, 2).rebuild_add([Placement(entry_text(one), encode_body(one))])


async def test_a_rebuild_indexes_every_document_once_where_it_belongs(index: Index) -> None:
    builder = index.leader_of(1, 2)
    await index.add(document(9))
    await index.mark("rebuilding", generation=2)
    await builder.clear()
    ready, later, held = document(1), document(2, more={"due": 7}), document(3)
    await index.mark("indexing", generation=2)
    places = [Placement(entry_text(d), encode_body(d), d.get("due")) for d in (ready, later)]
    places.append(Placement(entry_text(held), encode_body(held), holder="w1"))
    assert await builder.rebuild_add(places) == 3
    assert await builder.rebuild_add(places) == 0
    await index.mark("ready", generation=2)
    assert await index.ready() == [ready["_id"]]
    assert await index.raw("ZRANGE", "delayed", 0, -1) == [entry_text(later).encode()]
    assert await index.raw("HLEN", "bodies") == 3


async def test_clearing_touches_no_other_clusters_keys(index: Index) -> None:
    other = f"hegemon:{{{index.cluster_id}-2}}:marker"
    await index.redis.command("SET", other, "theirs")
    await index.add(document())
    await index.mark("rebuilding")
    await index.leader.clear()
    assert await index.redis.command("GET", other) == b"theirs"
    assert await index.raw("EXISTS", "bodies") == 0
    assert await index.raw("EXISTS", "marker") == 1


async def test_due_jobs_are_promoted_in_the_order_of_their_due_times_and_none_early(index: Index) -> None:
    now = await index.leader.beat()
    late, early, not_yet = (document(3, more={"due": due}) for due in (now - 1, now - 50, now + 60_000))
    await index.add(late, early, not_yet)
    seen, due, moved = await index.leader.promote(10)
    assert [entry.id for entry in moved] == [early["_id"], late["_id"]]
    assert await index.ready() == [early["_id"], late["_id"]]
    assert due == now + 60_000
    assert seen >= now


async def test_a_job_is_promoted_in_the_millisecond_in_which_it_is_due_and_not_in_the_one_before(index: Index) -> None:
    # Ahead of Redis TIME, the cluster clock stands still where the marker says.
    moment = await index.leader.beat() + 3_600_000
    one = document(1, more={"due": moment})
    await index.add(one)
    for clock, moved in ((moment - 1, []), (moment, [one["_id"]])):
        await index.raw("HSET", "marker", "clock", str(clock))
        seen, _, entries = await index.leader.promote(10)
        assert (seen, [entry.id for entry in entries]) == (clock, moved)


async def test_promotion_goes_in_batches(index: Index) -> None:
    await index.add(*(document(n, more={"due": n + 1}) for n in range(5)))
    assert [len((await index.leader.promote(2))[2]) for _ in range(4)] == [2, 2, 1, 0]


async def test_the_cluster_clock_does_not_fall_when_redis_time_does(index: Index) -> None:
    ahead = await index.leader.beat() + 3_600_000
    await index.raw("HSET", "marker", "clock", str(ahead))
    assert await index.leader.beat() == ahead
    assert (await index.leader.promote(1))[0] == ahead


async def test_a_survey_shows_heads_by_priority_for_each_queue_and_the_workers_loads(index: Index) -> None:
    lows = [document(n, priority=1) for n in range(40)]
    high, other = document(90, priority=8), document(91, queue="mail")
    await index.add(*lows, high, other)
    await index.worker("w1", window=7)
    survey = await index.leader.survey(20)
    assert [[entry.id for entry in queue] for queue in survey.queues] == [
        [high["_id"], *(item["_id"] for item in lows[:15])],  # A queue's part of what is wanted, at least 16.
        [other["_id"]],
    ]
    assert {name: (load.held, load.window) for name, load in survey.loads.items()} == {"w1": (0, 7)}


async def test_dispatch_moves_exactly_the_decided_heads(index: Index) -> None:
    items = [document(n) for n in range(4)]
    await index.add(*items)
    await index.worker("w1")
    await index.worker("w2")
    run = ("default:5", [(entry_text(items[0]), "w1"), (entry_text(items[1]), "!type:x"), (entry_text(items[2]), "w2")])
    assert await index.leader.dispatch([run]) == (2, 1)
    assert await index.ready() == [items[3]["_id"]]
    assert await index.raw("HKEYS", "held:w1") == [items[0]["_id"].encode()]
    assert (await index.member.counts()).parked == {"x": 1}


async def test_dispatch_stops_where_the_list_no_longer_reads_as_it_was_surveyed(index: Index) -> None:
    items = [document(n) for n in range(3)]
    await index.add(*items)
    await index.worker("w1")
    run = ("default:5", [(entry_text(item), "w1") for item in (items[0], items[2], items[1])])
    assert await index.leader.dispatch([run]) == (1, 0)
    assert await index.ready() == [items[1]["_id"], items[2]["_id"]]
    assert await index.leader.dispatch([run]) == (0, 0), "the same decision again moves nothing"


async def test_nothing_is_dispatched_to_a_worker_that_closed_meanwhile(index: Index) -> None:
    items = [document(n) for n in range(2)]
    await index.add(*items)
    await index.worker("w1")
    await index.leader.close_worker("w1", NOW_MS, "t", {})
    assert await index.leader.dispatch([("default:5", [(entry_text(item), "w1") for item in items])]) == (0, 0)
    assert await index.ready() == [item["_id"] for item in items]


async def test_parked_jobs_return_to_their_places(index: Index) -> None:
    items = [document(n) for n in range(6)]
    await index.add(*items)
    await index.leader.dispatch([("default:5", [(entry_text(item), "!type:x") for item in items[:4]])])
    assert await index.leader.unpark("type:x", 3) == (3, 1)
    assert await index.ready() == [items[n]["_id"] for n in (0, 1, 2, 4, 5)]
    assert await index.leader.unpark("type:x", 3) == (1, 0)
    assert await index.ready() == [item["_id"] for item in items]
    assert (await index.leader.survey(1)).parked == []


async def test_closing_a_worker_marks_what_it_held_by_what_it_had_done_with_it(index: Index) -> None:
    waiting, taken, running = document(3), document(2), document(1)
    await index.add(running, taken, waiting)
    worker = await index.worker("w1")
    await index.give("w1", running, taken, waiting)
    await worker.take(2, 10, [])
    assert await index.leader.close_worker("w1", NOW_MS, "t", {running["_id"]: "s"}) == 3
    recovering = (await index.leader.round(0)).recovering
    assert recovering == {
        running["_id"]: ("s", "w1", entry_text(running)),
        taken["_id"]: ("t", "w1", entry_text(taken)),
        waiting["_id"]: ("i", "w1", entry_text(waiting)),
    }
    assert await index.leader.close_worker("w1", NOW_MS, "t", {}) == 0
    assert (await index.member.counts()).workers == {}


async def test_reindexing_is_applied_once_and_returns_the_job_to_its_place(index: Index) -> None:
    items = [document(n) for n in range(4)]
    await index.add(*items)
    await index.worker("w1")
    await index.give("w1", items[0], items[1])
    await index.leader.close_worker("w1", NOW_MS, "t", {})
    back = placement(again(items[1])) | placement(again(items[0]))
    assert await index.leader.reindex(back, {}) == 2
    assert await index.leader.reindex(back, {}) == 0
    assert await index.ready() == [item["_id"] for item in items]
    assert (await index.leader.round(0)).recovering == {}


async def test_reindexing_an_attempt_that_somebody_went_beyond_changes_nothing(index: Index) -> None:
    one = document(1, attempt=5)
    await index.add(one)
    assert await index.leader.reindex(placement(one | {"attempt": 4}), {}) == 0
    assert (await index.member.probe([one["_id"]]))[one["_id"]] == 5


async def test_what_has_ended_leaves_the_index_but_a_tombstone_stays(index: Index) -> None:
    ended, cancelled = document(1), document(2)
    await index.add(ended)
    await index.member.cancel(cancelled["_id"], entry_text(cancelled), NOW_MS)
    await index.leader.reindex({}, {ended["_id"]: 1, cancelled["_id"]: 1})
    assert await index.member.probe([ended["_id"], cancelled["_id"]]) == {ended["_id"]: 0, cancelled["_id"]: 1}


async def test_reindexing_something_due_later_delays_it(index: Index) -> None:
    one = document(1, more={"due": NOW_MS})
    await index.leader.reindex(placement(again(one)), {})
    counts = await index.member.counts()
    assert (counts.ready, counts.delayed) == (0, 1)


async def test_tombstones_are_looked_at_when_they_are_old_enough(index: Index) -> None:
    one = document(1)
    await index.member.cancel(one["_id"], entry_text(one), NOW_MS)
    assert (await index.leader.round(NOW_MS - 1)).tombstones == {}
    assert (await index.leader.round(NOW_MS)).tombstones == {one["_id"]: NOW_MS}


async def test_what_a_worker_has_not_taken_goes_back_to_its_place_and_it_gets_no_more(index: Index) -> None:
    worker = await index.worker(window=10)
    jobs = [document(n) for n in range(5)]
    await index.add(*jobs)
    await index.give("w1", *jobs[:4])
    (_, taken) = await worker.take(1, 10, [])
    assert [entry[:36] for entry, _ in taken] == [jobs[0]["_id"]]
    assert await index.leader.inboxes() == {"w1": (3, entry_text(jobs[1]))}
    assert await index.leader.reclaim("w1") == 3
    assert await index.ready() == [job["_id"] for job in jobs[1:]]
    load = (await index.leader.survey(10)).loads["w1"]
    assert (load.held, load.window) == (1, 1)
    assert (await index.leader.inboxes(), await index.leader.reclaim("w1")) == ({}, 0)
    assert (await worker.take(5, 10, []))[1] == []
    assert (await index.leader.survey(10)).loads["w1"].window == 10, "whoever takes again is given again"


async def test_each_step_of_a_rebuild_is_seen_by_who_looks_at_the_office(index: Index) -> None:
    before = (await index.member.look())[3]
    await index.mark("rebuilding")
    await index.mark("indexing")
    await index.leader.rebuild_add([*placement(document()).values()])
    assert (await index.member.look())[2:] == (None, before + 3)
