"""Whatever comes in, the answer is a documented one and never a 500. (The client fixture checks each answer's form.)"""

import json
from typing import Any
from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hegemon.api.app import OPERATIONS
from hegemon.queue.jobs import NewJob
from tests.api.memory import MemoryNode

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BODY_PATHS = [operation.path for operation in OPERATIONS if operation.body is not None]

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.datetimes(timezones=st.timezones()).map(str)
    | st.sampled_from(["normal", "2090-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
almost_jobs = st.fixed_dictionaries(
    {"type": st.just("echo") | anything},
    optional={name: anything for name in NewJob.__struct_fields__ if name != "type"},
)
selections = st.fixed_dictionaries({}, optional=dict.fromkeys(("ids", "type", "queue", "all", "other"), anything))
bodies = almost_jobs | st.fixed_dictionaries({"jobs": st.lists(almost_jobs, max_size=3)}) | selections | anything


def post(http: httpx.Client, path: str, body: bytes) -> httpx.Response:
    return http.post(path, content=body, headers={"Content-Type": "application/json"})


@FUZZ
@given(path=st.sampled_from(BODY_PATHS), body=st.binary(max_size=200))
def test_random_bytes_never_give_a_500(http: httpx.Client, path: str, body: bytes) -> None:
    answer = post(http, path, body)
    assert answer.status_code < 500, answer.text


@FUZZ
@given(path=st.sampled_from(BODY_PATHS), body=bodies)
def test_random_json_never_gives_a_500_and_what_is_accepted_can_be_read(
    http: httpx.Client, path: str, body: Any
) -> None:
    answer = post(http, path, json.dumps(body).encode())
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        ids = answer.json().get("ids") or [answer.json()["id"]]
        for job_id in ids:
            assert http.get(f"/api/v1/jobs/{job_id}").status_code == 200


@FUZZ
@given(
    body=st.binary(min_size=1, max_size=4),
    at=st.integers(0, 60),
)
def test_a_damaged_job_never_gives_a_500(http: httpx.Client, node: MemoryNode, body: bytes, at: int) -> None:
    whole = json.dumps({"type": "echo", "payload": {"a": "ü", "b": [1, 2.5e3]}, "tags": ["x"]}, ensure_ascii=False)
    raw = whole.encode()
    answer = post(http, "/api/v1/jobs", raw[:at] + body + raw[at + len(body) :])
    assert answer.status_code < 500, answer.text
    if answer.status_code == 201:
        assert http.get(answer.headers["location"]).status_code == 200


@FUZZ
@given(
    path=st.sampled_from(["/api/v1/jobs", "/api/v1/dead", "/api/v1/stats"]),
    query=st.dictionaries(
        st.sampled_from(["status", "type", "queue", "tag", "limit", "cursor", "timeout"]) | st.text(max_size=8),
        st.text(max_size=20) | st.integers().map(str),
        max_size=4,
    ),
)
def test_random_queries_never_give_a_500(http: httpx.Client, path: str, query: dict[str, str]) -> None:
    pairs = "&".join(f"{quote(name)}={quote(value)}" for name, value in query.items())
    assert http.get(f"{path}?{pairs}").status_code < 500


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    job_id=st.binary(min_size=1, max_size=40),
    tail=st.sampled_from(["", "/wait", "/cancel", "/retry"]),
)
def test_random_ids_never_give_a_500(http: httpx.Client, method: str, job_id: bytes, tail: str) -> None:
    assert http.request(method, f"/api/v1/jobs/{quote(job_id, safe='')}{tail}").status_code < 500
