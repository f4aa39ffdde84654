"""A cluster of Raft drivers in one thread and virtual time: every delay, loss and crash comes from one seed.

`virtual_time` puts a clock and a generator into PySyncObj's module, which looks both names up at each use.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from hegemon.cluster.raft_driver import RaftDriver
from hegemon.cluster.raft_library import LEADER, Library
from hegemon.cluster.raft_state import Durable
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.contract import Abdicate, Changed, Effect, Event, Lost, Member, Observed, Tick, Timing, Won
from hegemon.election.raft import RaftElector

DEFAULTS = Timing()


@contextmanager
def virtual_time(now: Callable[[], float], rng: random.Random) -> Iterator[None]:
    """PySyncObj sees this clock and this randomness."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pysyncobj.syncobj.monotonicTime", now)
        patch.setattr("pysyncobj.syncobj.random", rng)
        yield


class Disk:
    """A disk that keeps what was saved. ``forgets_votes``: PySyncObj without a journal, as far as votes go."""

    def __init__(self, *, forgets_votes: bool = False) -> None:
        self.content: Durable | None = None
        self.forgets_votes = forgets_votes
        self.full = False
        self.saves = 0

    def load(self) -> Durable | None:
        if self.content is not None and self.forgets_votes:
            return msgspec.structs.replace(self.content, vote=None, blank=False)
        return self.content

    def save(self, durable: Durable) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.saves += 1
        self.content = durable


@dataclass
class Machine:
    """One node: what survives a crash, and its present life."""

    id: str
    disk: Disk
    driver: RaftDriver | None = None
    elector: RaftElector | None = None
    asleep_until: float = 0.0
    fit: bool = True
    leads: int | None = None  # the term of its Won
    history: list[tuple[float, Effect]] = field(default_factory=list)

    @property
    def library(self) -> Library:
        assert self.driver is not None
        core = self.driver._core
        assert isinstance(core, RaftVoter)
        return core._library

    @property
    def up(self) -> bool:
        return self.driver is not None


class RaftNetwork:
    """``size`` voters n1..., ``onlookers`` more. ``delay`` are the shortest and longest seconds on the way."""

    def __init__(
        self,
        size: int,
        *,
        seed: int = 1,
        timing: Timing = DEFAULTS,
        delay: tuple[float, float] = (0.0002, 0.002),
        loss: float = 0.0,
        doubled: float = 0.0,
        prevote: bool = True,
        forgets_votes: bool = False,
        onlookers: int = 0,
    ) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.timing, self.delay, self.loss, self.doubled, self.prevote = timing, delay, loss, doubled, prevote
        self.voters = [f"n{i + 1}" for i in range(size)]
        names = self.voters + [f"o{i + 1}" for i in range(onlookers)]
        self.machines = {name: Machine(name, Disk(forgets_votes=forgets_votes)) for name in names}
        self.cuts: set[tuple[str, str]] = set()
        self.leaders: dict[int, str] = {}
        # The term that the office's document has, and which all are told; None while MongoDB is away.
        self.recorded: int | None = 0
        self.won: list[tuple[float, str, int]] = []
        self.sent: list[tuple[float, str, str]] = []
        self.filter: Callable[[str, str, bytes], bool] = lambda source, to, payload: True
        self._mail: list[tuple[float, int, str, str, bytes]] = []
        self._count = 0
        self._incarnation = 0

    # -- driving -------------------------------------------------------------------------------------------------------

    @contextmanager
    def running(self) -> Iterator[RaftNetwork]:
        with virtual_time(lambda: self.now, self.rng):
            for name in self.machines:
                self.start(name)
            yield self

    def start(self, name: str, *, disk: bool = True) -> None:
        machine = self.machines[name]
        if not disk:
            machine.disk = Disk(forgets_votes=machine.disk.forgets_votes)
        self._incarnation += 1
        me = Member(name, incarnation=self._incarnation, fit=machine.fit)
        machine.elector = RaftElector(me, voters=self.voters, timing=self.timing)
        machine.leads = None
        machine.driver = RaftDriver(
            me,
            voters=self.voters,
            timing=self.timing,
            storage=machine.disk,
            send=lambda to, payload: self._post(name, to, payload),
            observed=lambda observed: self.tell(name, observed),
            rng=self.rng,
            now=self.now,
            prevote=self.prevote,
        )
        self._carry_out(machine, machine.elector.start(self.now))
        self._tell_recorded(machine)
        self._tick(machine)

    def record(self, term: int) -> None:
        """MongoDB is there, and its document has this term."""
        self.recorded = term
        for machine in self.machines.values():
            self._tell_recorded(machine)

    def _tell_recorded(self, machine: Machine) -> None:
        if machine.driver is not None and self.recorded is not None:
            machine.driver.set_recorded(self.recorded)

    def crash(self, name: str) -> None:
        machine = self.machines[name]
        machine.driver = machine.elector = machine.leads = None

    def sleep(self, name: str, seconds: float) -> None:
        self.machines[name].asleep_until = self.now + seconds

    def tell(self, name: str, event: Event) -> None:
        machine = self.machines[name]
        assert machine.elector is not None
        self._carry_out(machine, machine.elector.handle(event, self.now))
        if not isinstance(event, Observed):
            self._tick(machine)

    def run(self, seconds: float, until: Callable[[], Any] | None = None) -> bool:
        """Let time pass; True as soon as ``until`` holds, which is asked after each step."""
        end = self.now + seconds
        while True:
            if until is not None and until():
                return True
            due = min((self._due(machine) for machine in self.machines.values() if machine.up), default=end)
            at = min(due, self._mail[0][0] if self._mail else end)
            if at >= end:
                self.now = end
                return bool(until is not None and until())
            self.now = max(self.now, at)
            if self._mail and self._mail[0][0] <= self.now:
                self._deliver()
            else:
                self._tick(min((m for m in self.machines.values() if m.up), key=self._due))

    def _due(self, machine: Machine) -> float:
        assert machine.driver is not None
        assert machine.elector is not None
        due = min(machine.driver.deadline(), machine.elector.deadline() or self.now + 10.0)
        return max(due, machine.asleep_until)

    def _tick(self, machine: Machine) -> None:
        assert machine.driver is not None
        assert machine.elector is not None
        if self.now < machine.asleep_until:
            return
        machine.driver.tick(self.now)
        due = machine.elector.deadline()
        if due is not None and due <= self.now:
            self._carry_out(machine, machine.elector.handle(Tick(), self.now))
        self._check()

    def _post(self, source: str, to: str, payload: bytes) -> None:
        self.sent.append((self.now, source, to))
        for _ in range(2 if self.rng.random() < self.doubled else 1):
            lost = (source, to) in self.cuts or self.rng.random() < self.loss
            delay = self.rng.uniform(*self.delay)
            if not lost and self.filter(source, to, payload):
                self._count += 1
                heapq.heappush(self._mail, (self.now + delay, self._count, source, to, payload))

    def _deliver(self) -> None:
        _, _, source, to, payload = heapq.heappop(self._mail)
        machine = self.machines[to]
        if machine.driver is not None and (source, to) not in self.cuts:
            machine.driver.received(source, payload)
            self._tick(machine)

    def _carry_out(self, machine: Machine, effects: Iterable[Effect]) -> None:
        for effect in effects:
            machine.history.append((self.now, effect))
            match effect:
                case Won(term):
                    machine.leads = term
                    self.won.append((self.now, machine.id, term))
                    if self.recorded is not None:
                        self.record(term)
                case Lost():
                    machine.leads = None
                case Abdicate(reason, pause_s) if machine.driver is not None:
                    machine.driver.abdicate(reason, pause_s)
                case Changed(view):
                    assert machine.elector is not None
                    assert view.term >= 0
                case _:
                    pass

    def _check(self) -> None:
        """Election Safety (thesis 3.4): at most one leader in a term, whether confirmed or not."""
        for name in self.voters:
            machine = self.machines[name]
            if machine.up and machine.library.state == LEADER:
                term = machine.library.term
                holder = self.leaders.setdefault(term, name)
                if holder != name:
                    raise TwoLeadersError(f"{holder} and {name} in term {term}")

    # -- asking --------------------------------------------------------------------------------------------------------

    def leader(self) -> str | None:
        """Who leads by its own Won, in the latest term."""
        leading = [(m.leads, m.id) for m in self.machines.values() if m.up and m.leads is not None]
        return max(leading)[1] if leading else None

    def settled(self) -> bool:
        """Every node that is up sees one leader, and it leads."""
        leader = self.leader()
        views = {m.elector.view.leader for m in self.machines.values() if m.elector is not None}
        return leader is not None and views == {leader}

    def settle(self, seconds: float = 5.0) -> str:
        assert self.run(seconds, self.settled), "no leader"
        leader = self.leader()
        assert leader is not None
        return leader

    def terms(self) -> dict[str, int]:
        return {name: self.machines[name].library.term for name in self.voters if self.machines[name].up}

    def followers(self) -> list[str]:
        return [name for name in self.voters if name != self.leader() and self.machines[name].up]

    def cut(self, sources: Iterable[str], targets: Iterable[str], *, both: bool = True) -> None:
        """Frames from a source to a target are lost from now on, also those on their way."""
        targets = list(targets)
        for source in sources:
            for target in targets:
                if source != target:
                    self.cuts |= {(source, target), (target, source)} if both else {(source, target)}

    def isolate(self, name: str) -> None:
        self.cut([name], self.machines)

    def only(self, links: Iterable[tuple[str, str]]) -> None:
        """Only these links work, both ways."""
        kept = {pair for a, b in links for pair in ((a, b), (b, a))}
        self.cuts = {(a, b) for a in self.machines for b in self.machines if a != b and (a, b) not in kept}

    def heal(self) -> None:
        self.cuts.clear()


class TwoLeadersError(AssertionError):
    pass
