"""The leader's slower duties: recover what dead workers held, sweep for dead submitters, check what fell out of the
index.

Every recovery has the same three steps: read the document from the majority; win its next attempt by compare-and-set;
index it under that attempt by a fenced script. A stop between any two leaves the id in `recovering`, on the check
list or among the tombstones, from where a successor goes on. A body is only ever indexed by whoever won its attempt.

What a closed worker's jobs are marked with, and what follows (invariant I7):

| mark | it was | then |
|---|---|---|
| i | in the inbox, never taken | again, at its place |
| t | taken, not started | again, at its place |
| v | running in a process that was killed because of another job | again |
| s | running in a process that died by itself | suspect, uncounted: runs alone next time |
| l | held by a node that went silent as a whole | again; the second such loss makes it a suspect |
| c | running alone under its durable mark | counts as a crash; MAX_CRASHES of them: failed, quarantined |
| h | stuck beyond its hard timeout | a failed try like any other: retried or failed |
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from hegemon.events.bus import Emit, unheard
from hegemon.events.jobs import JobDead
from hegemon.failpoints import failpoint
from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import encode_body, entry_text, parse_entry
from hegemon.queue.index import MemberIndex
from hegemon.queue.jobs import HISTORY_MAX, Document
from hegemon.queue.leader_index import LeaderIndex, Placement
from hegemon.queue.queries import JobQueries
from hegemon.queue.retry import Retry, RetryPolicy, RetryRule
from hegemon.queue.sequence import due_seq
from hegemon.queue.states import LIVE, Event, Status, after
from hegemon.queue.store import JobStore

log = structlog.get_logger(__name__)

LOSSES_MAX: Final = 2
QUARANTINED: Final = "Quarantined"
# Beyond the attempts of any job: nothing of one whose document is gone stays.
REMOVED: Final = 1 << 31


class Rules(msgspec.Struct, frozen=True):
    """What recoveries need of the settings."""

    crashes_max: int
    max_retries: int
    policy: RetryPolicy


class DeathReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a supervisor says of a worker process that died: what its board showed as running, and why it was killed.
    `culprit` is the job beyond its hard timeout for which the process was killed."""

    running: list[str] = []
    culprit: str | None = None
    solo: bool = False
    why: str = "unknown"


def marks_of(report: DeathReport | None) -> tuple[str, dict[str, str]]:
    """The mark for what the worker had taken, and the exceptions by id."""
    if report is None:
        return "l", {}
    if report.culprit is not None:
        marks = dict.fromkeys(report.running, "v")
        marks[report.culprit] = "h"
        return "t", marks
    if report.solo:
        return "c", {}  # Under its durable mark or not: the document tells.
    return "t", dict.fromkeys(report.running, "s")


class Recovery:
    """Brings live documents back into the index, under attempts of their own."""

    def __init__(
        self,
        *,
        index: LeaderIndex,
        member: MemberIndex,
        store: JobStore,
        queries: JobQueries,
        clock: ClusterClock,
        rules: Rules,
        emit: Emit = unheard,
    ) -> None:
        self._index = index
        self._member = member
        self._store = store
        self._queries = queries
        self._clock = clock
        self._rules = rules
        self._emit = emit
        self._rng = random.Random()
        self.reasons: dict[str, str] = {}

    async def recover(self, held: Mapping[str, tuple[str, str, str]]) -> int:
        """Requeue what closed workers held: id -> (mark, worker, entry). How many were indexed again.

        A document that is past the entry's attempt was recovered or requeued before: nothing is counted against it a
        second time, and if its present attempt is in the index, nothing is done.
        """
        if not held:
            return 0
        indexed = await self._member.probe(list(held))
        attempts = {job_id: parse_entry(entry).attempt for job_id, (_, _, entry) in held.items()}
        found = await self._queries.many(list(held))
        marks, settled = {}, {}
        for job_id, (mark, worker, entry) in held.items():
            attempt = found[job_id]["attempt"] if job_id in found else 0
            if attempt <= attempts[job_id]:
                marks[job_id] = (mark, worker)
            elif indexed[job_id] >= attempt:
                settled[job_id] = entry
            else:
                marks[job_id] = ("t", worker)
        if settled:
            await self._index.settled(settled)
        return await self._again(marks, found)

    async def reindex(self, ids: Sequence[str]) -> int:
        """Index what lives of these ids, which have no body: swept, checked, audited. How many were."""
        return await self._again(dict.fromkeys(ids, ("t", "")), await self._queries.many(ids) if ids else {})

    async def _again(self, marks: Mapping[str, tuple[str, str]], found: Mapping[str, Document]) -> int:
        if not marks:
            return 0
        changes: list[tuple[str, int, Document]] = []
        ended: dict[str, int] = {}
        for job_id, (mark, worker) in marks.items():
            document = found.get(job_id)
            if document is None or document["status"] not in LIVE:
                ended[job_id] = REMOVED if document is None else document["attempt"]
            else:
                changes.append((job_id, document["attempt"], self._change(document, mark, worker)))
        await self._store.change(changes)
        failpoint("recover.after_bump")
        expected = {job_id: attempt + 1 for job_id, attempt, _ in changes}
        placements: dict[str, Placement] = {}
        if expected:
            for job_id, document in (await self._queries.many(list(expected))).items():
                if document["status"] not in LIVE:
                    ended[job_id] = document["attempt"]
                    self._tell_end(document, expected[job_id])
                elif document["attempt"] == expected[job_id]:
                    placements[job_id] = Placement(entry_text(document), encode_body(document), document.get("due"))
        indexed = await self._index.reindex(placements, ended)
        failpoint("recover.after_requeue")
        return indexed

    def _tell_end(self, document: Document, attempt: int) -> None:
        if document["status"] == Status.FAILED and document["attempt"] == attempt:
            # By our own change, just now.
            error = document["error"]["type"]
            outcome = "quarantined" if error == QUARANTINED else "timeout"
            job_id, type_, queue = document["_id"], document["type"], document["queue"]
            log.error(
                "job_failed",
                job=job_id,
                attempt=attempt - 1,
                type=type_,
                queue=queue,
                outcome=outcome,
                error=error,
                request_id=document.get("request_id"),
            )
            self._emit(JobDead(job_id, type_, queue, attempt - 1, outcome, error))

    def _change(self, document: Document, mark: str, worker: str) -> Document:
        """The update that wins the next attempt. The attempt is a fence and always grows; what is counted is apart."""
        now_ms = self._clock.now_ms()
        status = Status(document["status"])
        under_mark = status is Status.RUNNING and document.get("worker") == worker
        if mark == "l" and under_mark and document.get("suspect"):
            mark = "c"  # It ran alone when its whole node went: that counts.
        if mark == "c" and not under_mark:
            mark = "t"  # No durable mark: it had not started.
        if mark == "h":
            return self._hard_timeout(document, worker, now_ms)
        increments = {"attempt": 1}
        fields: Document = {"updated_at": now_ms}
        gone: Document = {}
        if status is Status.RUNNING or mark not in ("i", "t"):
            fields["status"] = after(Status.RUNNING, Event.RECOVER).value
            gone["due"] = ""
        outcome = {"s": "worker_died", "l": "node_lost", "v": "worker_killed", "c": "crashed"}.get(mark)
        if mark == "s":
            fields["suspect"] = True
        elif mark == "l":
            increments["losses"] = 1
            if document.get("losses", 0) + 1 >= LOSSES_MAX:
                fields["suspect"] = True
        elif mark == "c":
            increments["crashes"] = 1
            if document["crashes"] + 1 >= self._rules.crashes_max:
                fields |= self._quarantine(document, now_ms)
                gone |= {"suspect": "", "due": ""}
        change: Document = {"$inc": increments, "$set": fields}
        if gone:
            change["$unset"] = gone
        if outcome is not None:
            change["$push"] = _history(document, outcome, worker, now_ms, self.reasons.get(worker))
        return change

    def _quarantine(self, document: Document, now_ms: int) -> Document:
        crashes = document["crashes"] + 1
        return {
            "status": after(Status.RUNNING, Event.GIVE_UP).value,
            "completed_at": now_ms,
            "error": {
                "type": QUARANTINED,
                "message": (
                    f"its worker process died {crashes} times while it ran alone "
                    f"(MAX_CRASHES={self._rules.crashes_max})"
                ),
            },
        }

    def _hard_timeout(self, document: Document, worker: str, now_ms: int) -> Document:
        failures = document["failures"] + 1
        policy = RetryPolicy.from_dict(document.get("retry") or {}, default=self._rules.policy)
        retries = document.get("max_retries", self._rules.max_retries)
        decision = RetryRule(policy, retries).decide(failures, TimeoutError(), self._rng)
        error = {"type": "JobTimeout", "message": "stuck beyond its hard timeout; its worker process was killed"}
        change: Document = {
            "$inc": {"attempt": 1, "failures": 1},
            "$push": _history(document, "timeout", worker, now_ms, error["message"]),
            "$unset": {"suspect": ""},
        }
        if isinstance(decision, Retry):
            due = now_ms + decision.delay_ms
            status = after(Status.RUNNING, Event.FAIL)
            change["$set"] = {
                "status": status.value,
                "due": due,
                "seq": due_seq(due),
                "error": error,
                "updated_at": now_ms,
            }
        else:
            status = after(Status.RUNNING, Event.GIVE_UP)
            change["$set"] = {"status": status.value, "completed_at": now_ms, "error": error, "updated_at": now_ms}
        return change


def _history(document: Document, outcome: str, worker: str, now_ms: int, error: Any) -> Document:
    record = {"attempt": document["attempt"], "outcome": outcome, "worker": worker, "ended_at": now_ms}
    if document.get("status") == Status.RUNNING:
        record |= {"node": document.get("node"), "started_at": document.get("started_at")}
    if error:
        record["error"] = str(error)
    return {"history": {"$each": [record], "$slice": -HISTORY_MAX}}
