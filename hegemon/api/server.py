"""Runs an ASGI application under uvicorn inside the node's own event loop, which owns signals, logging and the order of
stopping. The API and the metrics port use the same class.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final

import uvicorn

from hegemon.api.node_operations import METRICS_TYPE

KEEP_ALIVE_S: Final = 75
BACKLOG: Final = 2048
_DATE_EVERY_S: Final = 1.0


class PortUnavailable(OSError):
    """The address cannot be listened on: taken, forbidden, or not of this machine."""


class ApiServer:
    """One listening server. `start` and `stop` belong to the running loop; each is called once.

    `port` 0 takes a free one; `.port` then says which. With `tls_cert_file` and `tls_key_file` (PEM) it speaks TLS 1.2
    and later, else plain HTTP.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        *,
        host: str,
        port: int,
        tls_cert_file: str | None = None,
        tls_key_file: str | None = None,
    ) -> None:
        self.host = host
        self.port = port
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
            timeout_keep_alive=KEEP_ALIVE_S,
            backlog=BACKLOG,
            ssl_certfile=tls_cert_file,
            ssl_keyfile=tls_key_file,
        )
        self._server = _Server(self._config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it answers, by the host that it was given."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self._config.is_ssl else 'http'}://{host}:{self.port}"

    async def start(self) -> None:
        """Listen and serve. PortUnavailable; ValueError when certificate and key cannot be used."""
        try:
            self._config.load()
        except OSError as error:  # ssl.SSLError is one
            files = f"{self._config.ssl_certfile} and {self._config.ssl_keyfile}"
            raise ValueError(f"TLS_CERT_FILE and TLS_KEY_FILE ({files}) cannot be used: {error}") from error
        listener = await self._listen()
        self.port = listener.getsockname()[1]
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]), name=f"http {self.host}:{self.port}")
        started = asyncio.ensure_future(self._server.listening.wait())
        await asyncio.wait({self._task, started}, return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            await self._task

    async def stop(self, grace_s: float) -> None:
        """Listen no more, let requests that run end within `grace_s` seconds, cut off the rest."""
        if self._task is None:
            return
        # uvicorn declares whole seconds and hands them to asyncio, which takes any number.
        self._config.timeout_graceful_shutdown = grace_s  # type: ignore[assignment]
        self._server.should_exit = True
        self._server.leaving.set()
        task, self._task = self._task, None
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

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()
        self.leaving = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    async def main_loop(self) -> None:
        # on_tick(0) renews the Date header; uvicorn's own loop wakes ten times a second for no more than that.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_DATE_EVERY_S):
                    await self.leaving.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def metrics_app(metrics: Callable[[], bytes]) -> Callable[..., Any]:
    """An ASGI application that answers `GET /metrics` with what `metrics` gives, and 404 to all else."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del receive
        known = scope["type"] == "http" and scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD")
        status, body = (200, metrics()) if known else (404, b"metrics are under /metrics\n")
        headers = [
            (b"content-type", METRICS_TYPE if known else b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app
