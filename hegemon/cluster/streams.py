"""Frames over TCP: for what a datagram cannot hold, and as a second way when datagrams do not get through.

A connection proves both ends by itself (HELLO, WELCOME, CONFIRM, as `sessions` has them), so it needs no datagram to
have arrived before. It is kept while there is something to say and 3 s longer: a handshake costs a round trip and six
seals and openings, and a frame on a kept connection costs two. Until a connection has proven its other end, it may
send nothing but frames of exactly a handshake's size; so a stranger cannot make us hold more than that.

===================================================  ==================================================
inbound                                              effect
===================================================  ==================================================
more than 64 connections, or 16 from one address     closed at once, stream_refused
a length that is not allowed                         closed before a byte of it is read, oversize
silent or slow: no whole frame within 5 s            closed, stream_timeout
a frame that is dropped, whatever for                closed, counted by its reason
===================================================  ==================================================

===================================================  ==================================================
outbound                                             effect
===================================================  ==================================================
more than 16 messages or 4 MiB wait for one peer     the new one is dropped, queue_full
no connection and proof within 1 s                   that message is dropped, stream_failed
not written within 1 s                               that message is dropped, stream_failed
another node answers at that address                 that message is dropped, stream_failed
a message waited for more than 2 s                   dropped, stream_failed: it is no longer true
===================================================  ==================================================
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from hegemon.cluster.frames import STREAM_FRAME_MAX
from hegemon.cluster.sessions import HANDSHAKE_BYTES, Verdict

INBOUND_MAX: Final = 64
INBOUND_PER_ADDRESS: Final = 16
READ_S: Final = 5.0
CONNECT_S: Final = 1.0
WRITE_S: Final = 1.0
IDLE_S: Final = 3.0
STALE_S: Final = 2.0
QUEUE_MAX: Final = 16
QUEUE_BYTES: Final = 4 << 20
_LENGTH_BYTES: Final = 4
_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Ends(Protocol):
    """What streams need of the transport that they belong to."""

    counts: dict[str, int]

    def judge(self, frame: bytes, *, stream: bool) -> Verdict:
        """Open a frame and count what it came to."""
        ...

    def act(self, verdict: Verdict) -> None:
        """Tell whoever is to know, once the reply is on its way."""
        ...

    def hello(self) -> bytes:
        """A frame to begin a connection with."""
        ...

    def seal_stream(self, to: str, payload: bytes) -> bytes | None:
        """A frame for a proven peer."""
        ...

    async def dial(self, to: str) -> tuple[Any, ...] | None:
        """Where a peer is reached."""
        ...


class _Failed(Exception):
    """This connection is of no use (any more)."""


@dataclass(slots=True)
class _Link:
    """What waits for one peer. `wake` tells its task of something new. A link is as old as its task."""

    queue: deque[tuple[float, bytes]] = field(default_factory=deque)
    size: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """All connections of one node, in both directions."""

    def __init__(self, ends: Ends) -> None:
        self._ends = ends
        self._links: dict[str, _Link] = {}
        self._outbound: set[asyncio.Task[None]] = set()
        self._inbound: set[asyncio.Task[None]] = set()
        self._from: Counter[str] = Counter()
        self._closed = False

    async def close(self) -> None:
        """End every connection, without waiting for what is unsent."""
        self._closed = True
        tasks = [*self._inbound, *self._outbound]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- outbound -----------------------------------------------------------------------------------------------------

    def send(self, to: str, payload: bytes) -> None:
        """Queue one message; never blocks and never raises."""
        if self._closed:
            return
        link = self._links.get(to)
        if link is None:
            link = self._links[to] = _Link()
            task = asyncio.create_task(self._pump(to, link), name=f"stream-to-{to}")
            self._outbound.add(task)
            task.add_done_callback(self._outbound.discard)
        if len(link.queue) >= QUEUE_MAX or link.size + len(payload) > QUEUE_BYTES:
            self._ends.counts["queue_full"] += 1
            return
        link.queue.append((time.monotonic(), payload))
        link.size += len(payload)
        link.wake.set()

    async def _pump(self, to: str, link: _Link) -> None:
        """Send what waits for one peer, until nothing has for IDLE_S."""
        connection: _Connection | None = None
        try:
            while await _next(link):
                queued_at, payload = link.queue.popleft()
                link.size -= len(payload)
                try:
                    connection = await self._say(to, connection, queued_at, payload)
                    self._ends.counts["streams_out"] += 1
                except (TimeoutError, OSError, EOFError, _Failed):
                    self._ends.counts["stream_failed"] += 1
                    _drop(connection)
                    connection = None
        finally:
            # From here on a new message makes a new link.
            del self._links[to]
            if connection is not None:
                await _end(connection[1])

    async def _say(self, to: str, connection: _Connection | None, queued_at: float, payload: bytes) -> _Connection:
        """Write one message, over a new connection if there is none that lives."""
        if time.monotonic() - queued_at > STALE_S:
            raise _Failed
        if connection is None or connection[0].at_eof() or connection[1].is_closing():
            _drop(connection)
            async with asyncio.timeout(CONNECT_S):
                connection = await self._connect(to)
        frame = self._ends.seal_stream(to, payload)
        if frame is None:
            raise _Failed
        try:
            async with asyncio.timeout(WRITE_S):
                await _write(connection[1], frame)
        except BaseException:
            _drop(connection)
            raise
        return connection

    async def _connect(self, to: str) -> _Connection:
        """A connection whose other end has proven to be `to`, and which knows us."""
        place = await self._ends.dial(to)
        if place is None:
            raise _Failed
        connection = await asyncio.open_connection(place[0], place[1])
        try:
            await self._prove(to, *connection)
        except BaseException:
            _drop(connection)
            raise
        return connection

    async def _prove(self, to: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _write(writer, self._ends.hello())
        verdict = self._ends.judge(await _read(reader, HANDSHAKE_BYTES, HANDSHAKE_BYTES), stream=True)
        if verdict.reply is not None:
            await _write(writer, verdict.reply)
        self._ends.act(verdict)
        if verdict.proven is None or verdict.proven.facts.id != to:
            raise _Failed

    # --- inbound ------------------------------------------------------------------------------------------------------

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one connection that somebody made to us, or refuse it."""
        peername: Any = writer.get_extra_info("peername")
        address = str(peername[0]) if peername else ""
        if self._closed or len(self._inbound) >= INBOUND_MAX or self._from[address] >= INBOUND_PER_ADDRESS:
            self._ends.counts["stream_refused"] += 1
            writer.transport.abort()
            return
        # A task of our own: asyncio's, for a coroutine, cannot be cancelled without an outcry (Python 3.11).
        task = asyncio.create_task(self._serve(reader, writer), name=f"stream-from-{address}")
        self._from[address] += 1
        self._inbound.add(task)
        task.add_done_callback(lambda ended: self._ended(ended, writer, address))

    def _ended(self, task: asyncio.Task[None], writer: asyncio.StreamWriter, address: str) -> None:
        # Not in the task itself: one that is cancelled before its first step runs nothing of its own.
        self._inbound.discard(task)
        self._from[address] -= 1
        self._from += Counter()  # forgets the addresses that have none left
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._frames(reader, writer)
        except (OSError, EOFError, TimeoutError):
            pass  # the other end has gone, or takes nothing

    async def _frames(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        proven = False
        while True:
            try:
                async with asyncio.timeout(READ_S):
                    least, most = (0, STREAM_FRAME_MAX) if proven else (HANDSHAKE_BYTES, HANDSHAKE_BYTES)
                    frame = await _read(reader, least, most)
            except TimeoutError:
                # One that has proven itself and says nothing more has done no wrong.
                self._ends.counts["stream_idle" if proven else "stream_timeout"] += 1
                return
            except _Failed:
                self._ends.counts["oversize"] += 1
                return
            except asyncio.IncompleteReadError as ended:
                self._ends.counts["garbage"] += bool(ended.partial)
                return
            verdict = self._ends.judge(frame, stream=True)
            if verdict.reply is not None:
                async with asyncio.timeout(WRITE_S):
                    await _write(writer, verdict.reply)
            self._ends.act(verdict)
            if verdict.dropped is not None:
                return
            proven = proven or verdict.proven is not None


async def _read(reader: asyncio.StreamReader, least: int, most: int) -> bytes:
    """One frame; _Failed for a length that is not allowed, before anything of it is read."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if not least <= length <= most:
        raise _Failed
    return await reader.readexactly(length)


async def _write(writer: asyncio.StreamWriter, frame: bytes) -> None:
    writer.write(len(frame).to_bytes(_LENGTH_BYTES, "big") + frame)
    await writer.drain()


async def _next(link: _Link) -> bool:
    """Wait for a message; False if none comes for IDLE_S."""
    while not link.queue:
        link.wake.clear()
        try:
            async with asyncio.timeout(IDLE_S):
                await link.wake.wait()
        except TimeoutError:
            return bool(link.queue)
    return True


def _drop(connection: _Connection | None) -> None:
    if connection is not None:
        connection[1].transport.abort()


async def _end(writer: asyncio.StreamWriter) -> None:
    """Let what was written leave, but not for long."""
    try:
        async with asyncio.timeout(WRITE_S):
            writer.close()
            await writer.wait_closed()
    except (TimeoutError, OSError):
        pass  # it is gone either way
    finally:
        writer.transport.abort()
