"""How fast a backlog is worked off, until every final state is in MongoDB."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from benchmarks import processes
from benchmarks.cluster import Node
from benchmarks.figures import Figure, Findings, at_least
from benchmarks.plan import Plan

JOBS = 50_000
NOOP: dict[str, Any] = {"type": "noop", "payload": {}}


class Drained(msgspec.Struct, frozen=True):
    """One backlog's end. `cpu_us` is what each process spent for each job."""

    rate: float
    seconds: float
    cpu_us: dict[str, float]


async def drain_once(node: Node, jobs: list[dict[str, Any]]) -> Drained:
    """Lay out `jobs` behind full slots, let go, and time until MongoDB's majority holds all of them as completed.

    All jobs wait in the ready lists, none is dispatched: the slots are held by jobs of another type, which end at the
    start signal. So nothing of the work is done beforehand, and nothing but the work is done after it: neither a
    worker's start nor a promotion or an unparking is in the time.
    """
    completed = {"type": jobs[0]["type"], "status": "completed"}
    before = await node.jobs.count_documents(completed)
    async with node.backlog() as go:
        await node.submit_many(jobs)
        await node.until_indexed(len(jobs))
        pids = node.pids
        cpu = processes.cpu_of(pids)
        started = time.monotonic()
        go.touch()
    ended = await node.until_ended()
    spent = {name: value - cpu[name] for name, value in processes.cpu_of(pids).items()}
    found = await node.jobs.count_documents(completed) - before
    assert found == len(jobs), f"{found} of {len(jobs)} jobs completed"
    seconds = ended - started
    return Drained(len(jobs) / seconds, seconds, {name: 1e6 * value / len(jobs) for name, value in spent.items()})


async def drain(plan: Plan) -> Findings:
    """No-op jobs, no payload, no result."""
    jobs = [NOOP] * plan.size(JOBS)
    rounds = []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            rounds.append(await drain_once(node, jobs))
        plan.say(f"round {number + 1}: {said(rounds[-1])}")
    rate = Figure(f"drain {len(jobs):,} no-op jobs", "jobs/s", [r.rate for r in rounds], at_least(15_000))
    return Findings([rate, *cpu_figures("drain", rounds)], {"drain": rounds})


async def drain_1k(plan: Plan) -> Findings:
    """Payloads of 1 kB and results of 200 bytes, each another, beside the plain drain in each round."""
    count = plan.size(JOBS)
    large = [{"type": "result", "payload": {"data": f"{i:09}".ljust(1_010, "x")}} for i in range(count)]
    plain, heavy = [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            plain.append(await drain_once(node, [NOOP] * count))
        async with plan.stores.node() as node:
            heavy.append(await drain_once(node, large))
        plan.say(f"round {number + 1}: plain {said(plain[-1])}; 1 kB {said(heavy[-1])}")
    ratios = [h.rate / p.rate for h, p in zip(heavy, plain, strict=True)]
    return Findings(
        [
            Figure(f"drain {count:,} jobs, 1 kB in, 200 bytes out", "jobs/s", [r.rate for r in heavy]),
            Figure("the same as a part of the plain drain", "ratio", ratios, at_least(0.5)),
            *cpu_figures("drain-1k", heavy),
        ],
        {"plain": plain, "1k": heavy},
    )


def said(one: Drained) -> str:
    """A round in a line."""
    spent = ", ".join(f"{name} {value:.0f}" for name, value in one.cpu_us.items())
    return f"{one.rate:,.0f} jobs/s (CPU µs a job: {spent})"


def cpu_figures(what: str, rounds: list[Drained]) -> list[Figure]:
    """Where the time went, by process."""
    names = rounds[0].cpu_us
    return [Figure(f"{what}: CPU of {name}", "µs/job", [r.cpu_us.get(name, 0.0) for r in rounds]) for name in names]
