"""What is measured: Valkey with its append-only file, a one-node replica set and one Hegemon node, each a process.

MongoDB is asked directly for what has ended; Hegemon's own counters decide nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import httpx
import redis.asyncio
from pymongo import AsyncMongoClient
from pymongo.read_concern import ReadConcern

from benchmarks import processes
from benchmarks.profile import Profiler
from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from hegemon.cluster.parentage import tied_to_parent
from hegemon.queue.states import LIVE

LIVE_STATUSES = sorted(LIVE)
POLL_S = 0.01
PROFILED = ("control", "worker")
ROOT = str(Path(__file__).resolve().parent.parent)
_PASSED_ON = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "LD_LIBRARY_PATH")


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Node:
    """A running node. `pids` names its processes and the stores', for `processes.cpu_of`."""

    def __init__(self, stores: Stores, name: str, environment: Mapping[str, str]) -> None:
        self.stores = stores
        self.name = name
        secure = environment.get("TLS_ENABLED") == "true"
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{environment['SERVER_PORT']}"
        self.environment = dict(environment)
        self.log = stores.directory / f"{name}.log"
        trusted = ssl.create_default_context(cafile=stores.directory / "ca.pem") if secure else True
        self.http = httpx.AsyncClient(base_url=self.url, timeout=60.0, verify=trusted)
        self.process: subprocess.Popen[bytes] | None = None
        database = stores.mongo[environment["MONGODB_DATABASE"]]
        self.jobs = database.get_collection("jobs", read_concern=ReadConcern("majority"))

    @property
    def slots(self) -> int:
        """Jobs that run at once."""
        return int(self.environment["WORKER_COUNT"])

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by name: control, worker, mongod, valkey."""
        assert self.process is not None
        found = {"control": self.process.pid}
        workers = processes.children(self.process.pid)
        found |= {"worker" if i == 0 else f"worker{i}": pid for i, pid in enumerate(sorted(workers))}
        return found | {"mongod": self.stores.embedded_mongo.pid or 0, "valkey": self.stores.embedded_redis.pid or 0}

    async def start(self) -> None:
        """Start, and wait until it is ready."""
        self.process = self._spawn()
        deadline = time.monotonic() + 60
        while True:
            assert self.process.poll() is None, f"the node ended:\n{self.last_words()}"
            assert time.monotonic() < deadline, f"the node does not get ready:\n{self.last_words()}"
            try:
                if (await self.http.get("/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                tied_to_parent([sys.executable, "-m", "hegemon.cli", "node"]),
                env=self.environment,
                cwd=self.stores.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def last_words(self) -> str:
        """The end of the node's log."""
        return self.log.read_text()[-3000:]

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL for what is left after a while."""
        await self.http.aclose()
        process = self.process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(process.wait, 15)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    async def submit(self, type_: str, payload: dict[str, Any], **options: Any) -> str:
        """Submit one job; its id."""
        reply = await self.http.post("/api/v1/jobs", json={"type": type_, "payload": payload, **options})
        assert reply.status_code == 201, reply.text
        job_id: str = reply.json()["id"]
        return job_id

    async def submit_many(self, jobs: list[dict[str, Any]], *, batch: int = 1000) -> None:
        """Submit in batches, over two connections, waiting where the node says so."""
        chunks = iter([jobs[first : first + batch] for first in range(0, len(jobs), batch)])

        async def send() -> None:
            for chunk in chunks:
                while True:
                    reply = await self.http.post("/api/v1/jobs/batch", json={"jobs": chunk})
                    if reply.status_code not in (429, 503):
                        break
                    await asyncio.sleep(0.05)
                assert reply.status_code == 201, reply.text

        await asyncio.gather(send(), send())

    async def indexed(self) -> int:
        """Jobs in the index: accepted, indexed and not ended (and, briefly, ended and not acknowledged)."""
        return int(await self.stores.redis.hlen(f"hegemon:{{{self.environment['CLUSTER_ID']}}}:bodies"))

    async def until_ended(self, timeout_s: float = 300.0) -> float:
        """Wait until MongoDB's majority holds no live job; the monotonic time at which it said so.

        The question is one step in the status index, whatever its answer, so asking often costs the drain little.
        """
        deadline = time.monotonic() + timeout_s
        while await self.jobs.find_one({"status": {"$in": LIVE_STATUSES}}, {"_id": 1}) is not None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"live jobs after {timeout_s} s:\n{self.last_words()}")
            await asyncio.sleep(POLL_S)
        return time.monotonic()

    @asynccontextmanager
    async def backlog(self) -> AsyncIterator[Path]:
        """Fill every slot, so that what is submitted within the block waits. Creating the given file lets it go."""
        path = self.stores.directory / f"{self.name}-go-{time.monotonic_ns()}"
        await self.submit_many([{"type": "gate", "payload": {"path": str(path)}, "priority": 10}] * self.slots)
        running = {"type": "gate", "status": "running"}
        while await self.jobs.count_documents(running) < self.slots:
            await asyncio.sleep(POLL_S)
        yield path

    async def until_indexed(self, count: int, timeout_s: float = 120.0) -> None:
        """Wait until `count` jobs wait or run."""
        deadline = time.monotonic() + timeout_s
        while (found := await self.indexed()) < count:
            assert time.monotonic() < deadline, f"{found} of {count} jobs indexed:\n{self.last_words()}"
            await asyncio.sleep(POLL_S)


class Stores:
    """The two stores, and the nodes that are started on them one after the other."""

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self.directory = directory
        self.settings = dict(settings)
        self.profiler: Profiler | None = None
        self.embedded_redis = EmbeddedRedis(directory / "redis")
        self.embedded_mongo = EmbeddedMongo(directory / "mongo")
        self._numbers = itertools.count(1)
        self.redis: redis.asyncio.Redis
        self.mongo: AsyncMongoClient[dict[str, Any]]

    async def __aenter__(self) -> Self:
        await asyncio.gather(self.embedded_redis.start(), self.embedded_mongo.start())
        self.redis = redis.asyncio.Redis.from_url(self.embedded_redis.url)
        self.mongo = AsyncMongoClient(self.embedded_mongo.uri)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.redis.aclose()
        await self.mongo.close()
        await asyncio.gather(self.embedded_redis.stop(), self.embedded_mongo.stop())

    @asynccontextmanager
    async def node(self, **settings: str) -> AsyncIterator[Node]:
        """A node of a cluster of its own for the block; its data go with it."""
        async with self.guest(**settings) as node:
            yield node
        await self.mongo.drop_database(node.environment["MONGODB_DATABASE"])
        await self.redis.flushall()

    @asynccontextmanager
    async def guest(self, **settings: str) -> AsyncIterator[Node]:
        """A node of the cluster that `settings` name, whose data outlive it."""
        name = f"bench{next(self._numbers)}"
        environment = {
            **{key: os.environ[key] for key in _PASSED_ON if key in os.environ},
            "PYTHONPATH": ROOT,
            "REDIS_URL": self.embedded_redis.url,
            "MONGODB_URI": self.embedded_mongo.uri,
            "MONGODB_DATABASE": name,
            "CLUSTER_ID": name,
            "NODE_ID": name,
            "SERVER_PORT": str(free_port()),
            "METRICS_PORT": "0",
            "HANDLERS": "benchmarks.handlers",
            "LOG_FORMAT": "json",
            **self.settings,
            **settings,
        }
        node = Node(self, name, environment)
        try:
            await node.start()
            if self.profiler is not None:
                self.profiler.start({part: pid for part, pid in node.pids.items() if part in PROFILED})
            yield node
        finally:
            if self.profiler is not None:
                await self.profiler.stop()
            await node.stop()
