"""Identities on a real MongoDB, with passwords that cost nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hegemon.auth.identity import Identity, IdentityOptions
from hegemon.auth.passwords import Cost
from hegemon.auth.roles import Role
from hegemon.auth.signing import from_secrets
from hegemon.auth.tokens import Tokens
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock

CHEAP = Cost(memory_kib=8, passes=1, lanes=1)
SIGNING = "1f0c6e92ab77d3548810be4f2c9d6a53e7b1049dc25f8836"
OTHER = "c03b9d1e75a8f24660de1b8c7a953f02d4e6718ba95c0f37"
PASSWORD = "rails over the river"
OPTIONS = IdentityOptions(
    cluster_id="test",
    secret=SIGNING,
    cost=CHEAP,
    admin_password="bridge of seven arches",
    access_ttl=timedelta(minutes=10),
)


class Clock(ClusterClock):
    """The cluster's clock, which stands still until a test sets it forward: on a slow machine nothing runs out."""

    def __init__(self) -> None:
        super().__init__()
        self._now_ms = super().now_ms()

    def now_ms(self) -> int:
        return self._now_ms

    def forward(self, by: timedelta) -> None:
        """Let so much time pass."""
        self._now_ms += int(by.total_seconds() * 1000)


@asynccontextmanager
async def open_identity(
    uri: str, database: str, *, clock: ClusterClock | None = None, **changes: Any
) -> AsyncIterator[Identity]:
    """The identities of one node, prepared; nothing polls until a test says so."""
    client = mongo.connect(uri, timeout=timedelta(seconds=30))
    identity = Identity(replace(OPTIONS, **changes), client[database], clock or ClusterClock())
    try:
        await identity.prepare()
        yield identity
    finally:
        await identity.close()
        client.close()


def secured(cluster_id: str) -> tuple[dict[str, str], str]:
    """The environment of a node that wants credentials, and a token that every node of the cluster takes for an
    admin's.
    """
    tokens = Tokens(from_secrets(SIGNING), ClusterClock(), cluster_id=cluster_id)
    token, _, _ = tokens.issue("service:tests", Role.ADMIN, ttl=timedelta(hours=24))
    environment = {"AUTH_ENABLED": "true", "JWT_SECRET": SIGNING, "ADMIN_PASSWORD": "bridge of seven arches"}
    return environment, token
