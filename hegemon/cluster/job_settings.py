"""The settings of jobs and of the workers that run them: retries, timeouts, bounds, retention, slots and leases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Literal, get_args

from pydantic import Field

from hegemon.cluster.durations import format_size
from hegemon.cluster.setting_forms import Choice, Duration, Modules, Number, Size, Whole
from hegemon.cluster.setting_group import Conflict, Group

_MIB = 1 << 20
# Room for the rest of a job's document, its history and its error, below MongoDB's 16 MiB.
_DOCUMENT_BUDGET = 15 * _MIB
_MS, _SECOND, _MINUTE, _HOUR = timedelta(milliseconds=1), timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
_ZERO, _DAY = timedelta(0), timedelta(days=1)

RetryPolicy = Literal["exponential", "fixed"]

RetryDelay = Annotated[timedelta, Duration(_ZERO, 365 * _DAY)]
BodySize = Annotated[int, Size(1, _DOCUMENT_BUDGET)]
Retention = Annotated[timedelta, Duration(_ZERO, 3650 * _DAY)]


class QueueSettings(Group):
    """Retries, timeouts and bounds of jobs, and how long finished ones are kept."""

    retry_policy: Annotated[RetryPolicy, Choice(get_args(RetryPolicy))] = Field(
        default="exponential",
        description="How long a failed job waits for its next attempt: exponential grows from RETRY_BASE_DELAY by "
        "RETRY_MULTIPLIER up to RETRY_MAX_DELAY, fixed always waits RETRY_BASE_DELAY. A job type may have "
        "its own.",
    )
    max_retries: Annotated[int, Whole(0, 1000)] = Field(
        default=3,
        description="Attempts after the first one before a job goes to the dead letters. A type or a job may set its "
        "own.",
    )
    retry_base_delay: RetryDelay = Field(
        default=_SECOND,
        description="The wait before the first retry. Shorter gets over a hiccup sooner; longer spares what is "
        "overloaded. Not longer than RETRY_MAX_DELAY.",
    )
    retry_max_delay: RetryDelay = Field(
        default=5 * _MINUTE, description="The longest wait between two attempts. Not shorter than RETRY_BASE_DELAY."
    )
    retry_multiplier: Annotated[float, Number(1, 100)] = Field(
        default=2.0,
        description="By how much each wait exceeds the last under RETRY_POLICY=exponential; without effect under "
        "fixed.",
    )
    retry_jitter_factor: Annotated[float, Number(0, 1)] = Field(
        default=0.1,
        description="The part of each wait that chance decides, so that jobs that failed together do not return "
        "together. 0 is exact, 1 spreads widest.",
    )
    job_timeout: Annotated[timedelta, Duration(_MS, 30 * _DAY)] = Field(
        default=5 * _MINUTE,
        description="The soft timeout of an attempt: its handler is cancelled and the attempt has failed. A type or a "
        "job may set its own. JOB_TIMEOUT_GRACE later follows the hard one.",
    )
    job_timeout_grace: Annotated[timedelta, Duration(_ZERO, _HOUR)] = Field(
        default=5 * _SECOND,
        description="How long a handler may go on after JOB_TIMEOUT, to clean up; then its worker process is killed, "
        "and the other jobs in it start again elsewhere.",
    )
    max_crashes: Annotated[int, Whole(1, 100)] = Field(
        default=3,
        description="How many worker processes one job may bring down before it goes to the dead letters. Apart from "
        "MAX_RETRIES.",
    )
    max_payload_size: BodySize = Field(
        default=_MIB,
        description="The largest payload of one job as JSON; a larger one gets 413. Payloads wait in Redis and "
        "MongoDB: for large data, pass a reference. With MAX_RESULT_SIZE at most 15MiB; not larger than "
        "MAX_REQUEST_SIZE.",
    )
    max_result_size: BodySize = Field(
        default=_MIB,
        description="The largest result of one job as JSON; a job that returns more has failed. With MAX_PAYLOAD_SIZE "
        "at most 15MiB, since both stand in one document.",
    )
    max_batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        default=1000,
        description="The most jobs in one batch; a larger one gets 413. A batch is one transaction: larger ones save "
        "round trips and delay others longer. MAX_REQUEST_SIZE bounds it too. Not above SUBMIT_BUFFER.",
    )
    max_queue_depth: Annotated[int, Whole(1, 100_000_000)] = Field(
        default=2_000_000,
        description="The most jobs that may wait, ready and delayed together; beyond it submissions get 429. What "
        "waits lies in Redis's memory: allow it at least 1kB a job plus the payload.",
    )
    submit_buffer: Annotated[int, Whole(1, 1_000_000)] = Field(
        default=10_000,
        description="The most submitted jobs that may wait on this node for their group's commit; beyond it "
        "submissions get 503. Larger takes higher bursts, for memory and latency. Not below "
        "MAX_BATCH_SIZE.",
    )
    retention_completed: Retention = Field(
        default=7 * _DAY,
        description="How long completed and cancelled jobs are kept in MongoDB. 0 keeps them for ever. See also "
        "RETENTION_FAILED.",
    )
    retention_failed: Retention = Field(
        default=30 * _DAY,
        description="How long failed jobs, the dead letters, are kept in MongoDB. 0 keeps them for ever. See also "
        "RETENTION_COMPLETED.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.retry_max_delay < self.retry_base_delay:
            yield Conflict(
                ("RETRY_MAX_DELAY", "RETRY_BASE_DELAY"), "RETRY_MAX_DELAY must not be shorter than RETRY_BASE_DELAY"
            )
        if self.max_payload_size + self.max_result_size > _DOCUMENT_BUDGET:
            yield Conflict(
                ("MAX_PAYLOAD_SIZE", "MAX_RESULT_SIZE"),
                f"MAX_PAYLOAD_SIZE and MAX_RESULT_SIZE together must not exceed {format_size(_DOCUMENT_BUDGET)}, since "
                "both stand in one MongoDB document",
            )
        if self.submit_buffer < self.max_batch_size:
            yield Conflict(("SUBMIT_BUFFER", "MAX_BATCH_SIZE"), "SUBMIT_BUFFER must not be below MAX_BATCH_SIZE")


class WorkerSettings(Group):
    """How many jobs a node runs at once, in which processes, and when a worker counts as dead."""

    worker_count: Annotated[int, Whole(1, 10_000)] = Field(
        default=10,
        description="Jobs that this node runs at once, over all its worker processes. Raise it for handlers that wait "
        "for others; for handlers that compute raise WORKER_PROCESSES.",
    )
    worker_processes: Annotated[int, Whole(1, 64)] = Field(
        default=1,
        description="Processes that share WORKER_COUNT; not more than that. More use more cores and contain a crash "
        "better, for the memory of your code in each.",
    )
    handlers: Annotated[tuple[str, ...], Modules()] = Field(
        default=(),
        description="Python modules that register job handlers, separated by commas; each worker process imports "
        "them. Without any, the node runs no jobs.",
    )
    worker_lease: Annotated[timedelta, Duration(100 * _MS, _HOUR)] = Field(
        default=3 * _SECOND,
        description="A worker whose beat stands still this long loses its jobs to others. Shorter recovers a lost "
        "node sooner, but a pause then costs work done twice. At least four times WORKER_BEAT, the same "
        "on all nodes.",
    )
    worker_beat: Annotated[timedelta, Duration(10 * _MS, 10 * _MINUTE)] = Field(
        default=500 * _MS, description="How often a worker's beat moves. At most a quarter of WORKER_LEASE."
    )
    suspect_processes: Annotated[int, Whole(1, 8)] = Field(
        default=1,
        description="Processes of their own for jobs whose worker died under them: each runs one such job at a time, "
        "alone, until it is cleared or has reached MAX_CRASHES.",
    )

    def conflicts(self) -> Iterator[Conflict]:
        if self.worker_processes > self.worker_count:
            yield Conflict(
                ("WORKER_PROCESSES", "WORKER_COUNT"),
                "WORKER_PROCESSES must not exceed WORKER_COUNT, since each process needs a slot",
            )
        if self.worker_lease < 4 * self.worker_beat:
            yield Conflict(("WORKER_LEASE", "WORKER_BEAT"), "WORKER_LEASE must be at least four times WORKER_BEAT")
