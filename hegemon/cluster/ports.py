"""What a node offers to its API: two small ports. No Redis or MongoDB type crosses them; errors are `queue.errors`.

`Jobs` is what callers do with jobs, `Observer` is what they may look at, and how they ask a leader to step down.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from hegemon.cluster.log_ports import LogFilter, LogPage
from hegemon.cluster.stat_shapes import ClusterFigures
from hegemon.election.contract import Member
from hegemon.queue.jobs import Job, NewJob
from hegemon.queue.provenance import UNKNOWN, Provenance

# The node's metrics, by what an Accept header prefers: the text, and its content type. It asks no store.
Metrics = Callable[[str], Awaitable[tuple[bytes, bytes]]]


class Submitted(msgspec.Struct, frozen=True):
    """An accepted job. `created` is False when an idempotency key gave back the job of an earlier request; `status` is
    what it had when it was accepted, or has now."""

    id: str
    created: bool
    status: str


class SubmittedBatch(msgspec.Struct, frozen=True):
    """An accepted batch: its ids in order. `created` is False when an idempotency key gave back those of an earlier
    request."""

    ids: list[str]
    created: bool


class JobFilter(msgspec.Struct, frozen=True):
    """Which jobs to list; None means any. `queues` narrows it further, to those that a caller may see."""

    status: str | None = None
    type: str | None = None
    queue: str | None = None
    tag: str | None = None
    queues: frozenset[str] | None = None


class JobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first, and the opaque cursor of the next page (None at the end)."""

    jobs: list[Job]
    next_cursor: str | None


class DeadFilter(msgspec.Struct, frozen=True):
    """Which dead letters to act on. `ids` and the others exclude each other; all None means every dead letter.
    `queues` narrows it further, to those that a caller may change."""

    ids: Sequence[str] | None = None
    type: str | None = None
    queue: str | None = None
    queues: frozenset[str] | None = None


class WorkerInfo(msgspec.Struct, frozen=True):
    """One worker process as the stores know it."""

    id: str
    node: str
    pid: int
    slots: int
    held: int
    solo: bool
    types: list[str]
    started_at: int


class TypeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A type of jobs that live workers handle, as the node that began last describes its handler; `differing` nodes
    have another version of it. `schema` is the JSON Schema of the payload, None where none was told; `max_retries` and
    `timeout_ms` are the handler's own, None where the cluster's hold."""

    type: str
    nodes: list[str]
    differing: list[str] = []
    description: str = ""
    schema: dict[str, Any] | None = None
    max_retries: int | None = None
    timeout_ms: int | None = None


class NodeInfo(msgspec.Struct, frozen=True):
    """One node. `alive` says whether its beat moved within its lease."""

    id: str
    incarnation: str
    url: str
    version: str
    alive: bool
    is_leader: bool
    slots: int
    held: int
    strategy: str
    started_at: int


class MemberInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One member as this node sees it: `health` (alive, suspect, dead, left), `incarnation`, `address` (of the traffic
    between nodes), `rank`, `fit` and `voter` as the election has them, the rest as the member itself told the registry
    in Redis; empty or null where it has not been seen there. `load` counts the jobs that its workers hold."""

    id: str
    health: str
    incarnation: int
    address: str
    rank: int | None
    fit: bool
    voter: bool
    url: str | None
    version: str | None
    slots: int
    load: int
    types: list[str]


def member_info(member: Member, information: Mapping[str, Any]) -> MemberInfo:
    """A member of the election, with what the registry has of it: url, version, slots, held, types; {} if nothing."""
    return MemberInfo(
        id=member.id,
        health=str(member.health),
        incarnation=member.incarnation,
        address=member.address,
        rank=member.rank,
        fit=member.fit,
        voter=member.voter,
        url=information.get("url") or None,
        version=information.get("version") or None,
        slots=int(information.get("slots") or 0),
        load=int(information.get("held") or 0),
        types=sorted(information.get("types") or ()),
    )


class ElectionInfo(msgspec.Struct, frozen=True):
    """What this node believes about leadership. `active` means: holds the newest epoch and reaches both stores.

    `traffic` counts what the election sent and received since this node started; empty if it needs no peers.
    """

    node_id: str
    current_algorithm: str
    supported_algorithms: list[str]
    role: str
    is_leader: bool
    active: bool
    leader_id: str | None
    term: int
    epoch: int
    members: list[MemberInfo]
    last_changes: list[dict[str, Any]]
    traffic: dict[str, int] = {}


class LeaderInfo(msgspec.Struct, frozen=True):
    """The office's present holder."""

    leader_id: str | None
    epoch: int
    generation: int
    url: str | None


class QueueStats(msgspec.Struct, frozen=True):
    """Counts in the index. `parked` jobs wait for a worker that handles their type."""

    ready: int
    delayed: int
    held: int
    parked: dict[str, int]


class NodeStats(msgspec.Struct, frozen=True):
    """The answering node."""

    id: str
    is_leader: bool
    strategy: str


class Stats(msgspec.Struct, frozen=True):
    """`jobs` holds a count for every status, of MongoDB at most a second ago; `queue` what the index holds now;
    `figures` how the cluster is doing."""

    jobs: dict[str, int]
    queue: QueueStats
    node: NodeStats
    figures: ClusterFigures = ClusterFigures()


class Health(msgspec.Struct, frozen=True):
    """A verdict with its parts: each part is "ok" or a sentence that says what is wrong."""

    ok: bool
    parts: dict[str, str]


class ActivityEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A domain event (`hegemon.events`). `id` is NODE:BOOT:SEQ; `place` its place among all of the cluster's events,
    None while it has none yet; `at` UTC milliseconds of the cluster clock."""

    id: str
    place: int | None
    at: int
    node: str
    kind: str
    severity: str
    fields: dict[str, Any]


class ActivityFilter(msgspec.Struct, frozen=True):
    """Which events: kinds that begin with `kind`, of these severities, of this node; None means any. `queues` leaves
    out events about jobs of other queues."""

    kind: str | None = None
    severities: frozenset[str] | None = None
    node: str | None = None
    queues: frozenset[str] | None = None

    def shows(self, event: ActivityEvent) -> bool:
        """Whether it is among them. The store has the same rule as a query."""
        queue = event.fields.get("queue")
        return (
            (self.kind is None or event.kind.startswith(self.kind))
            and (self.severities is None or event.severity in self.severities)
            and self.node in (None, event.node)
            and (self.queues is None or queue is None or queue in self.queues)
        )


class ActivityPage(msgspec.Struct, frozen=True):
    """Events, oldest first. `following` is the place after which to go on, None if there is none yet. Not `complete`:
    MongoDB does not answer, and these are the node's own alone; `missing` names the other nodes."""

    events: list[ActivityEvent]
    following: int | None
    complete: bool = True
    missing: list[str] = []


class Activity(Protocol):
    """What happened in the cluster, as one node can tell."""

    @property
    def feed(self) -> ActivityFeed:
        """The same as it comes."""

    async def page(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        """All nodes' events: the first `limit` behind the place `after`, or the newest. StoreUnavailable."""

    def own(self, which: ActivityFilter, *, limit: int, after: int | None, missing: list[str]) -> ActivityPage:
        """This node's own, from memory."""


class Told(msgspec.Struct, frozen=True):
    """An entry of a node's feed: an event, or (`event` None) that the feed has become `complete` or not. `place`: all
    events up to it are told with this entry; None if it tells of no place. `early`: the number of the entry that told
    the same event before it had its place."""

    event: ActivityEvent | None
    place: int | None
    early: int | None = None
    complete: bool | None = None


class ActivityFeed(Protocol):
    """What happens, as it comes: the newest entries of a log that all streams of a node share, numbered."""

    @property
    def head(self) -> int:
        """The number of the next entry."""

    @property
    def read_to(self) -> int | None:
        """The place up to which all is in the log's past; None before the first turn, and without the store."""

    @property
    def complete(self) -> bool:
        """False while the store is away, and these are the node's own events alone."""

    def since(self, number: int) -> Sequence[Told] | None:
        """The entries from `number` on; None if some of them are gone already."""

    def find(self, after: int) -> int | None:
        """Where to go on for whoever knows all up to the place `after`; None if the log does not reach so far back."""

    def listen(self, listener: Callable[[], Awaitable[None]]) -> Callable[[], None]:
        """Call it after each turn, several times a second, until what this returns is called."""

    async def look(self) -> None:
        """Return after a turn that began later than now; there must be a listener."""

    async def page(self, which: ActivityFilter, *, limit: int, after: int) -> ActivityPage:
        """What lies further back, from the store; few may ask at a time. StoreUnavailable."""


class Jobs(Protocol):
    """What callers do with jobs. All raise `StoreUnavailable` (with retry_after_s) when a store does not answer."""

    async def submit(
        self, job: NewJob, *, scope: str, idempotency_key: str | None = None, provenance: Provenance = UNKNOWN
    ) -> Submitted:
        """Accept one job; returns once its document is durable. InvalidJob, PayloadTooLarge, QueueFull, Overloaded,
        IdempotencyKeyReused, IdempotencyKeyInFlight."""

    async def submit_batch(
        self,
        jobs: Sequence[NewJob],
        *,
        scope: str,
        idempotency_key: str | None = None,
        provenance: Provenance = UNKNOWN,
    ) -> SubmittedBatch:
        """Accept all or none, in one transaction; else as `submit`. Also BatchTooLarge. InvalidJob.field is
        `jobs[i].name`.
        """

    async def get(self, job_id: str) -> Job:
        """JobNotFound."""

    async def list(self, which: JobFilter, *, limit: int, cursor: str | None = None) -> JobPage:
        """Newest first. InvalidJob(field="cursor") for a cursor that is not ours."""

    async def cancel(self, job_id: str) -> Job:
        """Cancel a live job, a running one too; JobNotFound, JobStateConflict when it has ended."""

    async def retry(self, job_id: str) -> Job:
        """Put a failed or cancelled job back as pending with fresh tries; JobNotFound, JobStateConflict."""

    async def delete(self, job_id: str) -> None:
        """Remove a job that has ended; JobNotFound, JobStateConflict for a live one (cancel it first)."""

    async def wait(self, job_id: str, *, timeout_s: float) -> Job:
        """The job once it has ended, or as it is when the time is up; JobNotFound."""

    async def requeue_dead(self, which: DeadFilter) -> int:
        """Put dead letters back as pending; how many."""

    async def purge_dead(self, which: DeadFilter) -> int:
        """Remove dead letters for good; how many."""


class Observer(Protocol):
    """What callers may look at, and the one thing that they may ask of the election."""

    @property
    def feed(self) -> ActivityFeed:
        """What happens, as it comes."""

    async def stats(self) -> Stats: ...

    async def workers(self) -> list[WorkerInfo]: ...

    async def types(self) -> list[TypeInfo]:
        """The types that live workers handle, by name."""

    async def nodes(self) -> list[NodeInfo]: ...

    async def leader(self) -> LeaderInfo: ...

    def election(self) -> ElectionInfo: ...

    async def step_down(self, pause_s: float) -> bool:
        """If this node leads: stand down in order, and do not stand again for so many seconds. False if it does not
        lead. Returns once the office is given up, or after a moment."""

    def cluster(self) -> dict[str, Any]:
        """cluster_id, version, node_id, algorithm, strategy, generation."""

    async def activity(self, which: ActivityFilter, *, limit: int, after: int | None) -> ActivityPage:
        """What happened: the first `limit` events behind the place `after`; without it the newest. Never fails for a
        store's sake: the page says whose events it lacks."""

    def logs(self, which: LogFilter, *, limit: int, after: str | None) -> LogPage:
        """This node's last log lines: the first `limit` behind the place `after`; without it the newest."""

    async def live(self) -> Health:
        """Is this process doing its work (its loops turn)? False means: restart it."""

    async def ready(self) -> Health:
        """Can it take requests now (stores, index)? False means: send them elsewhere, with Retry-After."""
