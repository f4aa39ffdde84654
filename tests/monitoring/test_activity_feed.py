"""The node's one reader of events, over the real store: each event once, in the order of places, whatever happens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hegemon.cluster.ports import ActivityFilter, ActivityPage, Told
from hegemon.monitoring import activity_feed
from hegemon.monitoring.activity_feed import NodeFeed
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable
from tests.conftest import MongoServer
from tests.monitoring.test_activity import lives
from tests.waiting import PATIENCE, PATIENCE_S, wait_until


@pytest.fixture
async def db(mongo_server: MongoServer, database: str) -> AsyncIterator[mongo.Database]:
    client = mongo.connect(mongo_server.uri, timeout=PATIENCE)
    yield client[database]
    client.close()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that answers slowly counts as away only where that is tried."""
    monkeypatch.setattr(activity_feed, "READ_S", PATIENCE_S)


class Ear:
    """A listener that keeps all that it was told."""

    def __init__(self, feed: NodeFeed) -> None:
        self.feed = feed
        self.told: list[Told] = []
        self.next = 0

    async def __call__(self) -> None:
        entries = self.feed.since(self.next)
        assert entries is not None
        self.told += entries
        self.next += len(entries)

    @property
    def ids(self) -> list[str]:
        return [told.event.id for told in self.told if told.event is not None]

    @property
    def places(self) -> list[int]:
        return [told.place for told in self.told if told.place is not None]


@asynccontextmanager
async def hearing(feed: NodeFeed) -> AsyncIterator[Ear]:
    ear = Ear(feed)
    leave = feed.listen(ear)
    await feed.look()
    try:
        yield ear
    finally:
        leave()


async def test_events_of_all_nodes_come_once_and_in_the_order_of_their_places(db: mongo.Database) -> None:
    async with lives(db, "n1") as one, lives(db, "n2") as two, hearing(one.activity.feed) as ear:
        for epoch in range(40):
            one.tell(epoch)
            two.tell(epoch)
            if epoch % 10 == 0:
                await asyncio.sleep(0)
        await wait_until(lambda: len(ear.ids) >= 80)
        assert len(set(ear.ids)) == len(ear.ids) == 80
        assert ear.places == sorted(ear.places)


async def test_what_is_found_behind_a_place_is_all_that_came_after_it(
    db: mongo.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_feed, "LOG_MAX", 12)
    monkeypatch.setattr(activity_feed, "RECENT", 5)
    async with lives(db, "n1") as node:
        node.tell(*range(20))
        await node.shared(20)
        feed = node.activity.feed
        async with hearing(feed):
            assert feed.find(14) is None
            assert feed.find(15) is not None
            node.tell(*range(20, 30))
            await wait_until(lambda: feed.read_to == 30)
            # Of the log the older ones are gone.
            assert feed.find(17) is None
            for place in range(18, 31):
                number = feed.find(place)
                assert number is not None
                assert [told.place for told in feed.since(number) or ()] == list(range(place + 1, 31))


async def test_a_store_that_does_not_answer_is_asked_once_and_waited_for(
    db: mongo.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_feed, "READ_S", 0.0)
    monkeypatch.setattr(activity_feed, "EVERY_S", 0.01)
    async with lives(db, "n1") as node, hearing(node.activity.feed) as ear:
        feed, page, gate = node.activity.feed, node.activity.page, asyncio.Event()
        asked = 0

        async def slow(which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
            nonlocal asked
            asked += 1
            await gate.wait()
            return await page(which, limit=limit, after=after)

        monkeypatch.setattr(node.activity, "page", slow)
        await wait_until(lambda: not feed.complete)
        begun = feed._begun
        node.tell(7)
        await wait_until(lambda: ear.ids == ["n1:1:1"])
        await wait_until(lambda: feed._begun > begun + 3)
        assert asked == 1
        gate.set()
        await wait_until(lambda: feed.complete and feed.read_to == 1)
        (early,) = [told for told in ear.told if told.event is not None and told.place is None]
        placed = next(told for told in ear.told if told.place == 1)
        assert early.event is not None
        assert placed.early == ear.told.index(early)


async def test_a_listener_that_fails_stops_neither_the_feed_nor_the_others(db: mongo.Database) -> None:
    async def broken() -> None:
        raise RuntimeError("a listener's own fault")

    async with lives(db, "n1") as node:
        leave = node.activity.feed.listen(broken)
        async with hearing(node.activity.feed) as ear:
            node.tell(1)
            await wait_until(lambda: ear.ids)
        leave()


async def test_a_store_that_was_made_anew_is_read_from_its_beginning(db: mongo.Database) -> None:
    async with lives(db, "n1") as node, hearing(node.activity.feed) as ear:
        node.tell(*range(5))
        await wait_until(lambda: len(ear.ids) == 5)
        await db.get_collection("activity").delete_many({})
        node.tell(5)
        await wait_until(lambda: len(ear.ids) == 6)
        assert ear.told[-1].place == 1


async def test_an_away_store_is_not_asked_at_every_turn(db: mongo.Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity_feed, "EVERY_S", 0.001)
    monkeypatch.setattr(activity_feed, "AWAY_S", 3600.0)
    async with lives(db, "n1") as node, hearing(node.activity.feed):
        feed, asked = node.activity.feed, 0

        async def away(which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
            nonlocal asked
            asked += 1
            raise StoreUnavailable("MongoDB", "it is away")

        monkeypatch.setattr(node.activity, "page", away)
        await wait_until(lambda: not feed.complete)
        begun = feed._begun
        await wait_until(lambda: feed._begun > begun + 20)
        assert asked == 1
