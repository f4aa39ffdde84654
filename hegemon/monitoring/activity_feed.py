"""The one reader of a node for all who want to hear of events as they come: a log of what was told last, in memory,
which each of a thousand streams walks at its own pace. The store is asked once for all of them, for none not at all.

    store (all nodes' events, by place) ──a page at a time──┐
    ring (own events) ──only while the store is away────────┴─> log: Told, Told, Told ──> listeners, in turn
                                                                 └── floor: resuming above it asks no store

| what happens | what follows |
|---|---|
| nobody listens | nothing is read, nothing is kept |
| the store answers | events stand in the log in the order of their places: to go on from one is exact |
| the store is away | an entry says so; own events are told at once, without a place |
| it is back | what was missed comes in order, of own events that were told only the place; then an entry says so |
| it answers slowly | after READ_S seconds it counts as away, and that one answer is waited for further |
| its newest place is an older one | a new primary shows that for a moment: nothing, until it was so for AWAY_S |
| it was made anew | that lasts, or a place holds another event than it did: places begin again, and so does the log |
| somebody resumes below the floor | they read page after page by themselves, few at a time, up to the log |
| listeners take long | the next turn is later: they never get more than about a tenth of the loop |
| a listener fails | it is logged; the others and the next turn are not concerned |

Who got an own event without a place and then goes on elsewhere, or after a break, gets it again with one: its id tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import msgspec
import structlog

from hegemon.cluster.ports import Activity, ActivityFilter, ActivityPage, Told
from hegemon.queue.errors import StoreUnavailable

log = structlog.get_logger(__name__)

ALL: Final = ActivityFilter()
LOG_MAX: Final = 2000
# What is read for those who come back, before the first turn.
RECENT: Final = 500
PAGE: Final = 500
EVERY_S: Final = 0.25
READ_S: Final = 2.0
AWAY_S: Final = 1.0
# Of the time that listeners took, so much passes before they are called again.
REST: Final = 10
REST_MAX_S: Final = 2.0
CATCHING_UP_MAX: Final = 4


class NodeFeed:
    """One node's `ActivityFeed`. `run` must run; it costs nothing until somebody listens."""

    def __init__(self, activity: Activity) -> None:
        self._activity = activity
        self._listeners: list[Callable[[], Awaitable[None]]] = []
        self._log: deque[Told] = deque()
        self._first = 0
        # Whoever goes on from here or above asks no store.
        self._floor = 0
        self._read_to: int | None = None
        # Own events that were told without a place: the number of that entry.
        self._early: dict[str, int] = {}
        self._before: str | None = None
        self._hurry = asyncio.Event()
        self._reading: asyncio.Task[ActivityPage] | None = None
        self._retry_at = 0.0
        # Since when its newest place is one before ours.
        self._older_s: float | None = None
        self._begun = self._ended = 0
        self._turned = asyncio.Event()
        self._catching_up = asyncio.Semaphore(CATCHING_UP_MAX)
        self._complete = True

    # -- what listeners see --------------------------------------------------------------------------------------------

    @property
    def head(self) -> int:
        """See the port."""
        return self._first + len(self._log)

    @property
    def read_to(self) -> int | None:
        """See the port."""
        return self._read_to

    @property
    def complete(self) -> bool:
        """See the port."""
        return self._complete

    def since(self, number: int) -> Sequence[Told] | None:
        """See the port."""
        if number < self._first:
            return None
        return list(islice(self._log, number - self._first, None))

    def find(self, after: int) -> int | None:
        """See the port."""
        if self._read_to is None or after < self._floor:
            return None
        place, places = 0, []
        for told in self._log:
            # One without a place stands where the one before it does, so that they never fall.
            place = place if told.place is None else told.place
            places.append(place)
        return self._first + bisect_right(places, after)

    def listen(self, listener: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """See the port."""
        self._listeners.append(listener)
        self._hurry.set()

        def leave() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return leave

    def hurry(self) -> None:
        """There may be something new: look before it is time."""
        if self._listeners:
            self._hurry.set()

    async def look(self) -> None:
        """See the port."""
        # A turn that is under way may have asked the store already.
        wanted = self._begun + 1
        while self._ended < wanted:
            self._hurry.set()
            await self._turned.wait()

    async def page(self, which: ActivityFilter, *, limit: int, after: int) -> ActivityPage:
        """See the port."""
        async with self._catching_up:
            return await self._activity.page(which, limit=limit, after=after)

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Read and tell, for as long as the node lives."""
        try:
            while True:
                if not self._listeners:
                    self._forget()
                    await self._hurry.wait()
                self._hurry.clear()
                await self._turn()
                began = time.monotonic()
                await self._tell()
                await asyncio.sleep(min(REST_MAX_S, REST * (time.monotonic() - began)))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(EVERY_S):
                        await self._hurry.wait()
        finally:
            self._forget()

    async def _turn(self) -> None:
        """A look at the store, and what follows from it."""
        self._begun += 1
        more = False
        try:
            more = await self._read_or_tell_own()
        except Exception:  # what people look at must not end a node
            log.exception("feed_failed")
        if more:
            # Listeners hear of a page before the next one is read.
            self._hurry.set()
            return
        self._ended = self._begun
        turned, self._turned = self._turned, asyncio.Event()
        turned.set()

    async def _read_or_tell_own(self) -> bool:
        """Whether there is more."""
        try:
            more = await self._read_on()
        except StoreUnavailable as error:
            if self._complete:
                log.warning("feed_without_store", reason=str(error))
            self._older_s = None
            self._become(complete=False)
            self._tell_own()
            return False
        if not more:
            self._become(complete=True)
        return more

    async def _read_on(self) -> bool:
        """What is behind the place that was read last; whether there is more."""
        limit = RECENT if self._read_to is None else PAGE
        page = await self._read(limit)
        newest = page.following or 0
        if self._read_to is None:
            self._floor = (page.events[0].place or 1) - 1 if len(page.events) == limit else 0
        elif newest < self._read_to:
            if anew := await self._made_anew(newest):
                self._forget()
            return anew
        self._older_s = None
        for event in page.events:
            self._add(Told(event, event.place, early=self._early.pop(event.id, None)))
        first, self._read_to = self._read_to is None, newest
        return not first and len(page.events) == limit

    async def _made_anew(self, newest: int) -> bool:
        """Whether a store whose newest place lies before ours counts from the beginning again. If it only shows an
        older state, as a new primary's majority does, all that was told would be told once more."""
        now_s = time.monotonic()
        self._older_s = now_s if self._older_s is None else self._older_s
        if now_s - self._older_s >= AWAY_S:
            return True
        known = {told.place: told.event.id for told in self._log if told.event is not None}
        if newest not in known:
            return False
        try:
            async with asyncio.timeout(READ_S):
                page = await self._activity.page(ALL, limit=1, after=newest - 1)
        except TimeoutError:
            return False
        return any(event.place == newest and event.id != known[newest] for event in page.events)

    async def _read(self, limit: int) -> ActivityPage:
        if self._reading is None:
            if time.monotonic() < self._retry_at:
                raise StoreUnavailable("MongoDB", "it was away a moment ago")
            asked = self._activity.page(ALL, limit=limit, after=self._read_to)
            self._reading = asyncio.ensure_future(asked)
        await asyncio.wait({self._reading}, timeout=READ_S if self._complete else EVERY_S)
        if not self._reading.done():
            # It is not asked twice: each question may hold a thread and a connection until the driver gives up.
            raise StoreUnavailable("MongoDB", f"no answer within {READ_S:g} s")
        answer, self._reading = self._reading, None
        try:
            return answer.result()
        except StoreUnavailable:
            self._retry_at = time.monotonic() + AWAY_S
            raise

    def _tell_own(self) -> None:
        """Own events that nobody can read in the store now."""
        own = self._activity.own(ALL, limit=LOG_MAX, after=self._read_to or 0, missing=[]).events
        if self._read_to is None and self._before is None:
            # Where the store ends is not known: what is news is what happens from here on.
            self._before = own[-1].id if own else ""
        begin = next((at + 1 for at, event in enumerate(own) if event.id == self._before), 0)
        for event in own[begin:]:
            if event.id not in self._early:
                self._early[event.id] = self.head
                self._add(Told(msgspec.structs.replace(event, place=None), None))
        for surplus in list(self._early)[:-LOG_MAX]:
            del self._early[surplus]

    def _become(self, *, complete: bool) -> None:
        if complete != self._complete:
            self._complete = complete
            self._add(Told(None, self._read_to if complete else None, complete=complete))

    def _add(self, told: Told) -> None:
        self._log.append(told)
        while len(self._log) > LOG_MAX:
            self._floor = max(self._floor, self._log.popleft().place or 0)
            self._first += 1

    def _forget(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
        self._first = self.head
        self._log.clear()
        self._early.clear()
        self._reading = self._read_to = self._before = self._older_s = None
        self._floor, self._retry_at, self._complete = 0, 0.0, True

    async def _tell(self) -> None:
        for listener in tuple(self._listeners):
            try:
                await listener()
            except Exception:  # see _turn
                log.exception("feed_listener_failed")
