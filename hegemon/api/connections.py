"""What a connection may cost before, beside and after its requests: how many there are, how large a head is, how slow a
peer may be, how much is under way at once.

| what                            | bound                            | beyond it                                |
|---------------------------------|----------------------------------|------------------------------------------|
| connections                     | MAX_CONNECTIONS                  | 503 too_many_connections, closed         |
| a TLS handshake (`handshakes`)  | HEADER_TIMEOUT; is a connection  | cut                                      |
| a head, slow to come            | HEADER_TIMEOUT                   | 408 request_timeout if it began, closed  |
| a head, its size                | MAX_HEADER_SIZE, 100 headers     | 431 headers_too_large, closed            |
| a body, slow to come            | BODY_TIMEOUT, and 1 s each 8 KiB | 408 request_timeout, closed              |
| requests under way              | MAX_REQUESTS, weighed by body    | 503 overloaded, the connection stays     |
| bodies being read, all together | 256 MiB                          | 503 overloaded, closed                   |
| an answer, slow to be made      | REQUEST_TIMEOUT; no stream       | 408, or 503 outcome_unknown for a change |
| an answer, slow to be read      | WRITE_TIMEOUT; no stream         | cut                                      |
| no request                      | KEEP_ALIVE_TIMEOUT               | closed                                   |
| requests sent ahead of answers  | 32                               | cut                                      |

No connection has a timer of its own, which would cost each request more than all of this does: one sweep a second
looks at all of them. Times are therefore kept to about two seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Final
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from hegemon.api.call import OVERTIME, SLOT, Call, join_headers, request_id
from hegemon.api.exchange import Exchange, written
from hegemon.api.problems import ApiError, reply_to
from hegemon.api.resource import respond
from hegemon.cluster.limit_settings import LimitSettings

App = Callable[[Any, Any, Any], Any]

HEADERS_MAX: Final = 100
BODY_BYTES_PER_S: Final = 8192
BODIES_BYTES_MAX: Final = 256 << 20
TOO_MUCH: Final = "more requests are under way than MAX_REQUESTS allows"
# So many bytes of a body weigh as much as a request without one.
WEIGHT_BYTES: Final = 16384
PIPELINED_MAX: Final = 32
# Whoever watches a node must not take one with too much to do for a dead one, and restart it.
ALWAYS_SERVED: Final = frozenset({"/livez", "/readyz", "/health", "/metrics"})
# Connections beyond the bound that still get an answer; the rest is cut without one.
SPARE: Final = 64
SPARE_S: Final = 2.0
ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
# Between two sweeps no more than this passes for peers: a node that itself stood still for a while must not blame them
# for it, whose bytes may be there already.
LATE_S: Final = 2.0


class Slot:
    """One request under way. The scope holds it, for whoever reads a body or begins to wait."""

    __slots__ = ("_crowd", "held", "lasts", "received", "since", "task", "weight")

    def __init__(self, crowd: Crowd, weight: int) -> None:
        self._crowd = crowd
        self.weight = weight
        self.held = 0
        self.received = 0
        self.since = crowd.now
        self.task: asyncio.Task[None] | None = None
        self.lasts = False
        crowd.weight += weight

    def hold(self, size: int) -> None:
        """A body of `size` bytes will be held in memory and worked on; ApiError overloaded if there is no room."""
        crowd = self._crowd
        more = size // WEIGHT_BYTES - self.weight + 1
        alone = crowd.weight == self.weight
        if not alone and (crowd.weight + more > crowd.weight_max or crowd.held + size > BODIES_BYTES_MAX):
            raise ApiError("overloaded", "too much is under way for a body of this size", hang_up=True)
        crowd.held += size - self.held
        self.held = size
        if more > 0:
            crowd.weight += more
            self.weight += more

    def rest(self) -> None:
        """The request waits for something from now on, and costs next to nothing meanwhile."""
        crowd = self._crowd
        crowd.weight -= self.weight
        crowd.held -= self.held
        self.weight = self.held = 0

    def last(self) -> None:
        """Its answer goes on for as long as both sides like: REQUEST_TIMEOUT is for others."""
        self.rest()
        self.lasts = True

    def ended(self, task: asyncio.Task[None]) -> None:
        """The request's task is over."""
        self.rest()
        self._crowd.tasks.discard(task)
        self.task = None


class Crowd:
    """All connections of one server, and what they may cost together."""

    def __init__(self, limits: LimitSettings, *, connections_max: int | None = None) -> None:
        self.connections_max = connections_max or limits.max_connections
        self.weight_max = limits.max_requests
        self.head_bytes_max = limits.max_header_size
        self.head_s = limits.header_timeout.total_seconds()
        self.body_s = limits.body_timeout.total_seconds()
        self.write_s = limits.write_timeout.total_seconds()
        self.answer_s = limits.request_timeout.total_seconds()
        self.idle_s = limits.keep_alive_timeout.total_seconds()
        self.weight = 0
        self.held = 0
        # Seconds that have passed for peers; it begins anywhere.
        self.now = 0.0
        self._swept_at: float | None = None
        self.refused: Counter[str] = Counter()
        self.connections: set[Any] = set()
        # Connections that are to be, once their TLS handshake has ended: who does it, and since when.
        self.handshakes: dict[Any, tuple[asyncio.Task[None], float]] = {}
        self.tasks: set[asyncio.Task[None]] = set()
        self.too_many = self._refusal("too_many_connections", hang_up=True)
        self.too_large = self._refusal("headers_too_large", hang_up=True)
        self.overloaded = self._refusal("overloaded", TOO_MUCH)

    @property
    def open(self) -> int:
        """How many connections there are, those in their handshake too."""
        return len(self.connections) + len(self.handshakes)

    def sweep(self, now: float) -> None:
        """Once a second: end what takes too long. `now` in monotonic seconds."""
        before, self._swept_at = self._swept_at, now
        self.pass_time(0.0 if before is None else min(max(now - before, 0.0), LATE_S))

    def pass_time(self, seconds: float) -> None:
        """End what takes too long, once so many more seconds have passed."""
        now = self.now = self.now + seconds
        for task, since in tuple(self.handshakes.values()):
            if now - since > self.head_s:
                self.refused["handshake"] += 1
                task.cancel()
        for connection in tuple(self.connections):
            connection.inspect(now)

    def _refusal(self, code: str, detail: str | None = None, *, hang_up: bool = False) -> App:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            self.refused[code] += 1
            call = Call(scope, receive, 0)
            await respond(call, reply_to(ApiError(code, detail, hang_up=hang_up), call.request_id), send)

        return app


class HttpConnection(HttpToolsProtocol):
    """uvicorn's connection under the bounds of a `Crowd`."""

    def __init__(self, crowd: Crowd, **options: Any) -> None:
        super().__init__(**options)
        self._crowd = crowd
        self._served = self.app
        self._slot: Slot | None = None
        # The request whose task runs; `cycle` is the newest one, which may wait behind it.
        self._running: RequestResponseCycle | None = None
        self._opened = self._idle_since = self._head_since = crowd.now
        self._head_s = crowd.head_s
        self._in_head = False
        self._head_bytes = self._chunk_bytes = 0
        self._unsent, self._unsent_since = 0, 0.0
        crowd.connections, crowd.tasks = self.connections, self.tasks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        super().connection_made(transport)
        # From here on: a TLS connection is made when its handshake has ended.
        self._opened = self._crowd.now
        self._crowd.handshakes.pop(self, None)
        beyond = self._crowd.open - self._crowd.connections_max
        if beyond > SPARE:
            self._crowd.refused["too_many_connections"] += 1
            transport.abort()
        elif beyond > 0:
            self.app, self._head_s = self._crowd.too_many, SPARE_S

    def connection_lost(self, exc: Exception | None) -> None:
        running = self._running
        if running is not None and not running.response_complete:
            # uvicorn tells only the newest request that its peer is gone.
            running.disconnected = True
            running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._chunk_bytes = len(data)
        if self._in_head:
            # Of the piece in which the head began, nobody knows how much of it is head: it is not counted.
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # Nothing is spoken here but HTTP/1.1: the request is answered as it stands, and what follows it is dropped.
            self.cycle.keep_alive = False
        except httptools.HttpParserError:
            self._hang_up("malformed_request")
            return
        if self._in_head and self._head_bytes > self._crowd.head_bytes_max:
            self._hang_up("headers_too_large")

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._in_head = True
        self._head_bytes = 0
        self._head_since = self._crowd.now

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser, crowd, app = self.parser, self._crowd, self.app
        if len(self.headers) > HEADERS_MAX or (
            self._head_bytes + self._chunk_bytes > crowd.head_bytes_max and self._head_size() > crowd.head_bytes_max
        ):
            app = crowd.too_large
        version = parser.get_http_version()
        before = self._last()
        self.cycle = Exchange(
            scope=self._scope(version),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=version != "1.0" and parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, app)
        elif len(self.pipeline) >= PIPELINED_MAX:
            crowd.refused["pipelined"] += 1
            self.transport.abort()
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def on_message_complete(self) -> None:
        # Also of a request to upgrade, which is answered as one that does not ask for it.
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.message_event.set()

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if cycle.response_complete:
            return
        if self._slot is not None:
            self._slot.received += len(body)
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_response_complete(self) -> None:
        # As uvicorn's, without its timer for each answer.
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self._idle_since = self._crowd.now
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())

    def send_400_response(self, msg: str) -> None:
        del msg
        self._hang_up("malformed_request")

    def inspect(self, now: float) -> None:
        """End what takes too long on this connection."""
        transport, crowd, running = self.transport, self._crowd, self._running
        if self._is_stuck(now):
            return
        if running is not None and not running.response_complete:
            self._inspect_request(running, now)
        elif self._in_head:
            if now - self._head_since > self._head_s:
                self._hang_up("request_timeout")
        elif running is None:
            if now - self._opened > self._head_s:
                transport.close()
        elif now - self._idle_since > crowd.idle_s:
            transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        crowd = self._crowd
        weight = 1
        if app is not self._served:
            weight = 0
        elif crowd.weight >= crowd.weight_max and cycle.scope["path"] not in ALWAYS_SERVED:
            if isinstance(cycle, Exchange) and cycle.scope["method"] != "HEAD":
                self._shed(cycle)
                return
            app, weight = crowd.overloaded, 0
        self._slot = slot = Slot(crowd, weight)
        self._running = cycle
        cycle.scope[SLOT] = slot  # type: ignore[typeddict-unknown-key] # extensions are what a scope is open for
        slot.task = task = self.loop.create_task(cycle.run_asgi(app))
        task.add_done_callback(slot.ended)
        self.tasks.add(task)

    def _shed(self, cycle: Exchange) -> None:
        # Without a task, in a third of its time: thousands a second of them must leave room for what was admitted.
        self._crowd.refused["overloaded"] += 1
        self._running = cycle
        cycle.answer(
            self._written(ApiError("overloaded", TOO_MUCH), cycle.scope["headers"], close=not cycle.keep_alive)
        )

    def _inspect_request(self, cycle: RequestResponseCycle, now: float) -> None:
        slot, crowd = self._slot, self._crowd
        if slot is None or slot.task is None or slot.lasts:
            return
        took_s = now - slot.since
        kind = None
        if cycle.more_body and not self.flow.read_paused:
            if took_s > crowd.body_s + slot.received / BODY_BYTES_PER_S:
                kind = "body"
        elif took_s > crowd.answer_s:
            kind = "answer"
        if kind is None:
            return
        if OVERTIME in cycle.scope:
            # It was told a sweep ago, and has not ended.
            self.transport.abort()
            return
        crowd.refused["request_timeout"] += 1
        cycle.scope[OVERTIME] = kind  # type: ignore[typeddict-unknown-key] # see SLOT
        slot.task.cancel()

    def _is_stuck(self, now: float) -> bool:
        """Whether the peer reads nothing of what was written; then it is cut off."""
        unsent = 0 if self._slot is not None and self._slot.lasts else self.transport.get_write_buffer_size()
        if unsent == 0 or unsent < self._unsent or self._unsent == 0:
            self._unsent, self._unsent_since = unsent, now
            return False
        if now - self._unsent_since <= self._crowd.write_s:
            return False
        self._crowd.refused["unread"] += 1
        self.transport.abort()
        return True

    def _scope(self, version: str) -> Any:
        url = httptools.parse_url(self.url)
        raw_path: bytes = url.path or b"/"
        path = raw_path.decode("ascii")
        return {
            "type": "http",
            "asgi": ASGI,
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": "",
            "headers": self.headers,
            "state": {},
            "method": self.parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": url.query or b"",
        }

    def _last(self) -> RequestResponseCycle | None:
        """The newest request; None before the first (uvicorn does not say so)."""
        return self.cycle

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _hang_up(self, code: str) -> None:
        """Answer a request that is not whole, and close."""
        self._crowd.refused[code] += 1
        if self.transport.is_closing():
            return
        cycle = self._last()
        if cycle is None or cycle.response_complete:
            # Else there is an answer under way, and this one would stand in the middle of it.
            self.transport.write(self._written(ApiError(code), self.headers if self._in_head else [], close=True))
        self.transport.close()

    def _written(self, error: ApiError, headers: Iterable[tuple[bytes, bytes]], *, close: bool) -> bytes:
        identity = request_id(join_headers(list(headers)))
        return written(reply_to(error, identity), identity, self.server_state.default_headers, close=close)
