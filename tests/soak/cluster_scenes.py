"""What happens to clusters in the soak, and what an outsider measures of it: one scene is one fault and its end."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.clusters.cluster import Cluster, name_of
from tests.clusters.network import MONGO, REDIS, NetworkCluster
from tests.clusters.sightings import Sighting
from tests.nodes import NodeProcess

HOLD_S: Final = 6.0
PATIENCE_S: Final = 150.0
# A sighting may be so much older than the moment at which it was read.
STEP_S: Final = 0.1

Undo = Callable[[], Awaitable[object]]
Fault = Callable[[NodeProcess], Awaitable[Undo]]


class Scene(msgspec.Struct, frozen=True):
    """A fault, given the leader, that lasts `hold_s` after it has begun; what it returns ends it."""

    name: str
    fault: Fault
    hold_s: float = HOLD_S


class Row(msgspec.Struct, frozen=True):
    """What was seen. All `_s` are seconds, of `STEP_S` accuracy. `changes`: epochs handed out while the fault lasted;
    `changes_after`: until all agreed again. `old_active_s`, `old_held_s`: how long after the fault began the old leader
    still called itself active, and in office; None: it never stopped. `gap_s`: the longest time without anybody active.
    `leader_s`: from the fault's end until all named one leader that was active; `healed_s`: until all agreed on the
    members too and were ready. `overlap_s`: how long an older leader called itself active beside a newer one.
    `refused`: its scripts that the fence turned away. `lacking`: what the nodes said when they had not agreed for
    long."""

    algorithm: str
    nodes: int
    scene: str
    hold_s: float
    changes: int
    changes_after: int
    old_active_s: float | None
    old_held_s: float | None
    gap_s: float
    leader_s: float
    healed_s: float
    overlap_s: float
    refused: int
    accepted: int
    repeated: int
    lacking: str = ""

    @staticmethod
    def heading() -> str:
        """The head of the table."""
        return (
            f"\n{'algorithm':9} {'n':>2} {'scene':34} {'hold':>5} {'chg':>3} {'after':>5} {'old act':>8} "
            f"{'old held':>8} {'gap':>6} {'leader':>6} {'healed':>6} {'overlap':>7} {'refused':>7} {'jobs':>6} "
            f"{'again':>5}"
        )

    def __str__(self) -> str:
        old = [" -" if value is None else f"{value:.1f}" for value in (self.old_active_s, self.old_held_s)]
        return (
            f"{self.algorithm:9} {self.nodes:2d} {self.scene:34} {self.hold_s:5.1f} {self.changes:3d} "
            f"{self.changes_after:5d} {old[0]:>8} {old[1]:>8} {self.gap_s:6.2f} {self.leader_s:6.2f} "
            f"{self.healed_s:6.1f} {self.overlap_s:7.1f} {self.refused:7d} {self.accepted:6d} {self.repeated:5d}"
            + (f"\n  {self.lacking}" if self.lacking else "")
        )


async def play(cluster: Cluster, scene: Scene) -> Row:
    """The scene under load, judged; fails for anything unlawful, lost or repeated, or if all do not agree again."""
    leader = await cluster.settle(PATIENCE_S)
    witnesses = cluster.witnesses
    refused, accepted = witnesses.fence.refused, cluster.acks.count
    async with cluster.load():
        await cluster.progress(timeout=PATIENCE_S)
        before = witnesses.epochs()
        began = time.monotonic()
        undo = await scene.fault(leader)
        await asyncio.sleep(max(scene.hold_s - (time.monotonic() - began), 0.0))
        healed = time.monotonic()
        changes = len(witnesses.epochs()) - len(before)
        await undo()
        cluster.all_run()
        await cluster.settle(PATIENCE_S, best=False)
        agreed, lacking = time.monotonic(), cluster.lacking
        await cluster.progress(timeout=PATIENCE_S)
        cluster.all_run()
    verdict = await cluster.clear_verdict(PATIENCE_S)
    sightings = [seen for seen in witnesses.sightings if seen.at_s >= began - 2 * STEP_S]
    old = [seen for seen in sightings if seen.node == name_of(leader) and seen.epoch == before[-1]]
    return Row(
        algorithm=cluster.algorithm,
        nodes=len(cluster.nodes),
        scene=scene.name,
        hold_s=round(healed - began, 1),
        changes=changes,
        changes_after=len(witnesses.epochs()) - len(before) - changes,
        old_active_s=_ended([seen.at_s for seen in old if seen.active], began, healed),
        old_held_s=_ended([seen.at_s for seen in old if seen.held], began, healed),
        gap_s=_gap(sightings, began, agreed),
        leader_s=_one_leader(sightings, healed, agreed) - healed,
        healed_s=agreed - healed,
        overlap_s=max((seconds for *_, seconds, since in witnesses.overlaps() if since >= began), default=0.0),
        refused=witnesses.fence.refused - refused,
        accepted=cluster.acks.count - accepted,
        repeated=verdict.repeated,
        lacking=lacking,
    )


def _ended(moments: Sequence[float], began: float, healed: float) -> float | None:
    last = max(moments, default=began)
    return None if last > healed - 2 * STEP_S else max(last - began, 0.0)


def _one_leader(sightings: Sequence[Sighting], healed: float, agreed: float) -> float:
    """The moment since which all that were seen name one leader, which is active."""
    since, said = None, dict[str, Sighting]()
    for seen in sorted(sightings, key=lambda seen: seen.at_s):
        said[seen.node] = seen
        named = {each.leader for each in said.values()}
        agree = len(named) == 1 and any(each.active and each.node in named for each in said.values())
        since = (since or seen.at_s) if agree else None
        if seen.at_s > agreed:
            break
    return max(since or agreed, healed)


def _gap(sightings: Sequence[Sighting], began: float, until: float) -> float:
    """The longest time between two sightings of somebody active."""
    active = sorted(seen.at_s for seen in sightings if seen.active and seen.at_s <= until)
    return max((after - before for before, after in itertools.pairwise([began, *active, until])), default=0.0)


Cuts = Iterable[tuple[str, str]]
# What is one-way or partial must not only find a leader, but keep it.
LONG_S: Final = 30.0


def _apart(some: Sequence[str], others: Sequence[str]) -> Cuts:
    for one, other in itertools.product(some, others):
        yield from ((one, other), (other, one))


def _among(names: Sequence[str]) -> Cuts:
    for one, other in itertools.combinations(names, 2):
        yield from ((one, other), (other, one))


def _row(groups: Sequence[Sequence[str]]) -> Cuts:
    """Each group hears itself and its neighbours alone."""
    for place, group in enumerate(groups):
        yield from _apart(group, list(itertools.chain(*groups[place + 2 :])))


def _line(names: Sequence[str]) -> list[Sequence[str]]:
    return [[name] for name in names]


def _chain(names: Sequence[str]) -> list[Sequence[str]]:
    """A row whose middle hears a majority: in a line of more than five nobody does, and no Raft can have a leader."""
    third = len(names) // 3
    return _line(names) if len(names) <= 5 else [names[:third], names[third:-third], names[-third:]]


# What is cut, given the leader and the others: the shapes of the partial ones are those of the literature on elections
# (quorum loss: all hear only one, which does not lead; constrained election: the leader hears nobody besides).
PARTITIONS: Final[Mapping[str, Callable[[str, list[str]], Cuts]]] = {
    "leader alone": lambda leader, others: _apart([leader], others),
    "a follower alone": lambda leader, others: _apart(others[:1], [leader, *others[1:]]),
    "leader with a minority": lambda leader, others: _apart([leader, *others[: len(others) // 2 - 1]], _rest(others)),
    "leader cannot send": lambda leader, others: [(leader, other) for other in others],
    "leader cannot hear": lambda leader, others: [(other, leader) for other in others],
    "partial: quorum loss": lambda leader, others: _among([leader, *others[1:]]),
    "partial: constrained election": lambda leader, others: [*_apart([leader], others), *_among(others[1:])],
    "partial: chained": lambda leader, others: _row(_chain([leader, *others])),
    "without a majority: in a line": lambda leader, others: _row(_line([leader, *others])),
    "leader without Redis": lambda leader, _: [(leader, REDIS)],
    "leader without MongoDB": lambda leader, _: [(leader, MONGO)],
    "leader without either store": lambda leader, _: [(leader, REDIS), (leader, MONGO)],
}


def _rest(others: list[str]) -> list[str]:
    return others[len(others) // 2 - 1 :]


def network_scenes(cluster: NetworkCluster) -> Iterator[Scene]:
    """Partitions of every shape."""
    network = cluster.network

    async def healed() -> None:
        network.heal()

    def cutting(cuts: Callable[[str, list[str]], Cuts]) -> Fault:
        async def fault(leader: NodeProcess) -> Undo:
            for sender, receiver in cuts(name_of(leader), cluster.others(leader)):
                network.cut(sender, receiver)
            return healed

        return fault

    for name, cuts in PARTITIONS.items():
        # Of three, the leader's minority is the leader alone; of five, the middle of a line is one of a majority.
        least = {"leader with a minority": 5, "without a majority: in a line": 7}
        if len(cluster.nodes) >= least.get(name, 3):
            incomplete = "partial" in name or "cannot" in name
            yield Scene(name, cutting(cuts), LONG_S if incomplete and len(cluster.nodes) > 3 else HOLD_S)


def process_scenes(cluster: Cluster, stops_s: Sequence[float]) -> Iterator[Scene]:
    """What happens to the leader's process, and to all processes."""

    def stopping(seconds: float) -> Scene:
        async def fault(leader: NodeProcess) -> Undo:
            leader.signal(signal.SIGSTOP)

            async def undo() -> None:
                leader.signal(signal.SIGCONT)

            return undo

        return Scene(f"leader stopped for {seconds:g} s", fault, seconds)

    async def killed(leader: NodeProcess) -> Undo:
        await leader.kill()
        return cluster.start_all

    async def ended(leader: NodeProcess) -> Undo:
        leader.signal(signal.SIGTERM)

        async def undo() -> None:
            await leader.ended()
            await cluster.start_all()

        return undo

    def restarting(disks: bool) -> Fault:
        async def fault(_: NodeProcess) -> Undo:
            await asyncio.gather(*(node.kill() for node in cluster.nodes))
            for node in cluster.nodes:
                if not disks:
                    shutil.rmtree(node.environment["DATA_DIR"], ignore_errors=True)
                node.spawn()
            return cluster.start_all

        return fault

    yield Scene("leader killed", killed, 3.0)
    yield Scene("leader ended in order", ended, 2.0)
    yield from (stopping(seconds) for seconds in stops_s)
    yield Scene("all restarted", restarting(disks=True), 1.0)
    yield Scene("all restarted without disks", restarting(disks=False), 1.0)


def store_scenes(cluster: Cluster, redis: EmbeddedRedis, mongo: EmbeddedMongo) -> Iterator[Scene]:
    """A store restarts, alone and in the middle of an election."""

    def restarting(server: EmbeddedRedis | EmbeddedMongo, *, electing: bool) -> Fault:
        async def fault(leader: NodeProcess) -> Undo:
            if electing:
                await leader.kill()
            await server.kill()
            await server.start()
            return cluster.start_all

        return fault

    async def flushed(_: NodeProcess) -> Undo:
        cluster.wipe_index()
        return cluster.start_all

    for name, server in (("Redis", redis), ("MongoDB", mongo)):
        yield Scene(f"{name} killed and restarted", restarting(server, electing=False), 1.0)
        yield Scene(f"{name} restarted, leader killed", restarting(server, electing=True), 1.0)
    yield Scene("Redis lost its data", flushed, 1.0)


def primary_scenes(cluster: Cluster, kill_primary: Callable[[], Awaitable[Undo]]) -> Iterator[Scene]:
    """MongoDB changes its primary, alone and in the middle of an election."""

    def changing(*, electing: bool) -> Fault:
        async def fault(leader: NodeProcess) -> Undo:
            if electing:
                await leader.kill()
            returned = await kill_primary()

            async def undo() -> None:
                await returned()
                await cluster.start_all()

            return undo

        return fault

    yield Scene("primary killed", changing(electing=False))
    yield Scene("primary killed, leader killed", changing(electing=True))
