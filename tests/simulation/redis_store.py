"""A simulated Redis under the product's own client code: its connections are replaced, everything above them is real.

What a real server may do to us it does here on request: stall, go away, restart as another (new run id) with all its
keys, those of a second ago or none, be flushed; a request may be applied after its sender has given it up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from redis import exceptions as failures

from hegemon.queue.redis import Redis
from tests.simulation.paths import Path
from tests.simulation.redis_data import CommandError, RedisData, Scripts, sha1, text

HISTORY_EVERY_S = 0.1
HISTORY = 30
# (script or command, its arguments, the reply, the process that sent it) of whatever was carried out.
Observer = Callable[[bytes, Sequence[bytes], Any, str], None]


class SimulatedRedis:
    """One server. `observers` are told of everything that it carries out."""

    def __init__(self, scripts: Scripts, rng: random.Random, *, keep_history: bool = False) -> None:
        self._scripts = scripts
        self._rng = rng
        self._texts: dict[bytes, bytes] = {}
        self._blocked: list[tuple[Connection, bytes, asyncio.TimerHandle]] = []
        self._backlog: list[tuple[Connection, Sequence[bytes]]] = []
        self._history: deque[tuple[float, dict[bytes, Any]]] = deque(maxlen=HISTORY)
        self._keep_history = keep_history
        self.connections: set[Connection] = set()
        self.data = RedisData(self._time_us)
        self.clock_offset_s = 0.0
        self.observers: list[Observer] = []
        self.up = True
        self.stalled = False
        self.run_id = self._new_id()

    def _time_us(self) -> int:
        return int((time.time() + self.clock_offset_s) * 1e6)

    def _new_id(self) -> str:
        return f"{self._rng.getrandbits(160):040x}"

    # -- what may happen to it -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Away: connections end, new ones are refused."""
        self.up = False
        self._backlog.clear()
        self._break_connections()

    def start(self, keys: dict[bytes, Any] | None = None) -> None:
        """Back as another server, with these keys, or those it had."""
        self.up, self.stalled = True, False
        self.run_id = self._new_id()
        self._texts.clear()
        if keys is not None:
            self.data.keys = keys
        self._break_connections()

    def restart(self) -> None:
        """With all it had."""
        self.start()

    def go_back(self, seconds: float) -> None:
        """With what it had so long ago: a crash before the log was on disk, or a replica that lagged."""
        then = asyncio.get_running_loop().time() - seconds
        before = [keys for at, keys in self._history if at <= then]
        self._history.clear()
        self.start(before[-1] if before else {})

    def flush(self) -> None:
        """FLUSHALL: the same server, without keys."""
        self.data.keys = {}

    def stall(self, *, on: bool) -> None:
        """Answer nothing for a while; then everything that came."""
        self.stalled = on
        if not on:
            backlog, self._backlog = self._backlog, []
            for connection, args in backlog:
                self._carry_out(connection, args)

    def _break_connections(self) -> None:
        for _, _, timer in self._blocked:
            timer.cancel()
        self._blocked.clear()
        for connection in sorted(self.connections, key=lambda one: one.number):
            connection.path.carry(0.0, connection.broken, connection.broken, back=True)
        self.connections.clear()

    # -- what it does --------------------------------------------------------------------------------------------------

    def receive(self, connection: Connection, args: Sequence[bytes]) -> None:
        """A request has arrived."""
        if not self.up or connection not in self.connections:
            connection.broken()
        elif self.stalled:
            self._backlog.append((connection, args))
        else:
            self._carry_out(connection, args)

    def forget(self, connection: Connection) -> None:
        """Its client has closed it."""
        self.connections.discard(connection)
        for blocked in [item for item in self._blocked if item[0] is connection]:
            blocked[2].cancel()
            self._blocked.remove(blocked)

    def _carry_out(self, connection: Connection, args: Sequence[bytes]) -> None:
        self._keep()
        name = args[0].decode().upper()
        try:
            if name == "BLPOP":
                self._block(connection, args)
                return
            reply = self._reply(name, args, connection.who)
        except CommandError as error:
            reply = error
        connection.answer(reply)
        self._serve_blocked()

    def _reply(self, name: str, args: Sequence[bytes], who: str) -> Any:
        if name in ("EVALSHA", "EVAL"):
            return self._evaluate(name, args, who)
        if name == "INFO":
            return f"# Server\r\nredis_version:7.2.4\r\nrun_id:{self.run_id}\r\n".encode()
        if name == "CONFIG":
            return [b"maxmemory-policy", b"noeviction"]
        reply = self.data.command(name, args[1:])
        self._tell(args[0], args[1:], reply, who)
        return reply

    def _evaluate(self, name: str, args: Sequence[bytes], who: str) -> Any:
        script = args[1]
        if name == "EVALSHA":
            if script not in self._texts:
                raise CommandError("NOSCRIPT No matching script. Please use EVAL.")
            script = self._texts[script]
        else:
            self._texts[sha1(script)] = script
        n = int(args[2])
        reply = self._scripts.run(self.data, script, args[3 : 3 + n], args[3 + n :])
        self._tell(script, args[3 + n :], reply, who)
        return reply

    def _tell(self, what: bytes, args: Sequence[bytes], reply: Any, who: str) -> None:
        for observer in self.observers:
            observer(what, args, reply, who)

    def _block(self, connection: Connection, args: Sequence[bytes]) -> None:
        value = self.data.command("LPOP", [args[1]])
        if value is not None:
            connection.answer([args[1], value])
            return
        seconds = float(args[2])
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._give_up, connection)
        self._blocked.append((connection, args[1], timer))

    def _give_up(self, connection: Connection) -> None:
        self._blocked = [item for item in self._blocked if item[0] is not connection]
        connection.answer(None)

    def _serve_blocked(self) -> None:
        if not self.data.pushed:
            return
        self.data.pushed.clear()
        for item in list(self._blocked):
            connection, key, timer = item
            value = self.data.command("LPOP", [key])
            if value is not None:
                timer.cancel()
                self._blocked.remove(item)
                connection.answer([key, value])

    def _keep(self) -> None:
        if self._keep_history:
            now = asyncio.get_running_loop().time()
            if not self._history or now - self._history[-1][0] >= HISTORY_EVERY_S:
                self._history.append((now, self.data.snapshot()))


class Connection:
    """What the product's Redis client takes for a connection of redis-py."""

    _made = 0

    def __init__(self, server: SimulatedRedis, path: Path, on_connect: Callable[[Any], Any]) -> None:
        Connection._made += 1
        self.number = Connection._made
        self.path = path
        self.who = path.process.name if path.process is not None else ""
        self.is_connected = False
        self._server = server
        self._on_connect = on_connect
        self._replies: deque[Any] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._there_s = self._back_s = 0.0

    def __hash__(self) -> int:
        return self.number

    async def connect(self) -> None:
        """A round trip, then what the client wants to know first."""
        if self.path.process is not None and not self.path.process.alive:
            raise failures.ConnectionError("this process is dead")
        self._replies.clear()
        self.path.carry(0.0, self._greet, self.broken, back=False)
        await self._reply()
        self.is_connected = True
        try:
            await self._on_connect(self)
        except BaseException:
            await self.disconnect()
            raise

    async def on_connect(self) -> None:
        """Nothing to agree on."""

    def pack_command(self, *args: Any) -> list[bytes]:
        """The command as the server takes it."""
        return [text(arg) if not isinstance(arg, str) else arg.encode() for arg in args]

    async def send_packed_command(self, command: list[bytes], check_health: bool = True) -> None:
        """Send one command."""
        if not self.is_connected:
            raise failures.ConnectionError("not connected")
        there = self.path.carry(self._there_s, lambda: self._server.receive(self, command), self.broken, back=False)
        self._there_s = max(self._there_s, there)

    async def send_command(self, *args: Any) -> None:
        """Pack and send."""
        await self.send_packed_command(self.pack_command(*args))

    async def read_response(self, disable_decoding: bool = False, timeout: float | None = None) -> Any:
        """The next reply; raises what redis-py raises."""
        reply = await self._reply()
        if isinstance(reply, CommandError):
            said = str(reply)
            raise failures.NoScriptError(said) if said.startswith("NOSCRIPT") else failures.ResponseError(said)
        return reply

    async def disconnect(self, nowait: bool = False) -> None:
        """Close."""
        self.is_connected = False
        self._server.forget(self)

    def answer(self, reply: Any) -> None:
        """The server has carried a request out."""
        back = self.path.carry(self._back_s, lambda: self._arrived(reply), self.broken, back=True)
        self._back_s = max(self._back_s, back)

    def broken(self) -> None:
        """The connection ended."""
        self._server.forget(self)
        self.is_connected = False
        self._arrived(failures.ConnectionError("Connection closed by server."))

    def _greet(self) -> None:
        if self._server.up:
            self._server.connections.add(self)
            self.answer(b"hello")
        else:
            self.broken()

    def _arrived(self, reply: Any) -> None:
        self._replies.append(reply)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _reply(self) -> Any:
        while not self._replies:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        reply = self._replies.popleft()
        if isinstance(reply, failures.ConnectionError):
            raise reply
        return reply


class _Pool:
    def __init__(self, server: SimulatedRedis, path: Path, on_connect: Callable[[Any], Any]) -> None:
        self._parts = server, path, on_connect

    def make_connection(self) -> Connection:
        """A connection that is not open yet."""
        return Connection(*self._parts)


def client(server: SimulatedRedis, path: Path, cluster_id: str, *, timeout: timedelta, confirm: bool = True) -> Redis:
    """The product's own client, on connections to the simulated server."""
    made = Redis("redis://simulated:6379/0", cluster_id, timeout=timeout, confirm=confirm)
    pool: Any = _Pool(server, path, made._on_connect)
    made._pool = pool
    return made
