"""Everything about identities that a node has, put together: what its API asks, and what runs beside it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from hegemon.auth import signing
from hegemon.auth.api_keys import KeyStore
from hegemon.auth.authenticator import Authenticator
from hegemon.auth.errors import AuthSettingsError, InvalidUser
from hegemon.auth.issuer import Fetch, OutsideIssuer, fetcher
from hegemon.auth.login_throttle import LoginThrottle
from hegemon.auth.logins import Logins
from hegemon.auth.passwords import Cost, Passwords
from hegemon.auth.revocations import Revocations
from hegemon.auth.roles import FIRST_ADMIN
from hegemon.auth.sessions import SessionStore
from hegemon.auth.signing import KeyRing
from hegemon.auth.tokens import Tokens
from hegemon.auth.users import DEMO, UserStore
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock

log = structlog.get_logger(__name__)

USED_EVERY_S: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerOptions:
    """An outside issuer whose tokens are accepted beside the cluster's own."""

    url: str
    audience: str
    role_claim: str = "role"
    jwks_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityOptions:
    """What a node's settings say about identities. Either `private_key` or `secret` signs."""

    cluster_id: str
    secret: str | None = field(default=None, repr=False)
    secret_other: str | None = field(default=None, repr=False)
    private_key: Path | None = None
    public_keys: tuple[Path, ...] = ()
    issuer: IssuerOptions | None = None
    access_ttl: timedelta = timedelta(minutes=10)
    refresh_ttl: timedelta = timedelta(days=7)
    admin_password: str | None = field(default=None, repr=False)
    demo_users: bool = False
    cost: Cost = field(default_factory=Cost)


class Identity:
    """The identities of one node. `prepare`, then `run` for as long as the node lives, then `close`."""

    def __init__(
        self,
        options: IdentityOptions,
        database: mongo.Database,
        clock: ClusterClock,
        *,
        fetch: Fetch | None = None,
        throttle: LoginThrottle | None = None,
    ) -> None:
        self._options = options
        self.access_ttl_s = int(options.access_ttl.total_seconds())
        self.ring = key_ring(options)
        self.passwords = Passwords(options.cost)
        self.revocations = Revocations(database, clock)
        self.users = UserStore(database, self.passwords, self.revocations, clock)
        self.keys = KeyStore(database, self.revocations, clock)
        self.sessions = SessionStore(database, self.revocations, clock, ttl=options.refresh_ttl)
        self.tokens = Tokens(self.ring, clock, cluster_id=options.cluster_id)
        outside = options.issuer
        issuer = (
            None
            if outside is None
            else OutsideIssuer(
                outside.url,
                audience=outside.audience,
                role_claim=outside.role_claim,
                jwks_url=outside.jwks_url,
                clock=clock,
                fetch=fetch or fetcher(),
            )
        )
        self.gate = Authenticator(self.tokens, self.keys, self.revocations, clock, issuer=issuer)
        self.logins = Logins(
            self.users,
            self.sessions,
            self.tokens,
            self.revocations,
            self.passwords,
            access_ttl=options.access_ttl,
            demo_users=options.demo_users,
            throttle=throttle,
        )

    async def prepare(self, show: Callable[[str], None] | None = None) -> None:
        """Indexes, the list of revocations, the first users. `show` gets a password that was made up: by default it
        goes to stderr, past every log. AuthSettingsError for an ADMIN_PASSWORD that is too weak.
        """
        await self.sessions.prepare()
        await self.revocations.prepare()
        if self._options.demo_users:
            await self.users.demo()
            log.warning("demo_users", names=[name for name, _, _ in DEMO], hint="their passwords are public")
            return
        try:
            made_up = await self.users.first_admin(self._options.admin_password)
        except InvalidUser as error:
            raise AuthSettingsError(f"ADMIN_PASSWORD: {error}") from error
        if made_up is not None:
            (show or _to_stderr)(made_up)

    async def run(self) -> None:
        """Follow the revocations, and write when keys were last used."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.revocations.run(), name="revocations")
            group.create_task(self._write_used(), name="key use")

    async def close(self) -> None:
        """Write what is left to write, let the thread go."""
        await self.gate.write_used()
        self.passwords.close()

    async def _write_used(self) -> None:
        while True:
            await asyncio.sleep(USED_EVERY_S)
            await self.gate.write_used()


def key_ring(options: IdentityOptions) -> KeyRing:
    """The keys that the options name. AuthSettingsError when they cannot be used."""
    if options.private_key is not None:
        return signing.from_files(options.private_key, options.public_keys)
    if options.secret is None:
        raise AuthSettingsError("AUTH_ENABLED needs JWT_SECRET or JWT_PRIVATE_KEY_FILE")
    return signing.from_secrets(options.secret, options.secret_other)


def _to_stderr(password: str) -> None:
    sys.stderr.write(
        f"\n  This cluster has no users yet. Its first one is `{FIRST_ADMIN}` with the password\n\n"
        f"      {password}\n\n  It is shown this once. Log in with `hegemon login {FIRST_ADMIN}`.\n\n"
    )
    sys.stderr.flush()
