"""TLS connections before they are HTTP connections: accepted here one by one, since the servers of asyncio and uvloop
show a connection to nobody until its handshake has ended. A peer that never ends its own would count nowhere.

| a handshake                      | bound                    | beyond it                                       |
|----------------------------------|--------------------------|-------------------------------------------------|
| counts as a connection           | MAX_CONNECTIONS and some | cut before it costs more than its socket        |
| slow to end                      | HEADER_TIMEOUT           | cut by the sweep                                |
| fails                            |                          | cut; there is nobody to tell in HTTP            |
| under way when the server stops  |                          | cut                                             |
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

import structlog

from hegemon.api import connections
from hegemon.api.connections import Crowd, HttpConnection
from hegemon.api.tls import ServerTls

# The sweep ends handshakes in time; the loop's own limit only stands behind it.
BEHIND_S: Final = 60.0
# How long a peer may take to answer our goodbye.
GOODBYE_S: Final = 5.0
# Accepted in one turn of the loop: a crowd at the door must not stop those who are inside.
AT_ONCE: Final = 64
# Out of files or memory: until others have closed theirs.
PAUSE_S: Final = 1.0

log = structlog.get_logger(__name__)


class TlsListener:
    """Accepts on `listener` and makes each connection an HTTP one once its handshake has ended. It closes as a server
    of asyncio does, whose place it takes in uvicorn's."""

    def __init__(
        self, listener: socket.socket, crowd: Crowd, tls: ServerTls, connection: Callable[[], HttpConnection]
    ) -> None:
        self._listener = listener
        self._crowd = crowd
        self._tls = tls
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listener.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more, and cut what is in its handshake."""
        if self._pause is not None:
            self._pause.cancel()
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        for task in self._tasks:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return once no handshake is under way."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("connections_not_accepted", reason=str(error))
                self._loop.remove_reader(self._listener)
                self._pause = self._loop.call_later(PAUSE_S, self._listen)
                return
            if self._crowd.open - self._crowd.connections_max >= connections.SPARE:
                self._crowd.refused["too_many_connections"] += 1
                accepted.close()
                continue
            accepted.setblocking(False)
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._begin(accepted)

    def _begin(self, accepted: socket.socket) -> None:
        protocol = self._connection()
        task = self._loop.create_task(self._shake_hands(protocol, accepted))
        self._tasks.add(task)
        self._crowd.handshakes[protocol] = (task, self._crowd.now)

        def ended(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            # A connection that was made has taken itself off already.
            self._crowd.handshakes.pop(protocol, None)
            if task.cancelled():
                # Perhaps before it began, and then nothing else has this socket.
                accepted.close()

        task.add_done_callback(ended)

    async def _shake_hands(self, protocol: HttpConnection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: protocol,
                accepted,
                ssl=self._tls.context,
                ssl_handshake_timeout=self._crowd.head_s + BEHIND_S,
                ssl_shutdown_timeout=GOODBYE_S,
            )
        except OSError:  # ssl.SSLError is one, and so is a peer that hangs up
            self._crowd.refused["handshake"] += 1
