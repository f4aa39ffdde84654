"""What the handlers of this node take, told to the cluster; and what those of all nodes take, for whoever asks.

    worker process ──told at its start──> supervisor ──> told() ──> run() ──> JobTypeStore (MongoDB)
                                                                                   └──> known() of any node

It is for people and forms: while MongoDB is away it waits, and no job waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import structlog

from hegemon.cluster.ports import TypeInfo, WorkerInfo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.job_types import JobType, JobTypeStore, KnownType

log = structlog.get_logger(__name__)

AGAIN_S: Final = 3600.0
RETRY_S: Final = 1.0
# After an error that nobody thought of: it may pass, and each one is logged.
FAILED_S: Final = 60.0


class JobTypes:
    """One node's. `run` must run for as long as the node lives."""

    def __init__(self, store: JobTypeStore, node: str, clock: ClusterClock) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._types: list[JobType] | None = None
        self._since_ms = 0
        self._new = asyncio.Event()

    def told(self, types: list[JobType]) -> None:
        """A worker process said what it handles. One that is started again says the same."""
        if types != self._types:
            self._types, self._since_ms = types, self._clock.now_ms()
            self._new.set()

    async def run(self) -> None:
        """Tell the store what is new, and all of it again now and then: what nobody says any more is forgotten."""
        await self._new.wait()
        while True:
            self._new.clear()
            pause_s = AGAIN_S
            try:
                now_ms = self._clock.now_ms()
                await self._store.tell(self._node, self._types or [], since_ms=self._since_ms, now_ms=now_ms)
            except StoreUnavailable as error:
                log.debug("job_types_untold", reason=str(error))
                pause_s = RETRY_S
            except Exception:  # what people look at must not end a node
                log.exception("job_types_failed")
                pause_s = FAILED_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._new.wait()

    async def known(self, workers: Iterable[WorkerInfo]) -> list[TypeInfo]:
        """Every type that one of these workers handles, by name, with what its nodes told of it. StoreUnavailable."""
        nodes: dict[str, set[str]] = {}
        for worker in workers:
            for name in worker.types:
                nodes.setdefault(name, set()).add(worker.node)
        described = await self._store.known(set().union(*nodes.values()))
        return [_info(name, sorted(handling), described.get(name)) for name, handling in sorted(nodes.items())]


def _info(name: str, handling: list[str], known: KnownType | None) -> TypeInfo:
    if known is None:
        return TypeInfo(type=name, nodes=handling)
    about = known.newest
    schema: dict[str, Any] | None = None if about.schema is None else msgspec.json.decode(about.schema)
    return TypeInfo(
        type=name,
        nodes=handling,
        differing=[node for node in known.differing if node in handling],
        description=about.description,
        schema=schema,
        max_retries=about.max_retries,
        timeout_ms=about.timeout_ms,
    )
