"""Logins that last: refresh tokens, one family a login, each token good for one refresh.

    hgr_SESSION_SECRET   stored: SHA-256 of the current secret, of the one before, and of those before that (truncated)

    current    -> a new secret takes its place; the old one becomes "the one before"
    before     -> within REPEAT_S of its refresh: the same answer again (its reply was lost); later: reuse
    older      -> reuse: somebody has a copy. The whole family is revoked, the thief's tokens and the owner's alike
    else       -> refused; a guess, or so old that it is forgotten. No family dies by that: its id is in every access
                  token, and must not be a weapon

The next secret is an HMAC of the present one under the family's own random seed: a repeated refresh gives the same
answer without the secret being stored, and who reads the database can make neither.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from pymongo import ReturnDocument

from hegemon.auth.errors import TokenExpired, Unauthenticated
from hegemon.auth.revocations import SESSION, Revocations
from hegemon.auth.users import User
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock

log = structlog.get_logger(__name__)

PREFIX: Final = b"hgr_"
REPEAT_S: Final = 5.0
OLDER_MAX: Final = 300
_TOKEN: Final = re.compile(r"hgr_([0-9a-f]{32})_([0-9a-f]{64})")


class Reused(Unauthenticated):
    """This refresh token was used before: its session is revoked, log in again."""


class Refreshed(msgspec.Struct, frozen=True):
    """A live session: its user and their version at login, and the refresh token that is current now."""

    session: str
    user: str
    version: int
    token: str
    expires_at: int


class SessionStore:
    """Families of refresh tokens in MongoDB's collection `sessions`, each until `ttl` after its last refresh."""

    def __init__(
        self, database: mongo.Database, revocations: Revocations, clock: ClusterClock, *, ttl: timedelta
    ) -> None:
        self._sessions = database.get_collection("sessions")
        self._revocations = revocations
        self._clock = clock
        self._ttl_ms = int(ttl.total_seconds() * 1000)

    async def prepare(self) -> None:
        """Create the indexes."""
        async with mongo.translated():
            await self._sessions.create_index("gone_at", expireAfterSeconds=0)
            await self._sessions.create_index("user")

    async def open(self, user: User) -> Refreshed:
        """A new family for a user who has just proved who they are."""
        session, secret = secrets.token_hex(16), secrets.token_hex(32)
        now_ms = self._clock.now_ms()
        expires_at = now_ms + self._ttl_ms
        async with mongo.translated():
            await self._sessions.insert_one(
                {
                    "_id": session,
                    "user": user.name,
                    "version": user.version,
                    "seed": secrets.token_bytes(32),
                    "current": _digest(secret),
                    "before": None,
                    "older": [],
                    "created_at": now_ms,
                    "refreshed_at": now_ms,
                    "expires_at": expires_at,
                    "gone_at": _moment(expires_at),
                }
            )
        return Refreshed(session, user.name, user.version, _text(session, secret), expires_at)

    async def refresh(self, token: str) -> Refreshed:
        """Turn the family's token over. TokenExpired, Reused, Unauthenticated."""
        session, secret = _parts(token)
        digest, now_ms = _digest(secret), self._clock.now_ms()
        async with mongo.translated():
            found = await self._sessions.find_one({"_id": session})
        if found is None:
            raise Unauthenticated(reason="no such session")
        if found["expires_at"] <= now_ms:
            raise TokenExpired
        following = hmac.new(found["seed"], secret.encode(), hashlib.sha256).hexdigest()
        if hmac.compare_digest(found["current"], digest):
            turned = await self._turn(session, digest, _digest(following), now_ms)
            if turned is not None:
                return self._answer(turned, following)
            # Somebody else has just used it: what this makes of us is seen below.
            async with mongo.translated():
                found = await self._sessions.find_one({"_id": session})
            if found is None:
                raise Unauthenticated(reason="no such session")
        repeated = found["before"] is not None and hmac.compare_digest(found["before"], digest)
        if repeated and now_ms - found["refreshed_at"] <= REPEAT_S * 1000:
            return self._answer(found, following)
        if repeated or digest[:16] in found["older"]:
            log.warning("refresh_token_reused", session=session, user=found["user"])
            await self.close(session)
            raise Reused(reason="refresh token reused")
        raise Unauthenticated(reason="no token of this session")

    async def close(self, session: str) -> None:
        """End a family: its refresh tokens and, on all nodes, its access tokens."""
        async with mongo.translated():
            await self._sessions.delete_one({"_id": session})
        await self._revocations.revoke(SESSION, session)

    async def close_all(self, user: str) -> None:
        """End every family of a user. Their access tokens end by the user's version."""
        async with mongo.translated():
            await self._sessions.delete_many({"user": user})

    async def _turn(self, session: str, digest: bytes, following: bytes, now_ms: int) -> dict[str, Any] | None:
        """Compare and set; None when another refresh was faster."""
        expires_at = now_ms + self._ttl_ms
        # A pipeline, so that "the one before" is read and replaced in one step.
        change: list[dict[str, Any]] = [
            {
                "$set": {
                    "older": {
                        "$slice": [
                            {"$concatArrays": ["$older", {"$cond": [{"$eq": ["$before", None]}, [], ["$past"]]}]},
                            -OLDER_MAX,
                        ]
                    }
                }
            },
            {
                "$set": {
                    "before": "$current",
                    "past": {"$literal": digest[:16]},
                    "current": {"$literal": following},
                    "refreshed_at": now_ms,
                    "expires_at": expires_at,
                    "gone_at": _moment(expires_at),
                }
            },
        ]
        async with mongo.translated():
            turned: dict[str, Any] | None = await self._sessions.find_one_and_update(
                {"_id": session, "current": digest}, change, return_document=ReturnDocument.AFTER
            )
        return turned

    @staticmethod
    def _answer(found: dict[str, Any], secret: str) -> Refreshed:
        session = found["_id"]
        return Refreshed(session, found["user"], found["version"], _text(session, secret), found["expires_at"])


def session_of(token: str) -> str:
    """The family that a refresh token names, without a look at its secret. Unauthenticated."""
    return _parts(token)[0]


def _parts(token: str) -> tuple[str, str]:
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise Unauthenticated(reason="no refresh token")
    return found[1], found[2]


def _text(session: str, secret: str) -> str:
    return f"hgr_{session}_{secret}"


def _digest(secret: str) -> bytes:
    # Random secrets of 256 bits need no slow hash: there is nothing to guess.
    return hashlib.sha256(secret.encode()).digest()


def _moment(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)
