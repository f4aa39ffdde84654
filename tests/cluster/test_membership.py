"""What a node knows of the others, and how it refuses to be one of two with the same name."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hegemon.cluster.membership import BOOT_SHIFT, TWIN_GONE_S, Membership
from hegemon.cluster.twins import TwinError, TwinGone, process_place, refuse_live_twin, surely_ended
from hegemon.cluster.witness import Registered
from hegemon.election.contract import Discovered, Event, Health, Member, Role, View
from hegemon.queue.index import IndexCounts, MemberIndex
from tests.engine.parts import Index


class Surroundings:
    """A membership of n1 in its second boot, with everything that it tells."""

    def __init__(self) -> None:
        self.view = View(None, 0, Role.FOLLOWER, (Member("n1"),))
        self.told: list[Event] = []
        self.introduced: list[tuple[str, str | None]] = []
        self.membership = Membership(
            me=Member("n1"),
            boot=2,
            incarnation=lambda: "n1~b",
            view=lambda: self.view,
            tell=self.told.append,
            introduce=lambda address, name: self.introduced.append((address, name)),
        )


@pytest.fixture
async def around() -> Surroundings:
    return Surroundings()


def registered(incarnation: str, beat: int, *, boot: int = 1, **information: Any) -> Registered:
    name = incarnation.partition("~")[0]
    about = {"id": name, "boot": boot, "url": f"http://{name}", "cluster_address": f"{name}:7946", "rank": None}
    return Registered(incarnation, beat, about | information, slots=10, held=3, types=("noop",))


async def twin(membership: Membership) -> TwinError:
    with pytest.raises(TwinError) as caught:
        async with asyncio.timeout(30):
            await membership.refuse_twin()
    return caught.value


async def test_a_node_of_the_registry_is_introduced_once_for_each_of_its_lives(around: Surroundings) -> None:
    for beat in range(3):
        around.membership.registered([registered("n2~a", beat)])
    around.membership.registered([registered("n2~a", 3), registered("n2~b", 1, boot=2)])
    assert around.introduced == [("n2:7946", "n2"), ("n2:7946", "n2")]
    assert around.told == [
        Discovered(Member("n2", incarnation=boot << BOOT_SHIFT, address="n2:7946")) for boot in (1, 2)
    ]


async def test_members_join_what_the_election_sees_and_what_the_registry_tells(around: Surroundings) -> None:
    around.view = View("n2", 1, Role.FOLLOWER, (Member("n1"), Member("n2", Health.SUSPECT), Member("n3", Health.DEAD)))
    around.membership.registered([registered("n2~a", 1), registered("n4~a", 1)])
    told = {known.member.id: known for known in around.membership.members()}
    assert list(told) == ["n1", "n2", "n3", "n4"]
    assert (told["n2"].member.health, told["n2"].information["url"], told["n2"].held) == (
        Health.SUSPECT,
        "http://n2",
        3,
    )
    assert (told["n3"].member.health, told["n3"].information) == (Health.DEAD, {})
    assert told["n4"].member.health is Health.SUSPECT, "the election has never heard of it"


async def test_what_is_known_of_a_member_outlives_the_registry_that_told_it(around: Surroundings) -> None:
    around.view = View("n2", 1, Role.FOLLOWER, (Member("n1"), Member("n2")))
    around.membership.registered([registered("n2~a", 1), registered("n4~a", 1)])
    around.membership.registered([])
    assert {known.member.id: known.held for known in around.membership.members()} == {"n1": 0, "n2": 3}


async def test_the_younger_of_two_live_nodes_with_one_name_is_refused(around: Surroundings) -> None:
    for beat in range(4):
        assert not around.membership._twin.done(), "a beat or two may have come late"
        around.membership.registered([registered("n1~a", beat, boot=1), registered("n1~b", beat, boot=2)])
    refused = await twin(around.membership)
    assert "another node with NODE_ID=n1 is alive (http://n1)" in str(refused)
    assert not isinstance(refused, TwinGone), "another start would be refused as well"


async def test_the_older_of_two_live_nodes_with_one_name_stays(around: Surroundings) -> None:
    for beat in range(3):
        around.membership.registered([registered("n1~c", beat, boot=3), registered("n1~b", beat, boot=2)])
    assert not around.membership._twin.done()


async def test_the_older_one_ends_too_once_the_later_has_taken_its_place_and_gone(around: Surroundings) -> None:
    for beat in range(2):
        around.membership.registered([registered("n1~c", beat, boot=3)])
    around.membership._moved_s["n1~c"] -= TWIN_GONE_S + 1
    around.membership.registered([registered("n1~c", 1, boot=3)])
    ended = await twin(around.membership)
    assert "took this node's place" in str(ended)
    assert isinstance(ended, TwinGone), "another start gets the place back"


async def test_our_own_earlier_life_is_no_twin_while_its_beat_stands_still(around: Surroundings) -> None:
    for _ in range(3):
        around.membership.registered([registered("n1~a", 7, boot=1)])
    assert not around.membership._twin.done()


async def test_a_beat_of_our_earlier_life_that_falls_with_redis_is_no_life(around: Surroundings) -> None:
    for beat in (7, 3, 3):
        around.membership.registered([registered("n1~a", beat, boot=1)])
    assert not around.membership._twin.done()
    for beat in (4, 5, 6):
        around.membership.registered([registered("n1~a", beat, boot=1)])
    assert "NODE_ID=n1 is alive" in str(await twin(around.membership))


async def test_what_this_very_start_was_before_it_was_swept_is_no_twin(around: Surroundings) -> None:
    # Its last beat, right before it went on under another incarnation, is seen only after that.
    for beat in range(5):
        around.membership.registered([registered("n1~a", beat, boot=2)])
    assert not around.membership._twin.done()


async def test_of_two_incarnations_of_one_start_the_one_that_beats_is_told_of(around: Surroundings) -> None:
    around.view = View("n2", 1, Role.FOLLOWER, (Member("n1"), Member("n2")))
    for beat in (1, 2):
        for swept, present in (("n2~a", "n2~b"), ("n2~c", "n2~b")):
            around.membership.registered([registered(present, beat, url="new"), registered(swept, 7, url="old")])
            around.membership._moved_s[swept] -= 10.0
            around.membership.registered([registered(swept, 7, url="old"), registered(present, beat, url="new")])
            assert around.membership.members()[1].information["url"] == "new"


async def test_silence_is_counted_from_when_it_was_first_noticed(around: Surroundings) -> None:
    assert around.membership.silent_s("n2~a") == 0.0
    around.membership.registered([registered("n2~a", 1)])
    around.membership._moved_s["n2~a"] -= 10.0
    around.membership.registered([registered("n2~a", 1)])
    assert around.membership.silent_s("n2~a") > 9.0
    around.membership.registered([registered("n2~a", 2)])
    assert around.membership.silent_s("n2~a") < 9.0


async def test_a_start_is_refused_while_another_life_of_the_node_beats(index: Index) -> None:
    entry = {"id": "n1", "url": "http://n1", "process": "elsewhere/1/1"}

    ended = asyncio.Event()

    async def beat() -> None:
        while not ended.is_set():
            await asyncio.sleep(0.02)
            await index.member.beat("n1~a", entry, [])

    await index.member.beat("n1~a", entry, [])
    beating = asyncio.create_task(beat())
    try:
        with pytest.raises(TwinError, match="NODE_ID=n1 is alive"):
            await refuse_live_twin(index.member, "n1", "n1~b", 60.0)
        await refuse_live_twin(index.member, "n2", "n2~a", 60.0)
    finally:
        # To its end: a beat that is under way would be seen after it.
        ended.set()
        await beating
    await refuse_live_twin(index.member, "n1", "n1~b", 0.05)


class GoesBack(MemberIndex):
    """An index whose Redis, after the first look, comes back with what it had a moment ago."""

    async def counts(self) -> IndexCounts:
        found = await super().counts()
        await self._redis.command("HSET", f"{self._redis.prefix}beats", "n1~a", 1)
        return found


class HearsLate(MemberIndex):
    """An index whose Redis gets, after each of the first looks, what a node sent before it ended."""

    late = 2

    async def counts(self) -> IndexCounts:
        found = await super().counts()
        if self.late:
            self.late -= 1
            await self.beat("n1~a", {"id": "n1", "process": "elsewhere/1/1"}, [])
        return found


async def test_an_earlier_life_whose_last_words_come_late_holds_nobody_up(index: Index) -> None:
    await index.member.beat("n1~a", {"id": "n1", "process": "elsewhere/1/1"}, [])
    await refuse_live_twin(HearsLate(index.redis), "n1", "n1~b", 0.05)
    assert (await index.member.counts()).nodes["n1~a"][1] == 3, "it rose while it was looked at"


async def test_an_earlier_life_whose_beat_falls_with_redis_holds_nobody_up(index: Index) -> None:
    for _ in range(3):
        await index.member.beat("n1~a", {"id": "n1", "process": "elsewhere/1/1"}, [])
    await refuse_live_twin(GoesBack(index.redis), "n1", "n1~b", 0.05)
    assert (await index.member.counts()).nodes["n1~a"][1] == 1, "it fell while it was looked at"


async def test_an_earlier_life_on_this_machine_that_is_gone_holds_nobody_up(index: Index) -> None:
    ended = await asyncio.create_subprocess_exec("true")
    await ended.wait()
    table = process_place().rpartition("/")[0]
    await index.member.beat("n1~a", {"id": "n1", "process": f"{table}/{ended.pid}"}, [])
    async with asyncio.timeout(30) as limit:
        await refuse_live_twin(index.member, "n1", "n1~b", 3600.0)
    assert not limit.expired(), "its beats would have been waited for"


def test_a_process_that_lives_or_is_elsewhere_is_not_called_ended() -> None:
    assert not surely_ended(process_place())
    assert not surely_ended("another-boot/pid:[1]/999999999")
    assert not surely_ended("")
