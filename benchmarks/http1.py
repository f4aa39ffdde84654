"""As little of an HTTP/1.1 client as a load generator needs: one keep-alive connection, prebuilt requests, whole
responses. What it costs a request must be small beside what it measures.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any


def request(host: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST of JSON as it goes over the wire."""
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One request at a time. Understands only responses with a Content-Length, which is all that the API sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: Any = None

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None = None) -> Connection:
        """Connect."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port, ssl=tls)
        return protocol

    async def send(self, raw: bytes) -> tuple[int, bytes]:
        """Send a prebuilt request; (status, body). Raises ConnectionError when the other side closes."""
        if self._transport.is_closing():
            raise ConnectionError("closed by the server")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data if self._buffer else data
        end = buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = buffer.lower().find(b"content-length:", 0, end)
        length = int(buffer[at + 15 : buffer.find(b"\r\n", at)])
        if len(buffer) < end + 4 + length:
            return
        self._buffer = b""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(buffer[9:12]), buffer[end + 4 :]))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed by the server"))
