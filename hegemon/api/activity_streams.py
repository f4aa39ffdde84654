"""All streams of events of one node: who hears what, up to where, and when it is over.

One listener of the node's feed serves them all: after each of its turns every stream is given what it lacks. A stream
is a place in the feed's log; nothing is kept for it but what its connection has not sent yet.

| a stream | what follows |
|---|---|
| begins with Last-Event-ID or `after` | what lies behind that place, all of it and once, then what happens |
| begins without | what happens from now on; the first frame says which place that is |
| begins further back than the log reaches | pages from the store first, as fast as its client reads them |
| has a client that reads nothing for STALLED_S | it is dropped |
| has a client that is BEHIND_MAX entries behind for BEHIND_S | it is dropped |
| is dropped | `event: dropped` behind what was written, and the end; it may come back and misses nothing |
| hears nothing for KEEP_ALIVE_S | a comment, with the place up to which it has heard all |
| lives while the store is away | `event: state`; the node's own events without a place; the rest afterwards |
| begins without a place while the store is away | the same, but where it began nobody knows: no rest afterwards |
| outlives its token, session, key or user | `event: end` within a second of their end on this node, no event more |
| has a key that cannot be checked, the store being away | `event: end`, as a request would be refused |
| is one too many | 503 too_many_streams; nothing has begun |
| is there when the node stops | `event: end` at once; who has not read that within FAREWELL_S is cut |
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any, Final

from hegemon.api import event_stream
from hegemon.api.call import Call
from hegemon.api.event_stream import Last
from hegemon.api.problems import ApiError
from hegemon.api.reply import Outlet
from hegemon.api.resource import Gate
from hegemon.auth.errors import AuthError
from hegemon.auth.roles import Principal
from hegemon.cluster.ports import ActivityFeed, ActivityFilter, Observer
from hegemon.queue.errors import QueueError, StoreUnavailable

BEHIND_MAX: Final = 256
BEHIND_S: Final = 15.0
STALLED_S: Final = 15.0
KEEP_ALIVE_S: Final = 15.0
FAREWELL_S: Final = 0.5
# Entries in one write: with what the connection holds back it is all that a stream ever holds.
AT_ONCE: Final = 16
PAGE: Final = 100
# So many streams in one turn of the loop: others are to be heard in between.
SERVED: Final = 64
# Of all clients of a node that went away, not all at once.
RETRY_MS: Final = (1000, 4000)

_SLOW: Final = "it read too slowly: connect again with Last-Event-ID, perhaps with a narrower filter"
_STOPPING: Final = "the node stops: connect to another one with Last-Event-ID"
_CHANGED: Final = "what this credential may see has changed: connect again"
_UNCHECKED: Final = "the credential cannot be checked now, since a store does not answer: connect again"


class Stream:
    """One client. `position` is the number of the entry that it gets next. While it is `live` it keeps up, and each
    turn writes to it; else its own task does, as fast as its client reads."""

    def __init__(self, outlet: Outlet, which: ActivityFilter, principal: Principal, credential: bytes | None) -> None:
        self.outlet, self.which, self.principal, self.credential = outlet, which, principal, credential
        self.live = False
        # It reads from the store, and has no position yet.
        self.joining = True
        self.position = self.joined = 0
        # Where it goes on once the store is back.
        self.owed: int | None = None
        self.again = asyncio.Event()
        # It began without a place while there was none to begin from.
        self.blind = False
        # What it was told of the store; None before the first word.
        self.complete: bool | None = None
        self.written_s = 0.0
        # Since when: its client has yet to read before it gets more; it is too far behind.
        self.waits_s: float | None = None
        self.behind_s: float | None = None
        self.check: asyncio.Task[None] | None = None


class ActivityStreams:
    """The streams of a node. `open` and `dropped` are for its metrics."""

    def __init__(
        self,
        feed: ActivityFeed,
        *,
        missing: Callable[[], list[str]],
        gate: Gate | None,
        streams_max: int,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._feed = feed
        self._missing = missing
        self._gate = gate
        self._streams_max = streams_max
        self._now_s = now_s
        self._streams: set[Stream] = set()
        self._leave: Callable[[], None] | None = None
        self._frames: dict[Any, bytes] = {}
        self._closed = False
        self.dropped = 0

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._streams)

    def admit(self) -> None:
        """ApiError if there can be no further one."""
        if self._closed:
            raise ApiError("stopping")
        if len(self._streams) >= self._streams_max:
            raise ApiError("too_many_streams", retry_after_s=5.0)

    async def serve(self, call: Call, outlet: Outlet, which: ActivityFilter, after: int | None) -> None:
        """One stream, from its first frame to its last; returns when it is over."""
        stream = Stream(outlet, which, call.principal, call.credential())
        stream.written_s = self._now_s()
        self._streams.add(stream)
        if self._leave is None:
            self._leave = self._feed.listen(self.turn)
        try:
            outlet.push(event_stream.opening(random.randint(*RETRY_MS)))
            left = asyncio.ensure_future(call.left())
            try:
                await self._follow(stream, after, left)
            finally:
                left.cancel()
                await asyncio.gather(left, return_exceptions=True)
        finally:
            self._streams.discard(stream)
            if stream.check is not None:
                stream.check.cancel()
            if not self._streams and self._leave is not None:
                self._leave()
                self._leave = None

    async def turn(self) -> None:
        """Give every stream what it lacks. The feed calls this."""
        self._frames.clear()
        for number, stream in enumerate(tuple(self._streams), 1):
            self._step(stream)
            if number % SERVED == 0:
                await asyncio.sleep(0)

    def close(self) -> None:
        """The node stops: end all of them."""
        self._closed = True
        for stream in tuple(self._streams):
            stream.outlet.finish(event_stream.last("end", Last("stopping", _STOPPING, resume=True)), FAREWELL_S)

    # -- catching up ---------------------------------------------------------------------------------------------------

    async def _follow(self, stream: Stream, after: int | None, left: asyncio.Future[None]) -> None:
        joined = False
        while not left.done():
            if not joined:
                await self._join(stream, after)
            await self._run_up(stream)
            again = asyncio.ensure_future(stream.again.wait())
            either: set[asyncio.Future[Any]] = {left, again}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                again.cancel()
            stream.again.clear()
            joined = not (stream.owed is not None and self._feed.complete)
            if not joined:
                after, stream.owed = stream.owed, None

    async def _join(self, stream: Stream, after: int | None) -> None:
        """Bring it to where the log goes on for it, or as far as it can be brought now."""
        feed = self._feed
        stream.joining = True
        if feed.read_to is None or (after is not None and after > feed.read_to):
            await feed.look()
        if after is None or (feed.read_to is not None and feed.complete and after > feed.read_to):
            # From now on. A place beyond the newest is one of another store.
            stream.blind = feed.read_to is None
            self._enter(stream, feed.head, feed.read_to)
            return
        self._say_state(stream, after)
        while not stream.outlet.gone:
            number = None if after > (feed.read_to or 0) else feed.find(after)
            if number is not None:
                self._enter(stream, number, after)
                return
            try:
                after = max(after, await self._page(stream, after))
            except StoreUnavailable:
                stream.owed = after
                self._enter(stream, feed.head, None)
                return
            if after > (feed.read_to or 0):
                await feed.look()

    async def _page(self, stream: Stream, after: int) -> int:
        """One page from the store, written; where the next one begins. StoreUnavailable."""
        if not self._feed.complete:
            raise StoreUnavailable("MongoDB", "it is away")
        page = await self._feed.page(stream.which, limit=PAGE, after=after)
        for begin in range(0, len(page.events), AT_ONCE):
            some = page.events[begin : begin + AT_ONCE]
            await self._write(stream, b"".join([event_stream.happened(event, event.place) for event in some]))
        return page.following or 0

    async def _run_up(self, stream: Stream) -> None:
        """What the log has for it, as fast as its client reads; then it is live."""
        while stream.position < self._feed.head and not stream.outlet.gone:
            written = self._written(stream)
            if written is None:
                self._drop(stream)
                return
            await self._write(stream, written)
        stream.live, stream.behind_s = True, None

    async def _write(self, stream: Stream, piece: bytes) -> None:
        """Once the client has read what was written before, and if its credential is still good then."""
        outlet = stream.outlet
        stream.waits_s = self._now_s()
        await outlet.ready()
        stream.waits_s = None
        while not self._admitted(stream) and not outlet.gone:
            if stream.check is not None:
                await asyncio.wait({stream.check})
        if piece:
            outlet.push(piece)
            stream.written_s = self._now_s()

    def _enter(self, stream: Stream, number: int, place: int | None) -> None:
        stream.position = stream.joined = number
        stream.joining = False
        self._say_state(stream, place)

    def _say_state(self, stream: Stream, place: int | None) -> None:
        """At the beginning, and when it is another one than was said."""
        complete = self._feed.complete
        if complete is not stream.complete:
            stream.complete = complete
            stream.outlet.push(event_stream.state(complete=complete, missing=self._missing(), place=place))

    def _too_slow(self, stream: Stream) -> bool:
        """Whether its client has read nothing for too long, or is too far behind for too long."""
        now_s = self._now_s()
        if stream.joining or self._feed.head - stream.position <= BEHIND_MAX:
            stream.behind_s = None
        elif stream.behind_s is None:
            stream.behind_s = now_s
        waited_s = 0.0 if stream.waits_s is None else now_s - stream.waits_s
        return waited_s > STALLED_S or (stream.behind_s is not None and now_s - stream.behind_s > BEHIND_S)

    # -- live ----------------------------------------------------------------------------------------------------------

    def _step(self, stream: Stream) -> None:
        outlet, feed = stream.outlet, self._feed
        if outlet.gone or not self._admitted(stream):
            return
        if not stream.live:
            if self._too_slow(stream):
                self._drop(stream)
            return
        if feed.complete and stream.blind:
            stream.blind, stream.position = False, feed.head
            self._say_state(stream, feed.read_to)
        lacks = feed.head - stream.position
        if (lacks and outlet.paused) or lacks > AT_ONCE or (feed.complete and stream.owed is not None):
            # Its own task goes on, which waits for its client.
            stream.live = False
            stream.again.set()
            return
        now_s = self._now_s()
        written = self._written(stream) if lacks else b""
        if written is None:
            # They went with a store that was made anew: no place behind them may be said.
            self._drop(stream)
        elif written:
            outlet.push(written)
            stream.written_s = now_s
        elif now_s - stream.written_s >= KEEP_ALIVE_S and not outlet.paused:
            moved = event_stream.moved(feed.read_to) if feed.complete else b""
            outlet.push(moved + event_stream.KEEP_ALIVE)
            stream.written_s = now_s

    def _written(self, stream: Stream) -> bytes | None:
        """The next entries as this stream gets them; None if they are gone. Streams of one filter share them."""
        start = stream.position
        end = min(start + AT_ONCE, self._feed.head)
        # What has a place lies behind what this stream is still owed, and comes after that.
        owed = stream.owed is not None or stream.blind
        key = (stream.which, start, end, owed, stream.joined)
        shared = (stream.which, start, end, owed)
        found = self._frames.get(shared)
        if found is None:
            found = self._frames.get(key)
        if found is None:
            entries = self._feed.since(start)
            if entries is None:
                return None
            entries = [told for told in entries[: end - start] if not owed or told.place is None]
            missing = self._missing() if any(told.event is None for told in entries) else []
            frames = [event_stream.frame(told, stream.which, joined=stream.joined, missing=missing) for told in entries]
            found = b"".join(frames)
            for_all = all(told.early is None for told in entries)
            self._frames[shared if for_all else key] = found
        stream.position = end
        return found

    def _admitted(self, stream: Stream) -> bool:
        """Whether its credential is still good; where that must be looked at, it gets nothing until then."""
        if self._gate is None:
            return True
        if stream.check is not None:
            return False
        principal = self._gate.known(stream.credential or b"")
        if principal is None:
            stream.check = asyncio.ensure_future(self._look_again(stream, self._gate))
            return False
        if principal != stream.principal:
            self._end(stream, Last("forbidden", _CHANGED, resume=True))
            return False
        return True

    async def _look_again(self, stream: Stream, gate: Gate) -> None:
        try:
            await gate.authenticate(stream.credential or b"")
        except AuthError as error:
            self._end(stream, Last(error.code, str(error), resume=error.code == "token_expired"))
        except QueueError:
            self._end(stream, Last("store_unavailable", _UNCHECKED, resume=True))
        finally:
            stream.check = None

    def _drop(self, stream: Stream) -> None:
        self.dropped += 1
        stream.outlet.finish(event_stream.last("dropped", Last("too_slow", _SLOW, resume=True)))

    @staticmethod
    def _end(stream: Stream, word: Last) -> None:
        stream.outlet.finish(event_stream.last("end", word))


def missing_nodes(observer: Observer) -> Callable[[], list[str]]:
    """Whose events a node lacks while the store is away: those of all others."""

    def missing() -> list[str]:
        election = observer.election()
        return [member.id for member in election.members if member.id != election.node_id]

    return missing
