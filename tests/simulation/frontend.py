"""What a simulated node has in place of its API: a client that submits jobs through the same port."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from hegemon.cluster.ports import Jobs, Metrics, Observer
from hegemon.cluster.protection import Protection
from hegemon.measures import Meters
from hegemon.queue.errors import QueueError
from hegemon.queue.jobs import NewJob
from tests.simulation.loop import CURRENT

if TYPE_CHECKING:
    from tests.simulation.world import World


class Frontend:
    """`hegemon.cluster.node.Frontend` for the node of one host."""

    certificate_ends_s: float | None = None
    activity_streams = (0, 0)

    def __init__(self, world: World, host: str) -> None:
        self.url = f"http://{host}"
        self._world = world
        self._client: asyncio.Task[None] | None = None

    async def start(
        self, jobs: Jobs, observer: Observer, metrics: Metrics | None, protection: Protection | None, meters: Meters
    ) -> None:
        """The node is there."""
        if self._world.pace_s:
            self._client = asyncio.create_task(self._submit(jobs))

    async def stop(self, grace_s: float) -> None:
        """Take nothing new."""
        if self._client is not None:
            self._client.cancel()
            await asyncio.gather(self._client, return_exceptions=True)

    async def _submit(self, jobs: Jobs) -> None:
        process = CURRENT.get()
        assert process is not None
        while True:
            await asyncio.sleep(process.rng.expovariate(1 / self._world.pace_s))
            delay = process.rng.choice((None, None, None, 0.3))
            job = NewJob(type="noop", payload=msgspec.Raw(b"{}"), priority=process.rng.randrange(11), delay=delay)
            try:
                submitted = await jobs.submit(job, scope="simulated")
            except QueueError:
                continue
            if process.alive and self._world.open:
                self._world.judge.acknowledged(submitted.id)
