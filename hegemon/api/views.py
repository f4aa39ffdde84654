"""What the API shows: the ports' values with times as RFC 3339 text, payloads and results embedded unparsed."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hegemon.cluster.ports import ActivityEvent, Health, JobPage, MemberInfo, NodeInfo, TypeInfo, WorkerInfo
from hegemon.events.kind import Severity
from hegemon.queue.jobs import Attempt, Job, rfc3339

# 9999-12-31T23:59:59Z: RFC 3339 has no later second.
TIME_MS_MAX: Final = 253_402_300_799_000


class AttemptView(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try at a job."""

    attempt: int
    outcome: str
    node: str | None = None
    worker: str | None = None
    started_at: str | None = None
    ended_at: str | None = None
    error: str | None = None


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Times are RFC 3339 in UTC with milliseconds; `timeout` is seconds; `priority` is 0 to 10, 10 first.

    `max_retries` and `timeout` are null where the job leaves them to its type or the cluster. `request_id` and
    `traceparent` (W3C) are those of its submission.
    """

    id: str
    type: str
    queue: str
    status: str
    priority: int
    payload: msgspec.Raw
    result: msgspec.Raw | None
    error: dict[str, Any] | None
    attempt: int
    failures: int
    crashes: int
    max_retries: int | None
    timeout: float | None
    progress: dict[str, Any] | None
    tags: list[str]
    idempotency_key: str | None
    scope: str
    request_id: str | None
    traceparent: str | None
    node: str | None
    scheduled_at: str | None
    expires_at: str | None
    created_at: str
    updated_at: str
    started_at: str | None
    completed_at: str | None
    history: list[AttemptView]
    logs: list[dict[str, Any]]


class JobPageView(msgspec.Struct, frozen=True):
    """Jobs, newest first. `next_cursor` is null on the last page."""

    jobs: list[JobView]
    next_cursor: str | None


class Accepted(msgspec.Struct, frozen=True):
    """A job that is stored for good."""

    id: str
    status: str


class AcceptedBatch(msgspec.Struct, frozen=True):
    """The ids of a batch, in its order."""

    ids: list[str]


class Count(msgspec.Struct, frozen=True):
    """How many jobs were touched."""

    count: int


class WorkerView(msgspec.Struct, frozen=True, kw_only=True):
    """A worker process. `solo`: it runs suspects alone. `held`: jobs that it has now."""

    id: str
    node: str
    pid: int
    slots: int
    held: int
    solo: bool
    types: list[str]
    started_at: str


class WorkerList(msgspec.Struct, frozen=True):
    """All live worker processes of the cluster."""

    workers: list[WorkerView]


class TypeView(msgspec.Struct, frozen=True, kw_only=True):
    """A type of jobs that live workers handle. `schema` is the JSON Schema (2020-12) of its payload, from the handler's
    type hints, and `description` its docstring; null and empty where a node has not told them (yet), or they are too
    large. `max_retries` and `timeout` (seconds) are null where the cluster's hold. `differing` nodes have another
    version of the handler than the one described, which is that of the node that began last."""

    type: str
    description: str
    schema: dict[str, Any] | None
    max_retries: int | None
    timeout: float | None
    nodes: list[str]
    differing: list[str]


class TypeList(msgspec.Struct, frozen=True):
    """The types of jobs that live workers handle, by name."""

    types: list[TypeView]


class NodeView(msgspec.Struct, frozen=True, kw_only=True):
    """A node. `alive`: its beat moved within its lease."""

    id: str
    incarnation: str
    url: str
    version: str
    alive: bool
    is_leader: bool
    slots: int
    held: int
    strategy: str
    started_at: str


class NodeList(msgspec.Struct, frozen=True):
    """All nodes of the cluster."""

    nodes: list[NodeView]


class ClusterView(msgspec.Struct, frozen=True):
    """The cluster as the answering node sees it; further fields may come. `node_count` counts members that live."""

    cluster_id: str
    version: str
    node_id: str
    algorithm: str
    strategy: str
    generation: int
    leader_id: str | None
    epoch: int
    node_count: int
    members: list[MemberInfo]


class HealthSummary(msgspec.Struct, frozen=True):
    """Liveness and readiness in one answer. `ok` when both are."""

    ok: bool
    version: str
    live: Health
    ready: Health


class ProblemKind(msgspec.Struct, frozen=True):
    """What a problem code means."""

    code: str
    status: int
    title: str
    explanation: str


class ProblemKinds(msgspec.Struct, frozen=True):
    """All problem codes."""

    problems: list[ProblemKind]


def moment(time_ms: int) -> str:
    """RFC 3339 text; a time beyond the year 9999 is shown as that year's end rather than not at all."""
    return rfc3339(min(time_ms, TIME_MS_MAX)) or ""


def moment_or_none(time_ms: int | None) -> str | None:
    """`moment`, or None for None."""
    return None if time_ms is None else moment(time_ms)


def with_moment(entry: dict[str, Any]) -> dict[str, Any]:
    """A log line or leadership change with its time `at` (ms) as RFC 3339 text."""
    at = entry.get("at")
    return {**entry, "at": moment(at)} if isinstance(at, int) and not isinstance(at, bool) else entry


def job_view(job: Job) -> JobView:
    """A job as the API shows it."""
    return JobView(
        id=job.id,
        type=job.type,
        queue=job.queue,
        status=job.status,
        priority=job.priority,
        payload=job.payload,
        result=job.result,
        error=job.error,
        attempt=job.attempt,
        failures=job.failures,
        crashes=job.crashes,
        max_retries=job.max_retries,
        timeout=None if job.timeout_ms is None else job.timeout_ms / 1000,
        progress=job.progress,
        tags=job.tags,
        idempotency_key=job.idempotency_key,
        scope=job.scope,
        request_id=job.request_id,
        traceparent=job.traceparent,
        node=job.node,
        scheduled_at=moment_or_none(job.scheduled_at),
        expires_at=moment_or_none(job.expires_at),
        created_at=moment(job.created_at),
        updated_at=moment(job.updated_at),
        started_at=moment_or_none(job.started_at),
        completed_at=moment_or_none(job.completed_at),
        history=[_attempt_view(attempt) for attempt in job.history],
        logs=[with_moment(line) for line in job.logs],
    )


def _attempt_view(attempt: Attempt) -> AttemptView:
    return AttemptView(
        attempt.attempt,
        attempt.outcome,
        attempt.node,
        attempt.worker,
        moment_or_none(attempt.started_at),
        moment_or_none(attempt.ended_at),
        attempt.error,
    )


def page_view(page: JobPage) -> JobPageView:
    """A page as the API shows it."""
    return JobPageView([job_view(job) for job in page.jobs], page.next_cursor)


def worker_view(worker: WorkerInfo) -> WorkerView:
    """A worker process as the API shows it."""
    return WorkerView(**{**msgspec.structs.asdict(worker), "started_at": moment(worker.started_at)})


def type_view(one: TypeInfo) -> TypeView:
    """A type as the API shows it."""
    return TypeView(
        type=one.type,
        description=one.description,
        schema=one.schema,
        max_retries=one.max_retries,
        timeout=None if one.timeout_ms is None else one.timeout_ms / 1000,
        nodes=one.nodes,
        differing=one.differing,
    )


def node_view(node: NodeInfo) -> NodeView:
    """A node as the API shows it."""
    return NodeView(**{**msgspec.structs.asdict(node), "started_at": moment(node.started_at)})


class EventView(msgspec.Struct, frozen=True, kw_only=True):
    """A domain event. `id` (NODE:BOOT:SEQ) names it for ever; of one node and boot, SEQ counts without gaps. `cursor`
    is its place among all, for `after`; null while it has none. `fields` are those of its kind."""

    id: str
    cursor: str | None
    at: str
    node: str
    kind: str
    severity: Severity
    fields: dict[str, Any]


def event_view(event: ActivityEvent) -> EventView:
    """An event as the API shows it."""
    return EventView(
        id=event.id,
        cursor=place_text(event.place),
        at=moment(event.at),
        node=event.node,
        kind=event.kind,
        severity=Severity(event.severity),
        fields=event.fields,
    )


def place_text(place: int | None) -> str | None:
    """A place as callers give it back: a cursor."""
    return None if place is None else str(place)
