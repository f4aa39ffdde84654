"""One sequence of all nodes' events in MongoDB: whoever reads on from a place misses nothing, and no event is twice."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hegemon.cluster.ports import ActivityEvent, ActivityFilter
from hegemon.events.bus import Recorded
from hegemon.events.cluster import NodeStarted, OfficeLost, StoreLost
from hegemon.events.jobs import JobCancelled, JobsCompleted
from hegemon.events.kind import DomainEvent
from hegemon.monitoring import activity_store
from hegemon.monitoring.activity_store import JOBS, OTHERS, ActivityStore, shown
from hegemon.queue import mongo
from tests.conftest import MongoServer
from tests.waiting import PATIENCE

ALL = ActivityFilter()
NOW_MS = 1_760_000_000_000


@pytest.fixture
async def store(mongo_server: MongoServer, database: str) -> AsyncIterator[ActivityStore]:
    client = mongo.connect(mongo_server.uri, timeout=PATIENCE)
    made = ActivityStore(client[database])
    await made.prepare()
    yield made
    client.close()


def told(seq: int, event: DomainEvent | None = None, *, node: str = "n1", boot: int = 1, at: int = NOW_MS) -> Recorded:
    return Recorded(boot, seq, at, node, event or StoreLost("Redis"))


async def everything(store: ActivityStore) -> list[ActivityEvent]:
    events: list[ActivityEvent] = []
    after = 0
    while True:
        page, following = await store.page(ALL, limit=100, after=after)
        events += page
        if len(page) < 100:
            return events
        assert following is not None
        after = following


async def test_events_come_back_as_they_were_told(store: ActivityStore) -> None:
    event = JobCancelled("0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a", "email", "mail", None)
    places = await store.append([told(1, NodeStarted("http://n1", "1.2")), told(2, event)])
    assert places == {1: 1, 2: 2}
    page, following = await store.page(ALL, limit=10, after=None)
    assert page == [shown(told(1, NodeStarted("http://n1", "1.2")), 1), shown(told(2, event), 2)]
    assert following == 2


async def test_writers_at_once_leave_no_place_empty_and_a_reader_between_them_misses_nothing(
    store: ActivityStore,
) -> None:
    writers, each, seen = 5, 30, []
    done = asyncio.Event()

    async def write(node: str) -> None:
        for first in range(1, each + 1, 3):
            await store.append([told(first + i, node=node) for i in range(3)])

    async def read() -> None:
        after = 0
        while True:
            ending = done.is_set()
            page, following = await store.page(ALL, limit=7, after=after)
            seen.extend(page)
            after = following or 0
            if ending and not page:
                return

    async with asyncio.TaskGroup() as group:
        group.create_task(read())
        await asyncio.gather(*(write(f"n{i}") for i in range(writers)))
        done.set()
    assert [event.place for event in seen] == list(range(1, writers * each + 1))
    for i in range(writers):
        assert [event.id for event in seen if event.node == f"n{i}"] == [f"n{i}:1:{seq + 1}" for seq in range(each)]


async def test_what_arrived_before_is_not_written_again(store: ActivityStore) -> None:
    await store.append([told(1), told(2)])
    await store.append([told(1, node="n2")])
    assert await store.append([told(1), told(2), told(3), told(4)]) == {3: 4, 4: 5}
    assert [event.id for event in await everything(store)] == ["n1:1:1", "n1:1:2", "n2:1:1", "n1:1:3", "n1:1:4"]


async def test_a_page_goes_on_from_its_place_and_without_one_shows_the_newest(store: ActivityStore) -> None:
    await store.append([told(seq) for seq in range(1, 11)])
    page, following = await store.page(ALL, limit=4, after=None)
    assert ([event.place for event in page], following) == ([7, 8, 9, 10], 10)
    page, following = await store.page(ALL, limit=4, after=3)
    assert ([event.place for event in page], following) == ([4, 5, 6, 7], 7)
    assert await store.page(ALL, limit=4, after=10) == ([], 10)
    # A place of another database: begin with what is the newest here.
    assert await store.page(ALL, limit=4, after=4711) == ([], 10)


async def test_what_a_filter_leaves_out_is_not_asked_for_again(store: ActivityStore) -> None:
    await store.append([told(1, OfficeLost("a newer epoch was seen")), told(2), told(3)])
    page, following = await store.page(ActivityFilter(kind="office."), limit=10, after=0)
    assert ([event.kind for event in page], following) == (["office.lost"], 3)
    assert await store.page(ActivityFilter(kind="job.dead"), limit=10, after=None) == ([], 3)


async def test_an_empty_store_has_no_place_to_go_on_from(store: ActivityStore) -> None:
    assert await store.page(ALL, limit=10, after=None) == ([], None)


@pytest.mark.parametrize(
    ("which", "wanted"),
    [
        (ActivityFilter(), {1, 2, 3, 4}),
        (ActivityFilter(kind="job"), {1, 2, 3}),
        (ActivityFilter(kind="job."), {1, 2}),
        (ActivityFilter(kind="jo.s"), set()),
        (ActivityFilter(severities=frozenset({"error"})), {4}),
        (ActivityFilter(node="n2"), {2}),
        (ActivityFilter(queues=frozenset({"mail"})), {1, 3, 4}),
        (ActivityFilter(kind="job.", queues=frozenset({"other"})), {2}),
    ],
)
async def test_a_filter_means_the_same_in_the_store_and_in_memory(
    store: ActivityStore, which: ActivityFilter, wanted: set[int]
) -> None:
    some = [
        told(1, JobCancelled("a", "email", "mail", None)),
        told(1, JobCancelled("b", "email", "other", None), node="n2"),
        told(2, JobsCompleted(7, 10.0)),
        told(3, StoreLost("MongoDB")),
    ]
    for one in some:
        await store.append([one])
    page, _ = await store.page(which, limit=10, after=0)
    assert {event.place for event in page} == wanted
    remembered = [shown(one, place + 1) for place, one in enumerate(some)]
    assert {event.place for event in remembered if which.shows(event)} == wanted


async def test_a_sweep_removes_what_is_old_or_too_much_and_never_the_newest(
    store: ActivityStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_store, "KEPT_MAX", 5)
    await store.append([told(seq, at=NOW_MS - 1000 + seq) for seq in range(1, 11)])
    await store.sweep(10, NOW_MS)
    assert [event.place for event in await everything(store)] == [6, 7, 8, 9, 10]
    await store.sweep(10, NOW_MS + 8 * 86_400_000)
    assert [event.place for event in await everything(store)] == [10]
    assert await store.append([told(11)]) == {11: 11}


async def test_the_places_of_a_node_are_known_by_share(store: ActivityStore) -> None:
    await store.append([told(1), told(2, JobsCompleted(1, 10.0)), told(3)])
    await store.append([told(1, node="n2")])
    assert (await store.kept("n1", OTHERS), await store.kept("n1", JOBS)) == ([1, 3], [2])
    await store.remove([1, 2])
    assert (await store.kept("n1", OTHERS), await store.kept("n1", JOBS)) == ([3], [])
