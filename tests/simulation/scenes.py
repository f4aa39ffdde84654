"""Scenes with one plot each, in virtual time, and what an outsider measures of them. Where `faults` strike at random,
a scene is about one promise: how soon, how often, who stays.

Each returns its figures by name; all `_s` are virtual seconds. Whoever breaks a promise that knows no exception is told
to the judge. What is still wrong at a scene's end is healed by its caller, who measures how soon all agree again.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

import msgspec

from hegemon.election.contract import Health
from tests.simulation.faults import partition
from tests.simulation.world import Host, World

Figures = dict[str, float]
# World, the seed's chance, and for how long.
Scene = Callable[[World, random.Random, float], Awaitable[Figures]]
STEP_S: Final = 0.01


class Sight(msgspec.Struct, frozen=True):
    """One look at all nodes: who is active, who holds the office, whom the election wants in it."""

    at_s: float
    active: tuple[str, ...]
    holding: tuple[str, ...]
    wanted: tuple[str, ...]


async def look(world: World, seconds: float, step_s: float = STEP_S) -> list[Sight]:
    """What there is to see for so long."""
    sights = []
    end = world.now_s + seconds
    while world.now_s < end:
        there = list(world.parts())
        holding = tuple(host.name for host, part in there if part.office.held is not None)
        wanted = tuple(host.name for host, part in there if part.shell.wanted is not None)
        sights.append(Sight(world.now_s, tuple(world.active()), holding, wanted))
        await asyncio.sleep(step_s)
    return sights


def gap_s(sights: Sequence[Sight]) -> float:
    """The longest time without anybody active."""
    seen = [sights[0].at_s, *(sight.at_s for sight in sights if sight.active), sights[-1].at_s]
    return round(max(after - before for before, after in itertools.pairwise(seen)), 3)


def _until(sights: Sequence[Sight], holds: Callable[[Sight], bool]) -> float | None:
    """How long something held from the first look on; None if to the last."""
    began = sights[0].at_s
    last = max((sight.at_s for sight in sights if holds(sight)), default=began)
    return None if last == sights[-1].at_s else round(last - began, 3)


async def _leader(world: World, rng: random.Random) -> Host:
    """The one active node, at any moment of its beats."""
    await asyncio.sleep(rng.uniform(1.0, 2.0))
    active = world.active()
    while len(active) != 1:
        await asyncio.sleep(STEP_S)
        active = world.active()
    return world.hosts[active[0]]


def _apart(some: Iterable[str], others: Iterable[str]) -> list[tuple[str, str]]:
    return [pair for one, other in itertools.product(some, others) for pair in ((one, other), (other, one))]


# -- far apart, or lossy -----------------------------------------------------------------------------------------------


def far(*, loss: float = 0.0, delay_s: float = 0.0003) -> Scene:
    """Bad weather between the nodes all the while."""

    async def scene(world: World, rng: random.Random, seconds: float) -> Figures:
        await _leader(world, rng)
        before = world.judge.counts["offices"]
        world.network.weather(loss=loss, delay_s=delay_s)
        sights = await look(world, seconds, 0.1)
        return {"changes": world.judge.counts["offices"] - before, "gap_s": gap_s(sights)}

    return scene


# -- cuts --------------------------------------------------------------------------------------------------------------


async def store_lost(world: World, rng: random.Random, seconds: float) -> Figures:
    """The leader, and nobody else, loses a store: no way there, no way back, or neither."""
    leader = await _leader(world, rng)
    store = rng.choice(("redis", "mongo"))
    there, back = rng.choice(((True, True), (True, False), (False, True)))
    world.judge.say("FAULT", f"{leader.name} loses {store} there={there} back={back}")
    leader.cut(store, there=there, back=back)
    sights = await look(world, seconds)
    found = {
        "paused_s": _until(sights, lambda sight: leader.name in sight.active),
        "gave_up_s": _until(sights, lambda sight: leader.name in sight.holding),
        "succeeded_s": next((s.at_s - sights[0].at_s for s in sights if set(s.active) - {leader.name}), None),
    }
    return {name: math.inf if value is None else round(value, 3) for name, value in found.items()}


async def follower_away(world: World, rng: random.Random, seconds: float) -> Figures:
    """A node that does not lead is cut off from the others, half of the time from the stores too, and comes back."""
    leader = await _leader(world, rng)
    before = world.judge.counts["offices"]
    others = [name for name in world.names if name != leader.name]
    away = world.hosts[rng.choice(others)]
    stores = ("redis", "mongo") if rng.random() < 0.5 else ()
    lasts_s = math.exp(rng.uniform(math.log(0.2), math.log(seconds)))
    world.judge.say("FAULT", f"{away.name} is cut off for {lasts_s:.3f} s, stores too: {bool(stores)}")
    pairs = _apart([away.name], [name for name in world.names if name != away.name])
    world.network.cut(pairs)
    for store in stores:
        away.cut(store, there=True, back=True)
    await asyncio.sleep(lasts_s)
    world.network.mend(pairs)
    for store in stores:
        away.cut(store, there=False, back=False)
    sights = await look(world, 5.0)
    kept = world.judge.counts["offices"] == before and world.active() == [leader.name]
    return {"kept": float(kept), "gap_s": gap_s(sights)}


async def leader_alone(world: World, rng: random.Random, seconds: float) -> Figures:
    """The leader is cut off from its peers, and reaches the stores all the while."""
    leader = await _leader(world, rng)
    before = world.judge.counts["offices"]
    world.network.cut(_apart([leader.name], [name for name in world.names if name != leader.name]))
    sights = await look(world, seconds)
    stood_down_s = _until(sights, lambda sight: leader.name in sight.wanted)
    stayed = stood_down_s is None and world.judge.counts["offices"] == before
    figures = {"stayed": float(stayed), "gap_s": gap_s(sights)}
    return figures if stood_down_s is None else figures | {"stood_down_s": stood_down_s}


def cut(shape: str) -> Scene:
    """One of `faults.PARTITIONS` around the leader."""

    async def scene(world: World, rng: random.Random, seconds: float) -> Figures:
        leader = await _leader(world, rng)
        before = world.judge.counts["offices"]
        world.network.cut(partition(world.names, leader.name, shape, rng))
        sights = await look(world, seconds, 0.05)
        changes = world.judge.counts["offices"] - before
        return {"gap_s": gap_s(sights), "changes_a_minute": round(changes * 60 / seconds, 2)}

    return scene


# -- disks that are lost -----------------------------------------------------------------------------------------------


def _office_term(world: World) -> int:
    return int(world.mongo.committed["cluster"]["office"]["term"])


async def _led_above(world: World, before: int, patience_s: float = 20.0) -> float:
    """Wait for a leader in office, whose term must be above `before`; the seconds that it took."""
    began = world.now_s
    while not world.active():
        await asyncio.sleep(STEP_S)
        if world.now_s - began > patience_s:
            world.judge.violated("unconverged", f"nobody leads {patience_s} s after the disks were lost")
            return math.inf
    if (after := _office_term(world)) <= before:
        world.judge.violated("term_fell", f"the office was taken in term {after}, after it was in {before}")
    return round(world.now_s - began, 3)


async def _without_disks(world: World, rng: random.Random, names: Sequence[str]) -> None:
    """These have been killed, and come back one by one."""
    world.judge.say("FAULT", f"the disks of {names} are lost")
    for name in names:
        world.hosts[name].lose_disk()
    world.judge.forget_terms(names, all_of_them=False)
    for name in rng.sample(names, len(names)):
        await asyncio.sleep(rng.uniform(0.0, 0.2))
        world.hosts[name].start()


async def most_disks_lost(world: World, rng: random.Random, seconds: float) -> Figures:
    """Terms have risen; all nodes are killed, and a majority of their disks, or all but one, are lost. Those without
    come back, and lead before anybody does who knows of a term."""
    for _ in range(rng.randint(1, 3)):
        leader = await _leader(world, rng)
        await leader.crash()
        while not set(world.active()) - {leader.name}:
            await asyncio.sleep(STEP_S)
        leader.start()
    await _leader(world, rng)
    before = _office_term(world)
    kept = rng.sample(world.names, rng.randint(1, (len(world.names) - 1) // 2))
    for host in world.hosts.values():
        await host.crash()
    await _without_disks(world, rng, [name for name in world.names if name not in kept])
    led_s = await _led_above(world, before)
    for name in kept:
        await asyncio.sleep(rng.uniform(0.0, seconds))
        world.hosts[name].start()
    await asyncio.sleep(seconds)
    return {"led_s": led_s}


async def votes_lost(world: World, rng: random.Random, seconds: float) -> Figures:
    """A minority is cut off while the others elect a leader. It is killed and stays away; whoever voted for it loses
    its disk. Those who come back and the minority, who know nothing of its term, are a majority without it; but no
    majority is blank, and nobody hears all, so that ELECTION_TIMEOUT has to pass."""
    leader = await _leader(world, rng)
    before = world.judge.counts["offices"]
    few = rng.sample([name for name in world.names if name != leader.name], (len(world.names) - 1) // 2)
    rest = [name for name in world.names if name not in few]
    world.network.cut(pairs := _apart(few, rest))
    await leader.crash()
    await asyncio.sleep(rng.uniform(0.05, 0.3))
    leader.start()
    while not world.active() or world.judge.counts["offices"] == before:
        await asyncio.sleep(STEP_S)
    term, away = _office_term(world), world.active()[0]
    for name in rest:
        await world.hosts[name].crash()
    world.network.mend(pairs)
    await _without_disks(world, rng, [name for name in rest if name != away])
    led_s = await _led_above(world, term)
    await asyncio.sleep(rng.uniform(0.0, seconds))
    world.hosts[away].start()
    await asyncio.sleep(seconds)
    return {"led_s": led_s}


# -- what changes nothing ----------------------------------------------------------------------------------------------


async def quiet(world: World, rng: random.Random, seconds: float) -> Figures:
    """Nothing happens but work."""
    await _leader(world, rng)
    before = world.judge.counts["offices"]
    sights = await look(world, seconds, 0.1)
    changes = world.judge.counts["offices"] - before
    if changes:
        world.judge.violated("needless", f"{changes} changes of the office in calm")
    return {"changes": changes, "gap_s": gap_s(sights)}


async def returns(world: World, rng: random.Random, seconds: float) -> Figures:
    """The leader is killed, succeeded, and returns; then a node that does not lead is cut off and comes back. Whoever
    leads then is healthy, and stays (Bully: without ELECTION_BULLY_PREEMPT)."""
    first = await _leader(world, rng)
    await first.crash()
    while not set(world.active()) - {first.name}:
        await asyncio.sleep(STEP_S)
    before = world.judge.counts["offices"]
    first.start()
    await asyncio.sleep(seconds)
    away = rng.choice([name for name in world.names if name not in world.active()])
    pairs = _apart([away], [name for name in world.names if name != away])
    world.network.cut(pairs)
    await asyncio.sleep(rng.uniform(1.0, 3.0))
    world.network.mend(pairs)
    await asyncio.sleep(seconds)
    changes = world.judge.counts["offices"] - before
    if changes:
        world.judge.violated("needless", f"{changes} changes of the office, though the leader was healthy")
    return {"changes": changes}


async def one_link(world: World, rng: random.Random, seconds: float) -> Figures:
    """Two nodes do not hear each other, and all others hear both: nobody is to be suspected for that."""
    one, other = rng.sample(world.names, 2)
    world.judge.say("FAULT", f"{one} and {other} do not hear each other")
    world.network.cut(_apart([one], [other]))
    end = world.now_s + seconds
    while world.now_s < end:
        if doubted := _doubted(world):
            world.judge.violated("false_suspicion", f"a living node that a third one hears: {doubted}")
            break
        await asyncio.sleep(0.1)
    return {}


async def suspected(world: World, rng: random.Random, seconds: float) -> Figures:
    """A node that does not lead is cut off for so long that it is suspected, and reaches the stores all the while."""
    leader = await _leader(world, rng)
    away = rng.choice([name for name in world.names if name != leader.name])
    world.judge.say("FAULT", f"{away} is cut off")
    pairs = _apart([away], [name for name in world.names if name != away])
    world.network.cut(pairs)
    await asyncio.sleep(rng.uniform(4.0, 8.0))
    found = _doubted(world)
    world.network.mend(pairs)
    await asyncio.sleep(seconds)
    if doubted := _doubted(world):
        world.judge.violated("unrefuted", f"{seconds} s after it came back: {doubted}")
    return {"suspicions": len(found)}


def _doubted(world: World) -> list[str]:
    """Who holds whom of the living for less than alive."""
    living = {host.name for host, _ in world.parts()}
    return [
        f"{host.name} holds {member.id} for {member.health}"
        for host, part in world.parts()
        for member in part.shell.view.members
        if member.id in living and member.health is not Health.ALIVE
    ]
