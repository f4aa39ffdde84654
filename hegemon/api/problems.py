"""Every error that the API answers, in one table: stable code -> status and title, sent as RFC 9457 problem+json.

A test holds the table against `hegemon.queue.errors` and `hegemon.auth.errors`, and `docs/api.md` is written from it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from hegemon.api.reply import PROBLEM, Header, Reply, encode
from hegemon.auth.errors import AuthError, InvalidCredentials, InvalidUser, Unauthenticated
from hegemon.queue.errors import InvalidJob, JobStateConflict, QueueError

DETAIL_MAX: Final = 500
RETRY_AFTER_DEFAULT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What a code means. `retry`: the same request may succeed later, so the answer carries Retry-After."""

    status: int
    title: str
    explanation: str
    retry: bool = False


TABLE: Final[dict[str, ProblemType]] = {
    "malformed_json": ProblemType(400, "Malformed JSON", "The body is empty or is not JSON in UTF-8."),
    "malformed_request": ProblemType(
        400, "Malformed request", "What came is not HTTP/1.1. The connection is closed after the answer."
    ),
    "unauthenticated": ProblemType(
        401,
        "Not authenticated",
        "The request has no credential, or one that is not accepted: log in under /auth/login, or send an API key.",
    ),
    "token_expired": ProblemType(
        401, "Token expired", "The token was good once: refresh it under /auth/refresh, or log in again."
    ),
    "invalid_credentials": ProblemType(
        401, "Wrong name or password", "The name or the password is wrong, or the account is disabled."
    ),
    "forbidden": ProblemType(
        403, "Forbidden", "The caller is known, and its role or its queues do not allow this operation."
    ),
    "not_found": ProblemType(404, "No such path", "Nothing is served under this path."),
    "job_not_found": ProblemType(404, "No such job", "There is no job with this id: it never was, or it was removed."),
    "user_not_found": ProblemType(404, "No such user", "There is no user of this name."),
    "key_not_found": ProblemType(404, "No such API key", "There is no API key with this id."),
    "method_not_allowed": ProblemType(
        405, "Method not allowed", "The path exists; the header Allow lists its methods."
    ),
    "request_timeout": ProblemType(
        408, "Request timed out", "The request's head or body did not arrive in time, or its handler took too long."
    ),
    "user_exists": ProblemType(409, "User exists", "There is a user of this name already."),
    "job_state_conflict": ProblemType(
        409,
        "The job's state does not allow this",
        "For instance: cancelling a job that has ended, deleting one that lives. `job_status` says where it stands.",
    ),
    "not_leader": ProblemType(
        409,
        "Not the leader",
        "Only the leader can do this: ask it. `leader_id` and `leader_url` say who that is; null if nobody leads.",
    ),
    "idempotency_key_in_flight": ProblemType(
        409, "Idempotency key in use", "A request with this key is still being processed.", retry=True
    ),
    "precondition_failed": ProblemType(
        412, "Changed meanwhile", "If-Match names another state than the present one: read it again."
    ),
    "body_too_large": ProblemType(
        413, "Request body too large", "The body is larger than MAX_REQUEST_SIZE. It is not read to its end."
    ),
    "payload_too_large": ProblemType(413, "Payload too large", "A job's payload is larger than MAX_PAYLOAD_SIZE."),
    "batch_too_large": ProblemType(413, "Batch too large", "The batch holds more jobs than MAX_BATCH_SIZE."),
    "unsupported_media_type": ProblemType(
        415, "Unsupported media type", "Bodies are `application/json`, in UTF-8, without a Content-Encoding."
    ),
    "misdirected_request": ProblemType(
        421,
        "Not this node's name",
        "A node without authentication answers only to addresses, localhost and names without a dot: a web page could "
        "otherwise take it for its own site.",
    ),
    "invalid_job": ProblemType(
        422,
        "Invalid job",
        "The JSON does not describe an acceptable job: unknown field, wrong type, out of range. `field` names where.",
    ),
    "invalid_parameter": ProblemType(
        422, "Invalid parameter", "A query parameter, a header or a body's field is unknown or wrong; `field` names it."
    ),
    "idempotency_key_reused": ProblemType(
        422, "Idempotency key reused", "The key was used before by this caller, with another body."
    ),
    "invalid_user": ProblemType(
        422, "Invalid user or key", "The JSON does not describe an acceptable user, key or token. `field` names where."
    ),
    "precondition_required": ProblemType(
        428, "Precondition required", "A change needs If-Match with the ETag that reading it gave."
    ),
    "rate_limited": ProblemType(429, "Rate limited", "This caller or address asks more often than it may.", retry=True),
    "login_throttled": ProblemType(
        429, "Too many failed logins", "Logins for this name or from this address must wait.", retry=True
    ),
    "queue_full": ProblemType(429, "Queue full", "The queue holds MAX_QUEUE_DEPTH jobs.", retry=True),
    "headers_too_large": ProblemType(
        431, "Headers too large", "The request's line or its headers are longer or more than a node reads."
    ),
    "internal_error": ProblemType(
        500, "Internal error", "A fault of Hegemon's own. The log has the rest under the request id."
    ),
    "overloaded": ProblemType(
        503,
        "Overloaded",
        "More submissions wait for their write than SUBMIT_BUFFER allows, or more requests are under way than "
        "MAX_REQUESTS allows. Nothing was done.",
        retry=True,
    ),
    "too_many_connections": ProblemType(
        503, "Too many connections", "The node has MAX_CONNECTIONS connections open.", retry=True
    ),
    "too_many_streams": ProblemType(
        503, "Too many streams", "The node has MAX_ACTIVITY_STREAMS streams open: ask another one.", retry=True
    ),
    "store_unavailable": ProblemType(
        503, "Store unavailable", "MongoDB or Redis does not answer, or the index is being rebuilt.", retry=True
    ),
    "outcome_unknown": ProblemType(
        503,
        "Outcome unknown",
        "A store went away between question and answer: the request may have been carried out. "
        "Send it again under its Idempotency-Key.",
        retry=True,
    ),
    "stopping": ProblemType(503, "Stopping", "The node stops and could not end the request: ask another.", retry=True),
    "not_live": ProblemType(
        503, "Not live", "The node's loops stand still: restart it. `parts` says which.", retry=True
    ),
    "not_ready": ProblemType(
        503, "Not ready", "The node cannot take requests now: send them elsewhere. `parts` says why.", retry=True
    ),
}

# Codes of errors that callers should never see, and what they see instead. What they say is for the log alone.
INTERNAL: Final[dict[str, str]] = {
    "queue_error": "internal_error",
    "incarnation_closed": "internal_error",
    "wrong_store": "internal_error",
    "index_refused": "store_unavailable",
    "fenced": "store_unavailable",
    "auth_error": "internal_error",
    "auth_settings": "internal_error",
}


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every error, RFC 9457. `type` is a path on the same node that explains the code."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    field: str | None = None
    job_status: str | None = None


@dataclass(slots=True, eq=False)
class ApiError(Exception):
    """A request that ends in a problem. `extensions` are further members of its body."""

    code: str
    detail: str | None = None
    field: str | None = None
    headers: tuple[Header, ...] = ()
    retry_after_s: float | None = None
    hang_up: bool = False
    extensions: dict[str, Any] = dataclasses.field(default_factory=dict)


def from_queue_error(error: QueueError) -> ApiError:
    """The problem of an error that a port raised. Internal errors become public ones and lose their text."""
    public = INTERNAL.get(error.code)
    if public is not None:
        return ApiError(public, retry_after_s=error.retry_after_s)
    named = error.field if isinstance(error, InvalidJob) else None
    extensions = {"job_status": error.status} if isinstance(error, JobStateConflict) else {}
    return ApiError(error.code, str(error), field=named, retry_after_s=error.retry_after_s, extensions=extensions)


def from_auth_error(error: AuthError, *, sent: bool = False) -> ApiError:
    """The problem of a refusal. `sent`: the request carried a credential, which the challenge then calls invalid."""
    public = INTERNAL.get(error.code)
    if public is not None:
        return ApiError(public)
    named = error.field if isinstance(error, InvalidUser) else None
    headers: tuple[Header, ...] = ()
    if isinstance(error, (Unauthenticated, InvalidCredentials)):
        challenge = b'Bearer realm="hegemon", error="invalid_token"' if sent else b'Bearer realm="hegemon"'
        headers = ((b"www-authenticate", challenge),)
    return ApiError(error.code, str(error), field=named, headers=headers, retry_after_s=error.retry_after_s)


def reply_to(error: ApiError, request_id: str) -> Reply:
    """The answer for `error`."""
    kind = TABLE[error.code]
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": shorten(error.detail or kind.explanation),
        "code": error.code,
        "request_id": request_id,
    }
    if error.field is not None:
        body["field"] = shorten(error.field, 200)
    body.update(error.extensions)
    headers = error.headers
    if kind.retry:
        wait_s = RETRY_AFTER_DEFAULT_S if error.retry_after_s is None else error.retry_after_s
        headers = (*headers, (b"retry-after", str(max(1, math.ceil(wait_s))).encode()))
    return Reply(kind.status, encode(body), PROBLEM, headers, error.hang_up)


def shorten(text: str, length_max: int = DETAIL_MAX) -> str:
    """At most `length_max` characters: a caller's own megabyte is not sent back to it."""
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def from_decode_error(error: Exception, code: str) -> ApiError:
    """The problem of a body that msgspec refused: `code` for JSON of a wrong shape, `malformed_json` for no JSON."""
    if isinstance(error, msgspec.ValidationError):
        message, where = _place(str(error))
        return ApiError(code, f"{where}: {message}" if where else message, field=where or None)
    if isinstance(error, RecursionError):
        return ApiError("malformed_json", "the JSON is nested too deeply")
    if isinstance(error, UnicodeDecodeError):
        return ApiError("malformed_json", "the body is not UTF-8")
    return ApiError("malformed_json", str(error))


def _place(text: str) -> tuple[str, str]:
    """The sentence of msgspec without its ``- at `$.path` ``, and that path as `jobs[3].priority`.

    An unknown field's name is the caller's text and may imitate a path, so it is cut out by position first. Such a
    field, or a missing one, is named by itself: msgspec's path ends at the object around it.
    """
    for opening in ("Object contains unknown field `", "Object missing required field `"):
        if text.startswith(opening):
            inner = text[len(opening) :]
            end = inner.rfind("` - at `$")
            name, around = (inner[:end], inner[end + 8 : -1]) if end >= 0 else (inner[:-1], "$")
            where = f"{around}.{name}".removeprefix("$").removeprefix(".")
            return ("there is no such field" if "unknown" in opening else "this field is required"), where
    message, separator, path = text.rpartition(" - at `$")
    if not separator:
        return text, ""
    return message, path.removesuffix("`").removeprefix(".")
