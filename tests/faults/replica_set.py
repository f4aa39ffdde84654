"""Three mongods as one replica set, to kill its primary: what one member alone cannot show is a change of primary."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from hegemon.cluster.embedded import REPLICA_SET, EmbeddedMongo
from tests.waiting import wait_until

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

    def _answers(self, client: MongoClient[dict[str, Any]]) -> bool:
        try:
            return self._is_ours(int(client.admin.command("serverStatus")["pid"]))
        except PyMongoError as error:
            self._obstacle = error
            return False


class ReplicaSet:
    """Three members; `uri` names them all. An async context manager, on a loop that outlives it."""

    def __init__(self, directory: Path) -> None:
        self.members = [Member(directory / f"member-{number}") for number in range(3)]

    @property
    def uri(self) -> str:
        """The address for MONGODB_URI. Readers that say nothing else read what the majority has: a primary that is
        killed may have shown more.
        """
        hosts = ",".join(f"127.0.0.1:{member.port}" for member in self.members)
        return f"mongodb://{hosts}/?replicaSet={REPLICA_SET}&readConcernLevel=majority"

    async def primary(self, timeout: float = 30.0) -> Member:
        """The member that takes writes, once there is one."""

        async def found() -> list[Member]:
            running = [member for member in self.members if member.running]
            return [member for member in running if await asyncio.to_thread(_is_primary, member.port)]

        return (await wait_until(found, timeout, "a primary"))[0]

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(member.start() for member in self.members))
        await asyncio.to_thread(self._initiate)
        await self.primary()
        await wait_until(self.all_follow, 30.0, "all members to follow")
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
