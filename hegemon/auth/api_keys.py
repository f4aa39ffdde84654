"""API keys: `hgm_ID_SECRET`, for programs that cannot log in. Stored is the hash of the secret, with a role, perhaps
some queues and an expiry; when a key was last used is written once a minute, for all keys together.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from pymongo import DESCENDING, UpdateOne

from hegemon.auth.errors import InvalidUser, KeyNotFound, TokenExpired, Unauthenticated
from hegemon.auth.revocations import KEY, Revocations
from hegemon.auth.roles import Principal, Role
from hegemon.auth.tokens import Verified
from hegemon.auth.users import checked_queues
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock

PREFIX: Final = b"hgm_"
KEYS_MAX: Final = 10_000
NAME_MAX: Final = 100
# How long a key is believed before MongoDB is asked again, should its revocation have passed this node by.
BELIEVED_MS: Final = 300_000
_KEY: Final = re.compile(rb"hgm_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")
_ID: Final = re.compile(r"[0-9a-f]{16}")


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as stored, without its hash. Times are UTC milliseconds; `expires_at` None: never."""

    id: str
    name: str
    role: Role
    queues: tuple[str, ...] | None
    created_by: str
    created_at: int
    expires_at: int | None = None
    last_used_at: int | None = None


class KeyStore:
    """Keys in MongoDB's collection `api_keys`. Every method raises `StoreUnavailable` when MongoDB does not answer."""

    def __init__(self, database: mongo.Database, revocations: Revocations, clock: ClusterClock) -> None:
        self._keys = database.get_collection("api_keys")
        self._revocations = revocations
        self._clock = clock

    async def add(
        self,
        name: str,
        role: Role,
        *,
        created_by: str,
        queues: tuple[str, ...] | None = None,
        expires_at: int | None = None,
    ) -> tuple[ApiKey, str]:
        """A new key and its text, which nobody can show again. InvalidUser."""
        if not 1 <= len(name) <= NAME_MAX or not name.isprintable():
            raise InvalidUser(f"a key's name has 1 to {NAME_MAX} characters that can be printed", field="name")
        now_ms = self._clock.now_ms()
        if expires_at is not None and expires_at <= now_ms:
            raise InvalidUser("this moment has passed", field="expires_at")
        secret = secrets.token_urlsafe(32)
        key = ApiKey(
            id=secrets.token_hex(8),
            name=name,
            role=role,
            queues=checked_queues(queues, role),
            created_by=created_by,
            created_at=now_ms,
            expires_at=expires_at,
        )
        fields: dict[str, Any] = msgspec.to_builtins(key)
        async with mongo.translated():
            await self._keys.insert_one({"_id": fields.pop("id"), **fields, "hash": _digest(secret.encode())})
        return key, f"hgm_{key.id}_{secret}"

    async def get(self, key_id: str) -> ApiKey:
        """The key; KeyNotFound."""
        if _ID.fullmatch(key_id) is None:
            raise KeyNotFound
        async with mongo.translated():
            found = await self._keys.find_one({"_id": key_id})
        if found is None:
            raise KeyNotFound
        return _key(found)

    async def list(self) -> list[ApiKey]:
        """All of them, the newest first, KEYS_MAX at the most."""
        async with mongo.translated():
            return [_key(one) async for one in self._keys.find({}, sort=[("created_at", DESCENDING)], limit=KEYS_MAX)]

    async def revoke(self, key_id: str) -> None:
        """Withdraw a key on all nodes. KeyNotFound."""
        await self.get(key_id)
        async with mongo.translated():
            await self._keys.delete_one({"_id": key_id})
        await self._revocations.revoke(KEY, key_id)

    async def verify(self, credential: bytes) -> Verified:
        """Who the key stands for. TokenExpired; Unauthenticated with the `reason`."""
        parts = _KEY.fullmatch(credential)
        if parts is None:
            raise Unauthenticated(reason="no API key")
        key_id = parts[1].decode()
        async with mongo.translated():
            found = await self._keys.find_one({"_id": key_id})
        # As long for an id that is not there: which ids exist is nobody's business.
        stored = b"" if found is None else found["hash"]
        if not hmac.compare_digest(stored, _digest(parts[2])) or found is None:
            raise Unauthenticated(reason="wrong API key")
        key, now_ms = _key(found), self._clock.now_ms()
        if key.expires_at is not None and key.expires_at <= now_ms:
            raise TokenExpired("The API key has expired.", reason="expired")
        until_ms = now_ms + BELIEVED_MS if key.expires_at is None else min(now_ms + BELIEVED_MS, key.expires_at)
        queues = None if key.queues is None else frozenset(key.queues)
        return Verified(principal=Principal(f"key:{key.id}", key.role, queues), until_ms=until_ms, key=key.id)

    async def used(self, when: Mapping[str, int]) -> None:
        """Write when keys were last used, by id in UTC milliseconds."""
        if when:
            updates = [UpdateOne({"_id": one}, {"$max": {"last_used_at": at}}) for one, at in when.items()]
            async with mongo.translated():
                await self._keys.bulk_write(updates, ordered=False)


def _key(found: Mapping[str, Any]) -> ApiKey:
    return msgspec.convert({**found, "id": found["_id"]}, ApiKey)


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
