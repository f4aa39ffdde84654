"""What the API's replies look like to a caller: small frozen values that ignore fields they do not know yet."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from hegemon.queue.states import FINAL

_FINAL = frozenset(status.value for status in FINAL)


class AttemptInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One try at a job."""

    attempt: int
    outcome: str
    node: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: str | None = None


class JobInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A job as the node last told it. Times are aware datetimes in UTC, `timeout` is seconds; it and
    `max_retries` are None where the job leaves them to its type or the cluster.

    `payload` and `result` are what JSON gives; `error` has type, message and traceback. `source` is the reply as it
    came, with fields that this version does not know.
    """

    id: str
    type: str
    status: str
    queue: str = "default"
    priority: int = 5
    attempt: int = 1
    failures: int = 0
    crashes: int = 0
    max_retries: int | None = None
    timeout: float | None = None
    payload: Any = None
    result: Any = None
    error: dict[str, Any] | None = None
    history: list[AttemptInfo] = []
    progress: dict[str, Any] | None = None
    logs: list[dict[str, Any]] = []
    tags: list[str] = []
    idempotency_key: str | None = None
    scope: str | None = None
    request_id: str | None = None
    traceparent: str | None = None
    node: str | None = None
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    source: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether it is completed, failed or cancelled."""
        return self.status in _FINAL

    def __repr__(self) -> str:
        return f"JobInfo(id={self.id!r}, type={self.type!r}, status={self.status!r}, attempt={self.attempt})"


class Accepted(msgspec.Struct, frozen=True, kw_only=True):
    """The node's answer to a submission. `replayed`: its idempotency key was known, this is its job.
    `request_id`: of this request, by which logs know it."""

    id: str
    status: str
    replayed: bool = False
    request_id: str | None = None


def job_info(source: dict[str, Any]) -> JobInfo:
    """The job in a decoded reply; raises `msgspec.ValidationError` when it is none."""
    return msgspec.convert({**source, "source": source}, JobInfo)
