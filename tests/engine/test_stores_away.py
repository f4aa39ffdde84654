"""Stores that stall or die under a running node: callers are told to come back, nothing accepted is lost, and when the
store is back all goes on by itself.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.engine.journal import Journal, documents
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

Environment = dict[str, str]
JOB = {"type": "journaled", "payload": {"seconds": 0.005}}


class Judge:
    """Submits, keeps a journal of what was acknowledged, and compares it with what became of it."""

    def __init__(self, node_: NodeProcess, environment: Environment, journal: Journal) -> None:
        self.node = node_
        self.environment = environment
        self.journal = journal
        self.accepted: set[str] = set()
        self.refusals: list[httpx.Response] = []

    async def submit(self) -> int:
        """One submission; its status code."""
        reply = await self.node.api.post("/api/v1/jobs", json=JOB)
        if reply.status_code == 201:
            self.accepted.add(reply.json()["id"])
        else:
            self.refusals.append(reply)
        return reply.status_code

    async def all_ended(self) -> None:
        """Every acknowledged job completes, and none starts after its completion."""

        def done() -> bool:
            found = documents(self.environment, {"status": "completed"})
            return {item["_id"] for item in found} >= self.accepted

        await wait_until(done, message="all acknowledged jobs to complete")
        ends = {line.job_id for line in self.journal.ends()}
        assert ends >= self.accepted

    def were_told_to_come_back(self) -> None:
        for reply in self.refusals:
            assert reply.status_code == 503, reply.text
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.headers["content-type"] == "application/problem+json"
            assert reply.json()["code"] in ("store_unavailable", "outcome_unknown", "overloaded")


@pytest.fixture
async def judge(
    environment: Environment, own_redis: EmbeddedRedis, own_mongo: EmbeddedMongo, journal: Journal
) -> AsyncIterator[Judge]:
    own = environment | {
        "REDIS_URL": own_redis.url,
        "MONGODB_URI": own_mongo.uri,
        "MONGODB_TIMEOUT": "500ms",
        "REDIS_TIMEOUT": "500ms",
        "HANDLERS": "tests.handlers",
    }
    async with node(own) as started:
        yield Judge(started, own, journal)


async def readiness(node_: NodeProcess) -> dict[str, Any] | None:
    """What /readyz says is wrong; None if nothing is."""
    reply = await node_.api.get("/readyz")
    if reply.status_code == 200:
        return None
    assert reply.status_code == 503
    assert "retry-after" in reply.headers
    parts: dict[str, Any] = reply.json()["parts"]
    return parts


async def accepted(judge: Judge) -> bool:
    """Submit one more; whether twenty were accepted."""
    await judge.submit()
    return len(judge.accepted) >= 20


async def outage(judge: Judge, store: str, during: Any) -> None:
    """Submit before, during and after; `during()` says whether the store is still away."""
    # On a busy machine one or the other may meet the short time-out.
    await wait_until(lambda: accepted(judge), message="20 accepted jobs")
    await during.begin()

    async def noticed() -> bool:
        await judge.submit()
        parts = await readiness(judge.node)
        return parts is not None and parts[store] != "ok"

    await wait_until(noticed, message=f"the node to notice that {store} is away")
    assert (await judge.node.api.get("/livez")).status_code == 200, "a store that is away is no reason to restart us"
    await during.end()

    async def back() -> bool:
        return await readiness(judge.node) is None and await judge.submit() == 201

    await wait_until(back, message=f"the node to go on with {store}")
    await judge.all_ended()
    judge.were_told_to_come_back()


class Stall:
    """SIGSTOP and SIGCONT of a server."""

    def __init__(self, server: EmbeddedRedis | EmbeddedMongo) -> None:
        assert server.pid is not None
        self._pid = server.pid

    async def begin(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)

    async def end(self) -> None:
        os.kill(self._pid, signal.SIGCONT)


class Crash:
    """SIGKILL and restart of a server."""

    def __init__(self, server: EmbeddedRedis | EmbeddedMongo) -> None:
        self._server = server

    async def begin(self) -> None:
        await self._server.kill()

    async def end(self) -> None:
        await self._server.restart()


async def generation(judge: Judge) -> int:
    """The index's, as the office has it."""

    async def told() -> dict[str, Any] | None:
        answer = await judge.node.api.get("/api/v1/leader")  # The stores' time-outs are short here.
        return answer.json() if answer.status_code == 200 else None

    return int((await wait_until(told, message="the office's document"))["generation"])


@pytest.mark.parametrize("how", [Stall, Crash])
async def test_redis_away(judge: Judge, own_redis: EmbeddedRedis, how: type[Stall | Crash]) -> None:
    before = await generation(judge)
    await outage(judge, "redis", how(own_redis))
    # A killed Redis may have lost writes: its index is built anew, in one try or, with time-outs as short as these, in
    # several. One that only stood still has lost none.
    after = await generation(judge)
    assert after > before if how is Crash else after == before


@pytest.mark.parametrize("how", [Stall, Crash])
async def test_mongodb_away(judge: Judge, own_mongo: EmbeddedMongo, how: type[Stall | Crash]) -> None:
    await outage(judge, "mongodb", how(own_mongo))
    assert judge.refusals, "somebody was told that a job is durable while its store was away"
