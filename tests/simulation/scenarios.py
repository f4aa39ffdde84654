"""What a simulated cluster goes through, by name; and what one run came to."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from hegemon.cluster.algorithm_guide import advice
from tests.simulation import faults, scenes
from tests.simulation.judge import Violation
from tests.simulation.loop import Stuck
from tests.simulation.safeguards import OFF
from tests.simulation.scenes import Scene
from tests.simulation.world import World

CONVERGED_S: Final = 5.0
SETTLED_S: Final = 25.0
CALM_S: Final = 4.0


class Scenario(msgspec.Struct, frozen=True):
    """`faults` of which some strike, about every `pace_s` seconds, for `seconds`; `at_once` of them at a time; or a
    `scene` of that length. Each node is given a job every `jobs_s` seconds, and is started with `settings` besides;
    all are to agree on a leader within `patience_s`."""

    faults: tuple[faults.Fault, ...]
    seconds: float = 3.0
    pace_s: float = 0.7
    at_once: int = 1
    jobs_s: float = 0.2
    scene: Scene | None = None
    settings: dict[str, str] = {}
    patience_s: float = CONVERGED_S


SCENARIOS: Final = {
    "calm": Scenario((), 2.0),
    "pauses": Scenario((faults.pause,)),
    "crashes": Scenario((faults.crash, faults.crash, faults.leave, faults.kill_worker)),
    "redis": Scenario((faults.redis_fault,)),
    "mongo": Scenario((faults.mongo_fault,)),
    "store_cuts": Scenario((faults.store_cut, faults.store_weather)),
    "clocks": Scenario((faults.clock_jump, faults.pause, faults.redis_fault)),
    "network": Scenario((faults.bad_network, faults.network_cut, faults.network_cut, faults.crash), at_once=2),
    "disks": Scenario((faults.lose_disk, faults.restart_all, faults.crash, faults.network_cut), at_once=2),
    "elections": Scenario((faults.dying_voters, faults.dying_voters, faults.crash), 4.0, 0.7, 2, 0.0),
    "storm": Scenario(
        (
            faults.pause, faults.crash, faults.leave, faults.kill_worker, faults.redis_fault, faults.mongo_fault,
            faults.store_cut, faults.store_weather, faults.clock_jump, faults.bad_network, faults.network_cut,
        ),
        pace_s=0.5,
        at_once=3,
    ),
}  # fmt: skip


def _scene(
    scene: Scene, seconds: float, settings: dict[str, str] | None = None, patience_s: float = CONVERGED_S
) -> Scenario:
    return Scenario((), seconds, jobs_s=1.0, scene=scene, settings=settings or {}, patience_s=patience_s)


# What a cluster of several is measured by; solo has no peers.
SCENES: Final = {
    "wan_loss": _scene(scenes.far(loss=0.2), 600.0, patience_s=30.0),
    "wan_delay": _scene(scenes.far(delay_s=0.3), 600.0, patience_s=30.0),
    "quiet": _scene(scenes.quiet, 600.0),
    "store_lost": _scene(scenes.store_lost, 6.0),
    "follower_away": _scene(scenes.follower_away, 20.0),
    "leader_alone": _scene(scenes.leader_alone, 6.0),
    "returns": _scene(scenes.returns, 4.0, {"ELECTION_BULLY_PREEMPT": "false"}),
    "one_link": _scene(scenes.one_link, 15.0),
    "suspected": _scene(scenes.suspected, 12.0),
    "most_disks_lost": _scene(scenes.most_disks_lost, 2.0),
    "votes_lost": _scene(scenes.votes_lost, 2.0),
    **{
        shape: _scene(scenes.cut(shape), 60.0)
        for shape in ("one_way_out", "one_way_in", "quorum_loss", "constrained_election", "chained")
    },
}
ALL: Final = SCENARIOS | SCENES
# What only Raft has: voters that die of their votes, and disks to lose.
RAFT_ALONE: Final = frozenset({"disks", "elections", "most_disks_lost", "votes_lost"})
ELECTED: Final = ("bully", "gossip", "raft")
SIZES: Final = (3, 5, 9)


def turn(name: str, seed: int) -> tuple[str, int]:
    """Which algorithm and how many nodes a seed is for where a scenario's seeds are spread over all of them: nine in a
    row are each algorithm at each size once."""
    algorithm = "raft" if name in RAFT_ALONE else ELECTED[seed % 3]
    return algorithm, SIZES[seed // 3 % 3]


class Report(msgspec.Struct, frozen=True):
    """One run. `converged_s`: from the end of the last fault to one leader, agreed on by all and active; None if that
    took longer than the scenario's `patience_s`. `figures`: what its scene measured."""

    scenario: str
    algorithm: str
    nodes: int
    seed: int
    violations: list[Violation]
    counts: dict[str, int]
    digest: int
    steps: int
    virtual_s: float
    converged_s: float | None
    figures: dict[str, float] = {}
    options: str = ""
    lines: list[str] = []

    def __str__(self) -> str:
        ran = f"digest {self.digest:08x}, {self.steps} steps, {self.virtual_s} s"
        more = "".join(f", {name} {value}" for name, value in self.figures.items())
        return f"{ran}, one leader {self.converged_s} s after healing, {self.counts.get('offices', 0)} offices{more}"

    @property
    def command(self) -> str:
        """What replays this run, with a trace."""
        which = f"--scenario {self.scenario} --algorithm {self.algorithm} --nodes {self.nodes} --seed {self.seed}"
        return f"python -m tests.simulation {which}{self.options} --trace"

    @property
    def kinds(self) -> set[str]:
        """The kinds of violations."""
        return {violation.kind for violation in self.violations}


def simulate(
    name: str,
    algorithm: str,
    seed: int,
    *,
    nodes: int = 3,
    trace: bool = False,
    live: bool = False,
    long: bool = False,
    seconds: float | None = None,
    without: str | None = None,
) -> Report:
    """Run one scenario under one seed. `live` also waits until all jobs have ended, and judges that and the
    convergence; `long` is several times as long, with outages of up to 30 s; `seconds` are instead of the scenario's
    own. `without` is one of `safeguards.OFF`, which is switched off."""
    gc.freeze()  # what is here now stays: only what this run leaves is to be looked through
    scenario = _timed(ALL[name], long, seconds)
    world = World(seed, algorithm=algorithm, nodes=nodes, pace_s=scenario.jobs_s, longest_s=30.0 if long else 3.5)
    world.judge.tracing = trace
    # Far apart, each has the settings that `hegemon election guide` recommends for it.
    world.extra = advice(algorithm, nodes).wan if name.startswith("wan_") else scenario.settings
    if without is not None:
        OFF[without](world)
    found: list[float | None] = [None]
    figures: dict[str, float] = {}

    async def whole(world: World) -> None:
        world.start_all()
        await _converge(world, scenario.patience_s)
        before = world.judge.counts["offices"]
        if scenario.scene is None:
            await _strike(world, scenario, random.Random(f"{seed}/{name}"))
        else:
            figures.update(await scenario.scene(world, random.Random(f"{seed}/{name}"), scenario.seconds))
        world.heal()
        world.start_all()
        world.judge.say("HEALED", "")
        if not scenario.faults and scenario.scene is None and world.judge.counts["offices"] != before:
            world.judge.violated("needless", f"{world.judge.counts['offices'] - before} changes of the office in calm")
        found[0] = await _converge(world, scenario.patience_s)
        if live:
            if found[0] is None:
                world.judge.violated("unconverged", f"{world.leaders()}, active {world.active()}")
            await _settle(world)

    try:
        world.run(whole)
    except Stuck as error:
        world.judge.violated("fault", str(error))
    finally:
        gc.collect()
    judge = world.judge
    return Report(
        name,
        algorithm,
        nodes,
        seed,
        judge.violations,
        dict(judge.counts),
        judge.digest,
        world.loop.steps,
        round(world.now_s, 3),
        found[0],
        figures,
        _options(live=live, long=long, seconds=seconds, without=without),
        judge.lines,
    )


def _options(*, live: bool, long: bool, seconds: float | None, without: str | None) -> str:
    """What else than scenario, algorithm, nodes and seed a run is decided by, as it is written on the command line."""
    said = (" --live" if live else "") + (" --long" if long else "")
    said += "" if seconds is None else f" --seconds {seconds}"
    return said if without is None else f"{said} --without {without}"


def _timed(scenario: Scenario, long: bool, seconds: float | None) -> Scenario:
    if long:
        scenario = msgspec.structs.replace(scenario, seconds=6 * scenario.seconds, pace_s=2 * scenario.pace_s)
    return scenario if seconds is None else msgspec.structs.replace(scenario, seconds=seconds)


async def _strike(world: World, scenario: Scenario, rng: random.Random) -> None:
    """Let faults strike, and wait until those that did are over."""
    end = world.now_s + scenario.seconds
    under_way: set[asyncio.Task[None]] = set()
    while world.now_s < end:
        await asyncio.sleep(rng.expovariate(1 / scenario.pace_s) if scenario.faults else scenario.seconds)
        under_way = {task for task in under_way if not task.done()}
        if len(under_way) < scenario.at_once and world.now_s < end and scenario.faults:
            fault = rng.choice(scenario.faults)
            task = asyncio.create_task(_run(fault, world, random.Random(rng.getrandbits(64))))
            under_way.add(task)
        # A node that ended by itself is started again.
        for host in world.hosts.values():
            if not host.up and rng.random() < 0.5:
                host.start()
    await asyncio.gather(*under_way)


async def _run(fault: Callable[[World, random.Random], Any], world: World, rng: random.Random) -> None:
    await fault(world, rng)


async def _converge(world: World, patience_s: float) -> float | None:
    """Seconds until all nodes agree on one leader and it alone is active."""
    began = world.now_s
    while world.now_s - began < patience_s:
        leaders, active = world.leaders(), world.active()
        agreed = world.algorithm == "solo" or set(leaders.values()) == set(active)
        if len(active) == 1 and agreed and len(leaders) == len(world.names):
            return round(world.now_s - began, 3)
        await asyncio.sleep(0.02)
    return None


async def _settle(world: World) -> None:
    """No new jobs; those that there are have the time to end."""
    world.open = False
    for host in world.hosts.values():
        if host.node is not None:
            await host.node._frontend.stop(0.0)
    began = world.now_s
    while world.now_s - began < SETTLED_S:
        jobs = world.mongo.committed.get("jobs", {})
        if all(jobs[job_id]["status"] == "completed" for job_id in world.judge.acked if job_id in jobs):
            return
        await asyncio.sleep(0.1)
    world.judge.close_books(world.mongo.committed.get("jobs", {}), settled=True)
