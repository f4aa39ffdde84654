"""Real nodes as processes of their own, on real stores: what the tests of whole jobs, crashes and recoveries start."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parent.parent


# Below the ports that the kernel gives to connections and to servers that do not care: what is free here stays free
# until its node binds it, also while that node is down. Each process of a run has a band of its own.
_BAND = 2500
_FIRST = 10_000 + _BAND * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4)
# Runs that begin together have neighbouring process ids.
_ports = itertools.count(97 * os.getpid())


def free_port(run: int = 1) -> int:
    """A port that is free, TCP and UDP, and that this process has given to nobody else; the first of `run` in a row."""
    while True:
        places = [next(_ports) % _BAND for _ in range(run)]
        if places[-1] - places[0] == run - 1 and all(_is_free(_FIRST + place) for place in places):
            return _FIRST + places[0]


def _is_free(port: int) -> bool:
    with socket.socket() as stream, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            stream.bind(("127.0.0.1", port))
            datagrams.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@dataclass(frozen=True)
class Gate:
    """Where handlers of tests/handlers.py wait that were given its `path`, until it is opened."""

    path: str

    def open(self) -> None:
        """Let them go, and whoever comes later."""
        Path(self.path).touch()


class NodeProcess:
    """`hegemon node` as a process. `api` is an HTTP client for it; `log` what it wrote.

    `host` is where its API listens. `prefix` is a command that ends by becoming the one it is given, as
    `ip netns exec NAME` does.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        name: str = "n1",
        host: str = "127.0.0.1",
        prefix: Sequence[str] = (),
    ) -> None:
        self.port = free_port()
        self.url = f"http://{host}:{self.port}"
        self._prefix = prefix
        self._directory = Path(tempfile.mkdtemp(prefix="hegemon-node-"))
        self._log = self._directory / "log"
        self.environment = {
            **{key: os.environ[key] for key in ("PATH", "HOME", "LANG", "VIRTUAL_ENV") if key in os.environ},
            "PYTHONPATH": str(ROOT),
            "SERVER_HOST": host,
            "SERVER_PORT": str(self.port),
            "METRICS_PORT": "0",
            "NODE_ID": name,
            "HANDLERS": "examples.jobs,tests.handlers",
            "RETRY_BASE_DELAY": "50ms",
            # What is only for people to look at, as the mark of a start, is not written again after a time-out.
            "MONGODB_TIMEOUT": "60s",
            "LOG_FORMAT": "json",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None
        self.api = httpx.AsyncClient(base_url=self.url, timeout=PATIENCE_S)

    @property
    def pid(self) -> int:
        """The control process."""
        assert self.process is not None
        return self.process.pid

    @property
    def log(self) -> str:
        """Everything that this node wrote so far, over all its starts."""
        return self._log.read_text() if self._log.exists() else ""

    def environment_file(self) -> Path:
        """The .env that it reads, which is not there unless a test writes it."""
        return self._directory / ".env"

    def spawn(self, **more: str) -> None:
        """Start the process without waiting for it; `more` is environment for this start alone."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._prefix, sys.executable, "-m", "hegemon.cli", "node"],
                env=self.environment | more,
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def start(self, timeout: float = PATIENCE_S, **more: str) -> NodeProcess:
        """Start and wait until it is ready."""
        self.spawn(**more)
        await self.until_ready(timeout)
        return self

    async def until_ready(self, timeout: float = PATIENCE_S) -> None:
        """Wait for /readyz; fails with the log when the process ends before."""

        async def ready() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, f"the node ended with {self.process.returncode}:\n{self.log}"
            try:
                return (await self.api.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        try:
            await wait_until(ready, timeout, "the node to be ready")
        except pytest.fail.Exception as late:
            pytest.fail(f"{late}\n{self.log[-3000:]}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the control process."""
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        await self.ended()

    async def stop(self, timeout: float = PATIENCE_S) -> int:
        """SIGTERM, and wait for the orderly end; its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended(timeout)

    async def ended(self, timeout: float = PATIENCE_S) -> int:
        """Wait for the process to end; its exit code."""
        assert self.process is not None
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"the node did not end in {timeout} s:\n{self.log[-3000:]}"
            await asyncio.sleep(0.01)
        return self.process.returncode

    async def workers(self, *, solo: bool = False) -> list[dict[str, Any]]:
        """Open worker processes, as the API tells."""
        found = (await self.api.get("/api/v1/workers")).raise_for_status().json()["workers"]
        return [worker for worker in found if worker["solo"] is solo]

    async def submit(self, type_: str, payload: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Submit one job; its id."""
        reply = await self.api.post("/api/v1/jobs", json={"type": type_, "payload": payload or {}, **options})
        assert reply.status_code == 201, reply.text
        job_id: str = reply.json()["id"]
        return job_id

    async def submit_many(self, jobs: list[dict[str, Any]]) -> list[str]:
        """Submit a batch; ids."""
        reply = await self.api.post("/api/v1/jobs/batch", json={"jobs": jobs})
        assert reply.status_code == 201, reply.text
        ids: list[str] = reply.json()["ids"]
        return ids

    async def job(self, job_id: str) -> dict[str, Any]:
        """The job now."""
        found: dict[str, Any] = (await self.api.get(f"/api/v1/jobs/{job_id}")).raise_for_status().json()
        return found

    async def wait(self, job_id: str, timeout: float = PATIENCE_S) -> dict[str, Any]:
        """The job once it has ended; fails when the time is up."""
        reply = await self.api.get(f"/api/v1/jobs/{job_id}/wait", params={"timeout": timeout}, timeout=timeout + 10)
        found: dict[str, Any] = reply.raise_for_status().json()
        assert found["status"] in ("completed", "failed", "cancelled"), f"{found}\n{self.log[-3000:]}"
        return found

    async def close(self) -> None:
        """Kill what runs, close the client."""
        await self.kill()
        await self.api.aclose()


@asynccontextmanager
async def node(environment: Mapping[str, str], *, name: str = "n1", start: bool = True) -> AsyncIterator[NodeProcess]:
    """A node for the length of the block."""
    process = NodeProcess(environment, name=name)
    try:
        if start:
            await process.start()
        yield process
    finally:
        if process.process is not None:
            await process.close()
        else:
            await process.api.aclose()
