"""What a node weighs: with a long backlog, and with nothing to do."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks import processes
from benchmarks.cluster import Node
from benchmarks.drain import NOOP, drain_once
from benchmarks.figures import Figure, Findings, at_least, at_most
from benchmarks.plan import Plan

SHORT = 10_000
# Of each backlog only so many are timed: from full slots, without the tail, alike for long and short.
MEASURED = 8_000
SLICES = 5


def _rss(node: Node) -> dict[str, float]:
    own = {name: pid for name, pid in node.pids.items() if name.startswith(("control", "worker"))}
    return {name: processes.rss_mib(pid) for name, pid in own.items()}


async def _settled(node: Node) -> int:
    """Jobs in the index once the number stands still: with all slots held, what had ended has been acknowledged."""
    before = -1
    while (now := await node.indexed()) != before:
        before = now
        await asyncio.sleep(0.3)
    return now


async def _first(node: Node, waiting: int) -> float:
    """Lay out what is missing of `waiting` jobs behind full slots, let go: the rate of the first `MEASURED` to end."""
    async with node.backlog() as go:
        here = await _settled(node) - node.slots
        await node.submit_many([NOOP] * (waiting - here))
        await node.until_indexed(waiting + node.slots)
        began_ms = int(time.time() * 1000)
        go.touch()
    while await node.indexed() > waiting - MEASURED:
        await asyncio.sleep(0.02)
    # What ends now may not be in MongoDB yet, and what is acknowledged is: the first ones are all there.
    ended = {"type": "noop", "status": "completed", "completed_at": {"$gte": began_ms}}
    cursor = node.jobs.find(ended, {"completed_at": 1}).sort("completed_at").skip(MEASURED - 1).limit(1)
    times: list[int] = [document["completed_at"] async for document in cursor]
    return 1000 * MEASURED / max(times[0] - began_ms, 1)


async def _long(plan: Plan, node: Node, waiting: int) -> tuple[list[float], list[dict[str, float]]]:
    """Rates with `waiting` jobs, and memory before, with all of them, and after."""
    await drain_once(node, [NOOP] * SHORT)
    memory = [_rss(node)]
    async with node.backlog() as go:
        began = time.monotonic()
        await node.submit_many([NOOP] * waiting)
        await node.until_indexed(waiting)
        plan.say(f"{waiting:,} laid out in {time.monotonic() - began:.0f} s")
        memory.append(_rss(node))
        go.touch()
    rates = [await _first(node, waiting) for _ in range(SLICES)]
    return rates, [*memory, _rss(node)]


async def backlog(plan: Plan) -> Findings:
    """The drain's rate with a million waiting against ten thousand waiting, and what the backlog costs the node."""
    waiting = max(plan.size(1_000_000), 10 * SHORT)
    short, long, grown, raw = [], [], [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            await drain_once(node, [NOOP] * SHORT)
            rates = []
            for _ in range(SLICES):
                rates.append(await _first(node, SHORT))
                await node.until_ended()
            short.append(statistics.median(rates))
        async with plan.stores.node() as node:
            slices, memory = await _long(plan, node, waiting)
            long.append(statistics.median(slices))
            before, *later = [sum(each.values()) for each in memory]
            grown.append(max(later) - before)
        raw.append({"short": rates, "long": slices, "rss_mib": memory})
        plan.say(f"round {number + 1}: {short[-1]:,.0f} jobs/s, {long[-1]:,.0f} with {waiting:,}; {grown[-1]:+.1f} MiB")
    ratios = [b / a for a, b in zip(short, long, strict=True)]
    return Findings(
        [
            Figure(f"drain with {SHORT:,} waiting, the first {MEASURED:,}", "jobs/s", short),
            Figure(f"drain with {waiting:,} waiting, the first {MEASURED:,}", "jobs/s", long),
            Figure("the second as a part of the first", "ratio", ratios, at_least(0.9)),
            Figure("memory that the backlog costs the node", "MiB", grown, at_most(20)),
        ],
        {"rounds": raw},
    )


async def idle(plan: Plan) -> Findings:
    """Memory and CPU of the control process and one worker process after half a minute of rest."""
    memory, cpu, raw = [], [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            await asyncio.sleep(plan.seconds(30, 3))
            own = {name: pid for name, pid in node.pids.items() if name.startswith(("control", "worker"))}
            window = plan.seconds(20, 3)
            before = processes.cpu_of(node.pids)
            await asyncio.sleep(window)
            spent = {name: 100 * (value - before[name]) / window for name, value in processes.cpu_of(node.pids).items()}
            memory.append(sum(_rss(node).values()))
            cpu.append(sum(spent[name] for name in own))
            raw.append({"rss_mib": _rss(node), "cpu_percent": spent})
        plan.say(f"round {number + 1}: {memory[-1]:.0f} MiB, {cpu[-1]:.1f}% of a core; {raw[-1]}")
    return Findings(
        [
            Figure("idle: RSS of control and worker", "MiB", memory, at_most(160)),
            Figure("idle: CPU of control and worker", "% of a core", cpu, at_most(3)),
        ],
        {"rounds": raw},
    )
