"""The load of an election trial and its judge: steady submissions, the handlers' journal, and what MongoDB must hold.

The judge stands outside of Hegemon: it knows what was acknowledged from the answers, what ran from the journal that the
handlers write, and what was recorded from MongoDB itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import httpx
import msgspec

from hegemon.auth.roles import Role
from hegemon.cluster.local_node import NodeProcess

JOB_TYPE: Final = "trial"
HANDLERS: Final = "hegemon.cli.trial_jobs"
# A submission that nobody answered for so long is given up; whether it was accepted stays open.
ANSWER_WITHIN_S: Final = 20.0
_AGAIN_S: Final = 0.05
# Lines of several processes stand in the file as they were written, which may be a little later than their moments.
_DISORDER_NS: Final = 5_000_000_000
_TIMEOUT_S: Final = 2.0
_IN_FLIGHT_MAX: Final = 500


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the journal: `event` (start, end) of a job's attempt, at a moment of CLOCK_MONOTONIC, on a node."""

    event: str
    number: int
    attempt: int
    at_ns: int
    node: str


class Journal:
    """What the handlers wrote; `look()` reads what is new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._starts: dict[int, Line] = {}  # by number, the earliest
        self._last = 0
        self._read = 0
        path.touch()

    def look(self) -> Sequence[Line]:
        """All lines so far, in the order in which they were written."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            for text in file:
                if not text.endswith(b"\n"):
                    break
                self._read += len(text)
                event, number, attempt, at_ns, node = text.split()
                line = Line(event.decode(), int(number), int(attempt), int(at_ns), node.decode())
                self.lines.append(line)
                if line.event == "start":
                    earlier = self._starts.setdefault(line.number, line)
                    self._starts[line.number] = min(earlier, line, key=lambda one: one.at_ns)
                    self._last = max(self._last, line.number)
        return self.lines

    def first_start(self, number: int) -> Line | None:
        """The earliest start among the jobs from `number` on."""
        self.look()
        starts = [self._starts[each] for each in range(number, self._last + 1) if each in self._starts]
        return min(starts, key=lambda line: line.at_ns, default=None)

    def longest_gap_s(self, since_ns: int, until_ns: int) -> float:
        """The longest time within the window in which nothing started."""
        self.look()
        inside = []
        for line in reversed(self.lines):
            if line.at_ns < since_ns - _DISORDER_NS:
                break
            if line.event == "start" and since_ns < line.at_ns < until_ns:
                inside.append(line.at_ns)
        moments = [since_ns, *sorted(inside), until_ns]
        return max(after - before for before, after in itertools.pairwise(moments)) / 1e9


class Load:
    """Submits jobs at a steady rate, each under an idempotency key and to any node but `avoid`: `start()`, `stop()`."""

    def __init__(self, nodes: Sequence[NodeProcess], *, per_second: float, job_s: float = 0.0) -> None:
        self._nodes = list(nodes)
        self._pause_s = 1 / per_second
        self._job_s = job_s
        self.avoid: str | None = None
        self.number = 0
        self.acknowledged: dict[str, int] = {}
        self.unanswered = 0
        self._running: asyncio.Task[NoReturn] | None = None

    def start(self) -> None:
        """Submit from now on."""
        self._running = asyncio.create_task(self._run(), name="trial-load")

    async def stop(self) -> None:
        """Submit no more; returns once what is in flight was answered, or given up."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    async def _run(self) -> NoReturn:
        async with (
            self._nodes[0].client(_TIMEOUT_S) as client,
            asyncio.TaskGroup() as group,
        ):
            in_flight: set[asyncio.Task[None]] = set()
            due = time.monotonic()
            try:
                while True:
                    if len(in_flight) < _IN_FLIGHT_MAX:
                        self.number += 1
                        task = group.create_task(self._submit(client, self.number))
                        in_flight.add(task)
                        task.add_done_callback(in_flight.discard)
                    due = max(due + self._pause_s, time.monotonic() - 1.0)  # no burst after a stall
                    await asyncio.sleep(max(due - time.monotonic(), 0.0))
            except asyncio.CancelledError:
                if in_flight:
                    await asyncio.wait(in_flight, timeout=ANSWER_WITHIN_S)
                raise

    async def _submit(self, client: httpx.AsyncClient, number: int) -> None:
        body = {"type": JOB_TYPE, "payload": {"number": number, "seconds": self._job_s}}
        key = {"idempotency-key": str(uuid.uuid4())}
        deadline = time.monotonic() + ANSWER_WITHIN_S
        for turn in itertools.count(number):
            nodes = [node for node in self._nodes if node.plan.id != self.avoid]
            node = nodes[turn % len(nodes)]
            headers = {**key, **node.headers(Role.WORKER)}
            try:
                answer = await client.post(f"{node.plan.url}/api/v1/jobs", json=body, headers=headers)
                if answer.status_code in (200, 201):
                    self.acknowledged[answer.json()["id"]] = number
                    return
            except httpx.HTTPError:
                pass  # the key makes it safe to ask another node
            if time.monotonic() > deadline:
                self.unanswered += 1
                return
            await asyncio.sleep(_AGAIN_S)


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the jobs of a trial ended. `lost`: acknowledged, but not completed; `again`: started after their completion
    was recorded, or recorded in two jobs; `repeated`: started more than once before they were recorded, as jobs of a
    killed node must be; `unanswered`: submissions that nobody answered."""

    acknowledged: int
    completed: int
    lost: list[str]
    again: list[str]
    repeated: int
    unanswered: int

    @property
    def holds(self) -> bool:
        """Every acknowledged job was completed exactly once."""
        return not self.lost and not self.again


def judge(
    acknowledged: Mapping[str, int], documents: Iterable[Mapping[str, Any]], lines: Iterable[Line], unanswered: int
) -> Verdict:
    """Hold what was acknowledged and what ran against the jobs' documents, as MongoDB has them."""
    by_id = {document["_id"]: document for document in documents}
    recorded: dict[int, int] = {}  # number -> the attempt that was recorded as completed
    twice: set[int] = set()
    for document in by_id.values():
        number = msgspec.json.decode(document["payload"]["data"])["number"]
        if number in recorded:
            twice.add(number)
        if document["status"] == "completed":
            recorded[number] = document["attempt"]
    starts: dict[int, set[int]] = {}
    later: set[int] = set(twice)
    for line in lines:
        if line.event == "start":
            starts.setdefault(line.number, set()).add(line.attempt)
            if line.number in recorded and line.attempt > recorded[line.number]:
                later.add(line.number)
    names = {number: job_id for job_id, number in acknowledged.items()}
    done = {job_id for job_id in acknowledged if by_id.get(job_id, {}).get("status") == "completed"}
    return Verdict(
        acknowledged=len(acknowledged),
        completed=len(done),
        lost=sorted(acknowledged.keys() - done),
        again=sorted(names.get(number, f"number {number}") for number in later),
        repeated=sum(len(attempts) > 1 for attempts in starts.values()),
        unanswered=unanswered,
    )
