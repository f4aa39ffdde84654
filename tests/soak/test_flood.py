"""Whether the API's traffic delays elections: clients post batches to the leader without pause, and leaders that are
killed under that flood are held against as many that are killed in calm, in turn and in one run.

`./dev soak tests/soak/test_flood.py` prints each round. FLOOD_KILLS=10 of each kind, FLOOD_S=30 without a kill;
CLUSTER_RAW=FILE keeps the figures.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
import pytest

from hegemon.cluster.election_trial import Trial, trial
from hegemon.cluster.trial_figures import quantile
from tests.conftest import MongoServer, RedisServer
from tests.nodes import ROOT, NodeProcess
from tests.soak.cluster_report import record
from tests.soak.conftest import Quiet, Say
from tests.soak.timed_node import LoopFigures
from tests.waiting import wait_until

pytestmark = pytest.mark.soak

KILLS: Final = int(os.environ.get("FLOOD_KILLS", "10"))
FLOOD_S: Final = float(os.environ.get("FLOOD_S", "30"))
RAW: Final = os.environ.get("CLUSTER_RAW")
CLIENTS: Final = 4
BATCH: Final = 1000
# The flood is on for so long before a leader is killed in it.
RISING_S: Final = 2.0
DRAIN_S: Final = 150.0
# ELECTION_HEARTBEAT; three and a half without a word make a silence.
HEARTBEAT_MS: Final = 100.0
# Behind the jobs of the trial: those are to show when the next leader dispatches, not how long its backlog is.
BODY: Final = msgspec.json.encode({"jobs": [{"type": "noop", "priority": 0}] * BATCH})


class Flood:
    """Clients that post to the first of `urls` that answers, and go on to the next when it does not."""

    def __init__(self, urls: Sequence[str]) -> None:
        self._urls = urls
        self.accepted = 0
        self.put_off = 0

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Post, while the block runs."""
        tasks = [asyncio.create_task(self._client()) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _client(self) -> None:
        places = itertools.cycle(self._urls)
        url = next(places)
        async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
            while True:
                try:
                    answer = await client.post(
                        f"{url}/api/v1/jobs/batch", content=BODY, headers={"content-type": "application/json"}
                    )
                except httpx.HTTPError:
                    url = next(places)
                    await asyncio.sleep(0.01)
                    continue
                if answer.is_success:
                    self.accepted += BATCH
                else:
                    self.put_off += 1
                    await asyncio.sleep(0.01)


class Flooded(msgspec.Struct, frozen=True):
    """`changes` of office in `seconds` of flood without a kill, `accepted` jobs meanwhile, and batches `put_off`;
    failovers in `calm` and in `flood`, in seconds from the kill to the first dispatch."""

    algorithm: str
    nodes: int
    seconds: float
    changes: int
    accepted: int
    put_off: int
    calm: list[float]
    flood: list[float]

    @property
    def ratio(self) -> float:
        """Of the medians."""
        return quantile(self.flood, 50) / quantile(self.calm, 50)

    def __str__(self) -> str:
        told = [
            f"{name} p50 {quantile(values, 50):.2f} s, max {max(values):.2f} s"
            for name, values in (("calm", self.calm), ("flood", self.flood))
        ]
        return (
            f"{self.algorithm:9} {self.nodes:2d} {self.accepted / self.seconds:,.0f} jobs/s for {self.seconds:.0f} s, "
            f"{self.put_off} batches put off: {self.changes} changes; {'; '.join(told)}; ratio {self.ratio:.2f}"
        )


async def drained(running: Trial) -> None:
    """Wait until what the flood left has run."""

    async def empty() -> bool:
        await asyncio.sleep(0.2)
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            try:
                found: dict[str, Any] = (await client.get(f"{running.cluster.nodes[0].plan.url}/api/v1/stats")).json()
            except httpx.HTTPError:
                return False
        return int(found["queue"]["ready"]) < BATCH if "queue" in found else False

    await wait_until(empty, DRAIN_S, "the flood to drain")


async def in_flood(running: Trial) -> tuple[Flood, int]:
    """The flood alone: what it did, and how often the office changed."""
    leader = await running.steady()
    before = int((await running.office())["epoch"])
    flood = Flood([leader.plan.url])
    async with flood.on():
        await asyncio.sleep(FLOOD_S)
    changes = int((await running.office())["epoch"]) - before
    await drained(running)
    return flood, changes


async def killed(running: Trial, number: int, *, flooded: bool) -> float:
    """The leader is killed; seconds until the next one's first dispatch."""
    leader = await running.steady()
    others = [node.plan.url for node in running.cluster.nodes if node is not leader]
    if flooded:
        async with Flood([leader.plan.url, *others]).on():
            await asyncio.sleep(RISING_S)
            done = await running.end_leader(number)
    else:
        done = await running.end_leader(number)
    await running.revive()
    await running.steady()
    await drained(running)
    return done.dispatched_s


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
async def test_a_flood_of_batches_changes_no_office_and_does_not_double_a_failover(algorithm: str, say: Say) -> None:
    settings = {"HANDLERS": "hegemon.cli.trial_jobs,examples.jobs", "PYTHONPATH": str(ROOT)}
    async with trial(algorithm, 3, Quiet(say), settings=settings) as running:
        began = time.monotonic()
        flood, changes = await in_flood(running)
        say(f"{algorithm}: {flood.accepted} jobs, {flood.put_off} put off, {changes} changes")
        times: dict[bool, list[float]] = {False: [], True: []}
        for number in range(1, 2 * KILLS + 1):
            flooded = number % 2 == 0
            times[flooded].append(await killed(running, number, flooded=flooded))
            say(f"{algorithm} {'flood' if flooded else 'calm '} {times[flooded][-1]:.3f} s")
        await running.load.stop()
        verdict = await running.verdict()
    found = Flooded(algorithm, 3, FLOOD_S, changes, flood.accepted, flood.put_off, times[False], times[True])
    say(f"{found}; {time.monotonic() - began:.0f} s")
    if RAW:
        record(ROOT / RAW, "floods", found)
    assert verdict.holds, verdict
    assert found.changes == 0, found
    assert found.ratio <= 2.0, found


async def test_the_loop_of_a_flooded_leader_works_for_less_than_a_heartbeat_in_one_go(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str, say: Say
) -> None:
    figures = tmp_path / "figures"
    stores = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": database}
    node = NodeProcess(
        {**stores, "CLUSTER_ID": cluster_id, "LOOP_FIGURES": str(figures), "SHUTDOWN_TIMEOUT": "0s"},
        prefix=(sys.executable, str(ROOT / "tests/soak/timed_node.py")),
    )
    try:
        await node.start(DRAIN_S)
        figures.touch()
        flood = Flood([node.url])
        async with flood.on():
            await asyncio.sleep(FLOOD_S)
        node.signal(signal.SIGTERM)
        await node.ended()
        found = msgspec.json.decode(figures.read_bytes(), type=LoopFigures)
    finally:
        await node.close()
    say(f"{flood.accepted / FLOOD_S:,.0f} jobs/s; {found}")
    if RAW:
        record(ROOT / RAW, "loops", found)
    assert found.cpu_max_ms < HEARTBEAT_MS, found
