"""Ten times more load than a node can take: what it refuses and how fast, what goes on meanwhile, and what it costs.

The node leads a cluster of two, so that there is somebody to take its office as soon as it seems dead. First its
capacity, with as many callers as saturate it. Then ten times as many, in processes of their own, each of which asks
again as soon as it is answered, whatever the answer was: nobody waits as Retry-After says. How long a refusal takes is
told by a patient caller beside them, who asks a few times a second: the crowd's own answers wait for each other, in the
crowd as much as in the node. Meanwhile the leader is watched, over connections of their own: whether it is live, what
memory it takes, what ends, and what the other node thinks of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from benchmarks import load, processes
from benchmarks.cluster import Node, free_port
from benchmarks.drain import NOOP
from benchmarks.figures import Figure, Findings, Series, at_least, at_most
from benchmarks.plan import Plan

CONNECTIONS = 64
TIMES = 10
GENERATORS = 2
# One of its connections may be accepted and wait for that; another one asks meanwhile.
PATIENT = 8
PATIENT_RATE = 25.0
LOOK_S = 0.25
COUNT_S = 1.0
DONE = {"type": NOOP["type"], "status": "completed"}


@dataclass
class _Watch:
    """What was seen meanwhile; points are (seconds since the beginning, value). `doubted`: how often the other node did
    not name the overloaded one as its leader."""

    live_ms: list[float] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    done: list[tuple[float, float]] = field(default_factory=list)
    failures: int = 0
    doubted: int = 0

    @property
    def ended_a_second(self) -> list[tuple[float, float]]:
        """Jobs that ended, a second, between each two looks."""
        return [(b, (n - m) / (b - a)) for (a, m), (b, n) in itertools.pairwise(self.done)]


@dataclass(frozen=True)
class _Run:
    """`crowd`: the reports of the generators; `lost`: accepted jobs that MongoDB does not have; `deposed`: by how much
    the epoch moved."""

    alone: load.Report
    alone_ended: float
    crowd: list[load.Report]
    patient: load.Report
    seen: _Watch
    lost: int
    deposed: int

    @property
    def accepted(self) -> float:
        return sum(report.rate for report in self.crowd)

    @property
    def refused(self) -> float:
        return sum(sum(report.refused.values()) / (report.ended - report.started) for report in self.crowd)

    @property
    def ended(self) -> float:
        (first_s, first), (last_s, last) = self.seen.done[0], self.seen.done[-1]
        return (last - first) / (last_s - first_s)


@asynccontextmanager
async def _pair(plan: Plan, number: int) -> AsyncIterator[tuple[Node, Node]]:
    """The leader, which is to be overloaded, and the other one."""
    ports = {"leader": free_port(), "other": free_port()}
    name = f"overload{number}"
    shared = {
        "CLUSTER_ID": name,
        "MONGODB_DATABASE": name,
        "CLUSTER_SECRET": secrets.token_hex(32),
        "CLUSTER_PEERS": ",".join(f"{node}@127.0.0.1:{port}" for node, port in ports.items()),
        "ELECTION_ALGORITHM": "bully",
    }

    def own(node: str, rank: int) -> dict[str, str]:
        return {**shared, "NODE_ID": node, "CLUSTER_PORT": str(ports[node]), "ELECTION_RANK": str(rank)}

    async with (
        plan.stores.node(**own("leader", 2)) as leader,
        plan.stores.guest(**own("other", 1), WORKER_COUNT="1") as other,
    ):
        deadline = time.monotonic() + 60
        while (await _office(other))[0] != "leader":
            assert time.monotonic() < deadline, f"the node of the higher rank does not lead:\n{leader.last_words()}"
            await asyncio.sleep(0.1)
        yield leader, other


async def _office(node: Node) -> tuple[str | None, int]:
    """Who leads, and in which epoch, as this node knows it."""
    found = (await node.http.get("/api/v1/leader")).raise_for_status().json()
    return found["leader_id"], found["epoch"]


def _order(node: Node, connections: int, seconds: float, rate: float | None = None) -> load.Order:
    return load.Order(
        port=int(node.environment["SERVER_PORT"]),
        path="/api/v1/jobs",
        body=json.dumps(NOOP),
        connections=connections,
        seconds=seconds,
        rate=rate,
        refused_pause_s=0.0,
    )


async def _watch(leader: Node, other: Node, stop: asyncio.Event) -> _Watch:
    seen, started = _Watch(), time.monotonic()
    control = leader.pids["control"]

    async def look() -> None:
        asked = time.monotonic()
        try:
            failed = (await leader.http.get("/livez")).status_code != 200
        except httpx.HTTPError:
            failed = True
        seen.failures += failed
        now = time.monotonic()
        seen.live_ms.append(1000 * (now - asked))
        seen.memory.append((round(now - started, 2), processes.rss_mib(control)))
        seen.doubted += (await _office(other))[0] != "leader"

    async def count() -> None:
        done = await leader.jobs.count_documents(DONE)
        seen.done.append((round(time.monotonic() - started, 2), float(done)))

    async def repeat(what: str, pause_s: float) -> None:
        while not stop.is_set():
            await (look() if what == "look" else count())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    await asyncio.gather(repeat("look", LOOK_S), repeat("count", COUNT_S))
    await count()
    return seen


async def _run(plan: Plan, leader: Node, other: Node) -> _Run:
    await load.generate(_order(leader, CONNECTIONS, 1.0))
    before, began = await leader.jobs.count_documents(DONE), time.monotonic()
    alone = await load.generate(_order(leader, CONNECTIONS, plan.seconds(10, 3)))
    alone_ended = (await leader.jobs.count_documents(DONE) - before) / (time.monotonic() - began)
    await leader.until_ended()
    stored_before, (_, epoch) = await leader.jobs.count_documents({"type": NOOP["type"]}), await _office(other)
    stop = asyncio.Event()
    watching = asyncio.create_task(_watch(leader, other, stop))
    each, seconds = TIMES * CONNECTIONS // GENERATORS, plan.seconds(30, 5)
    orders = [_order(leader, each, seconds) for _ in range(GENERATORS)]
    try:
        *crowd, patient = await asyncio.gather(
            *map(load.generate, [*orders, _order(leader, PATIENT, seconds, PATIENT_RATE)])
        )
    finally:
        stop.set()
        seen = await watching
    stored = await leader.jobs.count_documents({"type": NOOP["type"]}) - stored_before
    deposed = (await _office(other))[1] - epoch
    await leader.until_ended()
    accepted = sum(report.accepted for report in (*crowd, patient))
    return _Run(alone, alone_ended, crowd, patient, seen, max(0, accepted - stored), deposed)


async def overload(plan: Plan) -> Findings:
    """Ten times the callers that saturate a node, who never pause: refusals, elections, jobs, memory."""
    runs = []
    for number in range(plan.rounds):
        async with _pair(plan, number) as (leader, other):
            runs.append(await _run(plan, leader, other))
        last = runs[-1]
        plan.say(
            f"round {number + 1}: alone {last.alone.rate:,.0f}/s; ten times as many callers: {last.accepted:,.0f}/s "
            f"accepted, {last.refused:,.0f}/s refused, p99 {last.patient.refused_p99_ms:.1f} ms"
        )
    return Findings(
        [*_refusals(runs), *_the_rest(runs)],
        {
            "alone": [run.alone for run in runs],
            "crowd": [run.crowd for run in runs],
            "patient": [run.patient for run in runs],
        },
        _series(runs[-1]),
    )


def _refusals(runs: list[_Run]) -> list[Figure]:
    return [
        Figure(f"accepted, {CONNECTIONS} callers", "jobs/s", [run.alone.rate for run in runs]),
        Figure(f"accepted, {CONNECTIONS * TIMES} callers", "jobs/s", [run.accepted for run in runs]),
        Figure("refused meanwhile (503)", "answers/s", [run.refused for run in runs]),
        Figure("a refusal, p50", "ms", [run.patient.refused_p50_ms for run in runs]),
        Figure("a refusal, p99", "ms", [run.patient.refused_p99_ms for run in runs], at_most(50.0)),
        Figure("a refusal within the crowd, p99", "ms", [max(r.refused_p99_ms for r in run.crowd) for run in runs]),
        Figure("an acceptance within the crowd, p99", "ms", [max(r.p99_ms for r in run.crowd) for run in runs]),
    ]


def _the_rest(runs: list[_Run]) -> list[Figure]:
    return [
        Figure(f"jobs ended, {CONNECTIONS} callers", "jobs/s", [run.alone_ended for run in runs]),
        Figure(f"jobs ended, {CONNECTIONS * TIMES} callers", "jobs/s", [run.ended for run in runs]),
        Figure("the same as a part", "ratio", [run.ended / max(run.alone_ended, 1.0) for run in runs], at_least(0.25)),
        Figure("/livez meanwhile, slowest", "ms", [max(run.seen.live_ms) for run in runs]),
        Figure("/livez meanwhile, failures", "times", [float(run.seen.failures) for run in runs], at_most(0.0)),
        Figure("the other node knew another leader", "times", [float(r.seen.doubted) for r in runs], at_most(0.0)),
        Figure("changes of leader", "times", [float(run.deposed) for run in runs], at_most(0.0)),
        Figure("accepted jobs lost", "times", [float(run.lost) for run in runs], at_most(0.0)),
        Figure("memory of the control process, before", "MiB", [run.seen.memory[0][1] for run in runs]),
        Figure(
            "memory of the control process, largest",
            "MiB",
            [max(mib for _, mib in run.seen.memory) for run in runs],
            at_most(500.0),
        ),
    ]


def _series(run: _Run) -> list[Series]:
    """By the second, over all generators."""
    accepted = [sum(each) for each in zip(*(report.accepted_each_s for report in run.crowd), strict=False)]
    refused = [sum(each) for each in zip(*(report.refused_each_s for report in run.crowd), strict=False)]
    return [
        Series("accepted", "a second", [(float(at), float(n)) for at, n in enumerate(accepted, 1)]),
        Series("refused", "a second", [(float(at), float(n)) for at, n in enumerate(refused, 1)]),
        Series("ended", "a second", run.seen.ended_a_second),
        Series("memory", "MiB", run.seen.memory),
    ]
