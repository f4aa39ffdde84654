"""What a node says of its own health."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from hegemon.cluster.observer import NodeObserver, Pulse
from hegemon.cluster.settings import load
from hegemon.cluster.supervisor import Worker
from hegemon.queue.breaker import Breaker
from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.index import READY


class Offices:
    failure: StoreUnavailable | None = None

    async def read(self) -> None:
        if self.failure is not None:
            raise self.failure


def observer(*workers: Worker, failure: StoreUnavailable | None = None) -> NodeObserver:
    """Of a node whose index is whole, and that reaches both stores, unless MongoDB ends with `failure`."""
    supervisor: Any = SimpleNamespace(workers={worker.id: worker for worker in workers})
    offices: Any = Offices()
    offices.failure = failure
    leadership: Any = SimpleNamespace(office=None, shell=None)
    nothing: Any = None
    return NodeObserver(
        settings=load({}, None),
        version="1",
        incarnation=lambda: "n1~0",
        started_at=0,
        queries=nothing,
        index=nothing,
        offices=offices,
        leadership=leadership,
        supervisor=supervisor,
        pulse=Pulse(acknowledged_s=time.monotonic() + 3600, state=READY),
        mongo_breaker=Breaker("MongoDB", open_s=600.0),
        redis_breaker=Breaker("Redis"),
        url=lambda: "",
        activity=nothing,
        types=nothing,
        figures=nothing,
        logs=nothing,
    )


def worker(name: str, *, solo: bool) -> Worker:
    """One whose process is open."""
    made = Worker(name, 1, solo=solo)
    made.open.set()
    return made


async def test_a_node_is_ready_once_a_process_is_open_that_takes_all_jobs() -> None:
    health = await observer(worker("n1.w0~1", solo=False)).ready()
    assert health.ok, health.parts


async def test_a_process_that_runs_suspects_alone_makes_no_node_ready() -> None:
    health = await observer(worker("n1.s0~1", solo=True)).ready()
    assert (health.ok, health.parts["workers"]) == (False, "none is open yet")


@pytest.mark.parametrize(("refuses", "words"), [(True, "refuses this node's user"), (False, "does not answer")])
@pytest.mark.parametrize("times", [1, 4])
async def test_a_mongodb_that_refuses_is_told_from_one_that_is_away_without_the_drivers_words(
    refuses: bool, words: str, times: int
) -> None:
    looking = observer(failure=StoreUnavailable("MongoDB", "db.internal:27017 said no", refuses=refuses))
    for _ in range(times):
        # By those that lead to the breaker, which opens.
        with pytest.raises(StoreUnavailable, match="said no"):
            await looking.leader()
    assert looking._mongo.open == (times > 1)
    health = await looking.ready()
    assert (health.ok, health.parts["mongodb"]) == (False, words)
