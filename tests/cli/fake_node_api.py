"""A small HTTP server that follows the REST specification, for tests of its clients; it can also misbehave on demand.

It knows the example handlers in so far as their outcome matters: `echo` and `noop` complete, `fail` fails, `sleep` runs
for its `seconds`, and every other type stays pending, as a type without a handler does.
"""

import json
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from hegemon.cluster.algorithm_guide import GUIDE, advice
from tests.cli import fake_figures
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_types import TYPES

FINAL = {"completed", "failed", "cancelled"}
Job = dict[str, Any]


class Problem(Exception):
    def __init__(self, status: int, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.body = {
            "type": f"/problems/{code}",
            "title": code,
            "status": status,
            "detail": detail,
            "code": code,
            **more,
        }


class FakeNode:
    """The state behind the API, and the faults that are planned: each request takes the next one."""

    def __init__(self, name: str = "n1", place: FakeCluster | None = None) -> None:
        self.name = name
        self.place = place or FakeCluster()
        self.url = ""
        self.jobs: dict[str, Job] = {}
        self.keys: dict[str, tuple[bytes, str]] = {}
        self.requests: list[str] = []
        self.faults: deque[Any] = deque()
        self.token: str | None = None  # what callers must show, where they must
        self.shown: list[str | None] = []
        self.lock = threading.RLock()
        self.stopping = threading.Event()

    def lose_replies(self, times: int = 1) -> None:
        """Carry out the next requests, then close the connection without a word."""
        self.faults.extend(["lose"] * times)

    def answer_next(self, status: int, code: str, times: int = 1, retry_after: float | None = None) -> None:
        """Refuse the next requests with this problem, without carrying them out."""
        self.faults.extend([(status, code, retry_after)] * times)

    def answer_text(self, text: str) -> None:
        """Answer the next request with 200 and something that is not of this API."""
        self.faults.append(text)

    def look(self, job: Job) -> Job:
        """The job as time has made it."""
        began = job.get("_began", 0.0)
        if job["status"] == "running" and time.monotonic() >= began + job["payload"].get("seconds", 0):
            self._end(job, "completed", result=job["payload"])
        return {name: value for name, value in job.items() if not name.startswith("_")}

    def accept(self, body: Job, field: str = "") -> Job:
        for name in body:
            if name not in ALLOWED:
                raise Problem(422, "invalid_job", f"unknown field `{name}`", field=field + name)
        if not isinstance(body.get("payload", {}), dict):
            raise Problem(422, "invalid_job", "payload must be a JSON object", field=field + "payload")
        priority = body.get("priority", 5)
        if isinstance(priority, str) and priority not in PRIORITIES:
            raise Problem(
                422, "invalid_job", f"priority is a number or one of {', '.join(PRIORITIES)}", field="priority"
            )
        later = body.get("delay") or body.get("scheduled_at")
        job: Job = {
            "id": _uuid7(),
            "type": body["type"],
            "queue": body.get("queue", "default"),
            "priority": PRIORITIES.get(priority, priority),
            "status": "scheduled" if later else "pending",
            "payload": body.get("payload", {}),
            "tags": body.get("tags", []),
            "max_retries": body.get("max_retries"),
            "timeout": body.get("timeout"),
            "attempt": 1,
            "result": None,
            "error": None,
            "history": [],
            "logs": [],
            "progress": None,
            "scheduled_at": body.get("scheduled_at"),
            "created_at": _now(),
            "updated_at": _now(),
            "completed_at": None,
            "a_field_of_the_future": {"n": 12345678901234567890123},
            "_body": body,
        }
        return job

    def start(self, job: Job) -> None:
        self.jobs[job["id"]] = job
        if job["status"] != "pending":
            return
        if job["type"] in ("echo", "noop"):
            self._end(job, "completed", result=job["payload"] if job["type"] == "echo" else None)
        elif job["type"] == "fail":
            text = job["payload"].get("message", "failure 1 of 1, as asked")
            error = {"type": "RuntimeError", "message": text, "traceback": "Traceback (most recent call last):\n  …"}
            self._end(job, "failed", error=error)
        elif job["type"] == "sleep":
            job |= {"status": "running", "_began": time.monotonic(), "started_at": _now(), "node": "n1"}

    def _end(self, job: Job, status: str, **more: Any) -> None:
        job |= {"status": status, "completed_at": _now(), "updated_at": _now(), "node": "n1", **more}
        times = {"started_at": job["created_at"], "ended_at": _now()}
        job["history"] = [*job["history"], {"attempt": job["attempt"], "outcome": status, "node": "n1", **times}]


ALLOWED = {
    *("type", "payload", "queue", "priority", "delay", "scheduled_at"),
    *("expires_at", "max_retries", "timeout", "retry", "tags"),
}
PRIORITIES = {"background": 0, "low": 1, "normal": 5, "high": 7, "critical": 10}
WORKER = {"id": "n1/w0~1", "node": "n1", "pid": 4711, "slots": 10, "held": 2, "solo": False, "types": ["echo", "größe"]}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.123Z", time.gmtime())


def _uuid7() -> str:
    text = f"{time.time_ns() // 1_000_000:012x}7{uuid.uuid4().hex[:3]}8{uuid.uuid4().hex[:15]}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    node: FakeNode

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class's name
        pass

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _serve(self) -> None:
        raw = self.rfile.read(int(self.headers.get("content-length", 0)))
        with self.node.lock:
            self.node.requests.append(f"{self.command} {self.path}")
            self.node.shown.append(self.headers["authorization"])
            fault = self.node.faults.popleft() if self.node.faults else None
        if isinstance(fault, tuple):
            status, code, retry_after = fault
            more = {} if retry_after is None else {"Retry-After": str(retry_after)}
            return self._answer(status, Problem(status, code, f"told to say {code}").body, more)
        if isinstance(fault, str) and fault != "lose":
            return self._answer(200, fault)
        if self.node.token is not None and self.headers["authorization"] != f"Bearer {self.node.token}":
            return self._answer(401, Problem(401, "unauthenticated", "This needs a credential that is accepted.").body)
        status, body, headers = self._result(raw)
        if fault == "lose":
            self.close_connection = True
            return None
        return self._answer(status, body, headers)

    def _result(self, raw: bytes) -> tuple[int, Any, dict[str, str]]:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        words = [unquote(word) for word in parts.path.removeprefix("/api/v1/").split("/")]
        try:
            if words[-1] == "wait":
                return 200, self._wait(words[1], float(query["timeout"])), {}
            with self.node.lock:
                return self._route(words, query, raw)
        except Problem as problem:
            return problem.status, problem.body, {}

    def _route(self, words: list[str], query: dict[str, str], raw: bytes) -> tuple[int, Any, dict[str, str]]:
        match [self.command, *words] if self.path.startswith("/api/v1/") else []:
            case ["POST", "jobs"]:
                return self._submit(raw)
            case ["POST", "jobs", "batch"]:
                bodies = json.loads(raw)["jobs"]
                jobs = [self.node.accept(body, f"jobs[{index}].") for index, body in enumerate(bodies)]
                for job in jobs:
                    self.node.start(job)
                return 201, {"ids": [job["id"] for job in jobs]}, {}
            case ["GET", "jobs"]:
                return 200, self._page(query), {}
            case ["GET", "dead"]:
                return 200, self._page({**query, "status": "failed"}), {}
            case ["POST", "dead", action]:
                return 200, {"count": self._on_dead(action, json.loads(raw))}, {}
            case [method, "jobs", job_id, *rest]:
                return self._on_job(method, self._find(job_id), rest)
            case ["POST", "election", "step-down"]:
                return 202, self._step_down(json.loads(raw)), {}
            case ["GET", "election", "algorithms", name]:
                return 200, self._algorithm(name, query), {}
            case ["GET", name]:
                return 200, self._view(name), {}
        raise Problem(404, "not_found", "nothing is served under this path")

    def _submit(self, raw: bytes) -> tuple[int, Any, dict[str, str]]:
        key = self.headers.get("idempotency-key")
        if key in self.node.keys:
            before, job_id = self.node.keys[key]
            if before != raw:
                raise Problem(422, "idempotency_key_reused", "The key was used before, with another body.")
            job = self.node.look(self.node.jobs[job_id])
            return 200, {"id": job_id, "status": job["status"]}, {"Idempotency-Replayed": "true"}
        job = self.node.accept(json.loads(raw))
        status = job["status"]
        self.node.start(job)
        if key is not None:
            self.node.keys[key] = raw, job["id"]
        return 201, {"id": job["id"], "status": status}, {"Location": f"/api/v1/jobs/{job['id']}"}

    def _find(self, job_id: str) -> Job:
        if job_id not in self.node.jobs:
            raise Problem(404, "job_not_found", "There is no job with this id.")
        return self.node.jobs[job_id]

    def _on_job(self, method: str, job: Job, rest: list[str]) -> tuple[int, Any, dict[str, str]]:
        status = self.node.look(job)["status"]
        match [method, *rest]:
            case ["GET"]:
                pass
            case ["DELETE"]:
                self._demand(status in FINAL, f"the job is {status}: cancel it first")
                del self.node.jobs[job["id"]]
                return 204, None, {}
            case ["POST", "cancel"]:
                self._demand(status not in FINAL, f"the job is {status} already")
                job |= {"status": "cancelled", "completed_at": _now()}
            case ["POST", "retry"]:
                self._demand(status in ("failed", "cancelled"), f"the job is {status}")
                job |= {"status": "pending", "error": None, "completed_at": None}
        return 200, self.node.look(job), {}

    def _demand(self, allowed: bool, detail: str) -> None:
        if not allowed:
            raise Problem(409, "job_state_conflict", detail)

    def _wait(self, job_id: str, timeout_s: float) -> Job:
        until = time.monotonic() + timeout_s
        while True:
            with self.node.lock:
                job = self.node.look(self._find(job_id))
            if job["status"] in FINAL or time.monotonic() >= until or self.node.stopping.wait(0.01):
                return job

    def _page(self, query: dict[str, str]) -> dict[str, Any]:
        found = [self.node.look(job) for job in reversed(self.node.jobs.values())]
        for name in ("status", "type", "queue"):
            found = [job for job in found if query.get(name) in (None, job[name])]
        found = [job for job in found if query.get("tag") is None or query["tag"] in job["tags"]]
        start, size = int(query.get("cursor", 0)), int(query.get("limit", 50))
        if not 1 <= size <= 200:
            raise Problem(422, "invalid_parameter", "must be a whole number from 1 to 200", field="limit")
        end = start + size
        return {"jobs": found[start:end], "next_cursor": str(end) if end < len(found) else None}

    def _on_dead(self, action: str, which: dict[str, Any]) -> int:
        dead = [job for job in self.node.jobs.values() if job["status"] == "failed"]
        dead = [job for job in dead if "ids" not in which or job["id"] in which["ids"]]
        for name in ("type", "queue"):
            dead = [job for job in dead if which.get(name) in (None, job[name])]
        for job in dead:
            if action == "requeue":
                job |= {"status": "pending", "error": None}
            else:
                del self.node.jobs[job["id"]]
        return len(dead)

    def _step_down(self, body: dict[str, Any]) -> dict[str, Any]:
        place = self.node.place
        if place.leader != self.node.name:
            raise Problem(409, "not_leader", f"this node does not lead; ask {place.leader}")
        place.paused, place.leader = float(body["pause"]), None
        return place.views(self.node.name)["election"]

    def _algorithm(self, name: str, query: dict[str, str]) -> dict[str, Any]:
        if name not in GUIDE:
            raise Problem(404, "not_found", "there is no such algorithm")
        told: dict[str, Any] = msgspec.to_builtins(advice(name, int(query.get("nodes", 3))))
        return told

    def _view(self, name: str) -> dict[str, Any]:
        statuses = ("scheduled", "pending", "running", "retrying", *sorted(FINAL))
        seen = [self.node.look(job)["status"] for job in self.node.jobs.values()]
        views: dict[str, dict[str, Any]] = {
            **self.node.place.views(self.node.name),
            "workers": {"workers": [{**WORKER, "started_at": _now()}]},
            "types": {"types": TYPES},
            "stats": {
                "jobs": {status: seen.count(status) for status in statuses},
                "queue": {"ready": 1234, "delayed": 5, "held": 2, "parked": {"unheard-of": 3}},
                "node": {"id": "n1", "is_leader": True, "strategy": "least_loaded"},
                "figures": fake_figures.figures(),
            },
            "activity": fake_figures.activity(),
        }
        if name not in views:
            raise Problem(404, "not_found", "nothing is served under this path")
        return views[name]

    def _answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        data = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json" if status < 400 else "application/problem+json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Who comes when that many wait is heard a second later.
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no news."""


@contextmanager
def serving(name: str = "n1", place: FakeCluster | None = None) -> Iterator[FakeNode]:
    """A node on a free loopback port, for the length of the block."""
    node = FakeNode(name, place)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"node": node}))
    node.url = f"http://127.0.0.1:{server.server_address[1]}"
    node.place.urls[name] = node.url
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        node.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()
