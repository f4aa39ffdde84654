"""What a killed leader costs in throughput: a cluster works off a steady stream of batches, its leader is killed, and
the handlers' journal tells how long fewer jobs ended than before.

`./dev soak tests/soak/test_dip.py` prints each round. DIP_KILLS=20 an algorithm, DIP_RATE=1000 jobs a second;
CLUSTER_RAW=FILE keeps the figures. The stream goes to the nodes that stay, as a client's would after its first error.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import os
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import httpx
import msgspec
import pytest

from hegemon.auth.roles import Role
from hegemon.cluster.election_trial import Trial, trial
from hegemon.cluster.trial_figures import quantile
from hegemon.cluster.trial_load import JOB_TYPE
from tests.nodes import ROOT
from tests.soak.cluster_report import record
from tests.soak.conftest import Quiet, Say

pytestmark = pytest.mark.soak

KILLS: Final = int(os.environ.get("DIP_KILLS", "20"))
RATE: Final = float(os.environ.get("DIP_RATE", "1000"))
RAW: Final = os.environ.get("CLUSTER_RAW")
BATCH: Final = 20
# The rate before the kill is that of so many seconds, and the shortfall is looked for in so many after it.
BEFORE_S: Final = 2.0
AFTER_S: Final = 4.0
# A moment's throughput is that of the last so many seconds.
WINDOW_S: Final = 0.05
# The stream comes in batches, so that a rate is known to within two of them.
GRAIN_S: Final = 2 * BATCH / RATE + WINDOW_S


class Dip(msgspec.Struct, frozen=True):
    """One kill. `rate`: jobs that ended per second before it. `failover_s`: until the successor's first dispatch.
    `short_s`: how many seconds' worth of jobs were missing at most, against that rate. `low_s`: the longest time in
    which less than half of the rate was reached."""

    algorithm: str
    nodes: int
    rate: float
    failover_s: float
    short_s: float
    low_s: float

    @property
    def within(self) -> bool:
        """At most the failover."""
        return max(self.short_s, self.low_s) <= self.failover_s + GRAIN_S


class Stream:
    """Batches of the trial's jobs at a steady rate, numbered and acknowledged with the trial's own."""

    def __init__(self, running: Trial) -> None:
        self._load = running.load
        self._nodes = running.cluster.nodes

    @asynccontextmanager
    async def on(self) -> AsyncIterator[None]:
        """Post while the block runs; what is on its way at its end is answered."""
        posts: set[asyncio.Task[None]] = set()
        async with httpx.AsyncClient(trust_env=False, timeout=5.0) as client:
            beat = asyncio.create_task(self._beat(client, posts))
            try:
                yield
            finally:
                beat.cancel()
                await asyncio.gather(beat, *posts, return_exceptions=True)

    async def _beat(self, client: httpx.AsyncClient, posts: set[asyncio.Task[None]]) -> None:
        due = time.monotonic()
        while True:
            post = asyncio.create_task(self._post(client))
            posts.add(post)
            post.add_done_callback(posts.discard)
            due += BATCH / RATE
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    async def _post(self, client: httpx.AsyncClient) -> None:
        first = self._load.number + 1
        self._load.number += BATCH
        numbers = range(first, first + BATCH)
        jobs = [{"type": JOB_TYPE, "payload": {"number": number, "seconds": 0.0}} for number in numbers]
        key = {"idempotency-key": str(uuid.uuid4())}
        for turn in itertools.count(first // BATCH):
            nodes = [node for node in self._nodes if node.plan.id != self._load.avoid]
            node = nodes[turn % len(nodes)]
            try:
                answer = await client.post(
                    f"{node.plan.url}/api/v1/jobs/batch",
                    json={"jobs": jobs},
                    headers={**key, **node.headers(Role.WORKER)},
                )
                if answer.is_success:
                    self._load.acknowledged.update(zip(answer.json()["ids"], numbers, strict=True))
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)


def dip(ends_s: Sequence[float], killed_s: float) -> tuple[float, float, float]:
    """Of moments at which jobs ended, in order: the rate before the kill, and the shortfall after it, as seconds' worth
    of jobs and as the longest time below half of the rate."""

    def count(since_s: float, until_s: float) -> int:
        return bisect.bisect(ends_s, until_s) - bisect.bisect(ends_s, since_s)

    rate = count(killed_s - BEFORE_S, killed_s) / BEFORE_S
    short_s = low_s = lasting_s = 0.0
    step_s = WINDOW_S / 5
    for number in range(1, int(AFTER_S / step_s)):
        now_s = killed_s + number * step_s
        short_s = max(short_s, (now_s - killed_s) - count(killed_s, now_s) / rate)
        lasting_s = lasting_s + step_s if count(now_s - WINDOW_S, now_s) < rate * WINDOW_S / 2 else 0.0
        low_s = max(low_s, lasting_s)
    return rate, short_s, low_s


async def killed(running: Trial, number: int) -> Dip:
    """Kill the leader in the stream."""
    leader = await running.steady()
    async with Stream(running).on():
        running.load.avoid = leader.plan.id
        await asyncio.sleep(BEFORE_S + 1.0)
        done = await running.end_leader(number)
        await asyncio.sleep(AFTER_S)
    ends_s = sorted(one.at_ns / 1e9 for one in running.journal.look() if one.event == "end")
    rate, short_s, low_s = dip(ends_s, running.ended_ns / 1e9)
    await running.revive()
    return Dip(running.algorithm, len(running.cluster.nodes), rate, done.dispatched_s, short_s, low_s)


@pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
async def test_throughput_dips_for_no_longer_than_the_failover_takes(algorithm: str, say: Say) -> None:
    async with trial(algorithm, 3, Quiet(say)) as running:
        dips = []
        for number in range(1, KILLS + 1):
            dips.append(await killed(running, number))
            say(f"{number} {dips[-1]}")
            if RAW:
                record(ROOT / RAW, "dips", dips[-1])
        await running.load.stop()
        verdict = await running.verdict()
    short, low = [one.short_s for one in dips], [one.low_s for one in dips]
    say(f"{algorithm}: {verdict.acknowledged} jobs, {len(verdict.lost)} lost")
    say(f"    seconds' worth missing: p50 {quantile(short, 50):.2f}, max {max(short):.2f}")
    say(f"    below half of the rate: p50 {quantile(low, 50):.2f} s, max {max(low):.2f} s")
    assert verdict.holds, verdict
    assert all(one.within for one in dips), [one for one in dips if not one.within]
