"""A job in its three shapes: what a submitter says (`NewJob`), what MongoDB keeps (a document), what people read
(`Job`).

Times are integers, UTC milliseconds of the cluster clock. Payloads and results are opaque JSON bytes with an encoding
tag, so that BSON's limits do not reach users and encryption (`sealing`) needs no migration.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from hegemon.queue.errors import InvalidJob
from hegemon.queue.provenance import UNKNOWN, Provenance
from hegemon.queue.retry import RetryPolicy
from hegemon.queue.sealing import PLAIN, Part, Sealed, Sealer, Unreadable
from hegemon.queue.states import Status

DOCUMENT_VERSION: Final = 1
PRIORITIES: Final[Mapping[str, int]] = {"background": 0, "low": 1, "normal": 5, "high": 7, "critical": 10}
PRIORITY_MAX: Final = 10
HISTORY_MAX: Final = 50
LOG_LINES_MAX: Final = 200
YEARS_100_MS: Final = 100 * 366 * 86_400_000

Document = dict[str, Any]
# Names travel inside index entries, where ':' separates: they may not hold one.
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.\-/]{1,100}$(?!\n)", description="letters, digits, and _ . - /")]
Tag = Annotated[str, Meta(min_length=1, max_length=100)]


class NewJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a submitter says; also the JSON body of `POST /api/v1/jobs`.

    `priority` is 0 to 10 or a name of `PRIORITIES`; `delay` and `timeout` are seconds; `payload` is a JSON object whose
    fields are the handler's arguments. `delay` and `scheduled_at` exclude each other.
    """

    type: Name
    payload: msgspec.Raw = msgspec.Raw(b"{}")
    queue: Name = "default"
    priority: Annotated[int, Meta(ge=0, le=PRIORITY_MAX)] | str = 5
    delay: Annotated[float, Meta(ge=0, le=YEARS_100_MS / 1000)] | None = None
    scheduled_at: Annotated[datetime, Meta(tz=True)] | None = None
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    max_retries: Annotated[int, Meta(ge=0, le=1000)] | None = None
    timeout: Annotated[float, Meta(gt=0, le=7 * 86_400)] | None = None
    retry: dict[str, Any] | None = None
    tags: Annotated[list[Tag], Meta(max_length=20)] = []


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try at a job, for its history."""

    attempt: int
    outcome: str
    node: str | None = None
    worker: str | None = None
    started_at: int | None = None
    ended_at: int | None = None
    error: str | None = None


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A job as people and programs read it. Times are UTC milliseconds; `payload` and `result` are JSON bytes.

    `max_retries` and `timeout_ms` are None where the job leaves them to its type or the cluster. `request_id` and
    `traceparent` are those of its submission.
    """

    id: str
    type: str
    queue: str
    status: str
    priority: int
    attempt: int
    failures: int
    crashes: int
    max_retries: int | None
    timeout_ms: int | None
    payload: msgspec.Raw
    result: msgspec.Raw | None
    error: dict[str, Any] | None
    history: list[Attempt]
    progress: dict[str, Any] | None
    logs: list[dict[str, Any]]
    tags: list[str]
    idempotency_key: str | None
    scope: str
    request_id: str | None
    traceparent: str | None
    node: str | None
    scheduled_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int
    started_at: int | None
    completed_at: int | None


class Origin(msgspec.Struct, frozen=True):
    """Who must bring a document into the index: if this incarnation is dead, the leader sweeps for it."""

    node: str
    incarnation: str


def to_ms(moment: datetime) -> int:
    """UTC milliseconds of a time with a zone."""
    return round(moment.timestamp() * 1000)


def rfc3339(time_ms: int | None) -> str | None:
    """`time_ms` as RFC 3339 with Z and milliseconds."""
    if time_ms is None:
        return None
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def priority_number(value: int | str) -> int:
    """0 to 10 for a number or a name of `PRIORITIES`."""
    if isinstance(value, int):
        return value
    try:
        return PRIORITIES[value]
    except KeyError:
        names = ", ".join(PRIORITIES)
        raise InvalidJob(f"priority is a number from 0 to 10 or one of {names}", field="priority") from None


def same_body(body: NewJob | Sequence[NewJob], idempotency: Mapping[str, Any], sealer: Sealer = PLAIN) -> bool:
    """Whether a request under an idempotency key asks for the same: a job or a batch, all fields, the payload to the
    byte. Not to be known, hence False, once the key that the digest was made with is gone.
    """
    digest = sealer.digest(msgspec.json.encode(body), idempotency.get("kid"))
    return digest is not None and hmac.compare_digest(digest, bytes(idempotency["digest"]))


def idempotency_of(body: NewJob | Sequence[NewJob], key: str, sealer: Sealer = PLAIN) -> Document:
    """What stands in a job's document for the idempotency key of its request."""
    made: Document = {"key": key, "digest": sealer.digest(msgspec.json.encode(body), sealer.kid)}
    return made if sealer.kid is None else made | {"kid": sealer.kid}


def new_document(
    job: NewJob,
    *,
    job_id: str,
    seq: int,
    now_ms: int,
    origin: Origin,
    cluster_id: str,
    scope: str = "anonymous",
    idempotency_key: str | None = None,
    sealer: Sealer = PLAIN,
    provenance: Provenance = UNKNOWN,
) -> Document:
    """The document of a job to accept. Raises `InvalidJob`; the payload's size is the caller's to check."""
    payload = bytes(job.payload)
    if not payload.startswith(b"{"):
        raise InvalidJob("payload must be a JSON object: its fields are the handler's arguments", field="payload")
    due = _due_ms(job, now_ms)
    if job.retry is not None:
        try:
            RetryPolicy.from_dict(job.retry)
        except ValueError as error:
            raise InvalidJob(f"retry: {error}", field="retry") from error
    expires = _expires_ms(job, now_ms, due)
    document: Document = {
        "_id": job_id,
        "v": DOCUMENT_VERSION,
        "cluster_id": cluster_id,
        "scope": scope,
        "origin": {"node": origin.node, "incarnation": origin.incarnation},
        "type": job.type,
        "queue": job.queue,
        "priority": priority_number(job.priority),
        "status": (Status.PENDING if due is None else Status.SCHEDULED).value,
        "attempt": 1,
        "failures": 0,
        "crashes": 0,
        "seq": seq,
        "payload": sealer.seal(job_id, "payload", payload).stored(),
        "created_at": now_ms,
        "updated_at": now_ms,
    }
    if job.max_retries is not None:
        document["max_retries"] = job.max_retries
    if job.timeout is not None:
        document["timeout_ms"] = max(1, round(job.timeout * 1000))
    if due is not None:
        document["due"] = document["scheduled_at"] = due
    if expires is not None:
        document["expires_at"] = expires
    if job.retry is not None:
        document["retry"] = job.retry
    if job.tags:
        document["tags"] = job.tags
    if idempotency_key is not None:
        document["idempotency"] = idempotency_of(job, idempotency_key, sealer)
    if provenance is not UNKNOWN:
        document |= provenance.stored()
    return document


def _expires_ms(job: NewJob, now_ms: int, due: int | None) -> int | None:
    if job.expires_at is None:
        return None
    expires = to_ms(job.expires_at)
    if expires > now_ms + YEARS_100_MS:
        raise InvalidJob("expires_at lies more than 100 years ahead", field="expires_at")
    if expires <= max(now_ms, due or 0):
        raise InvalidJob("expires_at must lie after now and after scheduled_at", field="expires_at")
    return expires


def _due_ms(job: NewJob, now_ms: int) -> int | None:
    if job.delay is not None and job.scheduled_at is not None:
        raise InvalidJob("give delay or scheduled_at, not both", field="scheduled_at")
    if job.delay is not None:
        due = now_ms + round(job.delay * 1000)
    elif job.scheduled_at is not None:
        due = to_ms(job.scheduled_at)
        if due > now_ms + YEARS_100_MS:
            raise InvalidJob("scheduled_at lies more than 100 years ahead", field="scheduled_at")
    else:
        return None
    return due if due > now_ms else None


def from_document(document: Mapping[str, Any], sealer: Sealer = PLAIN) -> Job:
    """The readable job of a document. The last attempt of a finished job is not stored twice: it is put together
    here. A payload or result that cannot be decrypted reads {"$unreadable": why}: one such job must not hide a page of
    others.
    """
    history = [msgspec.convert(item, Attempt) for item in document.get("history", ())]
    status = document["status"]
    if status == Status.COMPLETED or (status == Status.CANCELLED and "started_at" in document):
        history.append(
            Attempt(
                attempt=document["attempt"],
                outcome=status,
                node=document.get("node"),
                worker=document.get("worker"),
                started_at=document.get("started_at"),
                ended_at=document.get("completed_at"),
            )
        )
    idempotency = document.get("idempotency")
    return Job(
        id=document["_id"],
        type=document["type"],
        queue=document["queue"],
        status=status,
        priority=document["priority"],
        attempt=document["attempt"],
        failures=document["failures"],
        crashes=document["crashes"],
        max_retries=document.get("max_retries"),
        timeout_ms=document.get("timeout_ms"),
        payload=_raw(document, "payload", sealer) or msgspec.Raw(b"{}"),
        result=_raw(document, "result", sealer),
        error=document.get("error"),
        history=history,
        progress=document.get("progress"),
        logs=list(document.get("logs", ())),
        tags=list(document.get("tags", ())),
        idempotency_key=idempotency["key"] if idempotency else None,
        scope=document["scope"],
        request_id=document.get("request_id"),
        traceparent=document["trace"].get("parent") if "trace" in document else None,
        node=document.get("node"),
        scheduled_at=document.get("due", document.get("scheduled_at")),
        expires_at=document.get("expires_at"),
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        started_at=document.get("started_at"),
        completed_at=document.get("completed_at"),
    )


def _raw(document: Mapping[str, Any], part: Part, sealer: Sealer) -> msgspec.Raw | None:
    field = document.get(part)
    if field is None:
        return None
    try:
        return msgspec.Raw(sealer.open(document["_id"], part, Sealed.of(field)))
    except Unreadable as error:
        return msgspec.Raw(msgspec.json.encode({"$unreadable": str(error)}))
