"""The client for asyncio: the same thin shell as `sync`, with the same methods; docs of the calls stand there."""

# ruff: noqa: A002 -- `type` and `all` are the words of the API; another name here would only need translating

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
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


@asynccontextmanager
async def _held(lock: AbstractContextManager[None]) -> AsyncIterator[None]:
    """A lock that other processes take, too: a thread waits for it, and the loop goes on."""
    taking = asyncio.create_task(asyncio.to_thread(lock.__enter__))
    try:
        await asyncio.shield(taking)
    except asyncio.CancelledError:
        # The thread gets it all the same, and nobody is here to give it back.
        taking.add_done_callback(lambda taken: taken.exception() or lock.__exit__(None, None, None))
        raise
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


class AsyncClient:
    """Talks to one node; arguments and errors as in `Client`."""

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
        self._http = httpx.AsyncClient(**transport.setup(url, ca_file, client_cert))
        self._credentials = Credentials(token=token, api_key=api_key, keeper=keeper)
        self._request_id = request_id
        self._timeout = timeout
        self._retry_for = retry_for
        self._rng = random.Random()
        self._renewing = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; the client cannot be used any more."""
        await self._http.aclose()

    async def submit(self, type: str, payload: Any = None, **options: Unpack[SubmitOptions]) -> str:
        """As `Client.submit`."""
        return (await self.send(calls.submit(type, payload, options))).id

    async def submit_batch(self, jobs: Iterable[Mapping[str, Any]]) -> list[str]:
        """As `Client.submit_batch`."""
        return await self.send(calls.submit_batch(jobs))

    async def get(self, job_id: str) -> JobInfo:
        """As `Client.get`."""
        return await self.send(calls.get(job_id))

    def jobs(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        queue: str | None = None,
        tag: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[JobInfo]:
        """As `Client.jobs`."""
        return self._pages(calls.jobs(status=status, type=type, queue=queue, tag=tag, limit=limit))

    async def cancel(self, job_id: str) -> JobInfo:
        """As `Client.cancel`."""
        return await self.send(calls.cancel(job_id))

    async def retry(self, job_id: str) -> JobInfo:
        """As `Client.retry`."""
        return await self.send(calls.retry(job_id))

    async def delete(self, job_id: str) -> None:
        """As `Client.delete`."""
        await self.send(calls.delete(job_id))

    async def wait(self, job_id: str, timeout: float | None = None) -> JobInfo:
        """As `Client.wait`."""
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            window_s = calls.POLL_S_MAX if until is None else min(max(until - time.monotonic(), 0), calls.POLL_S_MAX)
            job = await self.send(calls.poll(job_id, window_s))
            if job.ended:
                return job
            if until is not None and time.monotonic() >= until:
                raise WaitTimeout(job)

    def dead(
        self, *, type: str | None = None, queue: str | None = None, limit: int | None = None
    ) -> AsyncIterator[JobInfo]:
        """As `Client.dead`."""
        return self._pages(calls.dead(type=type, queue=queue, limit=limit))

    async def requeue_dead(
        self, ids: Sequence[str] | None = None, *, type: str | None = None, queue: str | None = None, all: bool = False
    ) -> int:
        """As `Client.requeue_dead`."""
        return await self.send(calls.requeue_dead(ids, type, queue, all))

    async def purge_dead(
        self, ids: Sequence[str] | None = None, *, type: str | None = None, queue: str | None = None, all: bool = False
    ) -> int:
        """As `Client.purge_dead`."""
        return await self.send(calls.purge_dead(ids, type, queue, all))

    async def stats(self) -> dict[str, Any]:
        """As `Client.stats`."""
        return await self.send(calls.view("stats"))

    async def workers(self) -> list[dict[str, Any]]:
        """As `Client.workers`."""
        return await self.send(calls.listing("workers"))

    async def types(self) -> list[dict[str, Any]]:
        """As `Client.types`."""
        return await self.send(calls.listing("types"))

    async def nodes(self) -> list[dict[str, Any]]:
        """As `Client.nodes`."""
        return await self.send(calls.listing("nodes"))

    async def leader(self) -> dict[str, Any]:
        """As `Client.leader`."""
        return await self.send(calls.view("leader"))

    async def election(self) -> dict[str, Any]:
        """As `Client.election`."""
        return await self.send(calls.view("election"))

    async def algorithm(self, name: str, nodes: int | None = None) -> dict[str, Any]:
        """As `Client.algorithm`."""
        return await self.send(calls.algorithm(name, nodes))

    async def step_down(self, pause: float | timedelta = 10.0) -> dict[str, Any]:
        """As `Client.step_down`."""
        return await self.send(calls.step_down(pause))

    async def cluster(self) -> dict[str, Any]:
        """As `Client.cluster`."""
        return await self.send(calls.view("cluster"))

    async def login(self, username: str, password: str) -> TokenPair:
        """As `Client.login`."""
        pair = await self.send(credentials.login(username, password))
        self._credentials.keep(pair)
        return pair

    async def logout(self) -> None:
        """As `Client.logout`."""
        await self.send(credentials.logout())
        self._credentials.keep(None)

    async def me(self) -> dict[str, Any]:
        """As `Client.me`."""
        return await self.send(calls.document("GET", "/auth/me"))

    async def send(self, call: Call[T]) -> T:
        """As `Client.send`."""
        shown = self._credentials.shown()
        try:
            return await self._send(call, shown)
        except ApiError as error:
            if not self._credentials.worth_renewing(call, error.status) or not await self._renewed(shown):
                raise
        return await self._send(call, self._credentials.shown())

    async def _renewed(self, shown: str | None) -> bool:
        async with self._renewing, _held(self._credentials.locked()):
            renewal = self._credentials.renewal(shown)
            if renewal is None:
                return self._credentials.present() is not None
            try:
                pair = await self._send(renewal, None)
                self._credentials.keep(pair)
            except ApiError as error:
                if error.status == 401:
                    self._credentials.keep(None)
                return False
            return True

    async def _send(self, call: Call[T], shown: str | None) -> T:
        tracked = tracking.headers(self._request_id)
        headers = {**tracked, **self._credentials.headers(call, shown)}
        retrying = Retrying(call, limit_s=self._retry_for, now=time.monotonic(), rng=self._rng)
        while True:
            outcome: Reply | Lost
            try:
                outcome = transport.reply(await self._http.request(**transport.request(call, self._timeout, headers)))
            except httpx.RequestError as error:
                outcome = transport.lost(error)
            pause_s = retrying.pause(outcome, time.monotonic())
            if pause_s is not None:
                await asyncio.sleep(pause_s)
            elif isinstance(outcome, Lost):
                raise transport.unreachable(
                    call, outcome, self._http.base_url, sent=retrying.uncertain, request_id=tracked["x-request-id"]
                )
            else:
                return calls.finish(call, outcome, uncertain=retrying.uncertain)

    async def _pages(self, call: Call[Page] | None) -> AsyncIterator[JobInfo]:
        while call is not None:
            page = await self.send(call)
            for job in page.jobs:
                yield job
            call = page.following
