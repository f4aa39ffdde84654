"""What a node tells of its handlers, and when it tries again: over a store that does what a test says."""

import asyncio
from collections.abc import Sequence
from typing import cast

import pytest

from hegemon.cluster import job_types
from hegemon.cluster.job_types import JobTypes
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable
from hegemon.queue.job_types import JobType, JobTypeStore
from tests.waiting import wait_until


class Store:
    """Fails as often as there are `failures`."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.told: list[str] = []

    async def tell(self, node: str, types: Sequence[JobType], *, since_ms: int, now_ms: int) -> None:
        del node, since_ms, now_ms
        if self.failures:
            raise self.failures.pop(0)
        self.told += [one.type for one in types]


async def test_an_error_that_nobody_thought_of_does_not_leave_the_types_untold_for_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert 10 <= job_types.FAILED_S <= 120, "each one is logged"
    monkeypatch.setattr(job_types, "RETRY_S", 0.0)
    monkeypatch.setattr(job_types, "FAILED_S", 0.0)
    store = Store(RuntimeError("a fault of our own"), StoreUnavailable("MongoDB", "it is away"))
    types = JobTypes(cast(JobTypeStore, store), "n1", ClusterClock())
    running = asyncio.create_task(types.run())
    types.told([JobType(type="mail")])
    await wait_until(lambda: store.told == ["mail"])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
