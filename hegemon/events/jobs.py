"""What happens to jobs: one by one where somebody asked for it or something failed, counted where all went well."""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta

from hegemon.events.kind import (
    ERROR,
    WARNING,
    Count,
    DomainEvent,
    Duration,
    JobId,
    JobType,
    Queue,
    Severity,
    Try,
)


class JobDead(DomainEvent, frozen=True):
    """A job became a dead letter: retries used up, not retryable, expired, or quarantined."""

    kind: ClassVar[str] = "job.dead"
    severity: ClassVar[Severity] = ERROR
    by: ClassVar[str] = "the node that ran it, or the leader; after its end is recorded"
    job: JobId
    type: JobType
    queue: Queue
    attempt: Try
    outcome: Annotated[str, Meta(description="failed, timeout, rejected, expired, quarantined, …")]
    error: Annotated[str, Meta(description="the error's type; its words stand with the job")]


class JobRetried(DomainEvent, frozen=True):
    """A try of a job failed, and there will be another."""

    kind: ClassVar[str] = "job.retried"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that ran it; after its end is recorded"
    job: JobId
    type: JobType
    queue: Queue
    attempt: Try
    outcome: Annotated[str, Meta(description="failed, timeout, handed_back, …")]
    error: Annotated[str, Meta(description="the error's type; its words stand with the job")]


class JobCancelled(DomainEvent, frozen=True):
    """A job was cancelled on request."""

    kind: ClassVar[str] = "job.cancelled"
    by: ClassVar[str] = "the node that was asked"
    job: JobId
    type: JobType
    queue: Queue
    worker: Annotated[str | None, Meta(description="the worker process that held it; null for none")]


class JobRequeued(DomainEvent, frozen=True):
    """A failed or cancelled job was put back on request."""

    kind: ClassVar[str] = "job.requeued"
    by: ClassVar[str] = "the node that was asked"
    job: JobId
    type: JobType
    queue: Queue


class JobDeleted(DomainEvent, frozen=True):
    """A job that had ended was removed on request."""

    kind: ClassVar[str] = "job.deleted"
    by: ClassVar[str] = "the node that was asked"
    job: JobId
    type: JobType
    queue: Queue


class JobsCompleted(DomainEvent, frozen=True):
    """Jobs that this node completed: one event for all of some seconds, none for none."""

    kind: ClassVar[str] = "jobs.completed"
    by: ClassVar[str] = "the node that ran them"
    count: Count
    seconds: Duration


class JobsUnlisted(DomainEvent, frozen=True):
    """More tries failed here than are told one by one as `job.dead` and `job.retried`: these were not."""

    kind: ClassVar[str] = "jobs.unlisted"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that ran them"
    dead: Annotated[int, Meta(description="how many jobs became dead letters")]
    retried: Annotated[int, Meta(description="how many tries are repeated")]


class JobsRequeued(DomainEvent, frozen=True):
    """Dead letters were put back on request."""

    kind: ClassVar[str] = "jobs.requeued"
    by: ClassVar[str] = "the node that was asked"
    count: Count


class JobsPurged(DomainEvent, frozen=True):
    """Dead letters were removed for good on request."""

    kind: ClassVar[str] = "jobs.purged"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the node that was asked"
    count: Count


class JobsRecovered(DomainEvent, frozen=True):
    """What dead workers held is in the index again."""

    kind: ClassVar[str] = "jobs.recovered"
    severity: ClassVar[Severity] = WARNING
    by: ClassVar[str] = "the leader"
    count: Count
