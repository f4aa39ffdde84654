"""Connections to Redis, and the loading of its scripts. No redis-py error leaves this package.

Nothing is retried below this line: a script whose reply was lost is sent again only by code that knows why that is
safe. On every new connection the server's run id is compared with the one that the present generation of the index was
confirmed for; if they differ the server may have lost writes, and the connection is refused until a rebuild.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import math
import ssl
import time
from collections.abc import Coroutine, Mapping
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any, Final

import redis.asyncio as aioredis
from redis import exceptions as failures
from redis.asyncio.connection import AbstractConnection, RedisSSLContext, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hegemon.measures import REFUSED, STORE, Meters
from hegemon.queue.errors import Fenced, IncarnationClosed, IndexRefused, StoreUnavailable, WrongStore

LAYOUT: Final = 1
_REFUSALS: Final = frozenset({b"absent", b"older", b"newer"})
# Answers that mean "not now", also as a script passes them on: the server's state or set-up may change.
_PASSING: Final = (
    "OOM", "READONLY", "MISCONF", "MASTERDOWN", "LOADING", "BUSY", "NOREPLICAS", "NOPERM", "NOAUTH", "WRONGPASS",
    "CLUSTERDOWN", "TRYAGAIN", "UNKILLABLE",
)  # fmt: skip
# redis-py makes kinds of its own of some of them, and cuts the word off their text.
_PASSING_KINDS: Final = (
    failures.OutOfMemoryError,
    failures.ReadOnlyError,
    failures.NoPermissionError,
    failures.MasterDownError,
    failures.ClusterDownError,
    failures.TryAgainError,
)
_SCRIPTS: Final = resources.files("hegemon.queue") / "scripts"


class NotConfirmed(failures.ConnectionError):
    """This server is not the one that the index was confirmed for."""


@cache
def script_text(name: str) -> str:
    """The script `name`.lua with its includes put in."""
    lines = (_SCRIPTS / f"{name}.lua").read_text().splitlines()
    out: list[str] = []
    for line in lines:
        if line.startswith("--#include "):
            out.append((_SCRIPTS / "include" / f"{line.removeprefix('--#include ').strip()}.lua").read_text())
        else:
            out.append(line)
    return "\n".join(out)


@cache
def script_sha(name: str) -> str:
    """What EVALSHA knows the script by."""
    return hashlib.sha1(script_text(name).encode(), usedforsecurity=False).hexdigest()


class Redis:
    """One process's way to Redis: `run` for scripts, `wait` for blocking pops. `confirm=False` only for the rebuilder.

    redis-py makes the connections, packs and parses; its client's layers above that (pool checks, retries, callbacks, a
    task a write for its time-out) cost 57 of 79 µs a call, so that a call here is one write and one read under one
    deadline (ADR 0009).
    """

    def __init__(
        self,
        url: str,
        cluster_id: str,
        *,
        timeout: timedelta,
        confirm: bool = True,
        connections: int = 16,
        meters: Meters | None = None,
    ) -> None:
        self.prefix = f"hegemon:{{{cluster_id}}}:"
        self._timeout_s = timeout.total_seconds()
        self._confirm = confirm
        self._meters = meters or Meters()
        options: dict[str, Any] = dict(parse_url(url))
        self._options = options
        self._tls: RedisSSLContext | None = None
        self._tls_read = False
        self._pool = aioredis.ConnectionPool(
            socket_timeout=None,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._on_connect,
            protocol=2,
            **{key: value for key, value in options.items() if key != "protocol"},
        )
        self._idle: list[AbstractConnection] = []
        self._places = asyncio.Semaphore(connections)
        self.run_id = ""

    async def _on_connect(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        info = await connection.read_response()
        self.run_id = _field(info, "run_id")
        if not self._confirm:
            return
        await connection.send_command("HGET", f"{self.prefix}marker", "run_id")
        confirmed = await connection.read_response()
        if confirmed is not None and confirmed.decode() != self.run_id:
            raise NotConfirmed("Redis has been restarted; the index is being rebuilt")

    async def run(self, name: str, *args: str | bytes | float) -> list[Any]:
        """Run a script; its answer as a list. Raises `StoreUnavailable`, and for refusals `Fenced`, `IndexRefused`,
        `IncarnationClosed`."""
        began = time.monotonic()
        try:
            answer: list[Any] = await self._guarded(self._exchange("EVALSHA", script_sha(name), 1, self.prefix, *args))
        except failures.NoScriptError:
            # A server that was restarted has forgotten it; this teaches it again.
            answer = await self._guarded(self._exchange("EVAL", script_text(name), 1, self.prefix, *args))
        finally:
            self._meters.at(STORE, "redis", name).observe(time.monotonic() - began)
        status = answer[0] if answer else b"ok"
        if status in _REFUSALS:
            self._meters.at(REFUSED, status.decode()).add()
            raise Fenced(status.decode())
        if status == b"refused":
            raise IndexRefused
        if status == b"closed":
            raise IncarnationClosed
        return answer

    async def wait(self, key: str, timeout_s: float) -> bool:
        """Block until a wake-up token lies in the list `key`, or the time is up. Tokens carry nothing."""
        return bool(await self._guarded(self._exchange("BLPOP", self.prefix + key, timeout_s), slack_s=timeout_s))

    async def command(self, *args: str | bytes | float) -> Any:
        """One plain command, for what needs no script, answered as the protocol has it. Key names are whole."""
        began = time.monotonic()
        try:
            return await self._guarded(self._exchange(*args))
        finally:
            self._meters.at(STORE, "redis", str(args[0]).lower()).observe(time.monotonic() - began)

    async def _exchange(self, *args: str | bytes | float) -> Any:
        """One command on a connection of its own for that long. A connection whose answer was not read whole is closed:
        the next command on it would be given that answer."""
        async with self._places:
            connection = self._idle.pop() if self._idle else self._made()
            whole = False
            try:
                if not connection.is_connected:
                    await connection.connect()  # type: ignore[no-untyped-call] # redis-py leaves it untyped
                await connection.send_packed_command(connection.pack_command(*args), check_health=False)
                answer = await connection.read_response(disable_decoding=True, timeout=math.inf)
                whole = True
                return answer
            except failures.ResponseError:
                whole = connection.is_connected
                raise
            finally:
                if whole:
                    self._idle.append(connection)
                else:
                    await connection.disconnect(nowait=True)

    def _made(self) -> AbstractConnection:
        # redis-py leaves make_connection untyped.
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        if isinstance(connection, SSLConnection):
            connection.ssl_context = self._context()
        return connection

    def _context(self) -> RedisSSLContext:
        """Of the files as they were when the connections were last dropped. Files that cannot be read then, as in the
        middle of a renewal, do not count: a node does not stop for them. At the start they do. WrongStore.
        """
        if self._tls is None or not self._tls_read:
            try:
                self._tls = _tls(self._options)
            except WrongStore:
                if self._tls is None:
                    raise
            self._tls_read = True
        return self._tls

    async def _guarded(self, call: Coroutine[Any, Any, Any], slack_s: float = 0.0) -> Any:
        task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(self._timeout_s + slack_s):
                try:
                    return await call
                finally:
                    # redis-py swallows a cancellation that comes while it connects: a loop would go on for ever.
                    if task and task.cancelling() > cancelling:
                        raise asyncio.CancelledError
        except NotConfirmed as error:
            raise IndexRefused(str(error)) from error
        except (
            failures.ConnectionError,
            failures.TimeoutError,
            failures.BusyLoadingError,
            TimeoutError,
            OSError,
        ) as error:
            # The others lead to the same server, and are as dead: do not let each disappoint one call.
            await self.drop_connections()
            raise StoreUnavailable("Redis", f"Redis does not answer: {str(error) or type(error).__name__}") from error
        except failures.NoScriptError:
            raise
        except failures.ResponseError as error:
            if isinstance(error, _PASSING_KINDS) or any(word in str(error) for word in _PASSING):
                raise StoreUnavailable("Redis", f"Redis refuses writes: {error}", refuses=True) from error
            raise

    async def check_server(self) -> None:
        """Refuse a Redis that may evict what we keep in it, or that is too old for our scripts."""
        _, policy = await self.command("CONFIG", "GET", "maxmemory-policy") or (b"", b"noeviction")
        if policy != b"noeviction":
            raise WrongStore(
                f"Redis has maxmemory-policy={policy.decode()}: under memory pressure it would drop jobs from the "
                "index; set `maxmemory-policy noeviction`"
            )
        release = _field(await self.command("INFO", "server"), "redis_version")
        if tuple(int(part) for part in release.split(".")[:2]) < (6, 2):
            raise WrongStore(f"Redis {release} is too old: 6.2 or newer is needed")

    async def drop_connections(self) -> None:
        """Close idle connections, so that the next call makes, and checks, a new one, by the files as they are then."""
        self._tls_read = False
        while self._idle:
            with contextlib.suppress(Exception):
                await self._idle.pop().disconnect(nowait=True)

    async def close(self) -> None:
        """Close everything."""
        await self.drop_connections()


def _tls(options: Mapping[str, Any]) -> RedisSSLContext:
    """One context for all connections of rediss://. redis-py would make one for each, which loads the system's
    authorities every time (20 ms that the loop stands still), and trusts them beside the one given.
    """
    shared = RedisSSLContext()
    try:
        context = ssl.create_default_context(cafile=options.get("ssl_ca_certs"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate := options.get("ssl_certfile"):
            context.load_cert_chain(certificate, options.get("ssl_keyfile"))
    except OSError as error:  # ssl.SSLError is one
        raise WrongStore(f"the files of Redis' TLS cannot be used: {error.strerror or error}") from error
    shared.context = context
    return shared


def _field(info: bytes, name: str) -> str:
    """One field of what INFO answers."""
    return next(line.split(":", 1)[1] for line in info.decode().splitlines() if line.startswith(f"{name}:"))
