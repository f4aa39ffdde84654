"""Runs an ASGI application under uvicorn inside the node's own event loop, which owns signals, logging and the order of
stopping. The API and the metrics port use the same class.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, cast

import structlog
import uvicorn

from hegemon.api.connections import Crowd, HttpConnection
from hegemon.api.handshakes import TlsListener
from hegemon.api.open_files import room_for
from hegemon.api.security_headers import security_headers
from hegemon.api.tls import FAREWELL_S, ServerTls
from hegemon.cluster.limit_settings import LimitSettings
from hegemon.cluster.ports import Metrics

BACKLOG: Final = 2048
_SWEEP_EVERY_S: Final = 1.0
log = structlog.get_logger(__name__)


class PortUnavailable(OSError):
    """The address cannot be listened on: taken, forbidden, or not of this machine."""


class ApiServer:
    """One listening server. `start` and `stop` belong to the running loop; each is called once.

    `port` 0 takes a free one; `.port` then says which. With `tls` it speaks TLS and watches its files, else plain HTTP.
    `limits` bound its connections; the defaults if not given.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str,
        port: int,
        tls: ServerTls | None = None,
        limits: LimitSettings | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._watch: asyncio.Task[None] | None = None
        self._config = uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="none",
            http="httptools",
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            # Nothing is believed about who asks but the connection itself.
            proxy_headers=False,
            backlog=BACKLOG,
            headers=security_headers(tls=tls is not None),
        )
        self._limits = limits or LimitSettings()
        self.crowd = Crowd(self._limits)
        self._server = _Server(self._config, tls, self.crowd)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it answers, by the host that it was given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen and serve. PortUnavailable."""
        self._config.load()
        asked = self._limits.max_connections
        self.crowd.connections_max = room = room_for(asked)
        if room < asked:
            log.warning("connections_bounded", asked=asked, room=room, reason="the limit of open files (ulimit -n)")
        listener = await self._listen()
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name=f"http {self.host}:{self.port}")
        started = asyncio.ensure_future(self._server.listening.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            await self._task
        if self._tls is not None:
            self._watch = asyncio.create_task(self._tls.run(), name=f"tls {self.host}:{self.port}")

    async def stop(self, grace_s: float) -> None:
        """Listen no more, let requests that run end within `grace_s` seconds, cut off the rest."""
        if self._task is None:
            return
        # uvicorn declares whole seconds and hands them to asyncio, which takes any number.
        self._config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        self._server.should_exit = True
        self._server.leaving.set()
        task, self._task = self._task, None
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait({self._watch})
        await task

    async def _listen(self) -> socket.socket:
        """A listening socket of our own: uvicorn would end the process when the port is taken."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
        except OSError as error:
            raise PortUnavailable(error.errno, f"cannot resolve SERVER_HOST {self.host!r}: {error}") from error
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            reason = error.strerror or str(error)
            raise PortUnavailable(error.errno, f"cannot listen on {self.host}:{self.port}: {reason}") from error
        return listener


class _Server(uvicorn.Server):
    """uvicorn's server without its signal handlers, that says when it listens and leaves at once when asked to."""

    def __init__(self, config: uvicorn.Config, tls: ServerTls | None, crowd: Crowd) -> None:
        super().__init__(config)
        self._tls = tls
        self._crowd = crowd
        self.listening = asyncio.Event()
        self.leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen on `sockets`, with TLS through a listener that counts handshakes."""

        def connection() -> HttpConnection:
            return HttpConnection(
                self._crowd, config=self.config, server_state=self.server_state, app_state=self.lifespan.state
            )

        loop = asyncio.get_running_loop()
        self.servers = []
        for listener in sockets or ():
            if self._tls is None:
                self.servers.append(await loop.create_server(connection, sock=listener, backlog=BACKLOG))
            else:
                # It closes as a server does, which is all that uvicorn asks of one from here on.
                self.servers.append(cast("Any", TlsListener(listener, self._crowd, self._tls, connection)))
        self.started = True
        self.listening.set()

    async def main_loop(self) -> None:
        # on_tick(0) renews the Date header; uvicorn's own loop wakes ten times a second for no more than that.
        while not await self.on_tick(0):
            self._crowd.sweep(asyncio.get_running_loop().time())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SWEEP_EVERY_S):
                    await self.leaving.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does it, but without waiting for TLS peers that are idle and do not answer the goodbye."""
        if self._tls is not None:
            asyncio.get_running_loop().call_later(FAREWELL_S, self._hang_up)
        await super().shutdown(sockets)

    def _hang_up(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpConnection) and (
                connection.cycle is None or connection.cycle.response_complete
            ):
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def metrics_app(metrics: Metrics) -> Callable[..., Any]:
    """An ASGI application that answers `GET /metrics` with what `metrics` gives, and 404 to all else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        known = scope["type"] == "http" and scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD")
        status, body, kind = 404, b"metrics are under /metrics\n", b"text/plain; charset=utf-8"
        if known:
            status, (body, kind) = 200, await metrics(dict(scope["headers"]).get(b"accept", b"").decode("latin-1"))
        headers = [
            (b"content-type", kind),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
