from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog

from hegemon.api.problems import INTERNAL, TABLE, ApiError, reply_to
from hegemon.auth.errors import AuthError
from hegemon.queue import errors
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode

JOBS = "/api/v1/jobs"


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _subclasses(below)


def test_every_error_code_is_in_the_table_or_named_as_internal() -> None:
    roots = (errors.QueueError, AuthError)
    codes = {kind.code for root in roots for kind in _subclasses(root) if kind.__module__.startswith("hegemon.")}
    assert codes <= TABLE.keys() | INTERNAL.keys()
    assert not TABLE.keys() & INTERNAL.keys()
    assert set(INTERNAL.values()) <= TABLE.keys()
    assert INTERNAL.keys() <= codes


def test_whoever_is_told_to_come_back_is_told_when() -> None:
    for code, kind in TABLE.items():
        headers = dict(reply_to(ApiError(code), "id").headers)
        assert (b"retry-after" in headers) == kind.retry
        assert kind.retry or kind.status not in (429, 503)


@pytest.mark.parametrize(
    ("error", "status", "code", "retry_after"),
    [
        (errors.QueueFull(retry_after_s=2.2), 429, "queue_full", "3"),
        (errors.QueueFull(), 429, "queue_full", "1"),
        (errors.Overloaded(retry_after_s=0.05), 503, "overloaded", "1"),
        (errors.StoreUnavailable("MongoDB", retry_after_s=5), 503, "store_unavailable", "5"),
        (errors.OutcomeUnknown("MongoDB"), 503, "outcome_unknown", "1"),
        (errors.IdempotencyKeyInFlight(), 409, "idempotency_key_in_flight", "1"),
        (errors.IdempotencyKeyReused(), 422, "idempotency_key_reused", None),
        (errors.PayloadTooLarge(), 413, "payload_too_large", None),
        (errors.InvalidJob("no", field="type"), 422, "invalid_job", None),
        (errors.IndexRefused(), 503, "store_unavailable", "1"),
        (errors.Fenced("newer"), 503, "store_unavailable", "1"),
        (errors.IncarnationClosed(), 500, "internal_error", None),
        (errors.WrongStore(), 500, "internal_error", None),
        (errors.QueueError(), 500, "internal_error", None),
    ],
)
def test_what_a_port_raises_is_answered_as_its_problem(
    http: httpx.Client, node: MemoryNode, error: errors.QueueError, status: int, code: str, retry_after: str | None
) -> None:
    node.failure = error
    response = http.post(JOBS, json={"type": "echo"})
    body = assert_problem(response, status, code, "type" if code == "invalid_job" else None)
    assert response.headers.get("retry-after") == retry_after
    assert body["type"] == f"/problems/{code}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{JOBS}/batch"),
        ("GET", JOBS),
        ("GET", "/api/v1/dead"),
        ("GET", "/api/v1/stats"),
        ("GET", "/api/v1/workers"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/api/v1/leader"),
        ("GET", "/api/v1/election"),
        ("GET", "/api/v1/cluster"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/health"),
        ("POST", "/api/v1/dead/purge"),
        ("GET", f"{JOBS}/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"),
        ("GET", f"{JOBS}/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a/wait"),
        ("DELETE", f"{JOBS}/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"),
        ("POST", f"{JOBS}/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a/retry"),
    ],
)
def test_a_lost_store_and_a_fault_are_told_on_every_path(
    http: httpx.Client, node: MemoryNode, method: str, path: str
) -> None:
    body = {"jobs": [{"type": "a"}]} if path.endswith("batch") else {"all": True} if path.endswith("purge") else None
    node.failure = errors.StoreUnavailable("Redis")
    assert_problem(http.request(method, path, json=body), 503, "store_unavailable")
    node.failure = ZeroDivisionError("secret")
    assert_problem(http.request(method, path, json=body), 500, "internal_error")


def test_a_fault_is_logged_under_the_id_that_the_caller_got_and_shows_nothing(
    http: httpx.Client, node: MemoryNode
) -> None:
    node.failure = ZeroDivisionError("the secret")
    with structlog.testing.capture_logs() as logs:
        response = http.get(JOBS)
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    [line] = [line for line in logs if line.get("request_id") == response.headers["x-request-id"]]
    assert (line["event"], line["path"], line["exc_info"]) == ("request_failed", JOBS, node.failure)


def test_what_internal_errors_say_stays_inside(http: httpx.Client, node: MemoryNode) -> None:
    node.failure = errors.Fenced("newer: epoch 7")
    assert "epoch" not in http.post(JOBS, json={"type": "echo"}).text


@pytest.mark.parametrize("path", ["/nonsense", "/api/v1", "/api/v1/jobs/", "/api/v2/jobs", "/docs", "/api/v1/jobs/a/b"])
def test_an_unknown_path_is_a_problem(http: httpx.Client, path: str) -> None:
    assert_problem(http.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", JOBS, {"GET", "HEAD", "POST"}),
        ("GET", f"{JOBS}/batch", {"POST"}),
        ("PATCH", f"{JOBS}/x", {"GET", "HEAD", "DELETE"}),
        ("GET", f"{JOBS}/x/cancel", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("PROPFIND", "/metrics", {"GET", "HEAD"}),
        ("DELETE", "/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(http: httpx.Client, method: str, path: str, allowed: set[str]) -> None:
    response = http.request(method, path)
    assert_problem(response, 405, "method_not_allowed")
    assert set(response.headers["allow"].split(", ")) == allowed


def test_head_is_get_without_the_body(http: httpx.Client, job_id: str) -> None:
    got, head = http.get(f"{JOBS}/{job_id}"), http.head(f"{JOBS}/{job_id}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
def test_only_plain_json_is_read(http: httpx.Client, headers: dict[str, str]) -> None:
    response = http.post(JOBS, content=b'{"type":"echo"}', headers=headers)
    assert_problem(
        response, 415, "unsupported_media_type", "Content-Encoding" if "Content-Encoding" in headers else "Content-Type"
    )


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
def test_json_may_name_its_encoding(http: httpx.Client, kind: str) -> None:
    assert http.post(JOBS, content=b'{"type":"echo"}', headers={"Content-Type": kind}).status_code == 201


def test_a_request_id_is_kept_if_it_is_plain(http: httpx.Client) -> None:
    assert http.get("/livez", headers={"X-Request-ID": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for wrong in ("a b", "x" * 65, "<script>", ""):
        assert http.get("/nonsense", headers={"X-Request-ID": wrong}).headers["x-request-id"] != wrong
    assert http.get("/livez").headers["x-request-id"] != http.get("/livez").headers["x-request-id"]


def test_a_callers_megabyte_is_not_sent_back(http: httpx.Client) -> None:
    response = http.post(JOBS, json={"type": "echo", "x" * 50_000: 1})
    body = assert_problem(response, 422, "invalid_job", "x" * 199 + "…")
    assert len(body["detail"]) <= 500


def test_an_unknown_field_that_imitates_a_path_is_named_as_it_is(http: httpx.Client) -> None:
    response = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "a", "b` - at `$.c": 1}]})
    assert_problem(response, 422, "invalid_job", "jobs[0].b` - at `$.c")
