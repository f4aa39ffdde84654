"""Electors among themselves in virtual time: a seeded network that loses, delays, doubles and reorders, cuts, crashes,
and a store that witnesses and gives one office. What the contract says of any elector is checked after every event.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from hegemon.election.contract import (
    Discovered,
    Effect,
    Elector,
    Event,
    Fitness,
    Lost,
    Member,
    OfficeLost,
    Received,
    Resign,
    Role,
    Send,
    Stream,
    Tick,
    Witnessed,
    Won,
)
from tests.election.contract_suite import Watched

Make = Callable[[Member], Elector]
LOOK_S: Final = 0.1  # how often a node looks at the store
OFFICE_STILL_S: Final = 0.3  # how long a holder's counter stands still before the office counts as vacant


@dataclass
class Link:
    """What happens to datagrams. `latency_s` is drawn evenly between its two, so that they overtake each other."""

    latency_s: tuple[float, float] = (0.0003, 0.002)
    loss: float = 0.0
    doubled: float = 0.0


@dataclass
class Node:
    """A place where one elector after the other runs. `stopped`: SIGSTOP; what arrives waits in `backlog`."""

    member: Member
    watched: Watched | None = None
    stopped: bool = False
    store: bool = True
    life: int = 0
    backlog: list[Event] = field(default_factory=list)

    @property
    def runs(self) -> bool:
        return self.watched is not None and not self.stopped

    @property
    def leads(self) -> bool:
        return self.watched is not None and self.watched.leading


class VirtualNetwork:
    """`make` builds the elector of a member. Every node is introduced to every other, or (`one_seed`) to one."""

    def __init__(
        self, make: Make, members: Iterable[Member], *, seed: int = 0, witness: bool = True, one_seed: bool = False
    ) -> None:
        self.make, self.witness, self.one_seed = make, witness, one_seed
        self.random = random.Random(seed)
        self.link = Link()
        self.now = 100.0
        self.nodes = {member.id: Node(member) for member in members}
        self.cuts: set[tuple[str, str]] = set()
        self.changes: list[tuple[float, str, str, int]] = []
        self.holder: str | None = None
        self.sent = 0
        self._moved_at = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        if witness:
            self._after(LOOK_S, self._look)

    # -- what a test does ----------------------------------------------------------------------------------------------

    def start(self, *ids: str) -> None:
        """Start these nodes, or all."""
        for node in [self.nodes[name] for name in ids or self.nodes]:
            node.life += 1
            node.member = Member(
                node.member.id, incarnation=node.life, address=f"{node.member.id}:1", rank=node.member.rank
            )
            node.watched, node.stopped, node.backlog = Watched(self.make(node.member)), False, []
            self._done(node, node.watched.start(self.now))
            self._introduce(node, node.life)

    def kill(self, *ids: str) -> None:
        for name in ids:
            self.nodes[name].watched = None
            self.nodes[name].life += 1

    def stop(self, name: str) -> None:
        self.nodes[name].stopped = True

    def resume(self, name: str) -> None:
        """SIGCONT: what the socket's buffer held comes at once."""
        node = self.nodes[name]
        node.stopped, backlog = False, node.backlog[:200]
        node.backlog = []
        for event in backlog:
            self.give(name, event)
        self.give(name, Tick())

    def give(self, name: str, event: Event) -> None:
        node = self.nodes[name]
        if node.watched is None:
            return
        if node.stopped:
            node.backlog.append(event)
            return
        self._done(node, node.watched.handle(event, self.now))

    def reach_store(self, name: str, reaches: bool) -> None:
        self.nodes[name].store = reaches
        self.give(name, Fitness(reaches))

    def resign(self, name: str, pause_s: float | None = None) -> None:
        self.give(name, Resign("asked to", pause_s))
        if pause_s is None:
            self._after(0.05, lambda: self.kill(name))

    def cut(self, source: str, target: str) -> None:
        self.cuts.add((source, target))

    def partition(self, *groups: str) -> None:
        """Each group is the ids of one side, separated by blanks."""
        sides = [set(group.split()) for group in groups]
        self.cuts |= {(a, b) for one in sides for other in sides if one is not other for a in one for b in other}

    def heal(self) -> None:
        self.cuts.clear()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            self.now, _, action = heapq.heappop(self._queue)
            action()
        self.now = end

    def run_until(self, reached: Callable[[], bool], within_s: float) -> float:
        """Run step by step until it is so; the seconds that it took. AssertionError if it takes longer."""
        begun = self.now
        while not reached():
            assert self.now - begun < within_s, f"not within {within_s} s: {self.beliefs()}"
            self.run(0.005)
        return self.now - begun

    # -- what a test sees ----------------------------------------------------------------------------------------------

    @property
    def leaders(self) -> list[str]:
        return sorted(name for name, node in self.nodes.items() if node.leads)

    def beliefs(self) -> dict[str, str | None]:
        return {name: node.watched.elector.view.leader for name, node in self.nodes.items() if node.watched}

    def agreed(self, leader: str | None = None, among: Iterable[str] = ()) -> bool:
        """All that run, or those named, follow one leader that leads."""
        names = list(among) or [name for name, node in self.nodes.items() if node.runs]
        beliefs = {self.beliefs()[name] for name in names}
        (one,) = beliefs if len(beliefs) == 1 else (None,)
        return one is not None and leader in {None, one} and self.leaders_among(names) == [one]

    def leaders_among(self, names: Iterable[str]) -> list[str]:
        return sorted(set(names) & set(self.leaders))

    def wins_since(self, time: float) -> list[str]:
        return [name for at, name, what, _ in self.changes if what == "won" and at > time]

    # -- how it goes ---------------------------------------------------------------------------------------------------

    def _after(self, delay_s: float, action: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + max(delay_s, 0.0), self._count, action))

    def _done(self, node: Node, effects: list[Effect]) -> None:
        name = node.member.id
        for effect in effects:
            match effect:
                case Send(to, payload):
                    self._datagram(name, to, payload)
                case Stream(to, payload):
                    self._deliver(3 * self.random.uniform(*self.link.latency_s), name, to, payload, stream=True)
                case Won(term):
                    self.changes.append((self.now, name, "won", term))
                case Lost():
                    self.changes.append((self.now, name, "lost", 0))
                    if self.holder == name and node.store:
                        self.holder = None
                case _:
                    pass
        deadline = node.watched.elector.deadline() if node.watched else None
        if deadline is not None:
            self._after(deadline - self.now, partial(self._tick, node, node.life, deadline))

    def _tick(self, node: Node, life: int, deadline: float) -> None:
        if node.runs and node.life == life and node.watched and node.watched.elector.deadline() == deadline:
            self.give(node.member.id, Tick())

    def _datagram(self, source: str, target: str, payload: bytes) -> None:
        self.sent += 1
        copies = 2 if self.random.random() < self.link.doubled else 1
        for _ in range(copies):
            if self.random.random() >= self.link.loss:
                self._deliver(self.random.uniform(*self.link.latency_s), source, target, payload, stream=False)

    def _deliver(self, delay_s: float, source: str, target: str, payload: bytes, *, stream: bool) -> None:
        if target not in self.nodes or (source, target) in self.cuts or (stream and (target, source) in self.cuts):
            return
        life = self.nodes[target].life

        def arrive() -> None:
            if self.nodes[target].life == life and (source, target) not in self.cuts:
                self.give(target, Received(source, payload, stream))

        self._after(delay_s, arrive)

    def _introduce(self, node: Node, life: int) -> None:
        """What the transport and the store's registry do: meet the peers that are named, again and again."""
        name = node.member.id
        if node.watched is None or node.life != life:
            return
        others = [other for other in self.nodes.values() if other is not node and other.watched]
        for other in others[:1] if self.one_seed else others:
            if not {(name, other.member.id), (other.member.id, name)} & self.cuts:
                self.give(name, Discovered(other.member))
                self.give(other.member.id, Discovered(node.member))
        self._after(1.0, lambda: self._introduce(node, life))

    def _look(self) -> None:
        """One look of everybody at the store, and the office there: vacant, or its holder's counter moves."""
        self._after(LOOK_S, self._look)
        holder = self.nodes.get(self.holder or "")
        if holder is not None and holder.runs and holder.store and holder.leads:
            self._moved_at = self.now
        elif self.now - self._moved_at >= OFFICE_STILL_S:
            self.holder = None
        able = [name for name in self.leaders if self.nodes[name].runs and self.nodes[name].store]
        if self.holder is None and able:
            self.holder, self._moved_at = able[0], self.now
        moved = {name for name, node in self.nodes.items() if node.runs and node.store and name != self.holder}
        if self.holder is not None and self._moved_at == self.now:
            moved.add(self.holder)
        for name in [name for name, node in self.nodes.items() if node.runs and node.store]:
            self.give(name, Witnessed(frozenset(moved - {name})))

    def lose_office(self, name: str) -> None:
        self.give(name, OfficeLost("a newer epoch"))

    def roles(self) -> dict[str, Role]:
        return {name: node.watched.elector.view.role for name, node in self.nodes.items() if node.watched}
