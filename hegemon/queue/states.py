"""The life of a job as one table of data. Everything that affects a job's status must live here in this file.

    submitted later ─> scheduled ──due──> pending ──start──> running ──succeed──> completed
    submitted now ───────────────────────────^                 │ │
                                             │    fail, tries  │ └──give_up──> failed  (the dead letters)
                      retrying ────due───────┘<──────left──────┘
    scheduled, pending, running, retrying ──cancel──> cancelled
    pending, scheduled, retrying ──expire / reject──> failed
    running ──recover──> pending      (its worker died or was closed: the claim is void, the job is not)
    failed, cancelled ──requeue──> pending

MongoDB may see a path *compressed*: most jobs end before their `running` mark would be written, so the stored move is
`pending -> completed`. A stored move is legal when the table holds a path of such intermediate events between the two;
`sources(event)` computes from the table which stored statuses a write may find, and every filter in the store uses it.
A final state is left only by an explicit `requeue`, never by a path.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """What a job is doing, as stored and as shown."""

    SCHEDULED = "scheduled"
    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to a job."""

    DUE = "due"
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    GIVE_UP = "give_up"
    RECOVER = "recover"
    CANCEL = "cancel"
    REQUEUE = "requeue"


S, E = Status, Event

TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (S.SCHEDULED, E.DUE): S.PENDING,
    (S.RETRYING, E.DUE): S.PENDING,
    (S.PENDING, E.START): S.RUNNING,
    (S.RUNNING, E.SUCCEED): S.COMPLETED,
    (S.RUNNING, E.FAIL): S.RETRYING,
    (S.RUNNING, E.RECOVER): S.PENDING,
    (S.PENDING, E.RECOVER): S.PENDING,
    (S.SCHEDULED, E.RECOVER): S.SCHEDULED,
    (S.RETRYING, E.RECOVER): S.RETRYING,
    (S.RUNNING, E.GIVE_UP): S.FAILED,
    (S.PENDING, E.GIVE_UP): S.FAILED,
    (S.SCHEDULED, E.GIVE_UP): S.FAILED,
    (S.RETRYING, E.GIVE_UP): S.FAILED,
    (S.SCHEDULED, E.CANCEL): S.CANCELLED,
    (S.PENDING, E.CANCEL): S.CANCELLED,
    (S.RUNNING, E.CANCEL): S.CANCELLED,
    (S.RETRYING, E.CANCEL): S.CANCELLED,
    (S.FAILED, E.REQUEUE): S.PENDING,
    (S.CANCELLED, E.REQUEUE): S.PENDING,
}

INITIAL: Final = frozenset({S.SCHEDULED, S.PENDING})
FINAL: Final = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
LIVE: Final = frozenset(S) - FINAL

# Events that a worker's write may leave out because a later one overtook it.
_COMPRESSIBLE: Final = frozenset({E.DUE, E.START})


class IllegalTransition(Exception):
    """A job was asked to make a move that its table does not hold."""

    def __init__(self, status: Status, event: Event) -> None:
        super().__init__(f"a job that is {status} cannot take the event {event}")
        self.status = status
        self.event = event


def after(status: Status, event: Event) -> Status:
    """The status that `event` leads to; raises `IllegalTransition` where the table has no such move."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(status, event) from None


def sources(event: Event) -> frozenset[Status]:
    """The stored statuses in which a write of `event` is legal, compressed paths included."""
    found = {status for status, move in TRANSITIONS if move is event}
    grown = True
    while grown:
        earlier = {status for (status, move), to in TRANSITIONS.items() if to in found and move in _COMPRESSIBLE}
        grown = not earlier <= found
        found |= earlier
    return frozenset(found)


def stored(event: Event) -> list[str]:
    """`sources(event)` as a sorted list of strings, the shape that a MongoDB `$in` takes."""
    return sorted(sources(event))
