"""What happens to nodes, elections, worker processes, the index and the stores."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from hegemon.events.kind import (
    ERROR,
    WARNING,
    Count,
    DomainEvent,
    Duration,
    Epoch,
    Generation,
    Incarnation,
    Member,
    Reason,
    Severity,
    Term,
    WorkerId,
)


# -- nodes -------------------------------------------------------------------------------------------------------------
class NodeStarted(DomainEvent, frozen=True):
    """A node is ready: its API answers and a worker is open."""

    kind: ClassVar[str] = "node.started"
    by: ClassVar[str] = "the node"
    url: Annotated[str, Meta(description="where its API is")]
    version: Annotated[str, Meta(description="of Hegemon")]


class NodeStopping(DomainEvent, frozen=True):
    """A node takes nothing new and drains."""

    kind: ClassVar[str] = "node.stopping"
    by: ClassVar[str] = "the node"
    reason: Reason


class NodeStopped(DomainEvent, frozen=True):
    """A node has drained; this is its last word."""

    kind: ClassVar[str] = "node.stopped"
    by: ClassVar[str] = "the node"


class NodeReincarnated(DomainEvent, frozen=True):
    """A node was taken for dead while it was only slow, and goes on under a new incarnation."""

    kind: ClassVar[str] = "node.reincarnated"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node"
    was: Incarnation
    now: Incarnation


class NodeJoined(DomainEvent, frozen=True):
    """The leader found a new incarnation of a node on the list."""

    kind: ClassVar[str] = "node.joined"
    by: ClassVar[str] = "the leader"
    member: Member
    incarnation: Incarnation


class NodeLeft(DomainEvent, frozen=True):
    """An incarnation of a node left in order, with nothing of its left to do."""

    kind: ClassVar[str] = "node.left"
    by: ClassVar[str] = "the leader"
    member: Member
    incarnation: Incarnation


class NodeLost(DomainEvent, frozen=True):
    """A node's beat stood still for longer than its lease; what it had accepted was swept."""

    kind: ClassVar[str] = "node.lost"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "the leader"
    member: Member
    incarnation: Incarnation
    jobs: Annotated[int, Meta(description="how many jobs it had accepted and not indexed")]


# -- elections and the office ------------------------------------------------------------------------------------------
class LeaderChanged(DomainEvent, frozen=True):
    """This node believes in another leader than before, or in the same one under another term."""

    kind: ClassVar[str] = "election.leader_changed"
    by: ClassVar[str] = "each node, of its own belief"
    leader: Annotated[str | None, Meta(description="NODE_ID of the leader, null for none")]
    term: Term


class ElectionWon(DomainEvent, frozen=True):
    """This node was elected; it leads once it has the office, too."""

    kind: ClassVar[str] = "election.won"
    by: ClassVar[str] = "the node that won"
    term: Term


class ElectionLost(DomainEvent, frozen=True):
    """This node is not the elected one any more."""

    kind: ClassVar[str] = "election.lost"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that lost"
    leader: Annotated[str | None, Meta(description="who is, as far as it knows")]
    term: Term
    reason: Reason


class OfficeTaken(DomainEvent, frozen=True):
    """This node took the office, under a new epoch."""

    kind: ClassVar[str] = "office.taken"
    by: ClassVar[str] = "the leader"
    epoch: Epoch
    term: Term


class OfficeActive(DomainEvent, frozen=True):
    """The leader reaches both stores and dispatches: jobs go on from here."""

    kind: ClassVar[str] = "office.active"
    by: ClassVar[str] = "the leader"
    epoch: Epoch
    generation: Generation


class OfficePaused(DomainEvent, frozen=True):
    """The leader lacks a store and dispatches nothing."""

    kind: ClassVar[str] = "office.paused"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the leader"
    epoch: Epoch
    store: Annotated[str, Meta(description="the store that it lacks")]


class OfficeVacated(DomainEvent, frozen=True):
    """The leader gave the office up in order."""

    kind: ClassVar[str] = "office.vacated"
    by: ClassVar[str] = "who was the leader"
    epoch: Epoch


class OfficeLost(DomainEvent, frozen=True):
    """The leader found its office taken by another."""

    kind: ClassVar[str] = "office.lost"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "who was the leader"
    reason: Reason


# -- worker processes --------------------------------------------------------------------------------------------------
class WorkerStarted(DomainEvent, frozen=True):
    """A worker process is open for jobs."""

    kind: ClassVar[str] = "worker.started"
    by: ClassVar[str] = "its node's supervisor"
    worker: WorkerId
    pid: Annotated[int, Meta(description="process id")]
    slots: Annotated[int, Meta(description="how many jobs it runs at once")]
    solo: Annotated[bool, Meta(description="whether it runs suspects, alone")]


class WorkerLost(DomainEvent, frozen=True):
    """A worker process died, or was killed because it was stuck."""

    kind: ClassVar[str] = "worker.lost"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "its node's supervisor"
    worker: WorkerId
    pid: Annotated[int, Meta(description="process id")]
    why: Reason
    running: Annotated[int, Meta(description="how many jobs were running in it")]
    culprit: Annotated[str | None, Meta(description="the job beyond its hard timeout for which it was killed")]


class WorkerStuck(DomainEvent, frozen=True):
    """A worker process stands still and is killed; `worker.lost` follows."""

    kind: ClassVar[str] = "worker.stuck"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "its node's supervisor"
    worker: WorkerId
    job: Annotated[str | None, Meta(description="the job that holds it; null if none does")]


class WorkerHeldBack(DomainEvent, frozen=True):
    """Worker processes keep dying: the next one is started after a pause."""

    kind: ClassVar[str] = "worker.held_back"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "its node's supervisor"
    place: Annotated[str, Meta(description="the worker's name without its incarnation")]
    failures: Annotated[int, Meta(description="deaths in a row, counted no further than 5")]
    seconds: Duration


class WorkerUnloadable(DomainEvent, frozen=True):
    """A worker process could not load its handlers, although an earlier one could; the node's log says why."""

    kind: ClassVar[str] = "worker.unloadable"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "its node's supervisor"
    worker: WorkerId


class WorkerClosed(DomainEvent, frozen=True):
    """The leader closed a worker's incarnation, and what it held goes to others."""

    kind: ClassVar[str] = "worker.closed"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the leader"
    worker: WorkerId
    jobs: Annotated[int, Meta(description="how many jobs it held")]
    why: Reason


# -- the scheduler and its index ---------------------------------------------------------------------------------------
class RebuildStarted(DomainEvent, frozen=True):
    """The index in Redis is absent or not to be trusted, and is built anew from MongoDB."""

    kind: ClassVar[str] = "scheduler.rebuild_started"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the leader"
    generation: Generation


class RebuildFinished(DomainEvent, frozen=True):
    """The index is whole; what waited for it goes on."""

    kind: ClassVar[str] = "scheduler.rebuild_finished"
    by: ClassVar[str] = "the leader"
    generation: Generation
    jobs: Annotated[int, Meta(description="how many jobs are in it")]
    seconds: Duration


class HoardReclaimed(DomainEvent, frozen=True):
    """A worker left lying what it was given; it goes to others."""

    kind: ClassVar[str] = "scheduler.hoard_reclaimed"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the leader"
    worker: WorkerId
    jobs: Count


class UnindexedFound(DomainEvent, frozen=True):
    """Live jobs were missing in the index, for a reason that nobody knows, and were put into it."""

    kind: ClassVar[str] = "scheduler.unindexed_found"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "the leader"
    jobs: Count


# -- stores ------------------------------------------------------------------------------------------------------------
class StoreLost(DomainEvent, frozen=True):
    """This node has had no answer from a store for a second."""

    kind: ClassVar[str] = "store.lost"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "each node, of what it reaches"
    store: Annotated[str, Meta(description="Redis or MongoDB")]


class StoreBack(DomainEvent, frozen=True):
    """A store that was lost answers again."""

    kind: ClassVar[str] = "store.back"
    by: ClassVar[str] = "each node, of what it reaches"
    store: Annotated[str, Meta(description="Redis or MongoDB")]
    seconds: Duration
