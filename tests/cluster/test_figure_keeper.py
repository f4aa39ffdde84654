"""What a node tells of itself and how often it puts the cluster's figures together: over an index in memory."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from hegemon.cluster import figures
from hegemon.cluster.figures import FigureKeeper
from hegemon.cluster.supervisor import Supervisor
from hegemon.measures import SERIES_MAX
from hegemon.queue.clock import ClusterClock
from hegemon.queue.depths import QueueDepth
from hegemon.queue.index import MemberIndex


class Index:
    """`queues` hold a job each."""

    def __init__(self, queues: int) -> None:
        self.queues = queues
        self.gathered = 0

    async def depths(self) -> list[QueueDepth]:
        return [QueueDepth(f"q{i:04}", 1, 0, 0, 0, 1.0) for i in range(self.queues)]

    async def told_figures(self) -> dict[str, bytes]:
        self.gathered += 1
        return {}


def keeper(index: Index) -> FigureKeeper:
    """That of the only node, which leads."""
    totals = {"taken": 0, "refused": 0}
    supervisor: Any = SimpleNamespace(series=dict, counters=lambda: totals, workers={}, deaths=0)
    return FigureKeeper(
        node="n1",
        supervisor=cast(Supervisor, supervisor),
        index=cast(MemberIndex, index),
        clock=ClusterClock(),
        leads=lambda: True,
        members=lambda: ["n1"],
    )


async def test_what_a_leader_tells_does_not_grow_with_the_number_of_queues() -> None:
    one = keeper(Index(SERIES_MAX * 20))
    await one._look()
    told = one.told()
    assert len(told.depths) == SERIES_MAX + 1
    assert sum(depth.ready for depth in told.depths) == SERIES_MAX * 20
    assert len(msgspec.json.encode(told)) < 20_000
    # The metrics have a bound of their own.
    assert one.depths is not None
    assert len(one.depths.queues) == SERIES_MAX * 20


async def test_figures_are_put_together_once_for_all_who_look_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "GATHER_S", 3600.0)
    index = Index(3)
    one = keeper(index)
    await one._look()
    first = await one.figures()
    assert len(first.queues) == 3
    assert all([await one.figures() is first for _ in range(5)])
    assert index.gathered == 1
    monkeypatch.setattr(figures, "GATHER_S", -1.0)
    assert await one.figures() is not first
    assert index.gathered == 2


async def test_who_looks_while_figures_are_gathered_gets_these_and_not_those_of_an_hour_ago(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = Index(1)
    one = keeper(index)
    before = await one.figures()
    monkeypatch.setattr(figures, "GATHER_S", -1.0)
    asked, answering, gather = asyncio.Event(), asyncio.Event(), index.told_figures

    async def slowly() -> dict[str, bytes]:
        asked.set()
        await answering.wait()
        return await gather()

    monkeypatch.setattr(index, "told_figures", slowly)
    looks = [asyncio.create_task(one.figures()) for _ in range(2)]
    await asked.wait()
    answering.set()
    assert all(found is not before for found in await asyncio.gather(*looks))
