"""What the judge reads: the submitter's journal of acknowledgements, the handlers' journal of starts and ends, MongoDB.

An acknowledgement is a line `id monotonic_ns queue priority`, written when the 201 has been read; the order of the
lines is the order of acceptance where one submitter waits for each answer. A handler's line is
`start|end id attempt monotonic_ns pid` (tests/handlers.py). Monotonic times are those of one machine.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from pymongo import MongoClient
from pymongo.errors import PyMongoError

# Written out: the judge does not take the word of the code that it judges.
LIVE = ("scheduled", "pending", "running", "retrying")


class Ack(msgspec.Struct, frozen=True):
    """A job whose submitter was told that it is accepted."""

    id: str
    at_ns: int
    queue: str = "default"
    priority: int = 5


class Mark(msgspec.Struct, frozen=True):
    """A handler began, or came to its end, with one attempt at a job."""

    event: Literal["start", "end"]
    id: str
    attempt: int
    at_ns: int
    pid: int


class Record(msgspec.Struct, frozen=True):
    """What MongoDB holds of a job."""

    id: str
    status: str
    attempt: int
    type: str = ""


class Evidence(msgspec.Struct, frozen=True):
    """Everything that a verdict rests on. `observed`: id -> monotonic ns at which somebody outside had read that it is
    completed. `removed`: how many jobs retention and requests took away."""

    acks: Sequence[Ack]
    marks: Sequence[Mark]
    records: Mapping[str, Record]
    removed: int = 0
    observed: Mapping[str, int] = {}


class AckJournal:
    """The submitter's side. A line is one write, so that what was acknowledged is on record whatever dies next."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self.count = 0

    def write(self, *ids: str, queue: str = "default", priority: int = 5) -> None:
        """These were acknowledged just now, in this order."""
        now = time.monotonic_ns()
        os.write(self._fd, "".join(f"{job_id} {now} {queue} {priority}\n" for job_id in ids).encode())
        self.count += len(ids)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def read_acks(path: Path) -> list[Ack]:
    """All acknowledgements; raises `ValueError` for a line that is none."""
    return [Ack(parts[0], int(parts[1]), parts[2], int(parts[3])) for parts in _lines(path, 4)]


def read_marks(path: Path) -> list[Mark]:
    """All starts and ends; raises `ValueError` for a line that is none."""
    found: list[Mark] = []
    for event, job_id, attempt, at_ns, pid in _lines(path, 5):
        if event == "start":
            found.append(Mark("start", job_id, int(attempt), int(at_ns), int(pid)))
        elif event == "end":
            found.append(Mark("end", job_id, int(attempt), int(at_ns), int(pid)))
        else:
            raise ValueError(f"{path}: neither a start nor an end: {event!r}")
    return found


def _lines(path: Path, width: int) -> Iterator[list[str]]:
    if not path.exists():
        return
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            parts = line.split()
            if len(parts) != width or not line.endswith("\n"):
                raise ValueError(f"{path}:{number}: not a line of {width} words: {line!r}")
            yield parts


class Truth:
    """MongoDB, read by the judge's own client."""

    def __init__(self, uri: str, database: str) -> None:
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri, serverSelectionTimeoutMS=5000)
        self._database = self._client[database]

    def records(self) -> dict[str, Record]:
        """Every job that is there, acknowledged or not."""
        fields = {"status": 1, "attempt": 1, "type": 1}
        found = self._database.jobs.find({}, fields, batch_size=20_000)
        return {d["_id"]: Record(d["_id"], d["status"], d["attempt"], d["type"]) for d in found}

    def document(self, job_id: str) -> dict[str, Any]:
        """One job, whole; raises `KeyError` when it is not there."""
        found = self._database.jobs.find_one({"_id": job_id})
        if found is None:
            raise KeyError(job_id)
        return found

    def removed(self) -> int:
        """How many jobs were taken away on request or by retention, by the books."""
        books = self._database.cluster.find_one({"_id": "removed"}) or {}
        return sum(value for key, value in books.items() if key != "_id")

    def any_live(self) -> bool:
        """Whether some job has not ended, acknowledged or not. A store that is away counts as: some may."""
        try:
            return self._database.jobs.find_one({"status": {"$in": list(LIVE)}}, {"_id": 1}) is not None
        except PyMongoError:
            return True

    def completed(self) -> list[str]:
        """Ids of completed jobs; a covered scan of the status index."""
        found = self._database.jobs.find({"status": "completed"}, {"_id": 1, "status": 1}, batch_size=20_000)
        return [document["_id"] for document in found]

    def end_orphans(self) -> None:
        """Abort transactions whose client was killed: MongoDB would keep their locks for a minute, and a drop waits."""
        idle = {"type": "idleSession", "transaction.timeInactiveMicros": {"$gt": 200_000}}
        stages: list[dict[str, Any]] = [
            {"$currentOp": {"allUsers": True, "idleSessions": True}},
            {"$match": idle},
            {"$project": {"lsid": 1}},
        ]
        sessions = [{"id": found["lsid"]["id"]} for found in self._client.admin.aggregate(stages)]
        if sessions:
            self._client.admin.command("killSessions", sessions)

    def close(self) -> None:
        """Close the client."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Watch:
    """Notes when completions were first seen from outside. `look()` now and then, in a thread of its own if need be."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self.observed: dict[str, int] = {}

    def look(self) -> None:
        """Read what has completed. A store that is away has nothing to show."""
        try:
            completed = self._truth.completed()
        except PyMongoError:
            return
        # After the read: from this moment on nobody can say that the completion was not recorded yet.
        now = time.monotonic_ns()
        for job_id in completed:
            self.observed.setdefault(job_id, now)
