"""How fast jobs are accepted over HTTP, alone and while others run."""

from __future__ import annotations

import asyncio
import json
import time

from benchmarks import load, processes
from benchmarks.cluster import LIVE_STATUSES, Node
from benchmarks.drain import NOOP, drain_once
from benchmarks.figures import Figure, Findings, Series, at_least, at_most, percentile
from benchmarks.plan import Plan

CONNECTIONS = 64
BATCH = 1000
# What running jobs must keep up with, with a little on top so that the target is passed and not just touched.
SUSTAINED_RATE = 5_000
PACE = 1.02


def _order(node: Node, seconds: float, *, batch: bool = False, rate: float | None = None) -> load.Order:
    port = int(node.environment["SERVER_PORT"])
    if not batch:
        body = json.dumps(NOOP)
        return load.Order(
            port=port, path="/api/v1/jobs", body=body, connections=CONNECTIONS, seconds=seconds, rate=rate
        )
    body = json.dumps({"jobs": [NOOP] * BATCH})
    return load.Order(
        port=port, path="/api/v1/jobs/batch", body=body, connections=4, seconds=seconds, rate=rate, jobs=BATCH
    )


async def _check_durable(node: Node, accepted: int) -> None:
    found = await node.jobs.count_documents({"type": "noop"})
    assert found >= accepted, f"{accepted} acknowledged, {found} in MongoDB"


async def submit(plan: Plan) -> Findings:
    """Single submits. The slots are held, so that what is measured is acceptance and nothing else."""
    reports, cpu = [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node, node.backlog() as go:
            await load.generate(_order(node, 1.0))
            before = processes.cpu_of(node.pids)
            accepted = await node.jobs.count_documents({"type": "noop"})
            report = await load.generate(_order(node, plan.seconds(10)))
            after = processes.cpu_of(node.pids)
            await _check_durable(node, accepted + report.accepted)
            go.touch()
        reports.append(report)
        cpu.append({name: 1e6 * (after[name] - before[name]) / report.accepted for name in after})
        plan.say(f"round {number + 1}: {report.rate:,.0f}/s, p50 {report.p50_ms:.1f} ms, p99 {report.p99_ms:.1f} ms")
    refused = sum(sum(r.refused.values()) for r in reports)
    return Findings(
        [
            Figure(
                f"single submits, {CONNECTIONS} connections",
                "jobs/s",
                [r.rate for r in reports],
                at_least(8_000),
                f"{refused} refused",
            ),
            Figure("submit: answer, p50", "ms", [r.p50_ms for r in reports]),
            Figure("submit: answer, p99", "ms", [r.p99_ms for r in reports]),
            *(Figure(f"submit: CPU of {name}", "µs/job", [each[name] for each in cpu]) for name in cpu[0]),
        ],
        {"reports": reports},
    )


async def _curve(node: Node, until: asyncio.Task[load.Report]) -> list[tuple[float, float]]:
    """Jobs accepted and not ended, as the index holds them, each half second."""
    started = time.monotonic()
    points = []
    while not until.done():
        points.append((round(time.monotonic() - started, 2), float(await node.indexed())))
        await asyncio.wait({until}, timeout=0.5)
    return points


async def _completed_between(node: Node, first_s: float, last_s: float, type_: str = "noop") -> int:
    """Jobs whose end MongoDB dates between two wall-clock moments."""
    window = {"$gte": int(first_s * 1000), "$lt": int(last_s * 1000)}
    return await node.jobs.count_documents({"type": type_, "status": "completed", "completed_at": window})


async def _sustain(
    node: Node, seconds: float, rate: float | None
) -> tuple[load.Report, float, list[tuple[float, float]]]:
    sending = asyncio.create_task(load.generate(_order(node, seconds, rate=rate)))
    points = await _curve(node, sending)
    report = await sending
    completed = await _completed_between(node, report.started, report.ended) / (report.ended - report.started)
    await node.until_ended()
    await _check_durable(node, report.accepted)
    return report, completed, points


async def sustained(plan: Plan) -> Findings:
    """Submit singly and process at once: once at the pace to reach, once as fast as answers come."""
    paced, unpaced = [], []
    for number in range(plan.rounds):
        async with plan.stores.node() as node:
            paced.append(await _sustain(node, plan.seconds(60, 5), SUSTAINED_RATE * PACE))
        async with plan.stores.node() as node:
            unpaced.append(await _sustain(node, plan.seconds(60, 5), None))
        said = [
            f"in {r.rate:,.0f}/s, out {done:,.0f}/s, backlog at the end {p[-1][1]:,.0f}"
            for r, done, p in (paced[-1], unpaced[-1])
        ]
        plan.say(f"round {number + 1}: paced {said[0]}; unpaced {said[1]}")
    figures = []
    for name, runs, goal in (("paced", paced, at_least(SUSTAINED_RATE)), ("unpaced", unpaced, None)):
        done = [completed for _, completed, _ in runs]
        figures += [
            Figure(f"sustained, {name}: completed", "jobs/s", done, goal),
            Figure(f"sustained, {name}: accepted", "jobs/s", [r.rate for r, _, _ in runs]),
            Figure(
                f"sustained, {name}: largest backlog in seconds of work",
                "s",
                [max(y for _, y in points) / max(d, 1) for d, (_, _, points) in zip(done, runs, strict=True)],
                at_most(2.0) if goal else None,
            ),
            Figure(f"sustained, {name}: answer, p99", "ms", [r.p99_ms for r, _, _ in runs]),
        ]
    series = [Series("backlog, paced", "jobs", paced[-1][2]), Series("backlog, unpaced", "jobs", unpaced[-1][2])]
    return Findings(figures, {"paced": paced, "unpaced": unpaced}, series)


async def batch(plan: Plan) -> Findings:
    """Batches of 1,000 on an idle node, and then while a backlog is being worked off."""
    alone, during, kept = [], [], []
    for number in range(plan.rounds):
        seconds = plan.seconds(4, 1.5)
        async with plan.stores.node() as node, node.backlog() as go:
            alone.append(await load.generate(_order(node, seconds, batch=True)))
            go.touch()
        async with plan.stores.node() as node:
            await drain_once(node, [NOOP] * 5_000)
            ahead = plan.size(120_000, 30_000)
            async with node.backlog() as go:
                await node.submit_many([NOOP] * ahead)
                go.touch()
                await asyncio.sleep(0.5)
            began = time.time()
            await asyncio.sleep(max(plan.seconds(2), 1.0))
            report = await load.generate(_order(node, seconds, batch=True))
            before = await _completed_between(node, began, report.started) / (report.started - began)
            meanwhile = await _completed_between(node, report.started, report.ended) / (report.ended - report.started)
            waiting = await node.jobs.count_documents({"status": {"$in": LIVE_STATUSES}})
        assert waiting, "the backlog ran out while it was to be measured"
        during.append(report)
        kept.append((before, meanwhile))
        plan.say(
            f"round {number + 1}: alone {alone[-1].rate:,.0f}/s, while jobs run {report.rate:,.0f}/s; "
            f"jobs ran at {before:,.0f}/s before, {meanwhile:,.0f}/s meanwhile"
        )
    return Findings(
        [
            Figure("batches of 1,000, nothing runs", "jobs/s", [r.rate for r in alone]),
            Figure("batches of 1,000, while jobs run", "jobs/s", [r.rate for r in during], at_least(50_000)),
            Figure("running jobs' rate meanwhile, of that before", "ratio", [m / b for b, m in kept], at_least(0.5)),
            Figure("batch: answer, p99, while jobs run", "ms", [r.p99_ms for r in during]),
        ],
        {"alone": alone, "during": during, "rates": kept, "p50_alone": percentile([r.p50_ms for r in alone], 50)},
    )
