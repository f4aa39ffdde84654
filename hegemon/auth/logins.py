"""Logging in, staying logged in, logging out: the password once, then a short token and a refresh token in turns."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import msgspec
import structlog

from hegemon.auth.errors import InvalidCredentials, InvalidUser, LoginsBusy, Unauthenticated
from hegemon.auth.login_throttle import LoginThrottle
from hegemon.auth.passwords import LENGTH_MAX, Passwords
from hegemon.auth.revocations import TOKEN, Revocations
from hegemon.auth.roles import Principal, Role
from hegemon.auth.sessions import Refreshed, SessionStore, session_of
from hegemon.auth.tokens import Tokens
from hegemon.auth.users import NAME, User, UserChange, UserStore, checked_queues
from hegemon.queue.errors import QueueError

log = structlog.get_logger(__name__)

SERVICE_TTL_MAX: Final = timedelta(hours=24)


class Issued(msgspec.Struct, frozen=True):
    """What a login gives. `expires_at` is the access token's end, both ends in UTC milliseconds."""

    access_token: str
    expires_at: int
    refresh_token: str
    refresh_expires_at: int
    role: Role
    session: str


class ServiceToken(msgspec.Struct, frozen=True):
    """A token for a program. `id` is what it is revoked by."""

    id: str
    token: str
    expires_at: int


class Logins:
    """The login of one node. Every method raises `StoreUnavailable` when MongoDB does not answer."""

    def __init__(
        self,
        users: UserStore,
        sessions: SessionStore,
        tokens: Tokens,
        revocations: Revocations,
        passwords: Passwords,
        *,
        access_ttl: timedelta,
        demo_users: bool = False,
        throttle: LoginThrottle | None = None,
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._tokens = tokens
        self._revocations = revocations
        self._passwords = passwords
        self._access_ttl = access_ttl
        self._demo_users = demo_users
        self._throttle = throttle

    async def login(self, name: str, password: str, *, address: str = "") -> Issued:
        """A new session. InvalidCredentials, with one text and in one time whatever is wrong; LoginThrottled,
        LoginsBusy.
        """
        name = name.strip().lower()
        user = await self._tried(name, password, address)
        if self._passwords.stale(user.hash):
            await self._renew(user, password)
        return self._issued(await self._sessions.open(user), user)

    async def refresh(self, token: str) -> Issued:
        """The next pair of tokens. Unauthenticated, TokenExpired, Reused."""
        refreshed = await self._sessions.refresh(token)
        user = await self._users.find(refreshed.user)
        if user is None or user.disabled or user.version != refreshed.version or not self._demo_allowed(user):
            await self._sessions.close(refreshed.session)
            raise Unauthenticated(reason="the user changed")
        return self._issued(refreshed, user)

    async def logout(self, principal: Principal, *, refresh_token: str | None = None) -> None:
        """End the session of the caller, and that of the refresh token if it is another one."""
        if principal.session is not None:
            await self._sessions.close(principal.session)
        if refresh_token is not None and session_of(refresh_token) != principal.session:
            # By its secret, not by its name alone: that stands in every access token.
            await self._sessions.close((await self._sessions.refresh(refresh_token)).session)

    async def change_password(self, principal: Principal, old: str, new: str, *, address: str = "") -> None:
        """Change the caller's own password; every session of theirs ends. InvalidCredentials, InvalidUser."""
        kind, _, name = principal.id.partition(":")
        if kind != "user":
            raise InvalidUser("only a user has a password")
        await self._tried(name, old, address)
        await self._users.change(name, UserChange(password=new))
        await self._sessions.close_all(name)

    def service_token(
        self, name: str, role: Role, *, ttl: timedelta, queues: tuple[str, ...] | None = None
    ) -> ServiceToken:
        """A token for `service:name`, for at most a day. InvalidUser."""
        if not timedelta(seconds=1) <= ttl <= SERVICE_TTL_MAX:
            raise InvalidUser("a service token lives for 1 second to 24 hours", field="ttl")
        if NAME.fullmatch(name) is None:
            raise InvalidUser("a service's name is made as a user's", field="name")
        queues = checked_queues(queues, role)
        token, token_id, expires_at = self._tokens.issue(f"service:{name}", role, ttl=ttl, queues=queues)
        return ServiceToken(token_id, token, expires_at)

    async def revoke_token(self, token_id: str) -> None:
        """Void a service token by its id, on all nodes. An id that no token has does no harm."""
        await self._revocations.revoke(TOKEN, token_id)

    async def _tried(self, name: str, password: str, address: str) -> User:
        """The user behind the password. InvalidCredentials, LoginThrottled; LoginsBusy."""
        throttle = self._throttle
        if throttle is not None:
            throttle.attempt(name, address)
        try:
            user = await self._proven(name, password)
        except (LoginsBusy, QueueError):
            # Else whoever keeps the node busy would also keep everybody's next logins waiting.
            if throttle is not None:
                throttle.unchecked(name, address)
            raise
        if user is None:
            raise InvalidCredentials
        if throttle is not None:
            throttle.succeeded(name, address)
        return user

    async def _proven(self, name: str, password: str) -> User | None:
        """The user, if the password is theirs and they may log in. As slow for all others."""
        user = await self._users.find(name)
        right = await self._passwords.verify(None if user is None else user.hash, password[: LENGTH_MAX + 1])
        return user if right and user is not None and not user.disabled and self._demo_allowed(user) else None

    def _demo_allowed(self, user: User) -> bool:
        # Their passwords are known to everybody: they are nobody on a node that was not told to have them.
        return self._demo_users or not user.demo

    async def _renew(self, user: User, password: str) -> None:
        try:
            await self._users.rehash(user, password)
        except QueueError as error:
            log.debug("password_not_rehashed", user=user.name, reason=str(error))

    def _issued(self, session: Refreshed, user: User) -> Issued:
        token, _, expires_at = self._tokens.issue(
            user.id, user.role, ttl=self._access_ttl, queues=user.queues, session=session.session, version=user.version
        )
        return Issued(token, expires_at, session.token, session.expires_at, user.role, session.session)
