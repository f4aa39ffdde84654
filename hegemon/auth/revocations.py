"""What is void before its time: sessions that were logged out, users that were changed, keys and tokens that were
withdrawn. Every node honours a revocation within a second of the answer to whoever asked for it.

    revoke:  the revocation is written, then the counter of the cluster is raised, both by the majority; then the answer
    poll:    every 300 ms each node reads the counter; where it has moved, it reads what was revoked lately
    doubt:   a node whose last look is older than a second looks again before anybody changes anything there, and says
             503 if it cannot; reads go on, by what was known last. What counts is when a look was asked for: a node
             that is merely busy is late, and still right

A revocation is kept for longer than anything lives that it could speak of, then MongoDB drops it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import structlog
from pymongo import DESCENDING, ReturnDocument

from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import QueueError, StoreUnavailable

log = structlog.get_logger(__name__)

POLL_S: Final = 0.3
TRUSTED_S: Final = 1.0
# How long a request that would change something waits for a look at the list, before it is turned away. A store that
# says that it is away turns it away at once.
PATIENCE_S: Final = 5.0
# A node that died between the two writes of a revocation left a list that is newer than its counter.
AGAIN_S: Final = 10.0
# How often the whole list is read, so that what MongoDB has dropped goes here too.
WHOLE_S: Final = 300.0
# What was written so long before the latest entry that was seen is read again: entries of several nodes may become
# visible in another order than that of their times.
OVERLAP: Final = timedelta(seconds=60)
LIST_MAX: Final = 100_000

SESSION, USER, KEY, TOKEN = "session", "user", "key", "token"
# An access token lives for an hour at the most, a key is believed for five minutes, a service token lives for a day;
# the rest is for clocks that differ. No longer than that: everybody can log in and out all day long.
KEPT: Final[Mapping[str, timedelta]] = {
    SESSION: timedelta(minutes=90),
    USER: timedelta(minutes=90),
    KEY: timedelta(minutes=90),
    TOKEN: timedelta(hours=25),
}


class Revoked(msgspec.Struct, frozen=True):
    """All that is void: ids of sessions, keys and tokens, and of each changed user the least version that counts."""

    sessions: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    users: dict[str, int] = {}

    def and_also(self, other: Revoked) -> Revoked:
        """What either holds."""
        users = dict(self.users)
        for name, least in other.users.items():
            users[name] = max(least, users.get(name, 0))
        return Revoked(self.sessions | other.sessions, self.keys | other.keys, self.tokens | other.tokens, users)


class Revocations:
    """The list as this node knows it. `run` polls; `changed` is called whenever the list has become another one."""

    def __init__(self, database: mongo.Database, clock: ClusterClock, *, poll_s: float = POLL_S) -> None:
        self._list = database.get_collection("revocations")
        self._counter = database.get_collection("auth")
        self._clock = clock
        self._poll_s = poll_s
        self._version = -1
        self._latest: datetime | None = None
        self._again_at = self._whole_at = 0.0
        self._checked_at = self._failed_at = float("-inf")
        self._looked: asyncio.Event | None = None
        self._hurry = asyncio.Event()
        self.revoked = Revoked()
        self.changed: Callable[[Revoked], None] = lambda revoked: None

    async def prepare(self) -> None:
        """Create the indexes and read the list for the first time."""
        async with mongo.translated():
            await self._list.create_index("gone_at", expireAfterSeconds=0)
            await self._list.create_index("at")
        await self.look()

    @property
    def trusted(self) -> bool:
        """Whether the list was read within the last second."""
        return time.monotonic() - self._checked_at <= TRUSTED_S

    async def until_trusted(self, within_s: float = PATIENCE_S) -> None:
        """Return once the list is as new as this call, or can be trusted anyway; StoreUnavailable when the store is
        away, or that takes too long. `run` does the looking.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                # A look that was asked for after `began` knows all that was revoked before, however long its answer
                # took on a busy machine.
                while not self.trusted and self._checked_at < began:
                    if self._failed_at >= began:
                        raise _unseen()
                    if self._looked is None:
                        self._looked = asyncio.Event()
                    self._hurry.set()
                    await self._looked.wait()
        except TimeoutError:
            raise _unseen() from None

    async def revoke(self, kind: str, name: str, *, least: int = 0) -> None:
        """Make it void on all nodes: a SESSION, KEY or TOKEN, or the credentials of a USER below version `least`."""
        gone_at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC) + KEPT[kind]
        # `at` is the store's own time: what is read by it was written by many nodes.
        fields: dict[str, Any] = {"kind": kind, "name": {"$literal": name}, "at": "$$NOW", "gone_at": gone_at}
        if kind == USER:
            fields["least"] = {"$max": ["$least", least]}
        async with mongo.translated():
            await self._list.update_one({"_id": f"{kind}:{name}"}, [{"$set": fields}], upsert=True)
            await self._counter.find_one_and_update(
                {"_id": "revocations"}, {"$inc": {"version": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
        await self.look()

    async def look(self) -> None:
        """Read the counter, and the list if it may be another one. StoreUnavailable."""
        asked_at = time.monotonic()
        try:
            async with mongo.translated():
                found = await self._counter.find_one({"_id": "revocations"}) or {}
            version = int(found.get("version", 0))
            if version != self._version or asked_at >= self._again_at:
                await self._read(version, asked_at)
        except QueueError:
            self._failed_at = max(self._failed_at, asked_at)
            raise
        else:
            self._checked_at = max(self._checked_at, asked_at)
        finally:
            looked, self._looked = self._looked, None
            if looked is not None:
                looked.set()

    async def run(self) -> None:
        """Look again and again, for as long as the node lives."""
        told = False
        while True:
            self._hurry.clear()
            try:
                await self.look()
                told = False
            except QueueError as error:
                if not told and not self.trusted:
                    told = True
                    log.warning("revocations_unseen", reason=str(error))
            try:
                async with asyncio.timeout(self._poll_s):
                    await self._hurry.wait()
                # Whoever hurries us may be many, and the store may answer each time that it is away.
                await asyncio.sleep(self._poll_s / 10)
            except TimeoutError:
                pass

    async def _read(self, version: int, asked_at: float) -> None:
        whole = self._latest is None or asked_at >= self._whole_at
        which: dict[str, Any] = {} if whole or self._latest is None else {"at": {"$gte": self._latest - OVERLAP}}
        found, latest = await self._entries(which)
        if version < self._version:
            return  # an older look that was overtaken
        self._version, self._again_at = version, asked_at + AGAIN_S
        if whole:
            self._whole_at = asked_at + WHOLE_S
        if latest is not None:
            self._latest = latest if self._latest is None else max(latest, self._latest)
        revoked = found if whole else self.revoked.and_also(found)
        if revoked != self.revoked:
            self.revoked = revoked
            self.changed(revoked)

    async def _entries(self, which: dict[str, Any]) -> tuple[Revoked, datetime | None]:
        """The entries of the list that match, and the time of the latest."""
        users: dict[str, int] = {}
        others: dict[str, set[str]] = {SESSION: set(), KEY: set(), TOKEN: set()}
        latest: datetime | None = None
        async with mongo.translated():
            # Should there be more than a node can hold, then those that are to be kept for longest.
            async for one in self._list.find(which, sort=[("gone_at", DESCENDING)], limit=LIST_MAX):
                kind, name = one["kind"], one["name"]
                if kind == USER:
                    users[name] = int(one["least"])
                else:
                    others[kind].add(name)
                latest = one["at"] if latest is None else max(latest, one["at"])
        return Revoked(frozenset(others[SESSION]), frozenset(others[KEY]), frozenset(others[TOKEN]), users), latest


def _unseen() -> StoreUnavailable:
    return StoreUnavailable("MongoDB", "whether this credential was revoked cannot be seen now")
