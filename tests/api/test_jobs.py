import re
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from hegemon.api.server import ApiServer
from hegemon.queue.errors import StoreUnavailable
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode
from tests.waiting import wait_until

JOBS = "/api/v1/jobs"
NO_ID = "0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a"
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_a_submitted_job_can_be_read_under_its_location(http: httpx.Client) -> None:
    payload = {"to": "user@example.com", "subject": "Grüße", "n": [1, 2.5, None, True]}
    accepted = http.post(JOBS, json={"type": "email", "payload": payload, "priority": "high", "tags": ["a"]})
    assert accepted.status_code == 201
    assert accepted.json() == {"id": accepted.json()["id"], "status": "pending"}
    job = http.get(accepted.headers["location"]).json()
    assert job["id"] == accepted.json()["id"]
    assert (job["type"], job["payload"], job["priority"], job["tags"]) == ("email", payload, 7, ["a"])
    assert (job["status"], job["queue"], job["scope"], job["timeout"]) == ("pending", "default", "anonymous", None)
    assert RFC3339.fullmatch(job["created_at"])
    assert job["completed_at"] is None


def test_every_documented_field_of_a_submission_is_taken(http: httpx.Client) -> None:
    body = {
        "type": "a.b/c-d_e",
        "payload": {},
        "queue": "mail",
        "priority": 10,
        "delay": 60.5,
        "expires_at": "2090-01-01T00:00:00+02:00",
        "max_retries": 7,
        "timeout": 0.25,
        "retry": {"kind": "fixed", "base_ms": 5},
        "tags": ["x", "ü"],
    }
    accepted = http.post(JOBS, json=body)
    assert accepted.json()["status"] == "scheduled"
    job = http.get(accepted.headers["location"]).json()
    assert {name: job[name] for name in ("queue", "priority", "max_retries", "timeout", "tags")} == {
        name: body[name] for name in ("queue", "priority", "max_retries", "timeout", "tags")
    }
    assert job["expires_at"] == "2089-12-31T22:00:00.000Z"
    due = datetime.fromisoformat(job["scheduled_at"]) - datetime.fromisoformat(job["created_at"])
    assert due == timedelta(seconds=60.5)


@pytest.mark.parametrize(
    ("moment", "status"), [("2090-01-01T00:00:00Z", "scheduled"), ("2020-01-01T00:00:00Z", "pending")]
)
def test_a_job_at_a_time_says_whether_it_waits_for_it(http: httpx.Client, moment: str, status: str) -> None:
    assert http.post(JOBS, json={"type": "echo", "scheduled_at": moment}).json()["status"] == status


def test_a_time_beyond_what_rfc3339_can_write_does_not_make_the_job_unreadable(http: httpx.Client) -> None:
    accepted = http.post(JOBS, json={"type": "echo", "expires_at": "9999-12-31T23:59:59-23:59"})
    if accepted.status_code == 201:
        assert http.get(accepted.headers["location"]).json()["expires_at"] == "9999-12-31T23:59:59.000Z"
    else:
        assert_problem(accepted, 422, "invalid_job", "expires_at")


def test_a_repeated_idempotency_key_gives_the_first_job_back(http: httpx.Client, node: MemoryNode) -> None:
    key = {"Idempotency-Key": "order-4711!~"}
    first = http.post(JOBS, json={"type": "echo"}, headers=key)
    node.finish(first.json()["id"], 1)
    again = http.post(JOBS, json={"type": "echo"}, headers=key)
    assert (first.status_code, again.status_code) == (201, 200)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["location"] == first.headers["location"]
    assert again.json() == {"id": first.json()["id"], "status": "completed"}
    assert len(node.documents) == 1


def test_an_idempotency_key_with_another_body_is_refused(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    http.post(JOBS, json={"type": "echo"}, headers=key)
    assert_problem(http.post(JOBS, json={"type": "other"}, headers=key), 422, "idempotency_key_reused")


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "tab\there", b"\xfc"])
def test_an_idempotency_key_that_is_not_visible_ascii_is_refused(http: httpx.Client, key: str | bytes) -> None:
    raw = key if isinstance(key, bytes) else key.encode()
    response = http.post(JOBS, json={"type": "echo"}, headers=[(b"Idempotency-Key", raw)])
    assert_problem(response, 422, "invalid_parameter", "Idempotency-Key")


def test_two_idempotency_keys_are_refused(http: httpx.Client, node: MemoryNode) -> None:
    response = http.post(JOBS, json={"type": "echo"}, headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "b")])
    assert_problem(response, 422, "invalid_parameter", "Idempotency-Key")
    assert not node.documents


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "type"),
        ({"type": 5}, "type"),
        ({"type": ""}, "type"),
        ({"type": "a b"}, "type"),
        ({"type": "a" * 101}, "type"),
        ({"type": "echo", "colour": "red"}, "colour"),
        ({"type": "echo", "payload": [1]}, "payload"),
        ({"type": "echo", "payload": "text"}, "payload"),
        ({"type": "echo", "payload": None}, "payload"),
        ({"type": "echo", "priority": 11}, "priority"),
        ({"type": "echo", "priority": -1}, "priority"),
        ({"type": "echo", "priority": 5.5}, "priority"),
        ({"type": "echo", "priority": True}, "priority"),
        ({"type": "echo", "priority": "urgent"}, "priority"),
        ({"type": "echo", "queue": "a:b"}, "queue"),
        ({"type": "echo", "delay": -1}, "delay"),
        ({"type": "echo", "delay": "10s"}, "delay"),
        ({"type": "echo", "scheduled_at": "tomorrow"}, "scheduled_at"),
        ({"type": "echo", "scheduled_at": "2090-01-01T00:00:00"}, "scheduled_at"),
        ({"type": "echo", "scheduled_at": "2190-01-01T00:00:00Z"}, "scheduled_at"),
        ({"type": "echo", "scheduled_at": "2090-01-01T00:00:00Z", "delay": 1}, "scheduled_at"),
        ({"type": "echo", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"type": "echo", "max_retries": -1}, "max_retries"),
        ({"type": "echo", "max_retries": 1.5}, "max_retries"),
        ({"type": "echo", "timeout": 0}, "timeout"),
        ({"type": "echo", "timeout": 604801}, "timeout"),
        ({"type": "echo", "retry": "fixed"}, "retry"),
        ({"type": "echo", "retry": {"kind": "never"}}, "retry"),
        ({"type": "echo", "tags": "a"}, "tags"),
        ({"type": "echo", "tags": ["a", ""]}, "tags[1]"),
        ({"type": "echo", "tags": ["a"] * 21}, "tags"),
    ],
)
def test_a_wrong_submission_is_refused_with_the_name_of_the_field(
    http: httpx.Client, node: MemoryNode, body: Any, field: str
) -> None:
    assert_problem(http.post(JOBS, json=body), 422, "invalid_job", field)
    assert not node.documents


@pytest.mark.parametrize("body", [b"", b"{", b'{"type":"echo"', b'{"type":"echo"}x', b"\xff\xfe", b'{"type":"\xff"}'])
def test_a_body_that_is_no_json_is_malformed(http: httpx.Client, body: bytes) -> None:
    response = http.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 400, "malformed_json")


def test_a_payload_that_is_not_utf8_is_malformed_and_not_stored(http: httpx.Client, node: MemoryNode) -> None:
    body = b'{"type":"echo","payload":{"a":"\xff"}}'
    assert_problem(http.post(JOBS, content=body, headers={"Content-Type": "application/json"}), 400, "malformed_json")
    assert not node.documents


def test_json_nested_beyond_reason_is_malformed(http: httpx.Client) -> None:
    body = b'{"type":"echo","payload":' + b"[" * 90_000
    assert_problem(http.post(JOBS, content=body, headers={"Content-Type": "application/json"}), 400, "malformed_json")


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"text"'])
def test_json_that_is_no_object_is_no_job(http: httpx.Client, body: bytes) -> None:
    response = http.post(JOBS, content=body, headers={"Content-Type": "application/json"})
    assert_problem(response, 422, "invalid_job")


def test_a_job_beyond_the_payload_limit_is_refused(http: httpx.Client) -> None:
    body = {"type": "echo", "payload": {"text": "x" * 20_000}}
    assert_problem(http.post(JOBS, json=body), 413, "payload_too_large")


def test_a_batch_gives_ids_in_order(http: httpx.Client) -> None:
    accepted = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "echo", "payload": {"n": n}} for n in range(5)]})
    assert accepted.status_code == 201
    got = [http.get(f"{JOBS}/{job_id}").json()["payload"]["n"] for job_id in accepted.json()["ids"]]
    assert got == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": {}}, "jobs"),
        ({"jobs": [{"type": "a"}], "more": 1}, "more"),
        ({"jobs": [{"type": "a"}, {"type": "a", "priority": {}}]}, "jobs[1].priority"),
        ({"jobs": [{"type": "a"}, {"type": "a", "priority": "urgent"}]}, "jobs[1].priority"),
        ({"jobs": [{"type": "a"}, {"priority": 1}]}, "jobs[1].type"),
        ({"jobs": [{"type": "a", "colour": 1}]}, "jobs[0].colour"),
        ({"jobs": [{"type": "a"}, {"type": "a", "tags": [1]}]}, "jobs[1].tags[0]"),
    ],
)
def test_one_wrong_job_refuses_the_batch_and_is_named(
    http: httpx.Client, node: MemoryNode, body: Any, field: str
) -> None:
    assert_problem(http.post(f"{JOBS}/batch", json=body), 422, "invalid_job", field)
    assert not node.documents


def test_a_batch_beyond_its_limit_is_refused(http: httpx.Client) -> None:
    response = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "a"}] * 51})
    assert_problem(response, 413, "batch_too_large")


def test_a_repeated_key_gives_the_first_batch_back(http: httpx.Client, node: MemoryNode) -> None:
    key, body = {"Idempotency-Key": "nightly"}, {"jobs": [{"type": "a"}, {"type": "b"}]}
    first, again = (http.post(f"{JOBS}/batch", json=body, headers=key) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(node.documents) == 2


def test_a_batchs_key_with_another_body_is_refused_be_it_a_batch_or_a_job(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    http.post(f"{JOBS}/batch", json={"jobs": [{"type": "a"}]}, headers=key)
    other = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "a"}, {"type": "a"}]}, headers=key)
    assert_problem(other, 422, "idempotency_key_reused")
    assert_problem(http.post(JOBS, json={"type": "a"}, headers=key), 422, "idempotency_key_reused")


def test_a_batchs_key_is_held_to_the_same_form(http: httpx.Client, node: MemoryNode) -> None:
    response = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "a"}]}, headers={"Idempotency-Key": "a b"})
    assert_problem(response, 422, "invalid_parameter", "Idempotency-Key")
    assert not node.documents


def test_pages_follow_their_cursor_newest_first(http: httpx.Client) -> None:
    ids = http.post(f"{JOBS}/batch", json={"jobs": [{"type": "echo"}] * 5}).json()["ids"]
    seen: list[str] = []
    cursor: dict[str, str | None] = {}
    for expected in (2, 2, 1):
        page = http.get(JOBS, params={"limit": "2", **cursor}).json()
        assert len(page["jobs"]) == expected
        seen += [job["id"] for job in page["jobs"]]
        cursor = {"cursor": page["next_cursor"]}
    assert cursor == {"cursor": None}
    assert seen == ids[::-1]


def test_a_list_is_narrowed_by_status_type_queue_and_tag(http: httpx.Client) -> None:
    http.post(JOBS, json={"type": "a", "queue": "q", "tags": ["ü&=x"]})
    http.post(JOBS, json={"type": "b", "queue": "r", "delay": 60})
    for query, found in [
        ({"type": "a"}, ["a"]),
        ({"queue": "r"}, ["b"]),
        ({"tag": "ü&=x"}, ["a"]),
        ({"status": "scheduled"}, ["b"]),
        ({"status": "completed"}, []),
        ({"type": "a", "status": "scheduled"}, []),
        ({}, ["b", "a"]),
    ]:
        assert [job["type"] for job in http.get(JOBS, params=query).json()["jobs"]] == found


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=ten", "limit"),
        ("limit=", "limit"),
        ("limit=1.0", "limit"),
        ("limit=%2B5", "limit"),
        ("limit=99999999999999999999", "limit"),
        ("limit=1&limit=2", "limit"),
        ("status=done", "status"),
        ("type=a%20b", "type"),
        ("type=a%0A", "type"),
        ("queue=a:b", "queue"),
        ("tag=", "tag"),
        ("cursor=nonsense", "cursor"),
        ("cursor=", "cursor"),
        ("cursor=" + "x" * 501, "cursor"),
        ("state=failed", "state"),
        ("tag=%ff", None),
        ("&".join(f"a{n}=1" for n in range(30)), None),
    ],
)
def test_a_wrong_query_is_refused_with_the_name_of_the_parameter(
    http: httpx.Client, query: str, field: str | None
) -> None:
    assert_problem(http.get(f"{JOBS}?{query}"), 422, "invalid_parameter", field)


@pytest.mark.parametrize("wrong", [NO_ID, "1", NO_ID.upper(), "%00", "%F0%9F%92%A9", f"{NO_ID}%0A"])
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("DELETE", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/wait")]
)
def test_an_id_that_is_not_there_or_cannot_be_is_404(http: httpx.Client, method: str, tail: str, wrong: str) -> None:
    assert_problem(http.request(method, f"{JOBS}/{wrong}{tail}"), 404, "job_not_found")


def test_cancel_retry_and_delete_follow_the_jobs_state(http: httpx.Client, job_id: str) -> None:
    conflict = assert_problem(http.delete(f"{JOBS}/{job_id}"), 409, "job_state_conflict")
    assert conflict["job_status"] == "pending"
    assert http.post(f"{JOBS}/{job_id}/cancel").json()["status"] == "cancelled"
    assert_problem(http.post(f"{JOBS}/{job_id}/cancel"), 409, "job_state_conflict")
    assert http.post(f"{JOBS}/{job_id}/retry").json()["status"] == "pending"
    assert_problem(http.post(f"{JOBS}/{job_id}/retry"), 409, "job_state_conflict")
    http.post(f"{JOBS}/{job_id}/cancel")
    gone = http.delete(f"{JOBS}/{job_id}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert_problem(http.get(f"{JOBS}/{job_id}"), 404, "job_not_found")


def test_a_wait_ends_with_the_job(http: httpx.Client, node: MemoryNode, job_id: str) -> None:
    node.finish(job_id, {"lines": [1, 2]})
    job = http.get(f"{JOBS}/{job_id}/wait", params={"timeout": "10s"}).json()
    assert (job["status"], job["result"]) == ("completed", {"lines": [1, 2]})
    assert job["history"][0]["outcome"] == "completed"
    assert RFC3339.fullmatch(job["history"][0]["ended_at"])


@pytest.mark.parametrize("timeout", ["0", "0.05", "50ms", "0s"])
def test_a_wait_ends_with_its_time(http: httpx.Client, job_id: str, timeout: str) -> None:
    assert http.get(f"{JOBS}/{job_id}/wait", params={"timeout": timeout}).json()["status"] == "pending"


@pytest.mark.parametrize("timeout", ["121", "3m", "-1", "soon", "", "nan", "inf", "1e3", "1_0", "9" * 400])
def test_a_wrong_wait_time_is_refused(http: httpx.Client, job_id: str, timeout: str) -> None:
    response = http.get(f"{JOBS}/{job_id}/wait", params={"timeout": timeout})
    assert_problem(response, 422, "invalid_parameter", "timeout")


async def test_a_client_that_leaves_ends_its_wait(server: ApiServer, node: MemoryNode, job_id: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {JOBS}/{job_id}/wait?timeout=60 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await wait_until(lambda: node.waiting == 1)
    await wait_until(lambda: node.waits_cancelled == 1 and node.waiting == 0)


def test_dead_jobs_show_why_with_times_as_text(http: httpx.Client, node: MemoryNode, job_id: str) -> None:
    node.break_down(job_id)
    job = http.get(f"{JOBS}/{job_id}").json()
    assert job["error"]["type"] == "ValueError"
    assert job["history"] == [
        {"attempt": 1, "outcome": "failed", "started_at": "2025-10-09T08:53:20.000Z", "error": "ValueError: no"}
    ]
    assert job["logs"] == [{"at": "2025-10-09T08:53:20.000Z", "message": "so far so good"}]


def test_results_are_embedded_as_they_were_stored(http: httpx.Client, node: MemoryNode, job_id: str) -> None:
    node.finish(job_id, None)
    node.documents[job_id]["result"]["data"] = b'{"b":1.50,  "a":1e2}'
    assert b'"result":{"b":1.50,  "a":1e2}' in http.get(f"{JOBS}/{job_id}").content


def test_the_scope_of_a_submission_is_the_principals(http: httpx.Client, node: MemoryNode) -> None:
    http.post(JOBS, json={"type": "echo"})
    assert node.scopes == ["anonymous"]


def test_an_accepted_job_is_answered_201_even_if_it_cannot_be_read_back(
    http: httpx.Client, node: MemoryNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get(job_id: str) -> None:
        raise StoreUnavailable("MongoDB")

    monkeypatch.setattr(node, "get", get)
    later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    accepted = http.post(JOBS, json={"type": "echo", "scheduled_at": later})
    assert (accepted.status_code, accepted.json()["status"]) == (201, "scheduled")
