import asyncio

import pytest

from hegemon.queue.breaker import Breaker
from hegemon.queue.errors import StoreUnavailable


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def call(breaker: Breaker, *, fails: bool) -> None:
    async with breaker.guard():
        if fails:
            raise StoreUnavailable("Redis")


async def broken(clock: Clock) -> Breaker:
    breaker = Breaker("Redis", threshold=3, open_s=1.0, clock=clock)
    for _ in range(3):
        assert not breaker.open
        with pytest.raises(StoreUnavailable):
            await call(breaker, fails=True)
    return breaker


async def test_it_opens_at_the_third_failure_in_a_row_and_says_how_long() -> None:
    clock = Clock()
    breaker = await broken(clock)
    clock.now += 0.4
    with pytest.raises(StoreUnavailable, match="Redis does not answer") as refused:
        breaker.check()
    assert refused.value.retry_after_s == pytest.approx(0.6)


async def test_while_it_is_open_it_says_what_the_store_said_last() -> None:
    breaker = Breaker("MongoDB", threshold=2, clock=Clock())
    for words, refuses in (("MongoDB does not answer: a time-out", False), ("MongoDB refuses the user", True)):
        with pytest.raises(StoreUnavailable):
            async with breaker.guard():
                raise StoreUnavailable("MongoDB", words, refuses=refuses)
    with pytest.raises(StoreUnavailable, match="MongoDB refuses the user") as refused:
        breaker.check()
    assert refused.value.refuses


async def test_a_success_in_between_starts_the_count_anew() -> None:
    breaker = Breaker("Redis", threshold=3, clock=Clock())
    for fails in (True, True, False, True, True):
        if fails:
            with pytest.raises(StoreUnavailable):
                await call(breaker, fails=True)
        else:
            await call(breaker, fails=False)
    assert not breaker.open


async def test_half_open_lets_one_call_through_at_a_time() -> None:
    clock = Clock()
    breaker = await broken(clock)
    clock.now += 1.5
    async with breaker.guard():
        with pytest.raises(StoreUnavailable):
            await call(breaker, fails=False)
    await call(breaker, fails=False)
    assert not breaker.open


async def test_a_failure_while_half_open_opens_it_again_at_once() -> None:
    clock = Clock()
    breaker = await broken(clock)
    clock.now += 1.5
    with pytest.raises(StoreUnavailable):
        await call(breaker, fails=True)
    assert breaker.open


async def test_a_probe_that_is_cancelled_does_not_leave_the_breaker_stuck() -> None:
    clock = Clock()
    breaker = await broken(clock)
    clock.now += 1.5

    async def hang() -> None:
        async with breaker.guard():
            await asyncio.Event().wait()

    probe = asyncio.create_task(hang())
    await asyncio.sleep(0)
    assert breaker.open
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    await call(breaker, fails=False)
    assert not breaker.open


async def test_an_error_that_is_not_the_stores_does_not_count() -> None:
    breaker = Breaker("Redis", threshold=1, clock=Clock())
    with pytest.raises(ValueError, match="mine"):
        async with breaker.guard():
            raise ValueError("mine")
    assert not breaker.open
