"""The place that a stream names is one up to which its client has heard all, whatever became of the store meanwhile."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from hegemon.api import activity_streams
from hegemon.api.activity_streams import KEEP_ALIVE_S, ActivityStreams
from hegemon.api.call import Call
from hegemon.auth.roles import ANONYMOUS
from hegemon.cluster.ports import ActivityEvent, ActivityFilter, Told
from hegemon.monitoring import activity_feed
from tests.api.memory_activity import MemoryActivity
from tests.waiting import wait_until

ALL = ActivityFilter()


def happened(first: int, last: int) -> list[ActivityEvent]:
    """Another node's."""
    about: dict[str, Any] = {"at": 0, "node": "n2", "kind": "office.vacated", "severity": "info", "fields": {}}
    return [ActivityEvent(id=f"n2:1:{place}", place=place, **about) for place in range(first, last + 1)]


class Client:
    """A connection whose client reads at once; `Call` and `Outlet` of one stream."""

    paused = False
    principal = ANONYMOUS

    def __init__(self) -> None:
        self.text, self.gone = "", False

    def credential(self) -> None:
        return None

    async def left(self) -> None:
        await asyncio.Event().wait()

    def push(self, piece: bytes) -> None:
        self.text += piece.decode()

    async def ready(self) -> None:
        await asyncio.sleep(0)

    def finish(self, piece: bytes, linger_s: float | None = None) -> None:
        del linger_s
        self.push(piece)
        self.gone = True

    @property
    def places(self) -> list[int]:
        """The ids of frames, in their order: what Last-Event-ID would be."""
        return [int(place) for place in re.findall(r"^id: (\d+)$", self.text, re.MULTILINE)]

    @property
    def events(self) -> list[int]:
        """The places of the events that it got."""
        return [int(place) for place in re.findall(r'"id":"n2:1:(\d+)"', self.text)]


class Served:
    """Streams over a store in memory. `now_s` is the time for them."""

    def __init__(self) -> None:
        self.activity = MemoryActivity([])
        self.feed = self.activity.feed
        self.now_s = 0.0
        self.streams = ActivityStreams(self.feed, missing=list, gate=None, streams_max=9, now_s=lambda: self.now_s)
        self.reading = asyncio.create_task(self.feed.run())
        self.tasks = [self.reading]

    def begin(self, after: int | None) -> Client:
        """One more client."""
        client = Client()
        serving = self.streams.serve(cast(Call, client), client, ALL, after)
        self.tasks.append(asyncio.create_task(serving))
        return client


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    monkeypatch.setattr(activity_feed, "EVERY_S", 0.01)
    monkeypatch.setattr(activity_feed, "AWAY_S", 0.01)
    monkeypatch.setattr(activity_feed, "RECENT", 10)
    monkeypatch.setattr(activity_feed, "PAGE", 7)
    monkeypatch.setattr(activity_streams, "PAGE", 9)
    served = Served()
    yield served
    for task in served.tasks:
        task.cancel()
    await asyncio.gather(*served.tasks, return_exceptions=True)


async def test_who_resumes_below_the_log_while_the_store_is_away_gets_no_later_place_before_what_is_owed(
    served: Served,
) -> None:
    served.activity.events += happened(1, 100)
    # It keeps the feed reading.
    first = served.begin(None)
    await wait_until(lambda: served.feed.read_to == 100)
    served.activity.away = True
    await wait_until(lambda: not served.feed.complete)
    client = served.begin(20)
    await wait_until(lambda: '"complete":false' in client.text)
    assert served.feed.find(20) is None
    # More than a page: streams are told of the first one before the feed is complete again.
    served.activity.events += happened(101, 140)
    served.activity.away = False
    await wait_until(lambda: len(set(client.events)) >= 120 and len(first.events) >= 40)
    assert client.events == list(range(21, 141))
    assert client.places == sorted(client.places)
    assert first.events == list(range(101, 141))


async def test_a_stream_whose_next_entries_are_gone_ends_and_names_no_place_behind_them(served: Served) -> None:
    served.activity.events += happened(1, 3)
    client = served.begin(None)
    await wait_until(lambda: client.places == [3])
    served.reading.cancel()
    await asyncio.gather(served.reading, return_exceptions=True)
    # What it is to get next goes with a store that is made anew, before its turn comes.
    for event in happened(4, 5):
        served.feed._add(Told(event, event.place))
    served.feed._forget()
    served.feed._read_to = 7
    served.now_s += KEEP_ALIVE_S + 1
    await served.streams.turn()
    assert client.places == [3]
    assert client.gone
    assert "event: dropped" in client.text
