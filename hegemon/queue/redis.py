"""Connections to Redis, and the loading of its scripts. No redis-py error leaves this package.

Nothing is retried below this line: a script whose reply was lost is sent again only by code that knows why that is
safe. On every new connection the server's run id is compared with the one that the present generation of the index was
confirmed for; if they differ the server may have lost writes, and the connection is refused until a rebuild.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from functools import cache
from importlib import resources
from typing import Any, Final

import redis.asyncio as aioredis
from redis import exceptions as failures
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from hegemon.queue.errors import Fenced, IncarnationClosed, IndexRefused, StoreUnavailable, WrongStore

LAYOUT: Final = 1
_REFUSALS: Final = frozenset({b"absent", b"older", b"newer"})
# Answers that mean "not now", also as a script passes them on: the server's state or set-up may change.
_PASSING: Final = (
    "OOM", "READONLY", "MISCONF", "MASTERDOWN", "LOADING", "BUSY", "NOREPLICAS", "NOPERM", "NOAUTH", "WRONGPASS",
    "CLUSTERDOWN", "TRYAGAIN", "UNKILLABLE",
)  # fmt: skip
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


class Redis:
    """One process's way to Redis: `run` for scripts, `wait` for blocking pops. `confirm=False` only for the
    rebuilder.
    """

    def __init__(
        self, url: str, cluster_id: str, *, timeout: timedelta, confirm: bool = True, connections: int = 16
    ) -> None:
        self.prefix = f"hegemon:{{{cluster_id}}}:"
        self._timeout_s = timeout.total_seconds()
        self._confirm = confirm
        options: dict[str, Any] = dict(parse_url(url))
        options.pop("connection_class", None)
        self._pool = aioredis.BlockingConnectionPool(
            max_connections=connections,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._on_connect,
            protocol=2,
            **{key: value for key, value in options.items() if key != "protocol"},
        )
        self._client: aioredis.Redis = aioredis.Redis(connection_pool=self._pool)
        self._scripts: dict[str, Any] = {}
        self.run_id = ""

    async def _on_connect(self, connection: Connection) -> None:
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        info = await connection.read_response()
        text = info.decode() if isinstance(info, bytes) else str(info)
        self.run_id = next(line.split(":", 1)[1] for line in text.splitlines() if line.startswith("run_id:"))
        if not self._confirm:
            return
        await connection.send_command("HGET", f"{self.prefix}marker", "run_id")
        confirmed = await connection.read_response()
        if confirmed is not None and confirmed.decode() != self.run_id:
            raise NotConfirmed("Redis has been restarted; the index is being rebuilt")

    async def run(self, name: str, *args: str | bytes | float) -> list[Any]:
        """Run a script; its answer as a list. Raises `StoreUnavailable`, and for refusals `Fenced`, `IndexRefused`,
        `IncarnationClosed`."""
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._client.register_script(script_text(name))
        answer: list[Any] = await self._guarded(script(keys=[self.prefix], args=args))
        status = answer[0] if answer else b"ok"
        if status in _REFUSALS:
            raise Fenced(status.decode())
        if status == b"refused":
            raise IndexRefused
        if status == b"closed":
            raise IncarnationClosed
        return answer

    async def wait(self, key: str, timeout_s: float) -> bool:
        """Block until a wake-up token lies in the list `key`, or the time is up. Tokens carry nothing."""
        # The socket's time-out counts here too: ask for less, or every quiet wait would look like a dead server.
        seconds = min(timeout_s, self._timeout_s / 2)
        return bool(await self._guarded(self._client.blpop([self.prefix + key], timeout=seconds), slack_s=seconds))

    async def command(self, *args: str | bytes | float) -> Any:
        """One plain command, for what needs no script. Key names are whole."""
        # redis-py leaves this one method untyped.
        return await self._guarded(self._client.execute_command(*args))  # type: ignore[no-untyped-call]

    async def _guarded(self, call: Any, slack_s: float = 0.0) -> Any:
        task = asyncio.current_task()
        cancelling = task.cancelling() if task else 0
        try:
            # The socket's own time-out is not enough: a pool that is being reconnected waits on more than one read.
            async with asyncio.timeout(self._timeout_s * 2 + slack_s):
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
            raise StoreUnavailable("Redis", f"Redis does not answer: {str(error) or type(error).__name__}") from error
        except failures.ResponseError as error:
            if any(word in str(error) for word in _PASSING):
                raise StoreUnavailable("Redis", f"Redis refuses writes: {error}") from error
            raise

    async def check_server(self) -> None:
        """Refuse a Redis that may evict what we keep in it, or that is too old for our scripts."""
        policy = await self._guarded(self._client.config_get("maxmemory-policy"))
        name = policy.get("maxmemory-policy") if isinstance(policy, dict) else None
        if name not in (None, "noeviction"):
            raise WrongStore(
                f"Redis has maxmemory-policy={name}: under memory pressure it would drop jobs from the index; "
                "set `maxmemory-policy noeviction`"
            )
        info = await self._guarded(self._client.info("server"))
        version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])
        if version < (6, 2):
            raise WrongStore(f"Redis {info.get('redis_version')} is too old: 6.2 or newer is needed")

    async def drop_connections(self) -> None:
        """Close idle connections, so that the next call makes, and checks, a new one."""
        with contextlib.suppress(Exception):
            await self._pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Close everything."""
        with contextlib.suppress(Exception):
            await self._client.aclose()
        with contextlib.suppress(Exception):
            await self._pool.disconnect()
