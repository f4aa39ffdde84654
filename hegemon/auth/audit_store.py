"""The audit log in MongoDB: entries in `audit` by their number, and the head in `audit_head`, moved together with them.

The head is what makes one chain of many nodes: whoever appends moves it from what it has seen, in one transaction with
the entries, and reads it again when another node was faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from hegemon.auth.audit_chain import CHECKPOINT, Entry, Head
from hegemon.queue import mongo

_HEAD: Final = "head"


class _Moved(Exception):
    """Another node appended first."""


class AuditStore:
    """Appends, reads and removes entries. Raises `StoreUnavailable`."""

    def __init__(self, client: mongo.Client, database: mongo.Database) -> None:
        self._client = client
        self._entries = database.get_collection("audit")
        self._heads = database.get_collection("audit_head")

    async def prepare(self) -> None:
        """Create the indexes: entries are few beside jobs, and are looked for by who, what and when."""
        async with mongo.translated():
            await self._entries.create_index([("principal", ASCENDING), ("_id", DESCENDING)])
            await self._entries.create_index([("action", ASCENDING), ("_id", DESCENDING)])
            await self._entries.create_index([("at_ms", ASCENDING)])

    async def head(self) -> Head | None:
        """The head; None before the first entry."""
        async with mongo.translated():
            found = await self._heads.find_one({"_id": _HEAD})
        return None if found is None else Head(found["seq"], found["hash"], found["kid"], found["seal"])

    async def append(self, entries: Sequence[Entry], *, seen: Head | None, head: Head) -> bool:
        """Add entries and move the head from `seen` to `head`, both or neither; False if the head is not as seen."""
        change = msgspec.to_builtins(head)
        documents = [_document(entry) for entry in entries]
        try:
            async with mongo.translated(), mongo.transaction(self._client) as session:
                if seen is None:
                    await self._heads.insert_one({"_id": _HEAD, **change}, session=session)
                else:
                    which = {"_id": _HEAD, "seq": seen.seq, "hash": seen.hash}
                    moved = await self._heads.update_one(which, {"$set": change}, session=session)
                    _require(moved.matched_count)
                await self._entries.insert_many(documents, session=session)
        except (_Moved, DuplicateKeyError):
            return False
        return True

    async def entry(self, seq: int) -> Entry | None:
        """One entry."""
        async with mongo.translated():
            found = await self._entries.find_one({"_id": seq})
        return None if found is None else _entry(found)

    async def walk(self, first: int, limit: int) -> list[Entry]:
        """Entries from number `first` on, upwards."""
        return await self._find({"_id": {"$gte": first}}, ASCENDING, limit)

    async def page(self, which: Mapping[str, Any], *, below: int | None, limit: int) -> list[Entry]:
        """Entries that match, newest first, with numbers below `below`."""
        return await self._find({**which, **({} if below is None else {"_id": {"$lt": below}})}, DESCENDING, limit)

    async def checkpoint(self) -> Entry | None:
        """The newest checkpoint."""
        found = await self._find({"action": CHECKPOINT}, DESCENDING, 1)
        return found[0] if found else None

    async def last_before(self, at_ms: int) -> Entry | None:
        """The last entry of those at the log's start that are all older than `at_ms`."""
        first = await self._find({}, ASCENDING, 1)
        if not first or first[0].at_ms >= at_ms:
            return None
        young = await self._find({"at_ms": {"$gte": at_ms}}, ASCENDING, 1)
        return await self.entry(young[0].seq - 1) if young else (await self._find({}, DESCENDING, 1))[0]

    async def remove_through(self, seq: int) -> int:
        """Remove entries up to this number; how many."""
        async with mongo.translated():
            return (await self._entries.delete_many({"_id": {"$lte": seq}})).deleted_count

    async def _find(self, which: Mapping[str, Any], direction: int, limit: int) -> list[Entry]:
        async with mongo.translated():
            found = await self._entries.find(dict(which)).sort("_id", direction).limit(limit).to_list(limit)
        return [_entry(document) for document in found]


def _require(matched: int) -> None:
    """Raised out of the transaction, so that it is aborted."""
    if not matched:
        raise _Moved


def _document(entry: Entry) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(entry)
    return {"_id": fields.pop("seq"), **fields}


def _entry(document: Mapping[str, Any]) -> Entry:
    """What was altered in the store need not even be an entry: it is read as far as it goes, and its hash tells."""
    fields = dict(document)
    seq = fields.pop("_id")
    known = {name: fields.get(name) for name in Entry.__struct_fields__ if name != "seq"}
    extra = sorted(fields.keys() - known.keys())
    if extra and isinstance(known["details"], dict):
        known["details"] = {**known["details"], "unknown fields": ", ".join(extra)}
    try:
        return msgspec.convert({**known, "seq": seq}, Entry)
    except msgspec.ValidationError:
        return Entry(seq=seq, at_ms=0, node="", principal="", action="", outcome="unreadable", prev="", kid="", hash="")
