"""Three mongods as one replica set, to kill its primary: what one member alone cannot show is a change of primary, and
that a primary takes back what no other had.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from hegemon.cluster.embedded import REPLICA_SET, EmbeddedMongo
from tests.nodes import free_port
from tests.waiting import PATIENCE, PATIENCE_S, wait_until

# A new primary is sought after this time without word from the old one; the default of 10 s would make tests long.
ELECTION_TIMEOUT_MS = 1500
HEARTBEAT_MS = 300


class Member(EmbeddedMongo):
    """A mongod that is ready when it answers: whom it follows is the set's business."""

    async def _until_ready(self) -> None:
        client: MongoClient[dict[str, Any]] = MongoClient(
            "127.0.0.1", self.port, directConnection=True, serverSelectionTimeoutMS=500, connectTimeoutMS=500
        )
        try:
            while not await asyncio.to_thread(self._answers, client):
                await asyncio.sleep(0.05)
        finally:
            client.close()

    def _arguments(self) -> list[str]:
        return [*super()._arguments(), "--setParameter", "enableTestCommands=1"]

    def copies(self, copying: bool) -> None:
        """Whether this member, as a follower, fetches what its primary writes; it votes and beats all the same."""
        mode = "off" if copying else "alwaysOn"
        with MongoClient[dict[str, Any]]("127.0.0.1", self.port, directConnection=True) as client:
            client.admin.command("configureFailPoint", "stopReplProducer", mode=mode)

    def taken_back(self) -> int:
        """How many files of documents this member has put aside in rollbacks."""
        return sum(1 for _ in (self.data_dir / "db" / "rollback").rglob("*.bson"))

    def _answers(self, client: MongoClient[dict[str, Any]]) -> bool:
        try:
            return self._is_ours(int(client.admin.command("serverStatus")["pid"]))
        except PyMongoError as error:
            self._obstacle = error
            return False


class ReplicaSet:
    """Three members; `uri` names them all. An async context manager, on a loop that outlives it."""

    def __init__(self, directory: Path) -> None:
        self.members = [
            Member(directory / f"member-{number}", port=free_port(), start_timeout=PATIENCE) for number in range(3)
        ]

    @property
    def uri(self) -> str:
        """The address for MONGODB_URI. Readers that say nothing else read what the majority has: a primary that is
        killed may have shown more.
        """
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}&readConcernLevel=majority"

    async def primary(self, timeout: float = PATIENCE_S) -> Member:
        """The member that takes writes, once there is one."""

        async def found() -> list[Member]:
            running = [member for member in self.members if member.running]
            return [member for member in running if await asyncio.to_thread(_is_primary, member.port)]

        return (await wait_until(found, timeout, "a primary"))[0]

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(member.start() for member in self.members))
        await asyncio.to_thread(self._initiate)
        await self.primary()
        await wait_until(self.all_follow, message="all members to follow")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(*(member.kill() for member in self.members))

    def _initiate(self) -> None:
        members = [{"_id": number, "host": f"127.0.0.1:{member.port}"} for number, member in enumerate(self.members)]
        settings = {"electionTimeoutMillis": ELECTION_TIMEOUT_MS, "heartbeatIntervalMillis": HEARTBEAT_MS}
        with MongoClient[dict[str, Any]]("127.0.0.1", self.members[0].port, directConnection=True) as client:
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": members, "settings": settings})

    async def roll_back(self, alone_s: float, meanwhile: Callable[[], Awaitable[object]]) -> None:
        """Let the primary write alone for so long and kill it; the others elect one that has none of this and go on,
        `meanwhile()`; then the old one returns, and takes back what it had alone.
        """
        alone = await self.primary()
        others = [member for member in self.members if member is not alone]
        before = alone.taken_back()
        for member in others:
            await asyncio.to_thread(member.copies, False)
        await asyncio.sleep(alone_s)
        await alone.kill()
        for member in others:
            await asyncio.to_thread(member.copies, True)
        await self.primary()
        await meanwhile()
        await alone.restart()
        # It calls itself a follower before it has found out how far it must go back.
        await wait_until(lambda: alone.taken_back() > before, message="the old primary to take back what it had alone")
        await wait_until(self.all_follow, message="the old primary to follow the new one")

    def all_follow(self) -> bool:
        """One leads and two follow, as the first member sees it."""
        try:
            with MongoClient[dict[str, Any]]("127.0.0.1", self.members[0].port, directConnection=True) as client:
                status = client.admin.command("replSetGetStatus")
        except PyMongoError:
            return False
        return sorted(member["stateStr"] for member in status["members"]) == ["PRIMARY", "SECONDARY", "SECONDARY"]


def _is_primary(port: int) -> bool:
    try:
        with MongoClient[dict[str, Any]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            return bool(client.admin.command("hello").get("isWritablePrimary"))
    except PyMongoError:
        return False
