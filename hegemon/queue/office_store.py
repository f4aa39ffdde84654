"""The office on one MongoDB document: who may lead, in which epoch, over which generation of the Redis index.

The epoch only grows, also after every node restarts with empty disks, since it lives with the truth. Each write is a
compare-and-set; a write whose reply was lost is settled by the nonce that it would have left.
"""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
from pymongo import ReturnDocument
from pymongo.errors import DuplicateKeyError

from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable, WrongStore


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """The office as recorded. `generation` 0: no index was ever built. `vacant`: its holder resigned in order."""

    epoch: int = 0
    generation: int = 0
    run_id: str = ""
    node: str = ""
    incarnation: str = ""
    url: str = ""
    nonce: str = ""
    vacant: bool = True
    taken_at: int = 0
    term: int = 0


class OfficeStore:
    """Compare-and-set on the document `office` of the collection `cluster`, and the list of node incarnations."""

    def __init__(self, database: mongo.Database) -> None:
        self._meta = database.get_collection("cluster")
        self._incarnations = database.get_collection("incarnations")

    async def read(self) -> Office:
        """The office as the majority has it."""
        async with mongo.translated():
            found = await self._meta.find_one({"_id": "office"})
        return _office(found)

    async def take(
        self, seen: Office, *, node: str, incarnation: str, url: str, now_ms: int, term: int
    ) -> Office | None:
        """Take the office that was seen; None if somebody else was faster. The new epoch is one above the seen one."""
        nonce = secrets.token_hex(16)
        change = {
            "epoch": seen.epoch + 1,
            "node": node,
            "incarnation": incarnation,
            "url": url,
            "nonce": nonce,
            "vacant": False,
            "taken_at": now_ms,
            "term": term,
        }
        return await self._swap({"epoch": seen.epoch, "nonce": seen.nonce}, change, nonce, first=seen.epoch == 0)

    async def new_generation(self, held: Office, run_id: str) -> Office | None:
        """Raise the generation in the held office before a rebuild; None if the office is not the caller's any more."""
        change = {"generation": held.generation + 1, "run_id": run_id}
        which = {"epoch": held.epoch, "nonce": held.nonce, "generation": held.generation}
        try:
            async with mongo.translated():
                found = await self._meta.find_one_and_update(
                    {"_id": "office", **which}, {"$set": change}, return_document=ReturnDocument.AFTER
                )
        except StoreUnavailable:
            found = None
        office = _office(found) if found else await self.read()
        mine = (office.epoch, office.nonce, office.generation) == (held.epoch, held.nonce, held.generation + 1)
        return office if mine else None

    async def resign(self, held: Office) -> None:
        """Hand the office over: a successor need not wait until the counter has stood still."""
        async with mongo.translated():
            await self._meta.update_one({"_id": "office", "nonce": held.nonce}, {"$set": {"vacant": True}})

    async def _swap(self, which: dict[str, Any], change: dict[str, Any], nonce: str, *, first: bool) -> Office | None:
        try:
            async with mongo.translated():
                found = await self._meta.find_one_and_update(
                    {"_id": "office", **which},
                    {"$set": change, "$setOnInsert": {"generation": 0, "run_id": ""}},
                    upsert=first,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            return None
        except StoreUnavailable:
            found = None
        office = _office(found) if found else await self.read()
        return office if office.nonce == nonce else None

    async def enlist(self, incarnation: str, node: str, now_ms: int) -> None:
        """Record a node's incarnation before it accepts anything, so that its death leaves something to sweep by."""
        async with mongo.translated():
            await self._incarnations.update_one(
                {"_id": incarnation}, {"$set": {"node": node, "started_at": now_ms}}, upsert=True
            )

    async def next_boot(self, node: str) -> int:
        """The number of this start of the node, from 1: it only grows, whatever any clock or disk does. A lost reply
        may skip one."""
        async with mongo.translated():
            found = await self._meta.find_one_and_update(
                {"_id": f"boots:{node}"}, {"$inc": {"n": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
        return int(found["n"])

    async def agree(self, incarnation: str, algorithm: str) -> None:
        """Make sure that all enlisted nodes elect by one algorithm; the caller is enlisted already. The first of a
        cluster whose nodes all left in order may change it. WrongStore if the others run another one."""
        async with mongo.translated():
            while True:
                identity = await self._meta.find_one({"_id": "identity"}) or {}
                known = identity.get("algorithm")
                if known == algorithm:
                    return
                others = await self._incarnations.find_one({"_id": {"$ne": incarnation}})
                if others is not None:
                    raise WrongStore(
                        f"this cluster runs with ELECTION_ALGORITHM={known}, this node has {algorithm}: set it to "
                        f"{known}, or stop all nodes in order first (a node that was killed counts until the cluster "
                        "has run again and swept what it left)"
                    )
                await self._meta.update_one({"_id": "identity", "algorithm": known}, {"$set": {"algorithm": algorithm}})

    async def enlisted(self) -> dict[str, str]:
        """Node by incarnation, of all that have not been swept."""
        async with mongo.translated():
            return {item["_id"]: item["node"] async for item in self._incarnations.find({})}

    async def discharge(self, incarnation: str) -> None:
        """Strike an incarnation off: swept, or gone in order with nothing left to index."""
        async with mongo.translated():
            await self._incarnations.delete_one({"_id": incarnation})


def _office(found: dict[str, Any] | None) -> Office:
    if not found:
        return Office()
    return msgspec.convert({key: value for key, value in found.items() if key != "_id"}, Office)
