"""A node's activity: what it hears is soon in the store that all share, once; and it has its own words without one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hegemon.cluster.ports import ActivityFilter, ActivityPage
from hegemon.events.bus import Events, Recorded
from hegemon.events.cluster import OfficeVacated
from hegemon.events.jobs import JobsPurged
from hegemon.monitoring import activity
from hegemon.monitoring.activity import NodeActivity
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable
from tests.conftest import MongoServer
from tests.waiting import PATIENCE, wait_until

ALL = ActivityFilter()


class Node:
    """A node as far as its events go."""

    def __init__(self, database: mongo.Database, name: str, boot: int) -> None:
        self.activity = NodeActivity(database, name)
        self.events = Events(name, lambda: 1_760_000_000_000)
        self.boot = boot

    def tell(self, *epochs: int) -> None:
        """An event for each."""
        for epoch in epochs:
            self.events.emit(OfficeVacated(epoch))

    async def shared(self, count: int) -> ActivityPage:
        """What all nodes said, once it is so much."""

        async def enough() -> ActivityPage | None:
            page = await self.activity.page(ALL, limit=200, after=0)
            return page if len(page.events) >= count else None

        page = await wait_until(enough, message=f"{count} events")
        assert page is not None
        return page


@asynccontextmanager
async def lives(database: mongo.Database, name: str = "n1", boot: int = 1) -> AsyncIterator[Node]:
    """A node that listens and tells."""
    node = Node(database, name, boot)
    await node.activity.listen(node.events, boot)
    telling = asyncio.create_task(node.activity.run())
    try:
        yield node
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)


@pytest.fixture
async def db(mongo_server: MongoServer, database: str) -> AsyncIterator[mongo.Database]:
    client = mongo.connect(mongo_server.uri, timeout=PATIENCE)
    yield client[database]
    client.close()


async def test_what_one_node_says_another_can_show(db: mongo.Database) -> None:
    async with lives(db, "n1") as one, lives(db, "n2") as other:
        one.tell(7)
        other.tell(8)
        page = await one.shared(2)
        assert {event.id for event in page.events} == {"n1:1:1", "n2:1:1"}
        assert (page.complete, page.missing) == (True, [])
        assert (await other.shared(2)).events == page.events


async def test_what_a_node_said_outlives_it_and_its_next_start_begins_a_count_of_its_own(db: mongo.Database) -> None:
    async with lives(db, boot=1) as node:
        node.tell(7)
        await node.shared(1)
    async with lives(db, boot=2) as node:
        node.tell(8)
        page = await node.shared(2)
    assert [(event.id, event.fields) for event in page.events] == [("n1:1:1", {"epoch": 7}), ("n1:2:1", {"epoch": 8})]


async def test_a_group_whose_reply_was_lost_is_told_once(db: mongo.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "RETRY_S", 0.0)
    async with lives(db) as node:
        append = node.activity.store.append
        lost: list[list[Recorded]] = []

        async def deaf(events: list[Recorded]) -> Any:
            places = await append(events)
            if len(lost) < 2:
                lost.append(events)
                raise StoreUnavailable("MongoDB", "the reply was lost")
            return places

        monkeypatch.setattr(node.activity.store, "append", deaf)
        node.tell(7, 8)
        await wait_until(lambda: lost)
        node.tell(9)
        await wait_until(lambda: len(lost) == 2)
        node.tell(10)
        page = await node.shared(4)
    assert [event.fields["epoch"] for event in page.events] == [7, 8, 9, 10]


async def test_the_last_words_are_told_before_a_node_ends(db: mongo.Database) -> None:
    async with lives(db) as node:
        node.tell(*range(250))
        await node.activity.drain(3600.0)
        page = await node.activity.page(ALL, limit=500, after=0)
    assert [event.fields["epoch"] for event in page.events] == list(range(250))


async def test_the_store_keeps_the_last_of_either_share_of_a_node(
    db: mongo.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "RING", 20)
    monkeypatch.setattr(activity, "REMOVE_AT", 5)
    async with lives(db, "n2") as other:
        other.tell(1)
        await other.shared(1)
    for boot in (1, 2):
        async with lives(db, boot=boot) as node:
            node.tell(*range(50))
            for count in range(50):
                node.events.emit(JobsPurged(count))
            await node.activity.drain(3600.0)
    page = await other.activity.page(ALL, limit=500, after=0)
    for kind in ("office.vacated", "jobs.purged"):
        mine = [event for event in page.events if event.kind == kind and event.node == "n1"]
        assert 20 <= len(mine) <= 25
        assert mine[-1].id.startswith("n1:2:")
    assert [event.id for event in page.events if event.node == "n2"] == ["n2:1:1"]


async def test_without_its_store_a_node_shows_its_own_and_tells_it_when_the_store_is_back(
    db: mongo.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "RETRY_S", 0.0)
    async with lives(db) as node:
        node.tell(7)
        following = (await node.shared(1)).following
        away, append = [True], node.activity.store.append
        tried: list[int] = []

        async def perhaps(events: list[Recorded]) -> dict[int, int]:
            tried.append(len(events))
            if away:
                raise StoreUnavailable("MongoDB")
            return await append(events)

        monkeypatch.setattr(node.activity.store, "append", perhaps)
        node.tell(8, 9)
        # It goes on trying, and the others see nothing of it.
        await wait_until(lambda: len(tried) > 2)
        assert (await node.activity.page(ALL, limit=10, after=following)).events == []
        page = node.activity.own(ALL, limit=10, after=following, missing=["n2"])
        assert [(event.fields["epoch"], event.place) for event in page.events] == [(8, None), (9, None)]
        assert (page.following, page.complete, page.missing) == (following, False, ["n2"])
        newest = node.activity.own(ALL, limit=2, after=None, missing=[]).events
        assert [event.fields["epoch"] for event in newest] == [8, 9]
        away.clear()
        page = await node.shared(3)
        assert [event.fields["epoch"] for event in page.events] == [7, 8, 9]
        # What has its place is not given to who went on from behind it. It knows the place once MongoDB's answer is
        # read, which others may have found there before.
        await wait_until(lambda: not node.activity.own(ALL, limit=10, after=page.following, missing=[]).events)
