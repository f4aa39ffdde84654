"""What the handlers of a cluster take, in MongoDB: what worker processes told of each type, for people and forms.

Nothing decides by it: a worker alone says whether a payload fits. Two collections, so that a node's change of mind is
one write:

| collection | `_id` | holds |
|---|---|---|
| `job_types` | TYPE#HASH of what is told | the description, once for all nodes that tell the same |
| `job_type_nodes` | NODE_ID | which of them this node has, since when, and when it last said so |

Nodes repeat themselves every hour; what nobody has said for a day is removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from pymongo import UpdateOne

from hegemon.queue import mongo

TYPES_MAX: Final = 200
SCHEMA_BYTES_MAX: Final = 16_384
DESCRIPTION_MAX: Final = 2_000
KEPT_MS: Final = 86_400_000


class JobType(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker process tells of one handler. `schema` is JSON text: the JSON Schema of the payload; None where it
    would be longer than SCHEMA_BYTES_MAX. `max_retries` and `timeout_ms` are None where the cluster's hold."""

    type: str
    description: str = ""
    schema: str | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None

    @property
    def key(self) -> str:
        """Names the type with everything that is told of it."""
        return f"{self.type}#{hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:16]}"


class KnownType(msgspec.Struct, frozen=True, kw_only=True):
    """One type of the cluster: its handler as the node that told of it last has it, all nodes that have one, and those
    of them whose handler is another version."""

    newest: JobType
    nodes: list[str]
    differing: list[str]


class JobTypeStore:
    """Tells and asks. Every method raises `StoreUnavailable`."""

    def __init__(self, database: mongo.Database) -> None:
        self._types = database.get_collection("job_types")
        self._nodes = database.get_collection("job_type_nodes")

    async def tell(self, node: str, types: Sequence[JobType], *, since_ms: int, now_ms: int) -> None:
        """These are the types of this node since then, and no others."""
        writes = [
            UpdateOne({"_id": one.key}, {"$set": {"about": msgspec.to_builtins(one), "at": now_ms}}, upsert=True)
            for one in types
        ]
        told = {"types": [one.key for one in types], "since": since_ms, "at": now_ms}
        async with mongo.translated():
            # The descriptions first: whoever reads a node's list finds them.
            if writes:
                await self._types.bulk_write(writes, ordered=False)
            await self._nodes.update_one({"_id": node}, {"$set": told}, upsert=True)
            for collection in (self._nodes, self._types):
                await collection.delete_many({"at": {"$lt": now_ms - KEPT_MS}})

    async def known(self, nodes: Iterable[str]) -> dict[str, KnownType]:
        """What these nodes told, by type."""
        async with mongo.translated():
            tellers = await self._nodes.find({"_id": {"$in": sorted(nodes)}}).to_list(None)
            wanted = sorted({key for teller in tellers for key in teller["types"]})
            found = await self._types.find({"_id": {"$in": wanted}}).to_list(None)
        return _by_type(tellers, {one["_id"]: msgspec.convert(one["about"], JobType) for one in found})


def _by_type(tellers: Sequence[Mapping[str, Any]], told: Mapping[str, JobType]) -> dict[str, KnownType]:
    """Of two nodes that tell different things the one that began last is believed: in a rolling change, forwards or
    back, it is the one that stays."""
    versions: dict[str, list[tuple[int, str, JobType]]] = {}
    for teller in tellers:
        for key in teller["types"]:
            if key in told:
                versions.setdefault(told[key].type, []).append((teller["since"], teller["_id"], told[key]))
    known = {}
    for name, of in versions.items():
        newest = max(of, key=lambda version: version[:2])[2]
        differing = sorted(node for _, node, one in of if one != newest)
        known[name] = KnownType(newest=newest, nodes=sorted(node for _, node, _ in of), differing=differing)
    return known
