"""A whole cluster on one machine: the stores that were not given, then the nodes, kept alive until it is stopped.

Every process is a child of this one and tied to its life, so that nothing is left, however this one ends. Order of the
start: stores, nodes. Order of the stop: nodes, which drain into the stores, then the stores.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

from hegemon.cluster.embedded import EmbeddedError, EmbeddedMongo, EmbeddedRedis
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_node import NodeProcess, how_ended
from hegemon.cluster.local_plan import LocalError, Plan

# A machine that does much else is slow; a node that cannot start ends, and is not waited for.
READY_WITHIN: Final = timedelta(seconds=120)
# The pause before each new start of a part that has died; one that dies again at once for longer than that is given up.
RESTART_PAUSES_S: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
# A part that was ready this long has shown that it can live: its next death is the first of a new row.
STEADY_S: Final = 2.0
_WATCH_S: Final = 0.1


class Listener(Protocol):
    """Who is told how it goes. None of these raises."""

    def starting(self, part: str) -> None: ...

    def ready(self, part: str, seconds: float) -> None: ...

    def said(self, sentence: str) -> None: ...


class _Store:
    """A store of our own."""

    def __init__(self, title: str, server: EmbeddedRedis | EmbeddedMongo) -> None:
        self.title = title
        self.server = server
        self.ready_s: float | None = None

    @property
    def address(self) -> str:
        return self.server.url if isinstance(self.server, EmbeddedRedis) else self.server.uri


class LocalCluster:
    """`start()`, `watch()`, `stop()`. The nodes come in the order of their ports."""

    def __init__(self, plan: Plan, directory: LocalDirectory, listener: Listener) -> None:
        self._plan = plan
        self._directory = directory
        self._listener = listener
        self.state_path: Path | None = None
        self.nodes = [NodeProcess(node, directory.log(node.id)) for node in plan.nodes]
        root = directory.path
        self._redis = None if plan.redis_url else _Store("Valkey", EmbeddedRedis(root / "redis"))
        self._mongo = None if plan.mongodb_uri else _Store("MongoDB", EmbeddedMongo(root / "mongodb"))
        self._stores = [store for store in (self._redis, self._mongo) if store is not None]

    @property
    def algorithm(self) -> str:
        """The election algorithm."""
        return self._plan.algorithm

    @property
    def redis_url(self) -> str:
        """Where Redis is; known once it was started. It may hold a password."""
        return self._redis.address if self._redis else str(self._plan.redis_url)

    @property
    def mongodb_uri(self) -> str:
        """Where MongoDB is; known once it was started. It may hold a password."""
        return self._mongo.address if self._mongo else str(self._plan.mongodb_uri)

    @property
    def mongodb_is_ours(self) -> bool:
        """Whether MongoDB is one that is started here, and not the person's own."""
        return self._mongo is not None

    # -- start ---------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything and write `cluster.json`. LocalError or EmbeddedError when a part cannot; then `stop()`."""
        await _together(self._start_store(store) for store in self._stores)
        await _together(self._start_node(node) for node in self.nodes)
        self._publish()

    async def kill(self, node: NodeProcess) -> None:
        """SIGKILL it, and wait until the process is gone. Not while `watch()` runs, which would start it again."""
        node.signal(signal.SIGKILL)
        await node.wait()

    async def revive(self, node: NodeProcess) -> None:
        """Start a node that was killed, and wait until it is ready. LocalError when it cannot start."""
        await node.spawn(self._addresses())
        if not await node.until_ready(READY_WITHIN):
            raise LocalError(f"{node.plan.id} cannot start: {node.last_words(await node.wait())}")
        self._publish()

    async def _start_store(self, store: _Store) -> None:
        began = time.monotonic()
        self._listener.starting(store.title)
        await store.server.start()
        store.ready_s = time.monotonic()
        self._listener.ready(store.title, time.monotonic() - began)

    async def _start_node(self, node: NodeProcess) -> None:
        began = time.monotonic()
        self._listener.starting(node.plan.id)
        await node.spawn(self._addresses())
        if not await node.until_ready(READY_WITHIN):
            raise LocalError(f"{node.plan.id} cannot start: {node.last_words(await node.wait())}")
        self._listener.ready(node.plan.id, time.monotonic() - began)

    def _addresses(self) -> dict[str, str]:
        """Of our own stores; a node finds those that were given as we did, by its environment and .env."""
        own = {}
        if self._redis:
            own["REDIS_URL"] = self._redis.address
        if self._mongo:
            own["MONGODB_URI"] = self._mongo.address
        if own:
            own["STORE_DATA_DIR"] = str(self._directory.path)
        return own

    def _publish(self) -> None:
        self.state_path = self._directory.publish(
            {
                "algorithm": self._plan.algorithm,
                "nodes": [
                    {"id": node.plan.id, "pid": node.pid, "url": node.plan.url, "metrics_url": node.plan.metrics_url}
                    for node in self.nodes
                ],
                "redis": {"url": self.redis_url, "pid": self._redis.server.pid if self._redis else None},
                "mongodb": {"uri": self.mongodb_uri, "pid": self._mongo.server.pid if self._mongo else None},
            }
        )

    # -- watch ---------------------------------------------------------------------------------------------------------

    async def watch(self) -> None:
        """Start again whatever dies, until cancelled. LocalError when a part keeps dying."""
        await _together([*map(self._keep_node, self.nodes), *map(self._keep_store, self._stores)])

    async def _keep_node(self, node: NodeProcess) -> NoReturn:
        deaths = 0
        while True:
            code = await node.wait()
            deaths = _row(deaths, node.ready_s)
            if deaths >= len(RESTART_PAUSES_S):
                raise LocalError(f"{node.plan.id} keeps dying: {node.last_words(code)}")
            self._listener.said(f"{node.plan.id} (process {node.pid}) {how_ended(code)}; starting it again.")
            await asyncio.sleep(RESTART_PAUSES_S[deaths])
            await node.spawn(self._addresses())
            self._publish()
            # However long it takes: it may be waiting for a store that is away.
            if await node.until_ready(None):
                self._listener.said(f"{node.plan.id} is ready again (process {node.pid}).")

    async def _keep_store(self, store: _Store) -> NoReturn:
        deaths = 0
        while True:
            pid = store.server.pid
            while store.server.running:
                await asyncio.sleep(_WATCH_S)
            deaths = _row(deaths, store.ready_s)
            if deaths >= len(RESTART_PAUSES_S):
                raise LocalError(f"{store.title} keeps dying; see {store.server.log_path}")
            died = f"{store.title} (process {pid}) died" if pid else f"{store.title} did not start"
            self._listener.said(f"{died}; starting it again on its data.")
            await asyncio.sleep(RESTART_PAUSES_S[deaths])
            store.ready_s = None
            try:
                await store.server.restart()
            except EmbeddedError as error:
                self._listener.said(str(error))
                continue
            store.ready_s = time.monotonic()
            self._publish()
            self._listener.said(f"{store.title} is ready again (process {store.server.pid}).")

    # -- stop ----------------------------------------------------------------------------------------------------------

    async def stop(self, hurry: asyncio.Event) -> None:
        """Stop everything in order; at once when `hurry` is set. Nothing runs afterwards, whatever was running."""
        draining = asyncio.create_task(self._drain(), name="drain")
        hurried = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait({draining, hurried}, return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        # The parts kill what is left of them when their stop is cancelled.
        draining.cancel()
        await asyncio.gather(draining, hurried, return_exceptions=True)
        await asyncio.gather(*(node.stop(timedelta(0)) for node in self.nodes))
        await asyncio.gather(*(store.server.kill() for store in self._stores))

    async def _drain(self) -> None:
        await asyncio.gather(*(node.stop(self._plan.stop_timeout) for node in self.nodes))
        if self._directory.kept:
            await asyncio.gather(*(store.server.stop() for store in self._stores))


def _row(deaths: int, ready_s: float | None) -> int:
    """How many deaths in a row, each without a steady life before it, this one makes."""
    steady = ready_s is not None and time.monotonic() - ready_s > STEADY_S
    return 0 if steady else deaths + 1


async def _together(works: Iterable[Coroutine[Any, Any, Any]]) -> None:
    """Do them all at once; the first that fails ends the others, and its error is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(work)
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
