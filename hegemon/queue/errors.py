"""What can go wrong around a job, and whose fault it is. Every error has a stable `code`; the API turns it into a
problem.
"""

from __future__ import annotations

from typing import ClassVar


class QueueError(Exception):
    """Something went wrong around a job."""

    code: ClassVar[str] = "queue_error"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().split("\n")[0])
        self.retry_after_s = retry_after_s


# The caller's fault: the same call will fail again.
class InvalidJob(QueueError):
    """The job as described cannot be accepted."""

    code = "invalid_job"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class PayloadTooLarge(QueueError):
    """The payload is larger than MAX_PAYLOAD_SIZE."""

    code = "payload_too_large"


class BatchTooLarge(QueueError):
    """The batch holds more jobs than MAX_BATCH_SIZE."""

    code = "batch_too_large"


class JobNotFound(QueueError):
    """There is no job with this id."""

    code = "job_not_found"


class JobStateConflict(QueueError):
    """The job's present state does not allow this."""

    code = "job_state_conflict"

    def __init__(self, message: str, *, status: str) -> None:
        super().__init__(message)
        self.status = status


class IdempotencyKeyReused(QueueError):
    """This idempotency key was used before, with another body."""

    code = "idempotency_key_reused"


class IdempotencyKeyInFlight(QueueError):
    """A request with this idempotency key is still being processed; ask again."""

    code = "idempotency_key_in_flight"


# Nobody's fault: come back later. `retry_after_s` says when.
class QueueFull(QueueError):
    """The queue holds MAX_QUEUE_DEPTH jobs; wait until some are done."""

    code = "queue_full"


class Overloaded(QueueError):
    """More submissions wait for their write than SUBMIT_BUFFER allows; slow down."""

    code = "overloaded"


class StoreUnavailable(QueueError):
    """A store did not answer in time."""

    code = "store_unavailable"

    def __init__(
        self, store: str, message: str | None = None, *, retry_after_s: float = 1.0, refuses: bool = False
    ) -> None:
        super().__init__(message or f"{store} does not answer; try again", retry_after_s=retry_after_s)
        self.store = store
        # It answers, and takes no writes (full, without room on its disk, somebody's replica), or does not let us in.
        self.refuses = refuses


class OutcomeUnknown(StoreUnavailable):
    """The store went away between the question and the answer, and reading back failed too: it may have been
    written.
    """

    code = "outcome_unknown"


# Refusals: the store protected itself. Never shown to callers; counted.
class IndexRefused(QueueError):
    """The Redis index is absent, being rebuilt, or of another generation: nothing may be taken or put."""

    code = "index_refused"


class Fenced(QueueError):
    """A leader's script met a marker that is not its own: another office, or none."""

    code = "fenced"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the marker is {reason}")
        self.reason = reason


class IncarnationClosed(QueueError):
    """The leader closed this worker's incarnation: it may take nothing and must return under a new one."""

    code = "incarnation_closed"


class WrongStore(QueueError):
    """This store belongs to another cluster, algorithm or layout, or is set up in a way that would lose jobs."""

    code = "wrong_store"


def leaf(group: BaseExceptionGroup[BaseException], *kinds: type[BaseException]) -> BaseException | None:
    """The first error of these kinds in a task group's failure, if all of its errors are of these kinds; else None.

    `except*` would wrap what its body raises into a group again, which no plain `except` catches.
    """
    expected, others = group.split(kinds)
    if others is not None or expected is None:
        return None
    error: BaseException = expected
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
