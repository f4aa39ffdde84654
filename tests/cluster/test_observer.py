"""What a node says of its own health."""

import time
from types import SimpleNamespace
from typing import Any

from hegemon.cluster.observer import NodeObserver, Pulse
from hegemon.cluster.settings import load
from hegemon.cluster.supervisor import Worker
from hegemon.queue.breaker import Breaker
from hegemon.queue.index import READY


class Offices:
    async def read(self) -> None: ...


def observer(*workers: Worker) -> NodeObserver:
    """Of a node that reaches both stores and whose index is whole."""
    supervisor: Any = SimpleNamespace(workers={worker.id: worker for worker in workers})
    offices: Any = Offices()
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
        mongo_breaker=Breaker("MongoDB"),
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
