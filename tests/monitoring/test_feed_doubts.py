"""What the feed believes of a store that says odd things, and what it survives: over a store in memory."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from hegemon.cluster.ports import ActivityEvent, ActivityFilter, ActivityPage
from hegemon.monitoring import activity_feed
from tests.api.memory_activity import MemoryActivity
from tests.monitoring.test_activity_feed import hearing
from tests.waiting import wait_until

HOUR_S = 3600.0


def happened(places: Sequence[int], boot: int = 1) -> list[ActivityEvent]:
    return [
        ActivityEvent(
            id=f"n2:{boot}:{place}", place=place, at=0, node="n2", kind="office.vacated", severity="info", fields={}
        )
        for place in places
    ]


@pytest.fixture
async def activity(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MemoryActivity]:
    """Five events, and a feed that runs; what looks made anew is not believed by the time alone."""
    monkeypatch.setattr(activity_feed, "EVERY_S", 0.01)
    monkeypatch.setattr(activity_feed, "AWAY_S", HOUR_S)
    found = MemoryActivity(happened(range(1, 6)))
    running = asyncio.create_task(found.feed.run())
    yield found
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_store_that_shows_an_older_state_for_a_moment_was_not_made_anew(activity: MemoryActivity) -> None:
    async with hearing(activity.feed) as ear:
        await wait_until(lambda: len(ear.ids) == 5)
        for shown in (3, 0):
            activity.events[:] = happened(range(1, shown + 1))
            await activity.feed.look()
            assert (activity.feed.read_to, activity.feed.complete) == (5, True)
            # Whoever comes back in this moment finds the place that it had.
            assert activity.feed.find(5) == activity.feed.head
        activity.events[:] = happened(range(1, 8))
        await wait_until(lambda: activity.feed.read_to == 7)
        await activity.feed.look()
        assert ear.places == [1, 2, 3, 4, 5, 6, 7]


async def test_a_store_that_stays_older_was_made_anew(
    activity: MemoryActivity, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hearing(activity.feed) as ear:
        await wait_until(lambda: len(ear.ids) == 5)
        activity.events[:] = happened(range(1, 4))
        await activity.feed.look()
        monkeypatch.setattr(activity_feed, "AWAY_S", 0.0)
        await wait_until(lambda: activity.feed.read_to == 3)
        activity.events += happened([4], boot=2)
        await wait_until(lambda: ear.ids[-1] == "n2:2:4")


async def test_a_store_that_was_away_is_given_its_time_again(activity: MemoryActivity) -> None:
    async with hearing(activity.feed) as ear:
        await wait_until(lambda: len(ear.ids) == 5)
        activity.events[:] = happened(range(1, 4))
        await activity.feed.look()
        assert activity.feed._older_s is not None
        activity.away = True
        await wait_until(lambda: not activity.feed.complete)
        assert activity.feed._older_s is None


async def test_a_place_that_holds_another_event_is_one_of_another_store_at_once(activity: MemoryActivity) -> None:
    async with hearing(activity.feed) as ear:
        await wait_until(lambda: len(ear.ids) == 5)
        activity.events[:] = happened(range(1, 3), boot=2)
        await wait_until(lambda: activity.feed.read_to == 2)
        await wait_until(lambda: ear.ids[5:] == ["n2:2:1", "n2:2:2"])


async def test_own_events_that_cannot_be_told_end_no_node(
    activity: MemoryActivity, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(which: ActivityFilter, *, limit: int, after: int | None, missing: list[str]) -> ActivityPage:
        raise RuntimeError("a fault of our own")

    async with hearing(activity.feed) as ear:
        await wait_until(lambda: len(ear.ids) == 5)
        monkeypatch.setattr(activity, "own", broken)
        monkeypatch.setattr(activity_feed, "AWAY_S", 0.0)
        activity.away = True
        await wait_until(lambda: not activity.feed.complete)
        await activity.feed.look()
        activity.away = False
        activity.events += happened([6])
        await wait_until(lambda: activity.feed.complete and activity.feed.read_to == 6)
        assert ear.places[-1] == 6
