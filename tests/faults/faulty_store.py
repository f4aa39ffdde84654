"""A Redis and a MongoDB that misbehave: a TCP proxy that the real code talks to, in front of a real store.

What happens to which request is drawn from a seed: each command has a sequence of its own, so that the same seed meets
the n-th `insert` with the same fault, however the other commands come in between.

| fault | what the client sees | what the store has done |
|---|---|---|
| lose | the connection closes in place of the reply | everything |
| cut | the connection closes in the middle of the reply | everything |
| late | silence, until its own time-out | nothing yet; the request arrives when the client has long given up |
| stall | nobody's requests go on for a moment | everything, later |
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import weakref
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit, urlunsplit

FAULTS: Final[Mapping[str, int]] = {"lose": 4, "cut": 3, "late": 3, "stall": 1}
# A connection on which a late request went out stays open until the store has answered it, at most this long.
_LATE_ANSWER_S: Final = 5.0


class Plan:
    """The faults of one run. `every`: one request in about so many of each command; `late_s`, `stall_s`: from, to."""

    def __init__(
        self, seed: int, *, every: int, late_s: tuple[float, float], stall_s: tuple[float, float] = (0.1, 0.6)
    ) -> None:
        self._seed = seed
        self._every = every
        self._late_s = late_s
        self._stall_s = stall_s
        self._chances: dict[str, random.Random] = {}
        self._until: dict[str, int] = {}

    def next(self, command: str) -> tuple[str, float] | None:
        """The fault that this request meets, and its seconds; None for most."""
        chance = self._chances.get(command)
        if chance is None:
            chance = self._chances[command] = random.Random(f"{self._seed}/{command}")
            self._until[command] = chance.randint(1, self._every)
        self._until[command] -= 1
        if self._until[command] > 0:
            return None
        self._until[command] = chance.randint(self._every // 2, self._every * 3 // 2)
        (kind,) = chance.choices(list(FAULTS), list(FAULTS.values()))
        return kind, chance.uniform(*(self._late_s if kind == "late" else self._stall_s))


class FaultyStore(ABC):
    """A proxy in front of `address`, in a thread of its own. Behaves until `misbehave`; `met` counts (fault, command).

    `url` is the store's address with the proxy's host and port in it.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        if "," in parts.netloc or parts.hostname is None:
            raise ValueError(f"one host is needed, not {parts.netloc!r}")
        self._parts = parts
        self._host, self._port = parts.hostname, parts.port or self.default_port
        self._plan: Plan | None = None
        self._flowing = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: weakref.WeakSet[asyncio.StreamWriter] = weakref.WeakSet()
        self.met: Counter[tuple[str, str]] = Counter()
        # Requests held back and not applied yet: until there are none, the store may still change by itself.
        self.late = 0
        self.url = ""

    default_port: int
    # Handshakes and health checks pass: a store that nobody can connect to is another test.
    passing: frozenset[str]

    def misbehave(self, plan: Plan) -> None:
        """From now on, by this plan."""
        self._plan = plan

    def behave(self) -> None:
        """From now on requests pass; what is on its way late still arrives."""
        self._plan = None

    def count(self, fault: str) -> int:
        """How many requests met this fault."""
        return sum(n for (kind, _), n in self.met.items() if kind == fault)

    @abstractmethod
    async def request(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        """The next whole request: the command's name and the bytes."""

    @abstractmethod
    async def reply(self, reader: asyncio.StreamReader) -> bytes:
        """The next whole reply."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listen on a free port of 127.0.0.1 for the length of the block."""
        ready: Future[asyncio.AbstractEventLoop] = Future()
        over = asyncio.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._listen(ready, over)), name="proxy")
        thread.start()
        loop = ready.result()
        try:
            yield
        finally:
            loop.call_soon_threadsafe(over.set)
            thread.join()

    async def _listen(self, ready: Future[asyncio.AbstractEventLoop], over: asyncio.Event) -> None:
        self._flowing.set()
        try:
            server = await asyncio.start_server(self._accepted, "127.0.0.1", 0)
        except OSError as error:
            ready.set_exception(error)
            return
        port = server.sockets[0].getsockname()[1]
        user = self._parts.netloc.rpartition("@")
        self.url = urlunsplit(self._parts._replace(netloc=f"{user[0]}{user[1]}127.0.0.1:{port}"))
        ready.set_result(asyncio.get_running_loop())
        await over.wait()
        await _let_in_nobody(server)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # Closed is not yet gone: what could not be sent would stay open until the loop ends, and beyond.
        for writer in self._writers:
            writer.transport.abort()

    # -- one connection ------------------------------------------------------------------------------------------------

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Not the coroutine itself: one that is cancelled before it begins closes nothing."""
        self._writers.add(writer)
        task = asyncio.create_task(self._connection(reader, writer), name="proxy-link")
        self._tasks.add(task)
        task.add_done_callback(lambda _: writer.close())
        task.add_done_callback(self._tasks.discard)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What a client or a store that goes away leaves behind is the other's to see: its connection closes.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await _Link(self, reader, writer).run()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to the real store."""
        reader, writer = await asyncio.open_connection(self._host, self._port)
        self._writers.add(writer)
        return reader, writer

    async def fault(self, command: str) -> tuple[str, float] | None:
        """What this request meets; returns once nothing stalls. Also stalls, if that is what it meets."""
        found = self._plan.next(command) if self._plan is not None and command not in self.passing else None
        if found is not None:
            self.met[found[0], command] += 1
            if found[0] == "stall" and self._flowing.is_set():
                self._flowing.clear()
                asyncio.get_running_loop().call_later(found[1], self._flowing.set)
        await self._flowing.wait()
        return found


async def _let_in_nobody(server: asyncio.Server) -> None:
    """Close it. Who is being let in gets in first, in three turns of the loop: a server that closes meanwhile would
    leave their sockets to the garbage collector.
    """
    for listener in server.sockets:
        asyncio.get_running_loop().remove_reader(listener)
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()


class _Link:
    """One client's connection and the one that was opened to the store for it."""

    def __init__(self, store: FaultyStore, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._store = store
        self._reader = reader
        self._writer = writer
        # Replies come in the order of the requests; one more than was asked for (a streamed `hello`) just passes.
        self._due: deque[str] = deque()
        self._answered_late = asyncio.Event()

    async def run(self) -> None:
        """Until either side closes, or a fault closes both."""
        reader, writer = await self._store.connect()
        both = {
            asyncio.create_task(self._requests(writer), name="proxy-requests"),
            asyncio.create_task(self._replies(reader), name="proxy-replies"),
        }
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First, as the wait below may be cancelled.
            writer.close()
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self, writer: asyncio.StreamWriter) -> None:
        while True:
            command, data = await self._store.request(self._reader)
            fault, seconds = await self._store.fault(command) or ("", 0.0)
            if fault == "late":
                await self._send_late(writer, data, seconds)
                return
            self._due.append(fault)
            writer.write(data)
            await writer.drain()

    async def _send_late(self, writer: asyncio.StreamWriter, data: bytes, seconds: float) -> None:
        self._store.late += 1
        try:
            await asyncio.sleep(seconds)
            self._due.append("late")
            writer.write(data)
            await writer.drain()
            async with asyncio.timeout(_LATE_ANSWER_S):
                await self._answered_late.wait()
        finally:
            self._store.late -= 1

    async def _replies(self, reader: asyncio.StreamReader) -> None:
        while True:
            data = await self._store.reply(reader)
            fault = self._due.popleft() if self._due else ""
            if fault == "late":
                self._answered_late.set()
            elif fault == "lose":
                return
            elif fault == "cut":
                self._writer.write(data[: len(data) // 2])
                await self._writer.drain()
                return
            else:
                self._writer.write(data)
                await self._writer.drain()


class FaultyRedis(FaultyStore):
    """Speaks RESP2. A script's command is the beginning of its digest: the proxy knows nothing of what it carries."""

    default_port = 6379
    passing = frozenset({"AUTH", "CLIENT", "CONFIG", "HELLO", "HGET", "INFO", "SCRIPT", "SELECT"})

    async def request(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        head = await reader.readuntil(b"\r\n")
        parts, words = [head], []
        for _ in range(int(head[1:])):
            size = await reader.readuntil(b"\r\n")
            word = await reader.readexactly(int(size[1:]) + 2)
            parts += [size, word]
            words.append(word[:-2])
        name = words[0].decode().upper()
        return (f"script-{words[1][:8].decode()}" if name == "EVALSHA" else name), b"".join(parts)

    async def reply(self, reader: asyncio.StreamReader) -> bytes:
        parts, missing = [], 1
        while missing:
            line = await reader.readuntil(b"\r\n")
            parts.append(line)
            missing -= 1
            if line[:1] == b"*":
                missing += max(int(line[1:]), 0)
            elif line[:1] == b"$" and int(line[1:]) >= 0:
                parts.append(await reader.readexactly(int(line[1:]) + 2))
        return b"".join(parts)


class FaultyMongo(FaultyStore):
    """Speaks MongoDB's wire protocol: messages of a known length, the command's name first in the body."""

    default_port = 27017
    passing = frozenset({"hello", "ismaster", "isMaster", "endSessions", "saslStart", "saslContinue", ""})

    async def request(self, reader: asyncio.StreamReader) -> tuple[str, bytes]:
        data = await self.reply(reader)
        # OP_MSG: header of 16 bytes, flags, a section of kind 0, the document's length, the type of its first field.
        is_msg = int.from_bytes(data[12:16], "little") == 2013 and data[20] == 0
        return data[26 : data.index(b"\0", 26)].decode() if is_msg else "", data

    async def reply(self, reader: asyncio.StreamReader) -> bytes:
        size = await reader.readexactly(4)
        return size + await reader.readexactly(int.from_bytes(size, "little") - 4)
