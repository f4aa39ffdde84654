"""The verdict: from evidence to a balance and a list of violations. Pure, so that forged evidence can try it.

| violation | invariant | what it says |
|---|---|---|
| missing | I1 | acknowledged, and neither in MongoDB nor among the removed |
| acknowledged_twice | I1 | one id stands for two acknowledgements |
| stuck | I1 | it had the time to end and did not |
| completed_unrun | I1 | recorded as completed, but no handler came to its end under that attempt |
| undone | I4 | was seen completed from outside, and is something else now |
| started_beyond | I4 | started under a later attempt than the recorded one: the record says that it had ended |
| started_after | I4 | started after its completion was seen from outside |
| started_twice | I4 | two starts under one attempt: the fence cannot tell them apart |
| overtaken | I6 | started while one of higher priority, or an older one of the same, had been waiting |

Several starts under several attempts are counted, not condemned: execution is at least once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import msgspec

from tests.judge.records import Ack, Evidence, Mark

FINAL = ("completed", "failed", "cancelled")
# Types of tests/handlers.py that write an end whenever they return.
JOURNALED = frozenset({"journaled", "journaled-thread", "blocking", "crash"})
# What was acknowledged is indexed a moment later, and a worker's inbox may hold 50 ms of work: not yet "waiting".
ORDER_SLACK_NS = 250_000_000


class Violation(msgspec.Struct, frozen=True):
    """One sentence of an invariant that does not hold, with the job that shows it."""

    kind: str
    id: str
    detail: str = ""


class Verdict(msgspec.Struct, frozen=True):
    """The books: `accepted = completed + failed + cancelled + live + removed` when nothing is missing.

    `unacknowledged`: jobs whose submitter never had an answer; `repeated`: jobs that started more than once.
    """

    accepted: int
    completed: int
    failed: int
    cancelled: int
    live: int
    removed: int
    unacknowledged: int
    started: int
    repeated: int
    violations: list[Violation]

    @property
    def ok(self) -> bool:
        """Whether everything that the judge looks at holds."""
        return not self.violations

    @property
    def kinds(self) -> set[str]:
        """The kinds of violations found."""
        return {violation.kind for violation in self.violations}

    def __str__(self) -> str:
        books = (
            f"accepted {self.accepted} = completed {self.completed} + failed {self.failed} + cancelled {self.cancelled}"
            f" + live {self.live} + removed {self.removed}"
        )
        ran = f"unacknowledged {self.unacknowledged}, started {self.started}, started more than once {self.repeated}"
        counts = Counter(violation.kind for violation in self.violations)
        lines = [books, ran, *(f"VIOLATED {kind}: {n}" for kind, n in sorted(counts.items()))]
        shown: Counter[str] = Counter()
        for violation in self.violations:
            shown[violation.kind] += 1
            if shown[violation.kind] <= 5:
                lines.append(f"  {violation.kind} {violation.id} {violation.detail}".rstrip())
        return "\n".join(lines)


def judge(evidence: Evidence, *, settled: bool = False, ordered: bool = False) -> Verdict:
    """The verdict on `evidence`.

    `settled`: all had the time to end, so whatever lives is stuck. `ordered`: the jobs ran in one slot, so that the
    order of their starts is the order of dispatch.
    """
    acked = {ack.id for ack in evidence.acks}
    statuses = Counter(evidence.records[job_id].status for job_id in acked & evidence.records.keys())
    absent = acked - evidence.records.keys()
    starts: dict[str, list[Mark]] = defaultdict(list)
    for mark in evidence.marks:
        if mark.event == "start":
            starts[mark.id].append(mark)
    violations = [
        *_accounts(evidence, absent),
        *_ends(evidence, settled=settled),
        *_starts(evidence, starts),
        *(_order(evidence.acks, starts) if ordered else ()),
    ]
    return Verdict(
        accepted=len(acked),
        completed=statuses["completed"],
        failed=statuses["failed"],
        cancelled=statuses["cancelled"],
        live=sum(n for status, n in statuses.items() if status not in FINAL),
        removed=min(len(absent), evidence.removed),
        unacknowledged=len(evidence.records.keys() - acked),
        started=len(starts),
        repeated=sum(1 for marks in starts.values() if len(marks) > 1),
        violations=violations,
    )


def _accounts(evidence: Evidence, absent: set[str]) -> Iterator[Violation]:
    if len(absent) > evidence.removed:
        for job_id in sorted(absent):
            yield Violation("missing", job_id, f"{len(absent)} are absent, {evidence.removed} were removed")
    for job_id, count in Counter(ack.id for ack in evidence.acks).items():
        if count > 1:
            yield Violation("acknowledged_twice", job_id, f"{count} times")


def _ends(evidence: Evidence, *, settled: bool) -> Iterator[Violation]:
    ended = {(mark.id, mark.attempt) for mark in evidence.marks if mark.event == "end"}
    for record in evidence.records.values():
        if settled and record.status not in FINAL:
            yield Violation("stuck", record.id, f"is {record.status}, attempt {record.attempt}")
        if record.status == "completed" and record.type in JOURNALED and (record.id, record.attempt) not in ended:
            yield Violation("completed_unrun", record.id, f"no end under attempt {record.attempt}")
        if record.id in evidence.observed and record.status != "completed":
            yield Violation("undone", record.id, f"was completed, is {record.status}")


def _starts(evidence: Evidence, starts: dict[str, list[Mark]]) -> Iterator[Violation]:
    ends: dict[str, list[Mark]] = defaultdict(list)
    for mark in evidence.marks:
        if mark.event == "end":
            ends[mark.id].append(mark)
    for job_id, marks in starts.items():
        record = evidence.records.get(job_id)
        seen_ns = evidence.observed.get(job_id)
        for mark in marks:
            if record is not None and mark.attempt > record.attempt:
                detail = (
                    f"attempt {mark.attempt} by pid {mark.pid}; recorded: {record.status}, attempt {record.attempt}"
                )
                yield Violation("started_beyond", job_id, detail)
            if seen_ns is not None and mark.at_ns > seen_ns:
                late = f"{(mark.at_ns - seen_ns) / 1e6:.1f} ms after it was seen completed"
                yield Violation(
                    "started_after", job_id, f"attempt {mark.attempt}, {late}: {_life(marks, ends[job_id])}"
                )
        for attempt, count in Counter(mark.attempt for mark in marks).items():
            if count > 1:
                detail = f"{count} times under attempt {attempt}: {_life(marks, ends[job_id])}"
                yield Violation("started_twice", job_id, detail)


def _life(starts: Sequence[Mark], ends: Sequence[Mark]) -> str:
    """Who began and ended what and when, in order: a process's log tells its incarnation by its pid."""
    first_ns = min(mark.at_ns for mark in starts)
    marks = sorted([*starts, *ends], key=lambda mark: mark.at_ns)
    return ", ".join(
        f"{mark.event} of attempt {mark.attempt} by pid {mark.pid} at +{(mark.at_ns - first_ns) / 1e6:.1f} ms"
        for mark in marks
    )


def _order(acks: Sequence[Ack], starts: dict[str, list[Mark]]) -> Iterator[Violation]:
    """At each first start: had anything that goes before it been waiting for longer than the slack?"""
    first = {job_id: min(mark.at_ns for mark in marks) for job_id, marks in starts.items()}
    place = {ack.id: (-ack.priority, number) for number, ack in enumerate(acks)}
    queues: dict[str, list[Ack]] = defaultdict(list)
    for ack in acks:
        if ack.id in first:
            queues[ack.queue].append(ack)
    for waiting in queues.values():
        waiting.sort(key=lambda ack: place[ack.id])
        for ack in sorted(waiting, key=lambda ack: first[ack.id]):
            began = first[ack.id]
            # `waiting` is in the order in which they should go: whoever stands before it and began later was overtaken.
            for other in waiting:
                if place[other.id] >= place[ack.id]:
                    break
                if first[other.id] > began and other.at_ns < began - ORDER_SLACK_NS:
                    detail = f"(priority {other.priority}) by {ack.id} (priority {ack.priority})"
                    yield Violation("overtaken", other.id, detail)
                    break
