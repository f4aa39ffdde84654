"""The judge of a simulated run: looks on from outside at every step, at every write of both stores and at every start.

| kind | invariant | what it says |
|---|---|---|
| two_holders | I2 | two nodes hold one epoch, or one epoch was handed out twice |
| epoch_fell | I2 | the office's epoch, or the epoch that a node sees, is less than it was |
| stale_write | I3 | a leader's script was applied after one of a newer epoch |
| undone | I4 | a job that was recorded as completed is something else now |
| started_after | I4 | a job was started after its completion was recorded |
| started_twice | I4 | two starts under one attempt |
| started_late | I4 | a start by a worker whose lease had run out |
| missing | I1 | acknowledged, and not in MongoDB |
| stuck | I1 | had the time to end and did not (only judged where a scenario says so) |
| term_fell | terms | a term that a node sees is less than it was |
| unconverged | - | after healing, no one leader within CONVERGED_S (only judged where asked) |
| needless | calm | the office changed hands though nothing was wrong |
| two_leaders | terms | two nodes led in one term (only where the algorithm promises that: Raft) |
| ended | - | a node took itself for another one's twin, or its election could not go on |
| fault | - | an error that nobody expected reached the event loop |
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any, Final

import msgspec

from hegemon.cluster.electors import ElectionFault
from hegemon.cluster.node_ends import StartError
from hegemon.cluster.twins import TwinError
from hegemon.queue.redis import script_text
from tests.simulation.mongo_store import Change

READS: Final = frozenset({"survey", "rounds"})
LEADERS: Final = (
    "office_take", "office_beat", "promote", "dispatch", "unpark", "worker_close", "node_close", "reindex", "settled",
    "bury", "rounds", "survey", "rebuild_state", "rebuild_add", "rebuild_clear", "rebuild_undeclare",
)  # fmt: skip


class Violation(msgspec.Struct, frozen=True):
    """Something that must not be, and when (virtual seconds from the start)."""

    at_s: float
    kind: str
    detail: str


class Judge:
    """Collects what it sees. `violations` are in the order of time; `counts` say how much there was to see."""

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.counts: Counter[str] = Counter()
        self.lines: list[str] = []
        self.tracing = False
        self.digest = 0
        self.now_s = 0.0
        self.acked: dict[str, float] = {}
        self.completed: dict[str, int] = {}
        self._names = {script_text(name).encode(): name for name in LEADERS}
        self._applied_epoch = 0
        self._office: tuple[int, str] = (0, "")
        self._nonces: dict[int, str] = {}
        self._holders: dict[int, str] = {}
        self._leaders: dict[int, str] = {}
        self._seen: dict[tuple[str, str], int] = {}
        self._started: set[tuple[str, int]] = set()

    def say(self, who: str, what: str, /, **more: Any) -> None:
        """One line of the trace. The digest is of all lines, kept or not: one seed, one digest."""
        self.digest = zlib.crc32(f"{self.now_s:.6f}{who}{what}{sorted(more.items())}".encode(), self.digest)
        if self.tracing:
            told = " ".join(f"{key}={value}" for key, value in more.items())
            self.lines.append(f"{self.now_s:9.4f} {who:<8} {what} {told}".rstrip())

    def ended(self, node: str, error: StartError) -> None:
        """A node ended by itself. Where a store did not answer at its start, any keeper of services starts it again."""
        self.say(node, "ended", reason=str(error))
        self.counts["start errors"] += 1
        if isinstance(error.__cause__, TwinError | ElectionFault):
            # There is no second node of its name here, and no cluster that it does not belong to.
            self.violated("ended", f"{node}: {error}")

    def violated(self, kind: str, detail: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(round(self.now_s, 4), kind, detail))
        self.say("JUDGE", f"VIOLATED {kind}: {detail}")

    # -- the stores ----------------------------------------------------------------------------------------------------

    def redis_did(self, who: str, script: bytes, args: Sequence[bytes], reply: Any) -> None:
        """A script or command was carried out."""
        name = self._names.get(script)
        if name is None:
            return
        status = reply[0].decode() if reply and isinstance(reply[0], bytes) else ""
        epoch = int(args[0])
        if name not in READS:
            self.say("redis", f"{name} of {who}", epoch=epoch, generation=args[1].decode(), answer=status)
        if status != "ok":
            self.counts["refused"] += 1
            return
        self.counts[name] += 1
        if epoch < self._applied_epoch:
            self.violated("stale_write", f"{name} of epoch {epoch} by {who}, after one of epoch {self._applied_epoch}")
        self._applied_epoch = max(self._applied_epoch, epoch)
        if name == "dispatch":
            self.counts["dispatched"] += reply[1]

    def mongo_did(self, change: Change) -> None:
        """The majority has got a change."""
        name, key, _, after = change
        if name == "cluster" and key == "office":
            self._office_is(after or {})
        elif name == "jobs":
            self._job_is(key, after)

    def _office_is(self, office: dict[str, Any]) -> None:
        epoch, nonce = office.get("epoch", 0), office.get("nonce", "")
        if epoch < self._office[0]:
            self.violated("epoch_fell", f"the office's epoch went from {self._office[0]} to {epoch}")
        if self._nonces.setdefault(epoch, nonce) != nonce:
            self.violated("two_holders", f"epoch {epoch} was handed out twice")
        if self._office != (epoch, nonce):
            self.counts["offices"] += 1
            self.say("mongo", "office", epoch=epoch, node=office.get("node"))
        self._office = (epoch, nonce)

    def _job_is(self, job_id: str, document: dict[str, Any] | None) -> None:
        status = (document or {}).get("status")
        if job_id in self.completed and status != "completed":
            self.violated("undone", f"{job_id} was completed and is {status}")
        elif status == "completed" and document is not None and job_id not in self.completed:
            self.completed[job_id] = document["attempt"]
            self.counts["completed"] += 1

    # -- the nodes -----------------------------------------------------------------------------------------------------

    def holds(self, node: str, epoch: int) -> None:
        """A node believes to hold the office."""
        if self._holders.setdefault(epoch, node) != node:
            self.violated("two_holders", f"{node} and {self._holders[epoch]} hold epoch {epoch}")
            self._holders[epoch] = node

    def leads(self, node: str, term: int) -> None:
        """A node has won an election, in an algorithm that has one leader a term."""
        if self._leaders.setdefault(term, node) != node:
            self.violated("two_leaders", f"{node} and {self._leaders[term]} lead in term {term}")
            self._leaders[term] = node

    def sees(self, node: str, what: str, number: int) -> None:
        """A node sees this epoch or term; it may not be less than the last."""
        before = self._seen.get((node, what), 0)
        if number < before:
            self.violated(f"{what}_fell", f"{node} saw {what} {before}, then {number}")
        self._seen[node, what] = number

    def forget_terms(self, nodes: Collection[str], *, all_of_them: bool) -> None:
        """These nodes' disks are gone: the terms that they see begin anew, and if that is all of them, terms do."""
        if all_of_them:
            self._leaders.clear()
        self._seen = {key: value for key, value in self._seen.items() if key[1] != "term" or key[0] not in nodes}

    # -- the work ------------------------------------------------------------------------------------------------------

    def acknowledged(self, job_id: str) -> None:
        """A submitter was told that its job is accepted."""
        self.acked[job_id] = self.now_s
        self.counts["acknowledged"] += 1

    def started(self, job_id: str, attempt: int, worker: str, left_s: float) -> None:
        """A handler's first line. `left_s`: how long the worker's lease still holds."""
        self.counts["started"] += 1
        self.say(worker, "start", job=job_id, attempt=attempt)
        if job_id in self.completed:
            recorded = self.completed[job_id]
            self.violated("started_after", f"{job_id} attempt {attempt} by {worker}; completed under {recorded}")
        if (job_id, attempt) in self._started:
            self.violated("started_twice", f"{job_id} attempt {attempt}, now by {worker}")
        self._started.add((job_id, attempt))
        if left_s <= 0:
            self.violated("started_late", f"{job_id} attempt {attempt} by {worker}, {-left_s:.3f} s after its lease")

    def close_books(self, documents: dict[str, dict[str, Any]], *, settled: bool) -> None:
        """The end: what was acknowledged is there, and has ended if it had the time to."""
        for job_id in self.acked:
            document = documents.get(job_id)
            if document is None:
                self.violated("missing", job_id)
            elif settled and document["status"] != "completed":
                self.violated("stuck", f"{job_id} is {document['status']}, attempt {document['attempt']}")
