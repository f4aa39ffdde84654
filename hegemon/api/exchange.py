"""One request and its answer on a connection, as uvicorn has them; the usual answer, whose length is known, is checked
as a whole instead of header by header, and goes out in one write: one packet, and one record of TLS, instead of two.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from hegemon.api.call import SLOT
from hegemon.api.reply import Header, Reply

# Of an answer that goes on and on, so much waits for the peer before its writer is told.
HELD_BYTES: Final = 4096
# How long a peer may take to read the last of it.
LINGER_S: Final = 60.0


def written(reply: Reply, identity: str, more: Iterable[Header], *, close: bool) -> bytes:
    """An answer as it goes out; `more` are the headers that every answer has."""
    headers = [
        *more,
        (b"x-request-id", identity.encode()),
        *reply.headers,
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
        *([(b"connection", b"close")] if close else ()),
    ]
    lines = b"".join([b"%b: %b\r\n" % header for header in headers])
    return STATUS_LINE[reply.status] + lines + b"\r\n" + reply.body


class Exchange(RequestResponseCycle):
    """uvicorn's cycle. Whatever is not the usual answer is left to it."""

    _head: bytes = b""

    async def send(self, message: Any) -> None:
        if not self.response_started:
            if "hegemon.own_headers" in message:
                # It stands in for the server's headers of the same names (`pages`).
                own = {name for name, _ in message["headers"]}
                self.default_headers = [pair for pair in self.default_headers if pair[0] not in own]
            if "hegemon.stream" in message:
                # What follows goes another way than by messages (`Outlet`).
                await super().send(message)
                if not self.disconnected:
                    # The socket of one that has gone is closed, and its number perhaps another's.
                    message["hegemon.stream"](Outlet(self))
                return
            head = self._usual_head(message)
            if head:
                self._head = head
                self.response_started = True
                self.waiting_for_100_continue = False
                return
        elif self._head:
            head, self._head = self._head, b""
            if self.flow.write_paused and not self.disconnected:
                await self.flow.drain()
            if self.disconnected:
                return
            body = message.get("body", b"")
            if not message.get("more_body", False) and len(body) == self.expected_content_length:
                self.conclude(head + body)
                return
            self.transport.write(head)
        await super().send(message)

    def answer(self, whole: bytes) -> None:
        """Answer this request, of which the application has heard nothing."""
        self.response_started = True
        self.conclude(whole)

    def conclude(self, answer: bytes) -> None:
        """Write the rest of the answer, as it is."""
        self.transport.write(answer)
        self.expected_content_length = 0
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()

    def _usual_head(self, message: Any) -> bytes:
        """The head of an answer with a Content-Length; empty if this is not one."""
        if message["type"] != "http.response.start" or self.scope["method"] == "HEAD":
            return b""
        length = None
        parts = [STATUS_LINE[message["status"]]]
        headers = self.default_headers + message["headers"]
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name in (b"connection", b"transfer-encoding"):
                return b""
            parts += (name, b": ", value, b"\r\n")
        if length is None:
            return b""
        if not self.keep_alive:
            parts.append(b"connection: close\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        lines = len(headers) + (2 if self.keep_alive else 3)
        if head.count(b"\n") != lines or head.count(b"\r") != lines or b"\0" in head:
            # uvicorn says what is wrong with it.
            return b""
        self.expected_content_length = length
        self.chunked_encoding = False
        return head


class Outlet:
    """The answer of a request that goes on for as long as both sides like, written piece by piece without waiting; its
    writer sees whether the peer keeps up. Its head has been sent."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        exchange.scope[SLOT].last()  # type: ignore[typeddict-item] # an extension, as in `connections`
        transport = exchange.transport
        # A peer that does not read is seen after some kilobytes of ours, and not after megabytes of the kernel's.
        transport.set_write_buffer_limits(HELD_BYTES)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, HELD_BYTES)

    @property
    def gone(self) -> bool:
        """Whether nobody hears any more."""
        exchange = self._exchange
        return exchange.disconnected or exchange.response_complete or exchange.transport.is_closing()

    @property
    def paused(self) -> bool:
        """Whether the peer has yet to read what was written: a writer that goes on fills the memory."""
        return self._exchange.flow.write_paused

    def push(self, piece: bytes) -> None:
        """Write a piece, at once."""
        if piece and not self.gone:
            self._exchange.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def ready(self) -> None:
        """Return once the peer has read what was written, or is gone."""
        if self.paused and not self.gone:
            await self._exchange.flow.drain()

    def finish(self, piece: bytes, linger_s: float | None = None) -> None:
        """Write the last piece and close: whoever has not read it within `linger_s` (LINGER_S) seconds is cut."""
        if self.gone:
            return
        exchange = self._exchange
        exchange.keep_alive = False
        loop = asyncio.get_running_loop()
        loop.call_later(LINGER_S if linger_s is None else linger_s, exchange.transport.abort)
        exchange.conclude(b"%x\r\n%b\r\n0\r\n\r\n" % (len(piece), piece))
        # Whoever waits for the peer waits in vain.
        exchange.flow.resume_writing()
