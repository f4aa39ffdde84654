"""What guards a node's API: its identities and its audit log, built from the settings, run beside the other loops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hegemon.auth.audit import AuditLog
from hegemon.auth.audit_store import AuditStore
from hegemon.auth.egress import EgressGuard, GuardedTransport
from hegemon.auth.identity import Identity, IdentityOptions, IssuerOptions
from hegemon.auth.issuer import fetcher
from hegemon.auth.login_throttle import LoginThrottle
from hegemon.cluster.auth_settings import AuthSettings
from hegemon.cluster.security_events import security_event
from hegemon.cluster.settings import Settings
from hegemon.events.bus import Emit, unheard
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock


class Protection:
    """The identities and the audit log of one node with AUTH_ENABLED. `leads` says whether this node has the office."""

    def __init__(
        self,
        settings: Settings,
        client: mongo.Client,
        clock: ClusterClock,
        *,
        leads: Callable[[], bool],
        monotonic: Callable[[], float],
        emit: Emit = unheard,
    ) -> None:
        """Raises AuthSettingsError when the keys cannot be used."""
        database = client[settings.store.mongodb_database]
        self.identity = Identity(
            identity_options(settings.auth, settings.cluster.cluster_id),
            database,
            clock,
            fetch=fetcher(GuardedTransport(EgressGuard(settings.audit.egress_allow))),
            throttle=LoginThrottle(monotonic),
        )
        self.audit = AuditLog(
            AuditStore(client, database),
            node=settings.cluster.node_id,
            clock=clock,
            keys=settings.audit.keys,
            retention=settings.audit.audit_retention,
            leads=leads,
            told=lambda record: security_event(record, emit),
        )

    async def prepare(self) -> None:
        """Indexes, the first user, the list of revocations. StoreUnavailable, AuthSettingsError."""
        await self.audit.store.prepare()
        await self.identity.prepare()

    async def run(self) -> None:
        """For as long as the node lives."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.identity.run(), name="identity")
            group.create_task(self.audit.run(), name="audit")

    async def close(self, within_s: float) -> None:
        """Write what is left to write."""
        await self.audit.drain(within_s)
        await self.identity.close()


def identity_options(settings: AuthSettings, cluster_id: str) -> IdentityOptions:
    """The settings as `hegemon.auth` takes them."""

    def plain(name: str) -> str | None:
        secret = getattr(settings, name)
        return None if secret is None else str(secret.get_secret_value())

    issuer = None
    if settings.jwt_issuer_url is not None and settings.jwt_audience is not None:
        issuer = IssuerOptions(
            url=settings.jwt_issuer_url,
            audience=settings.jwt_audience,
            role_claim=settings.jwt_role_claim,
            jwks_url=settings.jwt_jwks_url,
        )
    return IdentityOptions(
        cluster_id=cluster_id,
        secret=plain("jwt_secret"),
        secret_other=plain("jwt_secret_other"),
        private_key=settings.jwt_private_key_file,
        public_keys=settings.jwt_public_key_files,
        issuer=issuer,
        access_ttl=settings.access_token_ttl,
        refresh_ttl=settings.refresh_token_ttl,
        admin_password=plain("admin_password"),
        demo_users=settings.demo_users,
    )
