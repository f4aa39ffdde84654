"""What the product's stores take for Motor: the calls that they make, carried over a path to the simulated set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

import bson
from bson.codec_options import CodecOptions
from pymongo import ReturnDocument, UpdateMany, UpdateOne
from pymongo.errors import AutoReconnect, BulkWriteError, DuplicateKeyError, NetworkTimeout, OperationFailure

from hegemon.queue import mongo
from tests.simulation.mongo_data import Document, copied, field, matches, ordered, projected, updated
from tests.simulation.mongo_store import Operation, SimulatedMongo, Writer
from tests.simulation.paths import Path

_CODEC: CodecOptions[dict[str, Any]] = CodecOptions(type_registry=mongo._TYPES)
_WRITE_CONFLICT = 112


class Result:
    """What a write answers."""

    def __init__(self, matched: int = 0, deleted: int = 0) -> None:
        self.matched_count = matched
        self.deleted_count = deleted


class Client:
    """One process's client; every call ends within `timeout_s`."""

    def __init__(self, server: SimulatedMongo, path: Path, *, timeout_s: float = 5.0) -> None:
        self.server = server
        self.path = path
        self._timeout_s = timeout_s

    def __getitem__(self, name: str) -> Database:
        return Database(self)

    def close(self) -> None:
        """Nothing to close."""

    async def start_session(self) -> Session:
        """A session for one transaction."""
        return Session(self)

    async def call(self, operation: Operation, *, writes: bool) -> Any:
        """Send an operation and wait for what comes of it."""
        process = self.path.process
        if process is not None and not process.alive:
            raise AutoReconnect("this process is dead")
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if not answer.done():
                answer.set_exception(error) if error is not None else answer.set_result(result)

        def broken() -> None:
            self.path.carry(0.0, lost, lost, back=True)

        def lost() -> None:
            settle(None, AutoReconnect("connection closed"))

        def arrived() -> None:
            self.server.submit(
                operation,
                lambda result: reply(result, None),
                lambda error: reply(None, error),
                broken,
                writes=writes,
            )

        def reply(result: Any, error: BaseException | None) -> None:
            self.path.carry(0.0, lambda: settle(result, error), lost, back=True)

        self.path.carry(0.0, arrived, lost, back=False)
        try:
            async with asyncio.timeout(self._timeout_s):
                return await answer
        except TimeoutError:
            raise NetworkTimeout("timed out") from None


class Session:
    """A transaction: its changes are one operation, sent with the commit."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.writer: Writer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return None

    @asynccontextmanager
    async def start_transaction(self) -> AsyncIterator[None]:
        """Commits at the end of the block, aborts on an error."""
        self.writer = writer = Writer(self._client.server)
        try:
            yield
        finally:
            self.writer = None

        def commit(_: Writer) -> None:
            if not self._client.server.apply_all(writer):
                raise OperationFailure("WriteConflict", _WRITE_CONFLICT, {"errorLabels": ["TransientTransactionError"]})

        await self._client.call(commit, writes=True)

    async def call(self, operation: Operation) -> Any:
        """An operation within the transaction."""
        writer = self.writer
        assert writer is not None
        return await self._client.call(lambda _: operation(writer), writes=False)


class Database:
    """Collections by name."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get_collection(self, name: str) -> Collection:
        """The collection; it is there once something is in it."""
        return Collection(self._client, name)


class Cursor:
    """A query that is sent when its documents are asked for, all in one reply."""

    def __init__(self, collection: Collection, query: Mapping[str, Any], fields: Mapping[str, int] | None) -> None:
        self._collection = collection
        self._query = query
        self._fields = fields
        self._sort: list[tuple[str, int]] = []
        self._limit = 0

    def sort(self, path: str, direction: int) -> Cursor:
        """Order by this field."""
        self._sort.append((path, direction))
        return self

    def limit(self, count: int) -> Cursor:
        """At most so many."""
        self._limit = count
        return self

    async def to_list(self, length: int | None = None) -> list[Document]:
        """The documents."""
        found: list[Document] = await self._collection._call(self._find, writes=False)
        return found[:length]

    async def __aiter__(self) -> AsyncIterator[Document]:
        for document in await self.to_list():
            yield document

    def _find(self, writer: Writer) -> list[Document]:
        found = ordered(_found(writer.majority(self._collection.name), self._query), self._sort)
        return [projected(document, self._fields) for document in found[: self._limit or None]]


class _Group:
    """`$group` by one field, counted: the one aggregation that there is."""

    def __init__(self, collection: Collection, pipeline: Sequence[Mapping[str, Any]]) -> None:
        self._collection = collection
        ((_, self._how),) = pipeline[0].items()

    async def __aiter__(self) -> AsyncIterator[Document]:
        counts: dict[Any, int] = {}
        for document in await Cursor(self._collection, {}, None).to_list():
            key = field(document, self._how["_id"].removeprefix("$"))
            counts[key] = counts.get(key, 0) + 1
        for key, n in counts.items():
            yield {"_id": key, "n": n}


class Collection:
    """One collection's calls."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    async def _call(self, operation: Operation, *, writes: bool = True, session: Session | None = None) -> Any:
        if session is not None:
            return await session.call(operation)
        return await self._client.call(operation, writes=writes)

    def with_options(self, **_: Any) -> Collection:
        """Reads are the majority's all the same."""
        return self

    async def create_index(self, keys: Sequence[tuple[str, int]], **options: Any) -> str:
        """Only unique ones matter here."""
        fields = tuple(path for path, _ in keys)
        known = self._client.server.indexes.setdefault(self.name, [])
        index = (fields, bool(options.get("unique")), dict(options.get("partialFilterExpression") or {}))
        if index not in known:
            known.append(index)
        return "_".join(fields)

    def find(self, query: Mapping[str, Any], projection: Mapping[str, int] | None = None) -> Cursor:
        """Documents that the majority has."""
        return Cursor(self, query, projection)

    def aggregate(self, pipeline: Sequence[Mapping[str, Any]], **_: Any) -> _Group:
        """Counts by a field."""
        return _Group(self, pipeline)

    async def find_one(self, query: Mapping[str, Any], projection: Mapping[str, int] | None = None) -> Document | None:
        """One of them."""
        found = await self.find(query, projection).limit(1).to_list()
        return found[0] if found else None

    async def find_one_and_update(
        self, query: Mapping[str, Any], change: Any, *, upsert: bool = False, return_document: bool = False
    ) -> Document | None:
        """Compare-and-set: the document before or after it."""
        which, what = copied(dict(query)), copied(change)

        def operation(writer: Writer) -> Document | None:
            before, after = self._update_one(writer, which, what, upsert=upsert)
            chosen = after if return_document == ReturnDocument.AFTER else before
            return copied(chosen)  # type: ignore[no-any-return]  # a copy of a document is one

        found: Document | None = await self._call(operation)
        return found

    async def update_one(
        self, query: Mapping[str, Any], change: Any, *, upsert: bool = False, session: Session | None = None
    ) -> Result:
        """Change one document."""
        which, what = copied(dict(query)), copied(change)

        def operation(writer: Writer) -> Result:
            before, _ = self._update_one(writer, which, what, upsert=upsert)
            return Result(matched=int(before is not None))

        result: Result = await self._call(operation, session=session)
        return result

    async def delete_one(self, query: Mapping[str, Any]) -> Result:
        """Remove one document."""
        return await self._delete(query, 1, None)

    async def delete_many(self, query: Mapping[str, Any], *, session: Session | None = None) -> Result:
        """Remove all that are found."""
        return await self._delete(query, None, session)

    async def _delete(self, query: Mapping[str, Any], limit: int | None, session: Session | None) -> Result:
        def operation(writer: Writer) -> Result:
            found = _found(writer.collection(self.name), query)[:limit]
            for document in found:
                writer.put(self.name, document["_id"], None)
            return Result(deleted=len(found))

        result: Result = await self._call(operation, session=session)
        return result

    async def insert_many(self, documents: Sequence[Any], *, ordered: bool, session: Session | None = None) -> None:
        """Insert raw documents. BulkWriteError with what the driver's has in it."""
        new = [bson.decode(document.raw, codec_options=_CODEC) for document in documents]

        def operation(writer: Writer) -> list[Document]:
            errors: list[Document] = []
            for place, document in enumerate(new):
                clash = self._clash(writer, document)
                if clash is None:
                    writer.put(self.name, document["_id"], document)
                    continue
                words = f"E11000 duplicate key error: {clash}"
                errors.append({"index": place, "code": 11000, "keyPattern": clash, "errmsg": words})
                if ordered:
                    break
            return errors

        if errors := await self._call(operation, session=session):
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": []})

    async def bulk_write(self, operations: Sequence[UpdateOne | UpdateMany], *, ordered: bool) -> Result:
        """Updates in one message."""
        given = [(isinstance(one, UpdateMany), copied(dict(one._filter)), copied(one._doc)) for one in operations]

        def operation(writer: Writer) -> Result:
            matched = 0
            for many, which, what in given:
                documents = writer.collection(self.name)
                for document in _found(documents, which)[: None if many else 1]:
                    matched += 1
                    after = updated(document, what)
                    if after != document:
                        writer.put(self.name, document["_id"], after)
            return Result(matched=matched)

        result: Result = await self._call(operation)
        return result

    def _update_one(
        self, writer: Writer, query: Document, change: Any, *, upsert: bool
    ) -> tuple[Document | None, Document | None]:
        found = _found(writer.collection(self.name), query)
        if found:
            after = updated(found[0], change)
            writer.put(self.name, after["_id"], after)
            return found[0], after
        if not upsert:
            return None, None
        seed = {key: value for key, value in query.items() if not isinstance(value, Mapping)}
        after = updated(seed, change, inserting=True)
        if self._clash(writer, after) is not None:
            raise DuplicateKeyError("E11000 duplicate key error", 11000)
        writer.put(self.name, after["_id"], after)
        return None, after

    def _clash(self, writer: Writer, new: Document) -> Document | None:
        documents = writer.collection(self.name)
        if new["_id"] in documents:
            return {"_id": 1}
        for fields, unique, partial in self._client.server.indexes.get(self.name, ()):
            if not unique or not matches(new, partial):
                continue
            mine = [field(new, path) for path in fields]
            for other in documents.values():
                if matches(other, partial) and [field(other, path) for path in fields] == mine:
                    return dict.fromkeys(fields, 1)
        return None


def _found(documents: Mapping[Any, Document], query: Mapping[str, Any]) -> list[Document]:
    which = query.get("_id")
    if isinstance(which, str):
        document = documents.get(which)
        return [document] if document is not None and matches(document, query) else []
    if isinstance(which, Mapping) and "$in" in which:
        picked = (documents[key] for key in which["$in"] if key in documents)
        return [document for document in picked if matches(document, query)]
    return [document for document in documents.values() if matches(document, query)]
