"""The real application with authentication under the real server, over the in-memory ports of `tests.api.memory` and a
real MongoDB for identities.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import httpx

from hegemon.api.app import create_app
from hegemon.api.rate_limits import RateLimits
from hegemon.api.server import ApiServer
from hegemon.auth.identity import Identity
from hegemon.auth.roles import Role
from tests.api.documented import check
from tests.api.memory import MemoryNode, metrics_of
from tests.auth.parts import Clock, open_identity
from tests.waiting import PATIENCE_S

DAY = timedelta(hours=24)


@dataclass
class Guarded:
    """A node that wants credentials. `tokens` has one for each role, of a service, so that no logout ends it."""

    url: str
    node: MemoryNode
    identity: Identity
    clock: Clock
    tokens: dict[Role, str] = field(default_factory=dict)

    def as_role(self, role: Role | None) -> dict[str, str]:
        """The headers of a caller of that role; None is a stranger."""
        return {} if role is None else {"authorization": f"Bearer {self.tokens[role]}"}


@asynccontextmanager
async def open_guarded(uri: str, database: str, *, limits: RateLimits | None = None) -> AsyncIterator[Guarded]:
    """One node, whose list of revocations is as fresh as the tests leave it."""
    clock, node = Clock(), MemoryNode()
    async with open_identity(uri, database, clock=clock) as identity:
        # A loaded machine may not poll for a second: what is tested here is not that.
        identity.revocations._checked_at = float("inf")
        app = create_app(
            node,
            node,
            version="1",
            request_bytes_max=100_000,
            metrics=metrics_of(b"x 1\n"),
            limits=limits,
            identity=identity,
        )
        server = ApiServer(app, host="127.0.0.1", port=0)
        await server.start()
        guarded = Guarded(server.url, node, identity, clock)
        for role in Role:
            guarded.tokens[role] = identity.logins.service_token(f"test-{role}", role, ttl=DAY).token
        try:
            yield guarded
        finally:
            await server.stop(1.0)


def client_of(guarded: Guarded, **headers: str) -> httpx.Client:
    """A client whose every answer is held against the OpenAPI description."""
    return httpx.Client(
        base_url=guarded.url, timeout=PATIENCE_S, event_hooks={"response": [check]}, trust_env=False, headers=headers
    )
