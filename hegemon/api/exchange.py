"""One request and its answer on a connection, as uvicorn has them; the usual answer, whose length is known, is checked
as a whole instead of header by header, and goes out in one write: one packet, and one record of TLS, instead of two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from hegemon.api.reply import Header, Reply


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
                self._finish(head + body)
                return
            self.transport.write(head)
        await super().send(message)

    def answer(self, whole: bytes) -> None:
        """Answer this request, of which the application has heard nothing."""
        self.response_started = True
        self._finish(whole)

    def _finish(self, answer: bytes) -> None:
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
