"""The real application with authentication and audit log, on a real MongoDB; jobs are those of `tests.api.memory`."""

from __future__ import annotations

import asyncio
import functools
import unittest.mock
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer
from hegemon.auth.audit import AuditLog
from hegemon.auth.audit_chain import Keys
from hegemon.auth.audit_store import AuditStore
from hegemon.auth.identity import Identity
from hegemon.auth.roles import Role
from hegemon.cluster.settings import Settings, load
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from tests.api.documented import check
from tests.api.memory import MemoryNode, metrics_of
from tests.auth.parts import OPTIONS
from tests.waiting import PATIENCE_S

AUDIT_KEY = b"a key of the audit log of the tests, 7f3a"
TTL = timedelta(hours=1)


@dataclass(frozen=True)
class Secured:
    """A served node: its parts, and a token for each role."""

    url: str
    identity: Identity
    audit: AuditLog
    jobs: MemoryNode
    tokens: dict[str, str]

    def headers(self, role: str) -> dict[str, str]:
        """What a caller of this role sends."""
        return {"authorization": f"Bearer {self.tokens[role]}"}


@asynccontextmanager
async def open_secured(uri: str, database: str, settings: Settings | None = None) -> AsyncIterator[Secured]:
    """The application under the real server, with its loops."""
    client = mongo.connect(uri, timeout=timedelta(seconds=30))
    clock, jobs = ClusterClock(), MemoryNode()
    identity = Identity(OPTIONS, client[database], clock)
    audit = AuditLog(AuditStore(client, client[database]), node="n1", clock=clock, keys=Keys([AUDIT_KEY]))
    # However slow this machine is, what is written is waited for.
    audit.write = functools.partial(audit.write, within_s=PATIENCE_S)  # type: ignore[method-assign]
    await audit.store.prepare()
    await identity.prepare()
    app = create_app(
        jobs,
        jobs,
        version="9.8.7",
        request_bytes_max=100_000,
        metrics=metrics_of(b"hegemon_up 1.0\n"),
        identity=identity,
        audit=audit,
        config=(settings or load({}, None)).public,
    )
    server = ApiServer(app, host="127.0.0.1", port=0)
    await server.start()
    # On a loaded machine the next look at the list of revocations may take longer than a node would trust the last one;
    # what is tested over this node is not that.
    trust = unittest.mock.patch("hegemon.auth.revocations.TRUSTED_S", 3600.0)
    trust.start()
    loops = [asyncio.create_task(work) for work in (identity.run(), audit.run(), jobs.feed.run())]
    tokens = {role.value: identity.tokens.issue(f"service:{role}", role, ttl=TTL)[0] for role in Role}
    try:
        yield Secured(server.url, identity, audit, jobs, tokens)
    finally:
        trust.stop()
        await server.stop(1.0)
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await identity.close()
        client.close()


@contextmanager
def served(loop: asyncio.AbstractEventLoop, uri: str, database: str) -> Iterator[Secured]:
    """The same on another thread's loop, for tests that are not coroutines."""
    opened = open_secured(uri, database)

    def run(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    secured: Secured = run(opened.__aenter__())
    try:
        yield secured
    finally:
        run(opened.__aexit__(None, None, None))


def caller(secured: Secured, role: str | None = None, **options: Any) -> httpx.AsyncClient:
    """A client of this role; every answer is held against the description."""

    async def checked(response: httpx.Response) -> None:
        await response.aread()
        check(response)

    headers = secured.headers(role) if role is not None else {}
    return httpx.AsyncClient(
        base_url=secured.url,
        timeout=PATIENCE_S,
        headers=headers,
        trust_env=False,
        event_hooks={"response": [checked]},
        **options,
    )
