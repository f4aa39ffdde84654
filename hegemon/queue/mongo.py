"""The one place that knows the MongoDB driver. Motor today; PyMongo's own async client is the same calls (ADR 0002).

Every write waits for the majority's journal, every read sees what the majority has, every call has a deadline, and
driver errors leave this package as `StoreUnavailable`.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from bson.codec_options import TypeDecoder, TypeRegistry
from bson.int64 import Int64
from dns.exception import DNSException
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
    AsyncIOMotorDatabase,
)
from pymongo import monitoring
from pymongo.errors import (
    AutoReconnect,
    ConfigurationError,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    WriteConcernError,
    WTimeoutError,
)

from hegemon.measures import STORE, Meters
from hegemon.queue.errors import StoreUnavailable, WrongStore

Client = AsyncIOMotorClient[dict[str, Any]]
Database = AsyncIOMotorDatabase[dict[str, Any]]
Collection = AsyncIOMotorCollection[dict[str, Any]]
Session = AsyncIOMotorClientSession

WRITE_CONFLICT = 112

# A user that is not there yet, or may not do it yet: clusters in containers start before who makes their users.
_NOT_LET_IN = frozenset({13, 18})
# Server answers that mean "not now", not "wrong": disk full, stepping down, shutting down, too busy, out of time.
_PASSING_CODES = _NOT_LET_IN | frozenset(
    {
        6,
        7,
        43,
        50,
        64,
        89,
        91,
        WRITE_CONFLICT,
        133,
        134,
        189,
        202,
        211,
        222,
        225,
        237,
        251,
        262,
        290,
        9001,
        10107,
        11600,
        11601,
        11602,
        13435,
        13436,
        14031,
    }
)


class _PlainInt(TypeDecoder):
    """64-bit integers as plain `int`: encoders that look at exact types know no subclass."""

    bson_type = Int64

    def transform_bson(self, value: Int64) -> int:
        return int(value)


# What is measured by name; the rest together.
_COMMANDS = frozenset(
    {
        *("insert", "update", "delete", "find", "findAndModify", "aggregate", "getMore"),
        *("commitTransaction", "abortTransaction", "count", "createIndexes"),
    }
)
_TYPES = TypeRegistry([_PlainInt()])


# A write that needs a new file on a full disk fails with an unspecific code and these words.
_NO_SPACE = "No space left on device"
# What the driver says of a member that was started a moment ago and has not read its replica set's configuration yet.
_NO_SET = "Sessions are not supported by this MongoDB deployment"


class _Latency(monitoring.CommandListener):
    """Measures each command, in whatever thread the driver runs it."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._lock = threading.Lock()

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Nothing yet."""

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """It was answered."""
        self._observe(event.command_name, event.duration_micros)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """It was refused, or not answered."""
        self._observe(event.command_name, event.duration_micros)

    def _observe(self, command: str, micros: int) -> None:
        name = command if command in _COMMANDS else "other"
        with self._lock:
            self._meters.at(STORE, "mongodb", name).observe(micros / 1e6)


def connect(uri: str, *, timeout: timedelta, meters: Meters | None = None, **options: Any) -> Client:
    """A client whose calls each end within `timeout`; nothing is sent until the first call. `meters` get how long each
    command took. Raises `WrongStore` for a URI, or files of its TLS, that cannot be used.
    """
    if meters is not None and not meters.off:
        options["event_listeners"] = [_Latency(meters)]
    milliseconds = int(timeout.total_seconds() * 1000)
    try:
        return AsyncIOMotorClient(
            uri,
            timeoutMS=milliseconds,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            w="majority",
            journal=True,
            readConcernLevel="majority",
            retryWrites=True,
            retryReads=True,
            type_registry=_TYPES,
            tz_aware=False,
            maxPoolSize=32,
            appname="hegemon",
            **options,
        )
    except (ConfigurationError, OSError, ValueError) as error:
        # The driver leaves what it meets on the way as it is: a file that is not there, a port that is none.
        raise WrongStore(f"MONGODB_URI, or a file of its TLS, cannot be used: {error}") from error


def unavailable(error: PyMongoError) -> bool:
    """Whether the store may answer later: the network, a change of primary, a time-out, a full disk."""
    if isinstance(error, (AutoReconnect, ConnectionFailure, NotPrimaryError, ExecutionTimeout, WTimeoutError)):
        return True
    if isinstance(error, ConfigurationError):
        # A name server that is away counts as a wrong setting with the driver, where MONGODB_URI is mongodb+srv://.
        return _NO_SET in str(error) or isinstance(error.__cause__, (DNSException, OSError))
    if isinstance(error, (WriteConcernError, OperationFailure)):
        details = error.details or {}
        concern = details.get("writeConcernErrors") or []
        codes = {error.code, *(item.get("code") for item in concern)}
        codes |= {item.get("code") for item in details.get("writeErrors", ())}
        if _NO_SPACE in str(error):
            return True
        return bool(codes & _PASSING_CODES) or error.has_error_label("RetryableWriteError") or error.timeout
    return isinstance(error, InvalidOperation) and "close" in str(error).lower()


def mistaken(error: BaseException | None) -> bool:
    """Whether the driver's error says that MONGODB_URI and this MongoDB can never go together."""
    return isinstance(error, ConfigurationError) and not unavailable(error)


def translate(error: PyMongoError) -> StoreUnavailable | PyMongoError:
    """The error to raise in place of the driver's. A node that runs outlives even what is `mistaken`."""
    if mistaken(error):
        return StoreUnavailable("MongoDB", f"MONGODB_URI cannot be used: {error}")
    if isinstance(error, OperationFailure) and error.code in _NOT_LET_IN:
        return StoreUnavailable("MongoDB", f"MongoDB refuses the user of MONGODB_URI: {_short(error)}", refuses=True)
    return StoreUnavailable("MongoDB", f"MongoDB does not answer: {_short(error)}") if unavailable(error) else error


def _short(error: BaseException) -> str:
    return str(error).split(", Timeout:")[0].split(", full error")[0][:200]


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Turn driver errors of the enclosed calls into ours, the cause kept."""
    try:
        yield
    except PyMongoError as error:
        raise translate(error) from error


@asynccontextmanager
async def transaction(client: Client) -> AsyncIterator[Session]:
    """One transaction: commits at the end of the block, aborts on an error. An unknown commit is the caller's to
    settle.
    """
    async with await client.start_session() as session, session.start_transaction():
        yield session
