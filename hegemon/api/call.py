"""One request as a handler sees it: headers, query and body, read straight from ASGI with every limit kept."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import parse_qsl

import msgspec

from hegemon.api.problems import ApiError, from_decode_error
from hegemon.api.reply import Header
from hegemon.auth.roles import ANONYMOUS, Principal
from hegemon.queue.provenance import Provenance
from hegemon.tracing.context import trace_context, trace_id

Scope = Any  # what starlette.types has: MutableMapping[str, Any]; spelled out nowhere in ASGI itself
T = TypeVar("T")

# Set in a scope whose request the server cuts off because it takes too long: "body" or "answer".
OVERTIME: Final = "hegemon.overtime"
# In a scope: the request's place among all that are under way (`connections.Slot`).
SLOT: Final = "hegemon.slot"

_QUERY_FIELDS_MAX: Final = 20
_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9_.\-]{1,64}")


class ClientGone(Exception):
    """The client hung up before its answer: there is nobody to tell."""


class Told(Protocol):
    """A limit that callers are told of."""

    def headers(self, full_in_s: float) -> tuple[Header, ...]: ...


class Call:
    """A request. `body_bytes_max` bounds what is ever held of its body.

    `headers`: by name in lower case; several of one name are joined by commas (RFC 9110, 5.2). `request_id`: the
    caller's X-Request-ID if it is a plain word of at most 64 characters, else the trace id of its traceparent, else a
    new one of 64 random bits. The pipeline
    of `Resource` sets `address` (whose request this is, as text) and `principal` before a handler sees them.
    `reply_headers` go out with whatever is answered, and so do those of the limit that was asked last. `noted` is for
    the audit: what a handler says about its work.
    """

    __slots__ = (
        "_receive",
        "address",
        "body_bytes_max",
        "headers",
        "limited",
        "noted",
        "principal",
        "reply_headers",
        "request_id",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Any, body_bytes_max: int) -> None:
        self.scope = scope
        self.body_bytes_max = body_bytes_max
        self._receive = receive
        self.headers: dict[bytes, bytes] = join_headers(scope["headers"])
        self.request_id = request_id(self.headers)
        self.address = ""
        self.principal: Principal = ANONYMOUS
        self.reply_headers: tuple[Header, ...] = ()
        self.limited: tuple[Told, float] | None = None
        self.noted: dict[str, Any] | None = None

    def header(self, name: bytes) -> str | None:
        """The value of a header, `name` in lower case."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def credential(self) -> bytes | None:
        """What the caller shows: the token after `Authorization: Bearer`, or the header X-API-Key. Another scheme, or
        both headers at once, is a credential that nobody accepts."""
        shown, key = self.headers.get(b"authorization"), self.headers.get(b"x-api-key")
        if shown is None:
            return key
        if key is not None:
            return b""
        if shown[:7] == b"Bearer ":
            return shown[7:]
        return shown[7:].strip() if shown[:7].lower() == b"bearer " else b""

    def note(self, **details: Any) -> None:
        """Say something for the audit's entry of this request: `target`, and small details without secrets."""
        self.noted = {**(self.noted or {}), **details}

    def provenance(self) -> Provenance:
        """What the jobs of this request are found by in logs and traces."""
        parent = self.headers.get(b"traceparent")
        if parent is None:
            return Provenance(self.request_id)
        return Provenance(self.request_id, trace_context(parent.decode("latin-1"), self.header(b"tracestate")))

    def path_value(self, name: str) -> str:
        """What stood in the path for `{name}`."""
        text: str = self.scope["path_params"][name]
        return text

    def query(self, known: AbstractSet[str]) -> dict[str, str]:
        """The query's parameters. An unknown, repeated or unreadable one is refused: a typing error must not be a
        filter that filters nothing."""
        raw: bytes = self.scope["query_string"]
        if not raw:
            return {}
        try:
            pairs = parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_QUERY_FIELDS_MAX
            )
        except ValueError:
            raise ApiError("invalid_parameter", "the query string cannot be read") from None
        found: dict[str, str] = {}
        for name, value in pairs:
            if name not in known:
                says = f"known here: {', '.join(sorted(known))}" if known else "none is known here"
                raise ApiError("invalid_parameter", f"unknown query parameter; {says}", field=name)
            if name in found:
                raise ApiError("invalid_parameter", "given more than once", field=name)
            found[name] = value
        return found

    async def body(self) -> bytes:
        """The whole body. `body_too_large` as soon as more has come, or was announced, than `body_bytes_max`."""
        announced = self.header(b"content-length")
        if announced is not None and (len(announced) > 15 or int(announced) > self.body_bytes_max):
            raise self._too_large()
        slot = self.scope.get(SLOT)
        if announced is not None and slot is not None and len(announced) > 4:
            slot.hold(int(announced))
        chunk, more = await self._chunk()
        if not more:
            if len(chunk) > self.body_bytes_max:
                raise self._too_large()
            return chunk
        # In one buffer: a thousand chunks of a byte would cost far more memory than what they hold.
        body = bytearray(chunk)
        # A chunked body announces nothing: what counts is what has come.
        while True:
            if len(body) > self.body_bytes_max:
                raise self._too_large()
            if announced is None and slot is not None:
                slot.hold(len(body))
            if not more:
                return bytes(body)
            chunk, more = await self._chunk()
            body += chunk

    async def json(self, decoder: msgspec.json.Decoder[T], *, code: str) -> T:
        """The body, decoded; `code` for a wrong shape, `malformed_json`, `unsupported_media_type`, `body_too_large`."""
        self._require_json()
        body = await self.body()
        if not body:
            raise ApiError("malformed_json", "the body is empty; it must be a JSON object")
        try:
            if not body.isascii():
                # msgspec passes over the strings inside a Raw without looking at their encoding.
                body.decode()
            return decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise from_decode_error(error, code) from None

    async def unless_client_leaves(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, which is cancelled when the client hangs up first (then `ClientGone`)."""
        slot = self.scope.get(SLOT)
        if slot is not None:
            slot.rest()
        task = asyncio.ensure_future(work)
        leaving = asyncio.ensure_future(self.left())
        try:
            await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            return task.result()
        finally:
            for one in (task, leaving):
                one.cancel()
            await asyncio.gather(task, leaving, return_exceptions=True)

    async def discard(self) -> None:
        """Read the rest of the body and keep none of it."""
        more = True
        while more:
            _, more = await self._chunk()

    async def left(self) -> None:
        """Return once the client has hung up, or its answer is complete."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _chunk(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        return message.get("body", b""), message.get("more_body", False)

    def _too_large(self) -> ApiError:
        return ApiError("body_too_large", f"the request body is larger than {self.body_bytes_max} bytes", hang_up=True)

    def _require_json(self) -> None:
        """`application/json` alone. A missing type is refused too: a browser can be made to send that across sites."""
        kind = self.header(b"content-type")
        if kind != "application/json":
            essence, _, parameters = (kind or "").partition(";")
            charset = parameters.strip().lower().removeprefix("charset=").strip('"')
            if essence.strip().lower() != "application/json" or charset not in ("", "utf-8", "utf8"):
                raise ApiError("unsupported_media_type", "send Content-Type: application/json", field="Content-Type")
        if self.header(b"content-encoding") not in (None, "identity"):
            raise ApiError(
                "unsupported_media_type", "send the body without a Content-Encoding", field="Content-Encoding"
            )


def join_headers(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Headers by name; several of one name are joined by commas, in their order."""
    found = dict(pairs)
    if len(found) < len(pairs):
        found.clear()
        for name, value in pairs:
            found[name] = found[name] + b", " + value if name in found else value
    return found


def request_id(headers: dict[bytes, bytes]) -> str:
    """The caller's X-Request-ID if it is a plain word of at most 64 characters, else the trace id of its traceparent,
    else a new one of 64 random bits."""
    given = headers.get(b"x-request-id")
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    traced = headers.get(b"traceparent")
    return (trace_id(traced.decode("latin-1")) if traced is not None else None) or os.urandom(8).hex()
