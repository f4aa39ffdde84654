"""The cluster's clock: Redis's, whatever the node's own says, and never falling once it was read."""

import time

import pytest

from hegemon.queue.clock import ClusterClock
from tests.engine.parts import Index


async def test_a_node_whose_own_clock_is_an_hour_ahead_does_not_keep_that_hour(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    really = time.time()
    monkeypatch.setattr(time, "time", lambda: really + 3600)
    clock = ClusterClock()
    assert clock.now_ms() > (really + 3000) * 1000
    await clock.ask(index.redis)
    assert abs(clock.now_ms() - really * 1000) < 60_000


def test_a_reading_that_falls_behind_holds_the_clock_still() -> None:
    clock = ClusterClock()
    now = time.monotonic()
    clock.observe(1_000_000.0, now, now)
    before = clock.now_ms()
    clock.observe(500_000.0, now, now)
    assert clock.now_ms() == before
