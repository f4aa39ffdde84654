"""A graceful stop: what runs is finished, what outlasts it is handed back, nothing is lost, the exit code is 0."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

import httpx
import redis

from tests.conftest import RedisServer
from tests.engine.journal import Journal, documents
from tests.nodes import Gate, NodeProcess, node
from tests.waiting import PATIENCE_S, wait_until

Environment = dict[str, str]
# A node that has served, and a thread that goes on: as one does that asks a name server which does not answer.
WITH_A_THREAD = """
import asyncio, time
from hegemon.cli import node

async def serve(settings):
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 3600)

node.load, node._serve = lambda: None, serve
node.node()
"""
HANDLERS = {"HANDLERS": "tests.handlers,tests.engine.more_handlers"}


async def closed(stopping: NodeProcess) -> None:
    """Wait until the node takes no requests any more: next it tells its workers to stop."""

    async def refused() -> bool:
        async with httpx.AsyncClient() as client:
            try:
                await client.get(f"{stopping.url}/livez")
            except httpx.ConnectError:
                return True
            except httpx.TransportError:
                pass
        return False

    await wait_until(refused, message="the port to close")


async def test_what_runs_is_finished_and_the_rest_waits_for_the_next_start(
    environment: Environment, journal: Journal, gate: Gate
) -> None:
    async with node(environment | HANDLERS | {"WORKER_COUNT": "2"}) as stopped:
        # They outlast the word to stop, however late it comes to their process.
        running = [await stopped.submit("journaled", {"gate": gate.path, "seconds": 1.5}) for _ in range(2)]
        await wait_until(lambda: len(journal.starts()) == 2)
        waiting = await stopped.submit_many([{"type": "journaled"}] * 50)
        later = await stopped.submit("journaled", delay=0.1)
        stopped.signal(signal.SIGTERM)
        await closed(stopped)
        gate.open()
        assert await stopped.ended() == 0
        assert {line.job_id for line in journal.ends()} >= set(running)
        found = {item["_id"]: item["status"] for item in documents(environment)}
        assert {found[job_id] for job_id in running} == {"completed"}
        assert found[later] in ("scheduled", "pending")
        await stopped.start()

        async def taken() -> dict[str, Any] | None:
            """A node is ready before it leads."""
            told: dict[str, Any] = (await stopped.api.get("/api/v1/leader")).json()
            return told if told["leader_id"] is not None and told["epoch"] > 1 else None

        leader = await wait_until(taken, message="the office to be taken anew")
        assert (leader["epoch"], leader["generation"]) == (2, 1), "the index was kept, and the office taken anew"
        for job_id in [*waiting, later]:
            assert (await stopped.wait(job_id))["status"] == "completed"
    starts = [line.job_id for line in journal.starts()]
    assert sorted(starts) == sorted([*running, *waiting, later]), "each ran once"


async def test_a_stopped_node_leaves_nothing_in_the_hands_of_its_workers(
    environment: Environment, journal: Journal, redis_server: RedisServer
) -> None:
    """Else those jobs would wait for a lease to run out, on every restart and in every rolling upgrade."""
    async with node(environment | HANDLERS | {"WORKER_COUNT": "2"}) as stopped:
        for _ in range(2):
            await stopped.submit("journaled", {"seconds": 0.4})
        await wait_until(lambda: len(journal.starts()) == 2)
        await stopped.submit_many([{"type": "journaled", "payload": {"seconds": 0.01}}] * 50)
        assert await stopped.stop() == 0
    with redis.Redis.from_url(redis_server.url) as client:
        prefix = f"hegemon:{{{environment['CLUSTER_ID']}}}:"
        assert client.keys(f"{prefix}held:*") == []
        assert client.hgetall(f"{prefix}workers") == {}


async def test_what_outlasts_the_shutdown_timeout_is_handed_back_and_runs_again(
    environment: Environment, journal: Journal, gate: Gate
) -> None:
    settings = environment | HANDLERS | {"SHUTDOWN_TIMEOUT": "300ms"}
    async with node(settings) as stopped:
        types = ("journaled", "patient-thread", "journaled-thread")
        jobs = {type_: await stopped.submit(type_, {"gate": gate.path}, max_retries=0) for type_ in types}
        await wait_until(lambda: len(journal.starts()) == 3)
        assert await stopped.stop() == 0
        assert journal.ends() == []
        for item in documents(environment):
            assert item["status"] not in ("completed", "failed", "cancelled")
            assert item["failures"] == 0, "a stop is no fault of the job's"
        await stopped.start()
        await wait_until(lambda: len(journal.starts()) == 6)
        gate.open()
        for type_, job_id in jobs.items():
            job = await stopped.wait(job_id)
            assert job["status"] == "completed"
            # A thread that does not look cannot be stopped: it ended with its process, as if that had died.
            if type_ != "journaled-thread":
                assert job["history"][0]["outcome"] == "handed_back"


async def test_a_stopping_node_takes_no_new_jobs_and_says_so(environment: Environment, journal: Journal) -> None:
    async with node(environment | HANDLERS) as stopping:
        job_id = await stopping.submit("journaled", {"seconds": 0.8})
        await wait_until(lambda: journal.starts(job_id))
        stopping.signal(signal.SIGTERM)

        async def refused() -> bool:
            try:
                reply = await stopping.api.post("/api/v1/jobs", json={"type": "journaled"})
            except Exception as error:  # noqa: BLE001 - whichever way a closed port shows
                return "onnect" in type(error).__name__ or "Protocol" in type(error).__name__
            return reply.status_code == 503

        await wait_until(refused)
        assert await stopping.ended() == 0
    assert len(journal.ends(job_id)) == 1


def test_a_node_that_has_stopped_does_not_wait_for_threads_that_hang() -> None:
    command = [sys.executable, "-c", WITH_A_THREAD]
    ended = subprocess.run(command, timeout=PATIENCE_S, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
