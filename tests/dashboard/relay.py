"""A way to a node that a test can cut: what a network does to a page's stream, while the node itself is well."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on between whoever connects to `url` and a node."""

    def __init__(self, node_url: str) -> None:
        self._port = urlsplit(node_url).port
        self._writers: set[asyncio.StreamWriter] = set()
        self.url = ""

    def cut(self) -> None:
        """End all connections that there are; new ones are taken."""
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One, until either side ends it."""
        both = {writer}
        with contextlib.suppress(OSError):
            try:
                inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
                both.add(outer)
                self._writers |= both
                await asyncio.gather(_pass(reader, outer), _pass(inner, writer))
            finally:
                self._writers -= both
                for one in both:
                    one.transport.abort()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(65536):
        writer.write(some)
        await writer.drain()
    writer.transport.close()


@asynccontextmanager
async def relayed(node_url: str) -> AsyncIterator[Relay]:
    """A relay for the length of the block."""
    relay = Relay(node_url)
    server = await asyncio.start_server(relay.connection, "127.0.0.1", 0)
    relay.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield relay
    finally:
        server.close()
        relay.cut()
