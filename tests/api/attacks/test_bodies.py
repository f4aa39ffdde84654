"""Malformed and oversize bodies of every kind: the answer is a 4xx, and the node goes on. 2,000 in the ordinary run;
the soak sends 100,000, or SOAK_BODIES.
"""

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hegemon.api.app import OPERATIONS
from hegemon.api.operation import Operation
from tests.api.documented import assert_problem, check
from tests.api.memory import MemoryNode
from tests.api.secured import Secured, served
from tests.conftest import MongoServer
from tests.waiting import PATIENCE_S

JOBS = "/api/v1/jobs"
WHOLE = json.dumps({"type": "echo", "payload": {"a": "ü", "b": [1, 2.5e3, None]}, "tags": ["x"]}, ensure_ascii=False)

values = st.sampled_from(
    ["1e999", "-1e999", "1" * 400, "0.1e-999", "NaN", "Infinity", "01", "--1", '"\\ud800"', '"\\u0000"', "null", "[]"]
)
wrong_jobs = st.builds(
    lambda name, value: f'{{"type":"echo","{name}":{value}}}'.encode(),
    st.sampled_from(
        ["type", "priority", "delay", "payload", "tags", "max_retries", "timeout", "queue", "scheduled_at"]
    ),
    values,
)
nests = st.builds(
    lambda depth, opening: b'{"type":"echo","payload":' + opening * depth,
    st.integers(1, 5000),
    st.sampled_from([b"[", b'{"a":']),
)


@st.composite
def damaged(draw: st.DrawFn, raw: bytes = WHOLE.encode()) -> bytes:
    """A good body with bytes that were replaced, cut out or doubled."""
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(0, 5))
        raw = raw[:at] + draw(st.binary(max_size=4)) + raw[at + length :]
    return raw


def attacks(count: int) -> settings:
    """So many bodies."""
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


bodies = st.one_of(damaged(), wrong_jobs, nests, st.binary(max_size=60))


def send(http: httpx.Client, body: bytes) -> httpx.Response:
    return http.post(JOBS, content=body, headers={"Content-Type": "application/json"})


@attacks(2_000)
@given(body=bodies)
def test_no_body_gives_a_500_or_an_undocumented_answer(http: httpx.Client, body: bytes) -> None:
    answer = send(http, body)
    assert answer.status_code in (201, 400, 413, 422), answer.text


@pytest.mark.soak
@attacks(int(os.environ.get("SOAK_BODIES", "100000")))
@given(body=bodies)
def test_none_of_100_000_bodies_gives_a_500_or_an_undocumented_answer(http: httpx.Client, body: bytes) -> None:
    answer = send(http, body)
    assert answer.status_code in (201, 400, 413, 422), answer.text


# ---- every other operation that takes a body, on a node with authentication

TAKES_A_BODY = [operation for operation in OPERATIONS if operation.body is not None]


@pytest.fixture(scope="module")
def secured(mongo_server: MongoServer, server_loop: Any) -> Iterator[Secured]:
    with served(server_loop, mongo_server.uri, f"bodies_{time.time_ns()}") as opened:
        yield opened


@pytest.fixture(scope="module")
def admin(secured: Secured) -> Iterator[httpx.Client]:
    headers = {**secured.headers("admin"), "content-type": "application/json", "if-match": "*"}
    hooks = {"response": [check]}
    with httpx.Client(
        base_url=secured.url, timeout=PATIENCE_S, trust_env=False, event_hooks=hooks, headers=headers
    ) as client:
        yield client


@st.composite
def wrong_bodies(draw: st.DrawFn) -> tuple[Operation, bytes]:
    """An operation, and one of its examples with bytes or a value changed; or anything."""
    operation = draw(st.sampled_from(TAKES_A_BODY))
    example = draw(st.sampled_from(sorted(operation.body_examples.items(), key=lambda item: item[0])))[1]
    if isinstance(example, dict) and example and draw(st.booleans()):
        name = draw(st.sampled_from(sorted(example)))
        rest = {key: value for key, value in example.items() if key != name}
        raw = json.dumps({**rest, name: "@"}).replace('"@"', draw(values)).encode()
    else:
        raw = draw(damaged(json.dumps(example).encode()) | st.binary(max_size=60))
    return operation, raw


def send_any(http: httpx.Client, operation: Operation, body: bytes) -> int:
    """The status; what is not as described fails in the client's own hook."""
    path = operation.path.replace("{name}", "nobody")
    return http.request(operation.method, path, content=body).status_code


@attacks(400)
@given(attack=wrong_bodies())
def test_no_body_of_any_operation_gives_a_500_or_an_undocumented_answer(
    admin: httpx.Client, attack: tuple[Operation, bytes]
) -> None:
    assert send_any(admin, *attack) != 500


@pytest.mark.soak
@attacks(20_000)
@given(attack=wrong_bodies())
def test_none_of_20_000_bodies_of_any_operation_does(admin: httpx.Client, attack: tuple[Operation, bytes]) -> None:
    assert send_any(admin, *attack) != 500


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
@pytest.mark.parametrize("place", [b"%s", b'{"type":"echo","payload":%s', b'{"type":"echo","tags":%s', b'{"jobs":%s'])
def test_bottomless_json_is_refused(http: httpx.Client, node: MemoryNode, opening: bytes, place: bytes) -> None:
    path = f"{JOBS}/batch" if b"jobs" in place else JOBS
    for closing in (b"", b"]" * 15_000 + b"}"):
        body = place % (opening * 15_000) + closing
        answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422)
    assert not node.documents


@pytest.mark.parametrize("field", ["type", "queue", "priority"])
def test_a_megabyte_for_a_word_is_refused_without_being_sent_back(http: httpx.Client, field: str) -> None:
    answer = http.post(JOBS, json={"type": "echo", field: "a" * 90_000})
    assert answer.status_code == 422
    assert len(answer.content) < 2000


def test_a_bomb_that_unpacks_itself_is_not_unpacked(http: httpx.Client) -> None:
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        answer = http.post(
            JOBS, content=b"\x1f\x8b", headers={"Content-Type": "application/json", "Content-Encoding": encoding}
        )
        assert_problem(answer, 415, "unsupported_media_type", "Content-Encoding")


def test_a_key_given_twice_has_one_meaning(http: httpx.Client) -> None:
    answer = http.post(JOBS, content=b'{"type":"other","type":"echo"}', headers={"Content-Type": "application/json"})
    assert answer.status_code == 201
    assert http.get(answer.headers["location"]).json()["type"] == "echo"
