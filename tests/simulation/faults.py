"""What may go wrong: each fault is a coroutine that begins it, lasts a while, and ends it. Details are the seed's."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise, permutations

from tests.simulation.world import Host, World

Fault = Callable[[World, random.Random], Awaitable[None]]


def _while(rng: random.Random, least_s: float, most_s: float) -> float:
    """A length of time, short ones more often."""
    return least_s * math.exp(math.log(most_s / least_s) * rng.random())


def _some(world: World, rng: random.Random) -> Host:
    return world.hosts[rng.choice(world.names)]


def _leader_or_some(world: World, rng: random.Random) -> Host:
    active = world.active()
    return world.hosts[rng.choice(active)] if active and rng.random() < 0.6 else _some(world, rng)


async def pause(world: World, rng: random.Random) -> None:
    """SIGSTOP, SIGCONT: the control process, its workers, or all of a host."""
    host = _leader_or_some(world, rng)
    which = rng.choice(("control", "workers", "all"))
    stopped = [
        one for one in host.processes if one.alive and (which == "all" or (".w" in one.name) is (which == "workers"))
    ]
    world.judge.say("FAULT", f"pause {which} of {host.name}")
    for process in stopped:
        world.loop.pause(process)
    await asyncio.sleep(_while(rng, 0.2, world.longest_s))
    for process in stopped:
        world.loop.resume(process)
    world.judge.say("FAULT", f"continue {which} of {host.name}")


async def crash(world: World, rng: random.Random) -> None:
    """A node is killed (kill -9), and returns some time later."""
    host = _leader_or_some(world, rng)
    world.judge.say("FAULT", f"crash of {host.name}")
    await host.crash()
    await asyncio.sleep(_while(rng, 0.05, world.longest_s))
    if not host.up:
        host.start()


async def restart_all(world: World, rng: random.Random) -> None:
    """All nodes are killed at once, and return; with their disks, or without."""
    keep = rng.random() < 0.5
    world.judge.say("FAULT", f"crash of all, disks {'kept' if keep else 'lost'}")
    for host in world.hosts.values():
        await host.crash()
        if not keep:
            host.lose_disk()
    if not keep:
        world.judge.forget_terms(world.names, all_of_them=True)
    for host in world.hosts.values():
        await asyncio.sleep(rng.uniform(0.0, 0.2))
        if not host.up:
            host.start()


async def lose_disk(world: World, rng: random.Random) -> None:
    """A node is killed, and returns with an empty disk."""
    host = _leader_or_some(world, rng)
    others = [other for other in world.hosts.values() if other is not host]
    if any(not other.up or other.disk.blank for other in others):
        return  # whoever loses the disks of a majority loses the terms, and only the office's epoch is left
    world.judge.say("FAULT", f"crash of {host.name}, its disk lost")
    await host.crash()
    host.lose_disk()
    world.judge.forget_terms([host.name], all_of_them=False)
    await asyncio.sleep(_while(rng, 0.05, 1.0))
    if not host.up:
        host.start()


async def dying_voters(world: World, rng: random.Random) -> None:
    """Leader after leader is killed and soon back, while datagrams are slow and all draw the same timeout. Whoever
    votes for another dies of it, and is back at once: a vote that is forgotten may be given twice."""
    world.judge.say("FAULT", "leaders die, and voters at their votes")
    world.network.weather(doubled=0.3, tail=0.05, delay_s=rng.choice((0.03, 0.06)))
    world.unlucky = True

    async def die(host: Host) -> None:
        while True:
            host.disk.voted.clear()
            await host.disk.voted.wait()
            await asyncio.sleep(rng.uniform(0.0, 0.005))
            world.judge.say("FAULT", f"{host.name} has voted, and dies")
            await host.crash()
            if not host.up:
                host.start()
            # Once an election: what comes of a second vote shall be seen.
            await asyncio.sleep(0.5)

    deaths = [asyncio.create_task(die(host)) for host in world.hosts.values()]
    end = world.now_s + _while(rng, 1.0, world.longest_s)
    while world.now_s < end:
        for name in sorted({leader for leader in world.leaders().values() if leader is not None}):
            # Each half of the others reaches a majority with the one that returns, and hears nothing of the other half.
            others = [other for other in world.names if other != name]
            half = rng.sample(others, len(others) // 2)
            pairs = [pair for a in half for b in others if b not in half for pair in ((a, b), (b, a))]
            world.network.cut(pairs)
            await world.hosts[name].crash()
            await asyncio.sleep(rng.uniform(0.0, 0.3))
            if not world.hosts[name].up:
                world.hosts[name].start()
            await asyncio.sleep(rng.uniform(0.5, 1.0))
            world.network.mend(pairs)
        await asyncio.sleep(rng.uniform(0.1, 0.6))
    for death in deaths:
        death.cancel()
    await asyncio.gather(*deaths, return_exceptions=True)
    for host in world.hosts.values():
        if not host.up:
            host.start()
    world.unlucky = False
    world.network.weather()


async def leave(world: World, rng: random.Random) -> None:
    """SIGTERM of a node, and its return."""
    host = _leader_or_some(world, rng)
    world.judge.say("FAULT", f"SIGTERM of {host.name}")
    try:
        async with asyncio.timeout(world.longest_s):
            await host.leave()
    except TimeoutError:
        await host.crash()
    await asyncio.sleep(_while(rng, 0.05, 1.0))
    if not host.up:
        host.start()


async def kill_worker(world: World, rng: random.Random) -> None:
    """One worker process is killed."""
    host = _some(world, rng)
    if host.node is not None and hasattr(host.node, "_supervisor"):
        for worker in list(host.node._supervisor.workers.values())[:1]:
            world.judge.say("FAULT", f"kill of worker {worker.id}")
            host.node._supervisor._kill(worker)
    await asyncio.sleep(0.1)


async def redis_fault(world: World, rng: random.Random) -> None:
    """Redis stalls, goes away, restarts, loses its last second or all."""
    what = rng.choice(("flush", "restart", "back", "empty", "stall", "away", "away_back"))
    world.judge.say("FAULT", f"redis {what}")
    if what == "flush":
        world.redis.flush()
    elif what == "restart":
        world.redis.restart()
    elif what == "back":
        world.redis.go_back(rng.uniform(0.2, 1.5))
    elif what == "empty":
        world.redis.start({})
    elif what == "stall":
        world.redis.stall(on=True)
        await asyncio.sleep(_while(rng, 0.1, world.longest_s))
        world.redis.stall(on=False)
    else:
        world.redis.stop()
        await asyncio.sleep(_while(rng, 0.1, world.longest_s))
        if what == "away":
            world.redis.start()
        else:
            world.redis.go_back(1.0)


async def mongo_fault(world: World, rng: random.Random) -> None:
    """The primary changes, with writes that nobody else had got; or the set stalls."""
    what = rng.choice(("step_down", "lag_and_step_down", "stall", "lag"))
    world.judge.say("FAULT", f"mongo {what}")
    if what == "stall":
        world.mongo.stall(on=True)
        await asyncio.sleep(_while(rng, 0.1, world.longest_s))
        world.mongo.stall(on=False)
        return
    if what != "step_down":
        world.mongo.lag(on=True)
        await asyncio.sleep(_while(rng, 0.02, 1.0))
    if what != "lag":
        world.mongo.step_down(_while(rng, 0.05, 2.0))
    world.mongo.lag(on=False)


async def store_cut(world: World, rng: random.Random) -> None:
    """One host does not reach a store, or is not reached by its answers, or both stores both ways."""
    host = _leader_or_some(world, rng)
    stores = rng.choice((("redis",), ("mongo",), ("redis", "mongo")))
    there, back = rng.choice(((True, True), (True, False), (False, True)))
    world.judge.say("FAULT", f"cut of {host.name} from {stores} there={there} back={back}")
    for store in stores:
        host.cut(store, there=there, back=back)
    await asyncio.sleep(_while(rng, 0.1, world.longest_s))
    for store in stores:
        host.cut(store, there=False, back=False)


async def store_weather(world: World, rng: random.Random) -> None:
    """Messages to the stores are lost or take long."""
    world.judge.say("FAULT", "bad weather on the way to the stores")
    world.weather(loss=rng.choice((0.0, 0.01, 0.05)), tail=rng.choice((0.0, 0.05, 0.2)))
    await asyncio.sleep(_while(rng, 0.5, world.longest_s))
    world.weather(loss=0.0, tail=0.0)


async def clock_jump(world: World, rng: random.Random) -> None:
    """A wall clock is set an hour off: a host's, or Redis's."""
    if rng.random() < 0.4:
        # Back by a moment only: the cluster clock stands until Redis has caught up, and with it what is delayed.
        jump = rng.choice((-2.0, 2.0, 3600.0))
        world.judge.say("FAULT", f"Redis's clock jumps by {jump} s")
        world.redis.clock_offset_s += jump
    else:
        host, hour = _some(world, rng), rng.choice((-3600.0, 3600.0))
        world.judge.say("FAULT", f"the wall clock of {host.name} is set off by {hour} s")
        host.wall_offset_s = hour
        for process in host.processes:
            process.wall_offset_s = hour
    await asyncio.sleep(_while(rng, 0.2, world.longest_s))


async def bad_network(world: World, rng: random.Random) -> None:
    """Datagrams between nodes are lost, doubled, overtaken."""
    world.judge.say("FAULT", "bad weather between the nodes")
    world.network.weather(
        loss=rng.choice((0.05, 0.2)),
        doubled=0.1,
        tail=rng.choice((0.05, 0.3)),
        delay_s=rng.choice((0.0003, 0.005, 0.02)),
    )
    await asyncio.sleep(_while(rng, 0.5, world.longest_s))
    world.network.weather()


def partition(names: Sequence[str], leader: str | None, what: str, rng: random.Random) -> list[tuple[str, str]]:
    """The pairs that hear nothing: from the first to the second."""
    order = list(names)
    rng.shuffle(order)
    if leader in order:
        order.remove(leader)
        order.insert(0, leader)
    first, rest = order[0], order[1:]
    if what == "leader_alone":
        return [pair for other in rest for pair in ((first, other), (other, first))]
    if what == "one_way_out":
        return [(first, other) for other in rest]
    if what == "one_way_in":
        return [(other, first) for other in rest]
    if what == "minority":
        few = order[: (len(order) - 1) // 2 or 1]
        return [pair for a in few for b in order if b not in few for pair in ((a, b), (b, a))]
    # The three partial shapes (Jensen et al. 2021): each leaves some links that do not make a whole.
    hub = rest[-1]
    if what == "quorum_loss":  # all hear one node that does not lead, and nobody else
        kept = {(hub, other) for other in order} | {(other, hub) for other in order}
    elif what == "constrained_election":  # the old leader is alone, and of the rest only the hub hears all
        kept = {(hub, other) for other in rest} | {(other, hub) for other in rest}
    else:  # chained: each hears only its neighbours in a row
        row = list(pairwise(order))
        kept = {*row, *((b, a) for a, b in row)}
    return [pair for pair in permutations(order, 2) if pair not in kept]


PARTITIONS = (
    "leader_alone", "one_way_out", "one_way_in", "minority", "quorum_loss", "constrained_election", "chained"
)  # fmt: skip


async def network_cut(world: World, rng: random.Random) -> None:
    """A partition of one of the shapes, between nodes; the stores are reached all the while."""
    what = rng.choice(PARTITIONS)
    active = world.active()
    world.judge.say("FAULT", f"partition: {what}")
    pairs = partition(world.names, active[0] if active else None, what, rng)
    world.network.cut(pairs)
    await asyncio.sleep(_while(rng, 0.3, world.longest_s))
    world.network.mend(pairs)
