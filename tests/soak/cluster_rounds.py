"""What is done to clusters again and again in the soak, with one figure a round: followers cut off and back, nodes
killed with jobs in flight, leaders told to stop.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hegemon.cluster.election_trial import Trial
from hegemon.cluster.trial_figures import quantile
from tests.clusters.cluster import Cluster, name_of
from tests.clusters.network import MONGO, REDIS, NetworkCluster
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

PATIENCE_S: Final = 150.0
# A follower that would depose the leader does so in its first second back.
AFTER_S: Final = 1.0

Told = Callable[[str], None]


class Rounds(msgspec.Struct, frozen=True):
    """A figure of every round, in seconds; `kept` of `count` rounds kept what `name` promises."""

    algorithm: str
    nodes: int
    name: str
    count: int
    kept: int
    seconds: list[float]

    def __str__(self) -> str:
        p50, p99 = quantile(self.seconds, 50), quantile(self.seconds, 99)
        return (
            f"{self.algorithm:9} {self.nodes:2d} {self.name}: {self.kept} of {self.count}; "
            f"p50 {p50:.2f} s, p99 {p99:.2f} s, max {max(self.seconds):.2f} s"
        )


async def followers_cut_off(cluster: NetworkCluster, rounds: int, seed: int, told: Told) -> Rounds:
    """A follower, of lower rank with Bully, is cut off from all other nodes for a while, every second time from the
    stores too, and comes back: kept if the leader and its epoch stay. Seconds: until all agree again."""
    chance = random.Random(seed)
    kept, seconds = 0, []
    async with cluster.load(singles=1):
        for number in range(rounds):
            leader = await cluster.settle(PATIENCE_S)
            before = cluster.witnesses.epochs()[-1]
            follower = chance.choice(cluster.others(leader))
            rest = [name for name in cluster.network.names if name != follower]
            cluster.network.part([follower], [*rest, *((REDIS, MONGO) if number % 2 else ())])
            await asyncio.sleep(chance.uniform(0.5, 4.0))
            cluster.network.heal()
            began = time.monotonic()
            after = await cluster.settle(PATIENCE_S, best=False)
            seconds.append(time.monotonic() - began)
            await asyncio.sleep(AFTER_S)
            cluster.all_run()
            same = after is leader and cluster.witnesses.epochs()[-1] == before
            kept += same
            told(f"{cluster.algorithm} {number}: {follower} back in {seconds[-1]:.2f} s, leader kept: {same}")
    await cluster.settle(PATIENCE_S)
    await cluster.clear_verdict(PATIENCE_S)
    return Rounds(
        cluster.algorithm, len(cluster.nodes), "leader unchanged by a follower's return", rounds, kept, seconds
    )


async def jobs_of_killed_nodes(cluster: Cluster, directory: Path, rounds: int, told: Told) -> Rounds:
    """A node is killed while its slots are at work, the leader and a follower in turn. Seconds: from the kill until the
    last of its jobs has begun elsewhere; kept if that is at most 5."""
    seconds = []
    for number in range(rounds):
        leader = await cluster.settle(PATIENCE_S)
        victim = next(node for node in cluster.nodes if (node is leader) == (number % 2 == 0))
        gate = Gate(str(directory / f"round-{cluster.algorithm}-{number}"))
        seconds.append(await _rerun(cluster, victim, gate))
        told(f"{cluster.algorithm} {number}: jobs of {name_of(victim)} began again after {seconds[-1]:.2f} s")
        gate.open()
        victim.spawn()
        await cluster.settle(PATIENCE_S)
        await cluster.clear_verdict(PATIENCE_S)
    kept = sum(1 for each in seconds if each <= 5.0)
    return Rounds(cluster.algorithm, len(cluster.nodes), "jobs in flight run again within 5 s", rounds, kept, seconds)


async def _rerun(cluster: Cluster, victim: NodeProcess, gate: Gate) -> float:
    homes = {worker["pid"]: worker["node"] for worker in await victim.workers()}
    count = 2 * len(cluster.nodes)
    # Half of the slots of all: some run on the victim, and the others have room for them.
    ids = set(await cluster.offer_many([{"type": "journaled", "payload": {"gate": gate.path}}] * count))

    def begun() -> set[str]:
        return {mark.id for mark in cluster.marks() if mark.id in ids}

    await wait_until(lambda: begun() == ids and ids, PATIENCE_S, "all to be begun")
    theirs = {mark.id for mark in cluster.marks() if mark.id in ids and homes.get(mark.pid) == name_of(victim)}
    assert theirs, "none of them runs on the victim"
    killed_ns = time.monotonic_ns()
    await victim.kill()

    def again() -> dict[str, int]:
        return {mark.id: mark.at_ns for mark in cluster.marks() if mark.id in theirs and mark.at_ns > killed_ns}

    await wait_until(lambda: again().keys() == theirs, PATIENCE_S, "them to begin again")
    return (max(again().values()) - killed_ns) / 1e9


async def leaders_told_to_stop(trial: Trial, rounds: int, told: Told) -> Rounds:
    """SIGTERM to the leader. Seconds: until the first job that only its successor can have dispatched begins; kept if
    that is at most 0.3."""
    await trial.steady()
    for number in range(1, rounds + 1):
        done = await trial.end_leader(number, signal.SIGTERM)
        told(f"{done.algorithm} {number}: {done.leader} to {done.successor} in {done.dispatched_s:.3f} s")
        await trial.revive()
        await trial.steady()
    await trial.load.stop()
    verdict = await trial.verdict()
    assert verdict.holds, verdict
    seconds = [done.dispatched_s for done in trial.rounds]
    kept = sum(1 for each in seconds if each <= 0.3)
    count = len(trial.cluster.nodes)
    return Rounds(trial.algorithm, count, "SIGTERM to the next first dispatch within 0.3 s", rounds, kept, seconds)
