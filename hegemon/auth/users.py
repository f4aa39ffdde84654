"""The people who may log in, in MongoDB's collection `users`. Names are unique there, so that of two nodes which begin
together only one makes the first admin.

`version` grows with every change that makes issued tokens void; it is the ETag, and what `revocations` speaks of.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from hegemon.auth import passwords as rules
from hegemon.auth.errors import InvalidUser, PreconditionFailed, UserExists, UserNotFound
from hegemon.auth.passwords import Passwords
from hegemon.auth.revocations import USER, Revocations
from hegemon.auth.roles import FIRST_ADMIN, Role
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
QUEUE: Final = re.compile(r"[A-Za-z0-9_.\-/]{1,100}")
QUEUES_MAX: Final = 100
USERS_MAX: Final = 10_000
# Only where DEMO_USERS is on, and that is on loopback alone.
DEMO: Final = (
    (FIRST_ADMIN, "admin123", Role.ADMIN),
    ("user", "user123", Role.USER),
    ("worker", "worker123", Role.WORKER),
)


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user as stored. `queues` None: all of them. Times are UTC milliseconds. `demo`: made by DEMO_USERS."""

    name: str
    role: Role
    hash: str
    disabled: bool = False
    queues: tuple[str, ...] | None = None
    created_at: int = 0
    changed_at: int = 0
    version: int = 1
    demo: bool = False

    @property
    def id(self) -> str:
        """The principal's id."""
        return f"user:{self.name}"

    def __repr__(self) -> str:
        return f"User({self.name!r}, {self.role.value})"


class UserChange(msgspec.Struct, frozen=True, kw_only=True):
    """What to change; UNSET stays."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    queues: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET
    password: str | msgspec.UnsetType = msgspec.UNSET


class UserStore:
    """Users, by name. Every method raises `StoreUnavailable` when MongoDB does not answer."""

    def __init__(
        self, database: mongo.Database, passwords: Passwords, revocations: Revocations, clock: ClusterClock
    ) -> None:
        self._users = database.get_collection("users")
        self._guard = database.get_collection("auth")
        self._client = database.client
        self._passwords = passwords
        self._revocations = revocations
        self._clock = clock

    async def first_admin(self, password: str | None) -> str | None:
        """Make the user `admin` if there is no user at all but the demo's, whom this node lets in nowhere. The password
        that was made up for it, if this call made it: show it, since nobody can see it again.
        """
        async with mongo.translated():
            if await self._users.find_one({"demo": {"$ne": True}}, {"_id": 1}) is not None:
                return None
        chosen = rules.generated() if password is None else password
        rules.check(chosen, user=FIRST_ADMIN)
        async with mongo.translated():
            demo = await self._users.delete_one({"_id": FIRST_ADMIN, "demo": True})
        try:
            made = await self._insert(FIRST_ADMIN, chosen, Role.ADMIN, None)
        except UserExists:
            return None  # another node was faster, and shows its own
        if demo.deleted_count:
            await self._revocations.revoke(USER, FIRST_ADMIN, least=made.version)
        return chosen if password is None else None

    async def demo(self) -> None:
        """Make the demo users that are not there yet."""
        for name, password, role in DEMO:
            try:
                await self._insert(name, password, role, None, demo=True)
            except UserExists:
                continue

    async def add(self, name: str, password: str, role: Role, queues: tuple[str, ...] | None = None) -> User:
        """A new user. UserExists; InvalidUser says what is wrong with the name, the password or the queues."""
        if NAME.fullmatch(name) is None:
            raise InvalidUser(
                "a name has 1 to 64 characters out of a-z 0-9 . _ @ -, and begins with a letter or a digit",
                field="name",
            )
        rules.check(password, user=name)
        return await self._insert(name, password, role, checked_queues(queues, role))

    async def find(self, name: str) -> User | None:
        """The user, or None."""
        if NAME.fullmatch(name) is None:
            return None
        async with mongo.translated():
            found = await self._users.find_one({"_id": name})
        return None if found is None else _user(found)

    async def get(self, name: str) -> User:
        """The user; UserNotFound."""
        user = await self.find(name)
        if user is None:
            raise UserNotFound
        return user

    async def list(self) -> list[User]:
        """All of them by name, USERS_MAX at the most."""
        async with mongo.translated():
            return [_user(found) async for found in self._users.find({}, sort=[("_id", ASCENDING)], limit=USERS_MAX)]

    async def change(self, name: str, change: UserChange, *, version: int | None = None) -> User:
        """Change a user, and void every token issued before. `version`: only if it is that one, else
        PreconditionFailed. UserNotFound; InvalidUser, also for what would leave no admin.
        """
        given: dict[str, Any] = {
            key: value for key in ("role", "disabled", "queues") if (value := getattr(change, key)) is not msgspec.UNSET
        }
        if change.password is not msgspec.UNSET:
            rules.check(change.password, user=name)
            # A password that a person chose is no demo any more.
            given |= {"hash": await self._passwords.hash(change.password), "demo": False}
        present = await self.get(name)
        queues = checked_queues(given.get("queues", present.queues), Role(given.get("role", present.role)))
        given |= {"queues": None if queues is None else list(queues)}
        if present.role is Role.ADMIN and (given.get("role", Role.ADMIN) is not Role.ADMIN or given.get("disabled")):
            async with self._another_admin(name) as session:
                changed = await self._write(name, given, version, session)
        else:
            changed = await self._write(name, given, version)
        await self._revocations.revoke(USER, name, least=changed.version)
        return changed

    async def remove(self, name: str, *, version: int | None = None) -> None:
        """Remove a user and void their tokens. UserNotFound, PreconditionFailed, InvalidUser for the last admin."""
        present = await self.get(name)
        if present.role is Role.ADMIN:
            async with self._another_admin(name) as session:
                removed = await self._delete(name, version, session)
        else:
            removed = await self._delete(name, version)
        await self._revocations.revoke(USER, name, least=removed.version + 1)

    async def rehash(self, user: User, password: str) -> None:
        """Store the password that was just verified at today's cost; no token becomes void by that."""
        renewed = await self._passwords.hash(password)
        async with mongo.translated():
            await self._users.update_one({"_id": user.name, "hash": user.hash}, {"$set": {"hash": renewed}})

    async def _insert(
        self, name: str, password: str, role: Role, queues: tuple[str, ...] | None, *, demo: bool = False
    ) -> User:
        encoded = await self._passwords.hash(password)
        now_ms = self._clock.now_ms()
        # It begins above every version that a removed user of this name can have had.
        user = User(
            name=name,
            role=role,
            hash=encoded,
            queues=queues,
            created_at=now_ms,
            changed_at=now_ms,
            version=now_ms,
            demo=demo,
        )
        try:
            async with mongo.translated():
                await self._users.insert_one(_document(user))
        except DuplicateKeyError:
            raise UserExists from None
        except StoreUnavailable:
            # The reply was lost, perhaps not the write. The salt makes a hash its own nonce.
            found = await self.find(name)
            if found is None or found.hash != encoded:
                raise
        return user

    async def _write(
        self, name: str, given: Mapping[str, Any], version: int | None, session: mongo.Session | None = None
    ) -> User:
        update = {"$set": {**given, "changed_at": self._clock.now_ms()}, "$inc": {"version": 1}}
        async with mongo.translated():
            found: dict[str, Any] | None = await self._users.find_one_and_update(
                _at(name, version), update, return_document=ReturnDocument.AFTER, session=session
            )
        return await self._changed(name, found)

    async def _delete(self, name: str, version: int | None, session: mongo.Session | None = None) -> User:
        async with mongo.translated():
            found: dict[str, Any] | None = await self._users.find_one_and_delete(_at(name, version), session=session)
        return await self._changed(name, found)

    async def _changed(self, name: str, found: dict[str, Any] | None) -> User:
        if found is None:
            await self.get(name)
            raise PreconditionFailed
        return _user(found)

    @asynccontextmanager
    async def _another_admin(self, name: str) -> AsyncIterator[mongo.Session]:
        """A transaction that takes an admin away, and begins by seeing that there is another. InvalidUser if not."""
        which = {"role": Role.ADMIN.value, "disabled": False, "demo": False, "_id": {"$ne": name}}
        async with mongo.translated(), mongo.transaction(self._client) as session:
            # All of them write this: of two admins who take away each other at once, one is refused (503).
            await self._guard.update_one({"_id": "admins"}, {"$inc": {"version": 1}}, upsert=True, session=session)
            if await self._users.find_one(which, {"_id": 1}, session=session) is None:
                raise InvalidUser("this is the last admin: make another one first")
            yield session


def _at(name: str, version: int | None) -> dict[str, Any]:
    """The user of this name, if they are at that version."""
    return {"_id": name} if version is None else {"_id": name, "version": version}


def checked_queues(queues: tuple[str, ...] | None, role: Role) -> tuple[str, ...] | None:
    """The names of queues, each once; None is all queues. InvalidUser for too many, for what can be no name, and for an
    admin: one who makes users and keys for every queue is not bound to some.
    """
    if queues is None:
        return None
    if role is Role.ADMIN:
        raise InvalidUser("an admin has all queues", field="queues")
    if not 1 <= len(queues) <= QUEUES_MAX or any(QUEUE.fullmatch(queue) is None for queue in queues):
        raise InvalidUser(f"queues are 1 to {QUEUES_MAX} names of queues; leave them out for all", field="queues")
    return tuple(dict.fromkeys(queues))


def _user(found: Mapping[str, Any]) -> User:
    return msgspec.convert({**found, "name": found["_id"]}, User)


def _document(user: User) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(user)
    fields["_id"] = fields.pop("name")
    return fields
