"""What a thousand slow clients of the stream of events cost a node: its drain with them against its drain without, by
turns in one run; what memory they take; and whether each that is dropped is told so.

`./dev soak tests/soak/test_streams.py` prints each drain. STREAMS=1000, STREAM_ROUNDS=3 of either kind, each of
STREAM_S=75 seconds in drains of STREAM_JOBS=20000; STREAM_RAW=FILE keeps the figures.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import pytest

from benchmarks.processes import cpu_s, rss_mib
from tests.conftest import MongoServer, RedisServer
from tests.nodes import ROOT, NodeProcess, node
from tests.soak.cluster_report import record
from tests.soak.conftest import Say

pytestmark = pytest.mark.soak

STREAMS: Final = int(os.environ.get("STREAMS", "1000"))
ROUNDS: Final = int(os.environ.get("STREAM_ROUNDS", "3"))
ROUND_S: Final = float(os.environ.get("STREAM_S", "75"))
JOBS: Final = int(os.environ.get("STREAM_JOBS", "20000"))
RAW: Final = os.environ.get("STREAM_RAW")
BATCH: Final = 1000
DRAIN_S: Final = 150.0
# Of a batch: what fails is told one by one, up to ten a second.
FAILING: Final = 10
# A stream holds 4 KiB that wait for its client, one write of at most 16 entries, and its tasks.
MEMORY_MIB: Final = 100
# Drains beside a change of sides: a store that fills, and a machine that others use, make all of them slower by and by.
BESIDE: Final = 5


class Drain(msgspec.Struct, frozen=True):
    """One round: jobs a second from the first submission to the last end, and what the control process took."""

    streams: int
    jobs_per_s: float
    control_cpu_s: float
    control_mib: float


class Streamed(msgspec.Struct, frozen=True):
    """All rounds. `ratio` is that of the medians of the drains beside each change of sides; `grown_mib` what the
    control process had more with the streams; `seen` what the clients saw: statuses, and how their streams ended."""

    streams: int
    rounds: list[Drain]
    ratio: float
    grown_mib: float
    dropped: int
    seen: dict[str, int]


async def completed(process: NodeProcess) -> int:
    counts: dict[str, int] = (await process.api.get("/api/v1/stats")).raise_for_status().json()["jobs"]
    return counts["completed"] + counts["failed"]


async def drain(process: NodeProcess, streams: int) -> Drain:
    """Submit and run JOBS jobs."""
    jobs = [{"type": "fail", "payload": {"times": 9}, "max_retries": 0}] * FAILING
    batch = msgspec.json.encode({"jobs": jobs + [{"type": "noop"}] * (BATCH - FAILING)})
    wanted = await completed(process) + JOBS
    cpu, began = cpu_s(process.pid), time.monotonic()
    for _ in range(JOBS // BATCH):
        reply = await process.api.post(
            "/api/v1/jobs/batch", content=batch, headers={"content-type": "application/json"}
        )
        reply.raise_for_status()

    while await completed(process) < wanted:
        assert time.monotonic() - began < DRAIN_S, "the jobs do not end"
        await asyncio.sleep(0.1)
    took = time.monotonic() - began
    return Drain(streams, JOBS / took, cpu_s(process.pid) - cpu, rss_mib(process.pid))


async def drains(process: NodeProcess, streams: int, say: Say) -> list[Drain]:
    """One after another, for ROUND_S seconds."""
    found, began = [], time.monotonic()
    while time.monotonic() - began < ROUND_S:
        found.append(await drain(process, streams))
        one = found[-1]
        say(f"{streams:5d} streams: {one.jobs_per_s:,.0f} jobs/s, {one.control_cpu_s:.1f} s, {one.control_mib:.0f} MiB")
    return found


@asynccontextmanager
async def slow_clients(process: NodeProcess, seen: dict[str, int]) -> AsyncIterator[None]:
    """STREAMS of them, while the block runs; what they saw is added to `seen`."""
    peers = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.slow_streams", str(process.port), str(STREAMS)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert peers.stdout is not None
        assert peers.stdin is not None
        assert await asyncio.wait_for(peers.stdout.readline(), 170) == b"ready\n"
        yield
        peers.stdin.close()
        more = msgspec.json.decode(await asyncio.wait_for(peers.stdout.readline(), 60), type=dict[str, int])
        for name, count in more.items():
            seen[name] = seen.get(name, 0) + count
    finally:
        if peers.returncode is None:
            peers.kill()
        await peers.wait()


async def test_a_thousand_slow_streams_take_nothing_from_the_jobs_and_are_told_when_they_are_dropped(
    redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str, say: Say
) -> None:
    stores = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": database}
    async with node({**stores, "CLUSTER_ID": cluster_id, "WORKER_PROCESSES": "2"}) as process:
        await drain(process, 0)  # to warm up
        rounds: list[Drain] = []
        seen: dict[str, int] = {}
        for _ in range(ROUNDS):
            rounds += await drains(process, 0, say)
            async with slow_clients(process, seen):
                rounds += await drains(process, STREAMS, say)
            say(f"{seen}")
        found = summary(rounds, seen)
    say(f"{found.streams} streams: ratio {found.ratio:.3f}, {found.grown_mib:.0f} MiB more; {found.seen}")
    if RAW:
        record(ROOT / RAW, "streams", found)
    assert found.seen.get("200", 0) >= STREAMS * ROUNDS, found
    assert found.dropped >= STREAMS // 2, found
    # Who has read nothing for WRITE_TIMEOUT may be cut before it gets to the word.
    assert found.seen.get("no word while it read", 0) + found.seen.get("cut while it read", 0) == 0, found
    assert found.grown_mib < MEMORY_MIB, found
    # The clients have their share of the same cores.
    assert found.ratio > 0.8, found


def summary(rounds: list[Drain], seen: dict[str, int]) -> Streamed:
    """What all rounds came to."""
    beside: dict[bool, list[float]] = {True: [], False: []}
    for at in range(1, len(rounds)):
        if rounds[at].streams != rounds[at - 1].streams:
            for one in rounds[max(0, at - BESIDE) : at + BESIDE]:
                beside[bool(one.streams)].append(one.jobs_per_s)
    with_them = max(one.control_mib for one in rounds if one.streams)
    return Streamed(
        streams=STREAMS,
        rounds=rounds,
        ratio=statistics.median(beside[True]) / statistics.median(beside[False]),
        grown_mib=with_them - rounds[0].control_mib,
        dropped=seen.get("dropped", 0),
        seen=seen,
    )
