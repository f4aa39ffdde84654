"""The client for ordinary code: a thin shell around `calls` and `retrying`, over httpx. Safe to share among threads."""

# ruff: noqa: A002 -- `type` and `all` are the words of the API; another name here would only need translating

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from hegemon.client import calls, credentials, tracking, transport
from hegemon.client.calls import Call, Page, Reply, SubmitOptions
from hegemon.client.credentials import Credentials, Keeper, TokenPair
from hegemon.client.errors import ApiError, WaitTimeout
from hegemon.client.retrying import Lost, Retrying
from hegemon.client.views import JobInfo

T = TypeVar("T")


class Client:
    """Talks to one node. `timeout` is seconds for each exchange, `retry_for` seconds within which an exchange that
    failed in passing is tried again (see `hegemon.client.retrying`; 0 turns it off). ValueError for a wrong `url`.

    For an https URL: `ca_file` holds the authorities to trust in place of the system's (default: HEGEMON_CA_FILE, else
    the system's), `client_cert` a certificate and its key for a node that asks for one (default: HEGEMON_CLIENT_CERT).

    A node with authentication wants a credential: `token`, or `api_key` (default: HEGEMON_TOKEN, else HEGEMON_API_KEY),
    or a `login`, which is renewed as long as the client is in use. `keeper` keeps the login beyond this client.

    `request_id` names each exchange: 1 to 64 letters, digits, _ . -, found again in the nodes' logs, in errors and with
    the jobs; by default a random one. A trace of OpenTelemetry that is current is passed on with it.

    All methods raise `ApiError` when the node refuses and `Unreachable` when it does not answer.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8080",
        *,
        timeout: float = 10.0,
        retry_for: float = 5.0,
        ca_file: str | None = None,
        client_cert: str | None = None,
        token: str | None = None,
        api_key: str | None = None,
        keeper: Keeper | None = None,
        request_id: tracking.RequestId = tracking.new_id,
    ) -> None:
        self._http = httpx.Client(**transport.setup(url, ca_file, client_cert))
        self._credentials = Credentials(token=token, api_key=api_key, keeper=keeper)
        self._request_id = request_id
        self._timeout = timeout
        self._retry_for = retry_for
        self._rng = random.Random()
        self._renewing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used any more."""
        self._http.close()

    def submit(self, type: str, payload: Any = None, **options: Unpack[SubmitOptions]) -> str:
        """Submit a job and return its id; it is durable then. `payload` is a JSON object: the handler's arguments.

        Options: priority (0 to 10, 10 first, or background, low, normal, high, critical), queue, delay or timeout
        (seconds or timedelta), scheduled_at and expires_at (datetime with a zone, or RFC 3339), max_retries, tags,
        retry (a policy), idempotency_key. Without a key one is made up, so that a try after a lost reply cannot make
        a second job.
        """
        return self.send(calls.submit(type, payload, options)).id

    def submit_batch(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """Submit many, all or none; each a mapping with `type`, `payload` and the options of `submit` but the key.

        A batch is sent without a key: after `Unreachable` with `sent` True it may or may not have been accepted.
        """
        return self.send(calls.submit_batch(jobs))

    def get(self, job_id: str) -> JobInfo:
        """The job; `ApiError` 404 when there is none."""
        return self.send(calls.get(job_id))

    def jobs(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> Iterator[JobInfo]:
        """Jobs, newest first, page by page as they are needed; at most `limit`, None for all."""
        return self._pages(calls.jobs(status=status, type=type, queue=queue, tag=tag, limit=limit))

    def cancel(self, job_id: str) -> JobInfo:
        """Cancel a job that has not ended; 409 when it has."""
        return self.send(calls.cancel(job_id))

    def retry(self, job_id: str) -> JobInfo:
        """Put a failed or cancelled job back in its queue with fresh tries; 409 otherwise."""
        return self.send(calls.retry(job_id))

    def delete(self, job_id: str) -> None:
        """Remove a job that has ended; 409 while it lives."""
        self.send(calls.delete(job_id))

    def wait(self, job_id: str, timeout: float | None = None) -> JobInfo:
        """The job once it has ended. `WaitTimeout`, which is a TimeoutError, after `timeout` seconds (None: never)."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            window_s = calls.POLL_S_MAX if until is None else min(max(until - time.monotonic(), 0), calls.POLL_S_MAX)
            job = self.send(calls.poll(job_id, window_s))
            if job.ended:
                return job
            if until is not None and time.monotonic() >= until:
                raise WaitTimeout(job)

    def dead(self, *, type: str | None = None, queue: str | None = None, limit: int | None = None) -> Iterator[JobInfo]:
        """The dead letters: jobs that failed for good; at most `limit`, None for all."""
        return self._pages(calls.dead(type=type, queue=queue, limit=limit))

    def requeue_dead(
        self, ids: Sequence[str] | None = None, *, type: str | None = None, queue: str | None = None, all: bool = False
    ) -> int:
        """Put dead letters back in their queues, by ids, by type and/or queue, or all; returns how many."""
        return self.send(calls.requeue_dead(ids, type, queue, all))

    def purge_dead(
        self, ids: Sequence[str] | None = None, *, type: str | None = None, queue: str | None = None, all: bool = False
    ) -> int:
        """Remove dead letters for good, chosen as in `requeue_dead`; returns how many."""
        return self.send(calls.purge_dead(ids, type, queue, all))

    def stats(self) -> dict[str, Any]:
        """`{"jobs": {status: count}, "queue": {"ready", "delayed", "held", "parked"}, "node": {…}}`."""
        return self.send(calls.view("stats"))

    def workers(self) -> list[dict[str, Any]]:
        """The worker processes of all nodes."""
        return self.send(calls.listing("workers"))

    def types(self) -> list[dict[str, Any]]:
        """The types of jobs that live workers handle, with the JSON Schema of their payloads."""
        return self.send(calls.listing("types"))

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes, with `alive` and `is_leader`."""
        return self.send(calls.listing("nodes"))

    def leader(self) -> dict[str, Any]:
        """`leader_id` (None: nobody), `epoch`, `generation`, `url`."""
        return self.send(calls.view("leader"))

    def election(self) -> dict[str, Any]:
        """What the answering node believes about leadership."""
        return self.send(calls.view("election"))

    def algorithm(self, name: str, nodes: int | None = None) -> dict[str, Any]:
        """What bully, raft or gossip is good for, with settings for so many nodes (None: as many as there are)."""
        return self.send(calls.algorithm(name, nodes))

    def step_down(self, pause: float | timedelta = 10.0) -> dict[str, Any]:
        """Make this node hand over, and not stand again for `pause` (seconds); what it believes after that. `ApiError`
        409 `not_leader` if it does not lead."""
        return self.send(calls.step_down(pause))

    def cluster(self) -> dict[str, Any]:
        """`cluster_id`, `version`, `node_id`, `algorithm`, `strategy`, `generation`, `leader_id`, `epoch`, …"""
        return self.send(calls.view("cluster"))

    def login(self, username: str, password: str) -> TokenPair:
        """Log in; `ApiError` 401 `invalid_credentials`, 429 `login_throttled`."""
        pair = self.send(credentials.login(username, password))
        self._credentials.keep(pair)
        return pair

    def logout(self) -> None:
        """End the session on all nodes, and forget it."""
        self.send(credentials.logout())
        self._credentials.keep(None)

    def me(self) -> dict[str, Any]:
        """Who the credential stands for: `id`, `role`, `queues`, `session`."""
        return self.send(calls.document("GET", "/auth/me"))

    def send(self, call: Call[T]) -> T:
        """Carry out a request of `hegemon.client.calls`, with retries; the door below the methods above."""
        shown = self._credentials.shown()
        try:
            return self._send(call, shown)
        except ApiError as error:
            if not self._credentials.worth_renewing(call, error.status) or not self._renewed(shown):
                raise
        return self._send(call, self._credentials.shown())

    def _renewed(self, shown: str | None) -> bool:
        """Renew the login; False when that is not possible any more."""
        with self._renewing, self._credentials.locked():
            renewal = self._credentials.renewal(shown)
            if renewal is None:
                return self._credentials.present() is not None
            try:
                pair = self._send(renewal, None)
                self._credentials.keep(pair)
            except ApiError as error:
                if error.status == 401:
                    self._credentials.keep(None)
                return False
            return True

    def _send(self, call: Call[T], shown: str | None) -> T:
        tracked = tracking.headers(self._request_id)
        headers = {**tracked, **self._credentials.headers(call, shown)}
        retrying = Retrying(call, limit_s=self._retry_for, now=time.monotonic(), rng=self._rng)
        while True:
            outcome: Reply | Lost
            try:
                outcome = transport.reply(self._http.request(**transport.request(call, self._timeout, headers)))
            except httpx.RequestError as error:
                outcome = transport.lost(error)
            pause_s = retrying.pause(outcome, time.monotonic())
            if pause_s is not None:
                time.sleep(pause_s)
            elif isinstance(outcome, Lost):
                raise transport.unreachable(
                    call, outcome, self._http.base_url, sent=retrying.uncertain, request_id=tracked["x-request-id"]
                )
            else:
                return calls.finish(call, outcome, uncertain=retrying.uncertain)

    def _pages(self, call: Call[Page] | None) -> Iterator[JobInfo]:
        while call is not None:
            page = self.send(call)
            yield from page.jobs
            call = page.following
