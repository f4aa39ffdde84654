"""HTTP by hand: what a polite client never sends, and a server whose time a test moves."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

from hegemon.api.activity_streams import ActivityStreams
from hegemon.api.app import create_app
from hegemon.api.connections import HttpConnection
from hegemon.api.origins import Origins
from hegemon.api.server import ApiServer
from hegemon.cluster.limit_settings import LimitSettings
from tests.api.memory import MemoryNode
from tests.waiting import PATIENCE_S, wait_until

HOUR = timedelta(hours=1)
JOBS = "/api/v1/jobs"
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()


@dataclass(frozen=True)
class Answer:
    """One answer. `closes`: the server said that it closes the connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The problem's."""
        return str(json.loads(self.body)["code"])

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Peer:
    """A connection to the server. `send` and `answer`; `closed` waits for the server's end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> Answer:
        """The next answer with a Content-Length or without a body."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
            return Answer(int(first.split()[1]), headers, body)

    async def ask(self, data: bytes = GET) -> Answer:
        self.send(data)
        return await self.answer()

    async def closed(self) -> bytes:
        """What came before the end."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read()
            except ConnectionError:
                return b""


class Raw:
    """A server in the test's own loop. None of its times ever runs out by itself."""

    def __init__(self, server: ApiServer, node: MemoryNode, streams: ActivityStreams) -> None:
        self.server, self.node, self.crowd = server, node, server.crowd
        self.streams = streams
        self._peers: list[Peer] = []

    @property
    def connections(self) -> list[HttpConnection]:
        return list(self.crowd.connections)

    def pass_time(self, hours: float) -> None:
        """The sweep as it is after so many hours; every limit is one hour."""
        self.crowd.pass_time(hours * 3600)

    async def connect(self) -> Peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        self._peers.append(Peer(reader, writer))
        return self._peers[-1]

    async def until(self, holds: Callable[[HttpConnection], Any], count: int = 1) -> None:
        """Wait until so many connections are in a state."""
        await wait_until(lambda: sum(bool(holds(connection)) for connection in self.connections) >= count)

    async def until_head_has(self, size: int) -> None:
        """Wait until so many bytes have come after the first piece of the only connection's head."""
        await wait_until(lambda: self.connections[0]._head_bytes >= size)

    async def close(self) -> None:
        for peer in self._peers:
            peer.writer.transport.abort()
        await self.server.stop(0.1)


def no_sweep_of_its_own() -> AbstractContextManager[object]:
    """A server sweeps when a test lets time pass, and not once more in the same moment by its own clock."""
    return mock.patch("hegemon.api.server._SWEEP_EVERY_S", HOUR.total_seconds())


@asynccontextmanager
async def raw_server(*, open_node: bool = False, origins: tuple[str, ...] = (), **limits: Any) -> AsyncIterator[Raw]:
    """A server whose limits are an hour each unless they are given."""
    hours = ("header_timeout", "body_timeout", "write_timeout", "request_timeout", "keep_alive_timeout")
    settings = LimitSettings(**{**dict.fromkeys(hours, HOUR), **limits})
    node = MemoryNode()
    app = create_app(
        node,
        node,
        version="1",
        request_bytes_max=1_000_000,
        metrics=None,
        origins=Origins(origins, open_node=open_node),
        streams_max=settings.max_activity_streams,
    )
    server = ApiServer(app, host="127.0.0.1", port=0, limits=settings)
    raw = Raw(server, node, app.streams)
    feed = asyncio.create_task(node.feed.run())
    with no_sweep_of_its_own():
        await server.start()
        try:
            yield raw
        finally:
            await raw.close()
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
