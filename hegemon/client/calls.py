"""Every request of the API as a value, with the function that reads its reply. No I/O: both clients share this file."""

# ruff: noqa: A002 -- `type` and `all` are the words of the API; another name here would only need translating

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypedDict, TypeVar
from urllib.parse import quote

import msgspec

from hegemon.client.errors import ApiError
from hegemon.client.views import Accepted, JobInfo, job_info

T = TypeVar("T")
API: Final = "/api/v1"
PAGE_MAX: Final = 100
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
POLL_S_MAX: Final = 30.0  # the API allows 120 s; proxies often cut a silent connection at 60 s


class JobOptions(TypedDict, total=False):
    """What may be said about a job beside type and payload; what is absent or None is left to the cluster."""

    priority: int | str | None
    queue: str | None
    delay: float | timedelta | None
    scheduled_at: datetime | str | None
    expires_at: datetime | str | None
    max_retries: int | None
    timeout: float | timedelta | None
    tags: Sequence[str] | None
    retry: Mapping[str, Any] | None


class SubmitOptions(JobOptions, total=False):
    """`JobOptions` and the idempotency key, which stands for a single job."""

    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request. `repeatable`: carrying it out twice is as good as once, so it may be sent again after a lost reply.
    `patience_s` is how long the node may hold its answer back on purpose, `again` that it is repeatable for a reason of
    its own, `match` the state that it is meant for (If-Match)."""

    method: str
    path: str
    read: Callable[[Reply], T]
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    key: str | None = None
    patience_s: float = 0.0
    again: bool = False
    match: str | None = None

    @property
    def repeatable(self) -> bool:
        return self.method == "GET" or self.key is not None or self.again

    @property
    def headers(self) -> dict[str, str]:
        headers = {"accept": "application/json, application/problem+json"}
        if self.body is not None:
            headers["content-type"] = "application/json"
        if self.key is not None:
            headers["idempotency-key"] = self.key
        if self.match is not None:
            headers["if-match"] = self.match
        return headers


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, the cursor behind them, and the call that continues: None at the end or when the limit is reached."""

    jobs: list[JobInfo]
    next_cursor: str | None
    following: Call[Page] | None


def submit(type: str, payload: Any = None, options: SubmitOptions | None = None) -> Call[Accepted]:
    """One job. Without a key it gets a random one, so that a repetition after a lost reply cannot make a second job."""
    given: dict[str, Any] = dict(options or {})
    key: str | None = given.pop("idempotency_key", None)
    unknown = given.keys() - JobOptions.__annotations__.keys()
    if unknown:
        raise TypeError(f"submit() has no option {min(unknown)!r}")
    body = _job_body({"type": type, "payload": payload, **given})
    return Call(
        "POST",
        f"{API}/jobs",
        _read_accepted,
        body=msgspec.json.encode(body),
        key=_header_value(str(uuid.uuid4()) if key is None else key),
    )


def submit_batch(jobs: Iterable[Mapping[str, Any]]) -> Call[list[str]]:
    """All or none. Sent without a key, so a lost reply leaves its outcome unknown."""
    body = {"jobs": [_job_body(job) for job in jobs]}
    return Call("POST", f"{API}/jobs/batch", lambda reply: _object(reply)["ids"], body=msgspec.json.encode(body))


def get(job_id: str) -> Call[JobInfo]:
    """The job as it is now."""
    return Call("GET", _job_path(job_id), _read_job)


def poll(job_id: str, window_s: float) -> Call[JobInfo]:
    """The job once it has ended, or as it is after `window_s`."""
    return Call(
        "GET", _job_path(job_id) + "/wait", _read_job, params={"timeout": f"{window_s:.3f}"}, patience_s=window_s
    )


def cancel(job_id: str) -> Call[JobInfo]:
    """Cancel a job that has not ended."""
    return Call("POST", _job_path(job_id) + "/cancel", _read_job)


def retry(job_id: str) -> Call[JobInfo]:
    """Put a failed or cancelled job back in its queue."""
    return Call("POST", _job_path(job_id) + "/retry", _read_job)


def delete(job_id: str) -> Call[None]:
    """Remove a job that has ended."""
    return Call("DELETE", _job_path(job_id), lambda reply: None)


def jobs(*, limit: int | None = None, cursor: str | None = None, **filters: str | None) -> Call[Page]:
    """A page of jobs by status, type, queue, tag; `Page.following` goes on until `limit` jobs were read (None: all)."""
    return _page(f"{API}/jobs", filters, limit, cursor)


def dead(*, limit: int | None = None, cursor: str | None = None, **filters: str | None) -> Call[Page]:
    """A page of dead letters by type and queue."""
    return _page(f"{API}/dead", filters, limit, cursor)


def requeue_dead(ids: Sequence[str] | None, type: str | None, queue: str | None, all: bool) -> Call[int]:
    """Put dead letters back in their queues: by ids, by type and/or queue, or all."""
    return _on_dead("requeue", ids, type, queue, all)


def purge_dead(ids: Sequence[str] | None, type: str | None, queue: str | None, all: bool) -> Call[int]:
    """Remove dead letters for good."""
    return _on_dead("purge", ids, type, queue, all)


def view(name: str) -> Call[dict[str, Any]]:
    """stats, workers, nodes, leader, election or cluster, as the API wrote it."""
    return Call("GET", f"{API}/{name}", _object)


def algorithm(name: str, nodes: int | None) -> Call[dict[str, Any]]:
    """The advice on an election algorithm, for so many nodes; None: as many as there are."""
    params = {} if nodes is None else {"nodes": str(nodes)}
    return Call("GET", f"{API}/election/algorithms/{quote(name, safe='')}", _object, params=params)


def step_down(pause: float | timedelta) -> Call[dict[str, Any]]:
    """Make the node hand the leadership over, if it has it. Not repeatable: twice would depose the successor, too."""
    seconds = pause.total_seconds() if isinstance(pause, timedelta) else pause
    return Call("POST", f"{API}/election/step-down", _object, body=msgspec.json.encode({"pause": seconds}))


def listing(name: str) -> Call[list[dict[str, Any]]]:
    """The list inside `{"workers": […]}`, `{"types": […]}` or `{"nodes": […]}`."""
    return Call("GET", f"{API}/{name}", lambda reply: _object(reply)[name])


def document(
    method: str, path: str, body: Any = None, *, match: str | None = None, params: Mapping[str, str] | None = None
) -> Call[dict[str, Any]]:
    """Any other request with JSON in and a JSON object out; an empty answer is an empty object."""
    encoded = None if body is None else msgspec.json.encode(body)
    return Call(
        method,
        path,
        lambda reply: _object(reply) if reply.body else {},
        params=params or {},
        body=encoded,
        match=match,
    )


def tagged(path: str) -> Call[tuple[dict[str, Any], str]]:
    """An object and its ETag, for a change that is meant for the state that was seen."""
    return Call("GET", path, lambda reply: (_object(reply), reply.headers["etag"]))


def finish(call: Call[T], reply: Reply, *, uncertain: bool = False) -> T:
    """What the last reply says; raises `ApiError` for a problem and for an answer that no Hegemon node gives."""
    if not 200 <= reply.status < 300:
        error = problem(reply)
        error.uncertain = uncertain and call.method != "GET"
        error.idempotency_key = call.key
        raise error
    try:
        return call.read(reply)
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError) as cause:
        detail = f"{call.method} {call.path} gave an answer that is not a Hegemon node's: {cause}"
        raise ApiError(reply.status, "unexpected_answer", detail) from cause


def problem(reply: Reply) -> ApiError:
    """The error in a reply; a body that is no problem document gets the code `http_STATUS`."""
    code, detail, at = f"http_{reply.status}", f"the node answered with HTTP status {reply.status}", None
    try:
        said = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        said = None
    if isinstance(said, dict):
        code = str(said.get("code") or code)
        detail = str(said.get("detail") or said.get("title") or detail)
        at = None if said.get("field") is None else str(said["field"])
    error = ApiError(reply.status, code, detail, field=at, retry_after=retry_after_s(reply))
    error.request_id = reply.headers.get("x-request-id")
    return error


def retry_after_s(reply: Reply) -> float | None:
    """Seconds of Retry-After; None when absent or given as a date."""
    try:
        return max(0.0, float(reply.headers.get("retry-after", "")))
    except ValueError:
        return None


def _job_path(job_id: str) -> str:
    if not job_id.strip("."):
        raise ValueError(f"{job_id!r} is not a job id")
    return f"{API}/jobs/{quote(job_id, safe='')}"


def _header_value(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("an idempotency key is 1 to 255 visible ASCII characters, without spaces")
    return key


def _job_body(given: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON body: times with a zone, durations in seconds, nothing that is None."""
    body: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or name == "payload":
            continue
        if isinstance(value, datetime) and value.tzinfo is None:
            raise ValueError(f"{name} must have a time zone, such as datetime.now(UTC)")
        body[name] = value.total_seconds() if isinstance(value, timedelta) else value
    payload = given.get("payload")
    body["payload"] = {} if payload is None else payload
    return body


def _page(path: str, filters: Mapping[str, str | None], limit: int | None, cursor: str | None) -> Call[Page]:
    size = PAGE_MAX if limit is None else min(limit, PAGE_MAX)
    params = {name: value for name, value in filters.items() if value is not None} | {"limit": str(size)}
    if cursor is not None:
        params["cursor"] = cursor

    def read(reply: Reply) -> Page:
        said = _object(reply)
        found = [job_info(source) for source in said["jobs"]]
        cursor = said.get("next_cursor")
        left = None if limit is None else limit - len(found)
        more = cursor is not None and (left is None or left > 0)
        return Page(found, cursor, _page(path, filters, left, cursor) if more else None)

    return Call("GET", path, read, params=params)


def _on_dead(action: str, ids: Sequence[str] | None, type: str | None, queue: str | None, all: bool) -> Call[int]:
    some = type is not None or queue is not None
    if (ids is not None) + some + all != 1:
        raise ValueError("say which dead letters: ids, type and/or queue, or all=True")
    if isinstance(ids, str):
        raise TypeError("ids is a list of job ids")
    which: dict[str, Any] = {"ids": list(ids)} if ids is not None else {"all": True} if all else {}
    which |= {name: value for name, value in (("type", type), ("queue", queue)) if value is not None}
    return Call(
        "POST", f"{API}/dead/{action}", lambda reply: int(_object(reply)["count"]), body=msgspec.json.encode(which)
    )


def _object(reply: Reply) -> dict[str, Any]:
    return msgspec.json.decode(reply.body, type=dict[str, Any])


def _read_job(reply: Reply) -> JobInfo:
    return job_info(_object(reply))


def _read_accepted(reply: Reply) -> Accepted:
    replayed = reply.headers.get("idempotency-replayed", "").lower() == "true"
    request_id = reply.headers.get("x-request-id")
    return msgspec.convert({**_object(reply), "replayed": replayed, "request_id": request_id}, Accepted)
