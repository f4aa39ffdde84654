"""What happened, as one node tells it: its own events in a ring, those of all nodes from a collection that they share.

    events ──add──> ring ──groups, a moment later──> ActivityStore (MongoDB)
                      └── own(): while MongoDB is away      └── page(): all nodes', dead ones' too

What falls out of the ring before MongoDB takes it is lost to the others; the gap in the node's numbers shows that.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import Final

import structlog

from hegemon.cluster.ports import ActivityFilter, ActivityPage
from hegemon.events.bus import Events, Recorded
from hegemon.events.table import about_jobs
from hegemon.monitoring.activity_feed import NodeFeed
from hegemon.monitoring.activity_store import JOBS, OTHERS, SWEEP_EVERY, ActivityStore, shown
from hegemon.monitoring.ring import RING, Ring
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable

log = structlog.get_logger(__name__)

# Let a few gather: an election alone is a handful of events.
GATHER_S: Final = 0.1
GROUP_MAX: Final = 100
RETRY_S: Final = 1.0
REMOVE_AT: Final = 100
DRAIN_S: Final = 2.0


class NodeActivity:
    """One node's. `listen` begins it, `run` must run, `drain` at the end."""

    def __init__(self, database: mongo.Database, node: str) -> None:
        self.store = ActivityStore(database)
        self._node = node
        self._ring = Ring()
        self.feed = NodeFeed(self)
        self._some = asyncio.Event()
        # `run` may still be under way when the last words are told.
        self._telling = asyncio.Lock()
        self._told = 0
        # Places of our events in the store, by share; read there before the first group.
        self._kept: dict[str, deque[int]] = {}
        self._surplus: list[int] = []
        # (number, place) of own events, for `own`.
        self._places: deque[tuple[int, int]] = deque(maxlen=2 * RING)

    async def listen(self, events: Events, boot: int) -> None:
        """Prepare the store, then be told of everything that this start of the node says. StoreUnavailable."""
        await self.store.prepare()
        events.begin(boot)
        events.subscribe(self.add)

    def add(self, recorded: Recorded) -> None:
        """The subscriber: keep it, and tell the store soon."""
        self._ring.add(recorded)
        self._some.set()

    async def run(self) -> None:
        """Tell the store what is in the ring, and listeners what is in the store, for as long as the node lives."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._write(), name="activity writer")
            group.create_task(self.feed.run(), name="activity feed")

    async def _write(self) -> None:
        away = False
        while True:
            await self._some.wait()
            await asyncio.sleep(RETRY_S if away else GATHER_S)
            self._some.clear()
            try:
                if await self._tell():
                    self._some.set()
                away = False
            except StoreUnavailable as error:
                self._some.set()
                if not away:
                    log.warning("activity_untold", reason=str(error))
                away = True
            except Exception:  # what people look at must not end a node
                log.exception("activity_failed")
                self._some.set()
                away = True

    async def drain(self, within_s: float = DRAIN_S) -> None:
        """Tell what is left, as far as that goes."""
        deadline = time.monotonic() + within_s
        try:
            async with asyncio.timeout(within_s):
                while await self._tell() and time.monotonic() < deadline:
                    pass
        except (StoreUnavailable, TimeoutError) as error:
            log.warning("activity_untold", reason=str(error) or "out of time")

    async def page(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        """See the port."""
        events, following = await self.store.page(which, limit=limit, after=after)
        return ActivityPage(events, following)

    def own(self, which: ActivityFilter, *, limit: int, after: int | None, missing: list[str]) -> ActivityPage:
        """See the port. What it gives stays behind `after`: it is given again once it has its place."""
        places = dict(self._places)
        seen = max((seq for seq, place in places.items() if place <= after), default=0) if after is not None else 0
        events = [shown(one, places.get(one.seq)) for one in self._ring.after(seen)]
        found = [event for event in events if which.shows(event)]
        some = found[-limit:] if after is None else found[:limit]
        return ActivityPage(some, after, complete=False, missing=missing)

    async def _tell(self) -> bool:
        """One group; whether there is more."""
        async with self._telling:
            return await self._tell_group()

    async def _tell_group(self) -> bool:
        for share in {JOBS, OTHERS} - self._kept.keys():
            self._kept[share] = deque(await self.store.kept(self._node, share))
        waiting = self._ring.after(self._told)
        group = waiting[:GROUP_MAX]
        if not group:
            return False
        places = await self.store.append(group)
        self._told = group[-1].seq
        self._places.extend(places.items())
        self.feed.hurry()
        await self._forget(group, places)
        return len(waiting) > len(group)

    async def _forget(self, group: list[Recorded], places: dict[int, int]) -> None:
        """Of either share the store keeps our last RING."""
        for one in group:
            kept = self._kept[JOBS if about_jobs(one.event.kind) else OTHERS]
            if one.seq in places:
                kept.append(places[one.seq])
            while len(kept) > RING:
                self._surplus.append(kept.popleft())
        if len(self._surplus) >= REMOVE_AT:
            await self.store.remove(self._surplus)
            self._surplus = []
        if any(place % SWEEP_EVERY == 0 for place in places.values()):
            await self.store.sweep(max(places.values()), group[-1].at_ms)
