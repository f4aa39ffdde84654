"""A backup of a cluster: its MongoDB database as of one moment, in one file. Redis needs none, it is built anew.

The file is gzip of BSON documents, one after the other:

    {hegemon_backup: 1, cluster_id, version, at}
    {collection, indexes}                          for each collection, followed by its documents:
    {of, document}
    {end: how many documents}                      without it the file is not whole

| what happens | what follows |
|---|---|
| jobs are accepted, run and end meanwhile | the file has none of it: a snapshot session reads all as of one moment |
| it takes longer than MongoDB keeps that moment, 5 min by default | it fails, and says which parameter to raise |
| the file is cut off, or of another cluster | nothing is restored |
| a restore breaks off | the database is not empty: it is dropped, and restored again |
| jobs that ended after the backup | live again after a restore, and run again: execution is at least once |
| a node that was forgotten still runs | its epoch is older than the restored one, which is raised far above |
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import bson
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo import ASCENDING
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from hegemon.queue import mongo
from hegemon.queue.redis import Redis
from hegemon.version import VERSION

FORMAT: Final = 1
PAGE: Final = 500
KEYS_AT_ONCE: Final = 500
# Above whatever has been held between the backup and now.
EPOCH_STEP: Final = 1_000_000
_SNAPSHOT_TOO_OLD: Final = 239
# As bytes: nothing that a document holds is another after it.
_RAW: Final = bson.CodecOptions(document_class=RawBSONDocument, tz_aware=True)

Told = Callable[[str, int], Any]


class BackupError(Exception):
    """It cannot be done; the message says why and what to do."""


async def back_up(database: mongo.Database, cluster_id: str, path: Path, told: Told = lambda name, count: None) -> int:
    """Write all of the database into a new file, which only its owner may read; how many documents. `told` hears of
    each collection once it is read. BackupError; StoreUnavailable; FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as packed:
                count = await _write(database, cluster_id, cast(BinaryIO, packed), told)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(path)
        raise
    return count


async def _write(database: mongo.Database, cluster_id: str, file: BinaryIO, told: Told) -> int:
    head = {"hegemon_backup": FORMAT, "cluster_id": cluster_id, "version": VERSION, "at": datetime.now(UTC)}
    file.write(bson.encode(head))
    total = 0
    try:
        async with mongo.translated(), await database.client.start_session(snapshot=True) as session:
            for name in sorted(await database.list_collection_names(filter={"type": "collection"})):
                if name.startswith("system."):
                    continue
                # The session says as of when; a level of the collection's own would contradict it.
                collection = database.get_collection(name, codec_options=_RAW, read_concern=ReadConcern())
                indexes = [one async for one in database.get_collection(name).list_indexes()]
                file.write(bson.encode({"collection": name, "indexes": indexes}))
                count = 0
                async for page in _pages(collection, session):
                    file.writelines(bson.encode({"of": name, "document": document}) for document in page)
                    count += len(page)
                total += count
                told(name, count)
    except OperationFailure as error:
        if error.code != _SNAPSHOT_TOO_OLD:
            raise
        raise BackupError(
            "MongoDB keeps a moment of the past for 5 minutes, and reading took longer: raise its parameter "
            "minSnapshotHistoryWindowInSeconds, and try again"
        ) from error
    file.write(bson.encode({"end": total}))
    return total


async def _pages(collection: Any, session: Any) -> AsyncIterator[list[RawBSONDocument]]:
    """All of a collection in the order of `_id`. A question a page: the driver's time-out holds for each."""
    query: dict[str, Any] = {}
    while True:
        page = await collection.find(query, session=session).sort("_id", ASCENDING).limit(PAGE).to_list(PAGE)
        if page:
            yield page
        if len(page) < PAGE:
            return
        # In an expression, since a plain comparison passes over ids of another type.
        query = {"$expr": {"$gt": ["$_id", {"$literal": page[-1]["_id"]}]}}


def check(path: Path, cluster_id: str) -> dict[str, Any]:
    """Read the whole file; what stands at its head. BackupError if it is not whole, or not of this cluster."""
    parts = _parts(path)
    head = next(parts, None)
    if head is None or head.get("hegemon_backup") is None:
        raise BackupError(f"{path} is no backup of Hegemon")
    if head["hegemon_backup"] != FORMAT:
        raise BackupError(f"{path} was made by Hegemon {head.get('version')}, in a format that this one cannot read")
    if head["cluster_id"] != cluster_id:
        raise BackupError(f"{path} is of the cluster {head['cluster_id']!r}, and CLUSTER_ID is {cluster_id!r}")
    count, end = 0, None
    for part in parts:
        count += "document" in part
        end = part.get("end")
    if end != count:
        raise BackupError(f"{path} is cut off: it has {count} documents, and no end")
    return {name: head[name] for name in ("cluster_id", "version", "at")} | {"documents": count}


def _parts(path: Path) -> Iterator[RawBSONDocument]:
    try:
        with gzip.open(path, "rb") as file:
            yield from bson.decode_file_iter(cast(Any, file), codec_options=_RAW)
    except (EOFError, InvalidBSON, zlib.error, gzip.BadGzipFile) as error:
        raise BackupError(f"{path} cannot be read to its end: {error}") from error


async def restore(database: mongo.Database, redis: Redis, path: Path, told: Told = lambda name, count: None) -> int:
    """Fill an empty database with what `check` has found whole, and empty the cluster's part of Redis; how many
    documents. No node may run. BackupError; StoreUnavailable."""
    async with mongo.translated():
        for name in await database.list_collection_names(filter={"type": "collection"}):
            if await database.get_collection(name).find_one({}) is not None:
                raise BackupError(
                    f"the database {database.name!r} is not empty: drop it first, or name another with MONGODB_DATABASE"
                )
    # Before there is anything to build it from: an index of later days must not outlive this.
    await _empty(redis)
    counts: dict[str, int] = {}
    waiting: list[RawBSONDocument] = []
    name = ""
    async with mongo.translated():
        for part in _parts(path):
            if waiting and (len(waiting) == PAGE or "document" not in part):
                await database.get_collection(name).insert_many(waiting)
                waiting = []
            if "collection" in part:
                name = part["collection"]
                await _prepare(database, name, part["indexes"])
                counts[name] = 0
            elif "document" in part:
                waiting.append(part["document"])
                counts[name] += 1
        for collection, count in counts.items():
            told(collection, count)
        office = {"$inc": {"epoch": EPOCH_STEP}, "$set": {"vacant": True}}
        await database.get_collection("cluster").update_one({"_id": "office"}, office)
    return sum(counts.values())


async def _prepare(database: mongo.Database, name: str, indexes: Sequence[Mapping[str, Any]]) -> None:
    collection = database.get_collection(name)
    for index in indexes:
        options = {key: value for key, value in index.items() if key not in ("v", "key", "ns")}
        if options["name"] != "_id_":
            await collection.create_index(list(index["key"].items()), **options)


async def _empty(redis: Redis) -> None:
    cursor = b"0"
    while True:
        cursor, keys = await redis.command("SCAN", cursor, "MATCH", f"{redis.prefix}*", "COUNT", KEYS_AT_ONCE)
        if keys:
            await redis.command("UNLINK", *keys)
        if int(cursor) == 0:
            return
