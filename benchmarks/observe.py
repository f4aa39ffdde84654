"""What it costs to be seen: the drain with metrics, scraped every second, against the same node that counts nothing.

Both run on the same stores by turns, since a machine's own drift is larger than what is looked for: within a round each
has PAIRS drains, and a round's ratio is that of their times.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.cluster import Node
from benchmarks.drain import JOBS, NOOP, Drained, drain_once, said
from benchmarks.figures import Figure, Findings, at_least
from benchmarks.plan import Plan

PAIRS = 3
SCRAPE_S = 1.0
# Read by hegemon/measures.py alone, for this.
UNSEEN = {"HEGEMON_UNMEASURED": "1", "METRICS_ENABLED": "false"}


@asynccontextmanager
async def _scraping(node: Node) -> AsyncIterator[None]:
    """Prometheus is less curious: it asks every 15 s."""

    async def scrape() -> None:
        while True:
            (await node.http.get("/metrics")).raise_for_status()
            await asyncio.sleep(SCRAPE_S)

    scraper = asyncio.create_task(scrape())
    try:
        yield
    finally:
        scraper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await scraper


async def _drain(plan: Plan, *, seen: bool) -> Drained:
    jobs = [NOOP] * plan.size(JOBS)
    if not seen:
        async with plan.stores.node(**UNSEEN) as node:
            return await drain_once(node, jobs)
    async with plan.stores.node() as node, _scraping(node):
        return await drain_once(node, jobs)


async def observe(plan: Plan) -> Findings:
    """The drain with metrics and a scraper, against the same without, by turns."""
    unseen: list[list[Drained]] = []
    seen: list[list[Drained]] = []
    for number in range(plan.rounds):
        turns: dict[bool, list[Drained]] = {True: [], False: []}
        for pair in range(PAIRS):
            first = (number + pair) % 2 == 0
            for kind in (first, not first):
                turns[kind].append(await _drain(plan, seen=kind))
        unseen.append(turns[False])
        seen.append(turns[True])
        plan.say(f"round {number + 1}: without {said(turns[False][-1])}; with {said(turns[True][-1])}")
    without, with_ = [_seconds(one) for one in unseen], [_seconds(one) for one in seen]
    jobs = PAIRS * plan.size(JOBS)
    return Findings(
        [
            Figure("drain, nothing counted", "jobs/s", [jobs / s for s in without]),
            Figure("drain, metrics, scraped every second", "jobs/s", [jobs / s for s in with_]),
            Figure(
                "with metrics, of without",
                "ratio",
                [off / on for off, on in zip(without, with_, strict=True)],
                at_least(0.97),
            ),
            *(
                Figure(f"{what}: CPU of {name}", "µs/job", [_cpu(one, name) for one in rounds])
                for name in ("control", "worker", "mongod", "valkey")
                for what, rounds in (("without", unseen), ("with", seen))
                if name in unseen[0][0].cpu_us
            ),
        ],
        {"without": unseen, "with": seen},
    )


def _seconds(drains: list[Drained]) -> float:
    return sum(one.seconds for one in drains)


def _cpu(drains: list[Drained], name: str) -> float:
    return sum(one.cpu_us[name] for one in drains) / len(drains)
