"""The sentences of ``hegemon.election.contract`` as tests that any elector must pass; `test_contract.py` names them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from hegemon.election.contract import (
    DATAGRAM_MAX,
    STREAM_MAX,
    Changed,
    Discovered,
    Effect,
    Elector,
    Event,
    Fitness,
    Lost,
    Member,
    Observed,
    OfficeLost,
    Received,
    Resign,
    Role,
    Send,
    Stream,
    Tick,
    View,
    Witnessed,
    Won,
)


class Watched:
    """An elector under the contract's eyes: passes everything on, and asserts what holds for all."""

    def __init__(self, elector: Elector) -> None:
        self.elector = elector
        self.leading = False
        self.term = 0

    def start(self, now: float) -> list[Effect]:
        before = self.elector.view
        return self._checked(before, list(self.elector.start(now)))

    def handle(self, event: Event, now: float) -> list[Effect]:
        before = self.elector.view
        effects = self._checked(before, list(self.elector.handle(event, now)))
        deadline = self.elector.deadline()
        if isinstance(event, Tick):
            assert deadline is None or deadline > now, "a shell that ticks when the deadline has come would spin"
        return effects

    def _checked(self, before: View, effects: list[Effect]) -> list[Effect]:
        shown, told = before, False
        for effect in effects:
            match effect:
                case Won(term):
                    assert not self.leading, "Won twice"
                    assert term > self.term, "a term of Won did not rise"
                    self.leading, self.term = True, term
                case Lost():
                    assert self.leading, "Lost without Won"
                    assert not told, "Lost after something that may tell others about it"
                    self.leading = False
                case Changed(view):
                    assert view != shown, "Changed without a change"
                    shown = view
                case Send(_, payload):
                    told = True
                    assert len(payload) <= DATAGRAM_MAX
                case Stream(_, payload):
                    told = True
                    assert len(payload) <= STREAM_MAX
                case _:
                    pass
        view = self.elector.view
        assert shown == view, "the view changed in silence"
        assert self.leading == (view.role is Role.LEADER), "the role is another than Won and Lost say"
        assert view.term >= before.term, "the term fell"
        assert list(view.members) == sorted(view.members, key=lambda member: member.id)
        return effects


@dataclass(frozen=True)
class Case:
    """One algorithm. `make` gets the node itself. `many`: it talks to peers; `alone`: without any it elects itself."""

    name: str
    make: Callable[[Member], Elector]
    many: bool = True
    alone: bool = True

    def started(self, name: str = "n1", now: float = 0.0) -> Watched:
        watched = Watched(self.make(Member(name, incarnation=1, address=f"{name}:1")))
        watched.start(now)
        return watched

    def leading(self) -> tuple[Watched, float]:
        if not self.alone:
            pytest.skip("does not lead alone")
        watched, now = self.started(), 0.0
        while not watched.leading and (deadline := watched.elector.deadline()) is not None:
            assert deadline < 10.0, "a node alone does not come to lead"
            now = deadline
            watched.handle(Tick(), now)
        return watched, now


class ElectorContract:
    """Every method is one sentence; a subclass gives the fixture `case`."""

    def test_it_is_started_once_and_first(self, case: Case) -> None:
        elector = case.make(Member("n1", incarnation=1))
        assert elector.view.role is Role.FOLLOWER
        assert elector.deadline() is None
        with pytest.raises(RuntimeError, match="not started"):
            elector.handle(Tick(), 0.0)
        elector.start(1.0)
        with pytest.raises(RuntimeError, match="started before"):
            elector.start(2.0)

    def test_the_members_include_the_node_itself(self, case: Case) -> None:
        assert "n1" in {member.id for member in case.started().elector.view.members}

    def test_a_node_alone_comes_to_lead(self, case: Case) -> None:
        watched, _ = case.leading()
        assert watched.elector.view.leader == "n1"

    def test_ticks_at_the_deadline_never_spin(self, case: Case) -> None:
        watched = case.started()
        watched.handle(Discovered(Member("n2", incarnation=1, address="n2:1")), 0.0)
        times = [0.0]
        while (deadline := watched.elector.deadline()) is not None and times[-1] < 60.0:
            times.append(deadline)
            watched.handle(Tick(), deadline)
        assert all(one < other for one, other in pairwise(times))
        assert len(times) < 60 * 40, "more than 40 ticks a second"

    def test_a_second_tick_at_the_same_time_does_nothing(self, case: Case) -> None:
        watched = case.started()
        watched.handle(Discovered(Member("n2", incarnation=1)), 0.0)
        for step in range(1, 40):
            watched.handle(Tick(), step * 0.13)
            assert watched.handle(Tick(), step * 0.13) == []

    def test_what_cannot_be_read_is_dropped_without_an_effect(self, case: Case) -> None:
        watched = case.started()
        watched.handle(Discovered(Member("n2", incarnation=1)), 1e-3)
        for garbage in (b"", b"\0", b"\1", b"\x01\x90", b"\xff" * 40, bytes(range(256)), b"\x01" + b"\x91" * 900):
            assert watched.handle(Received("n2", garbage), 1e-3) == []
            assert watched.handle(Received("n2", garbage, stream=True), 1e-3) == []

    def test_what_comes_from_nobody_known_is_dropped_without_an_effect(self, case: Case) -> None:
        stranger, watched = case.started("n9"), case.started()
        effects = stranger.handle(Discovered(Member("n1", incarnation=1, address="n1:1")), 1e-3)
        effects += stranger.handle(Tick(), 5.0)
        payloads = [effect.payload for effect in effects if isinstance(effect, Send | Stream)]
        assert bool(payloads) == case.many
        watched.handle(Tick(), 1e-3)
        for payload in payloads:
            assert watched.handle(Received("n9", payload), 1e-3) == []

    def test_a_lost_office_is_lost_before_it_is_told(self, case: Case) -> None:
        watched, now = case.leading()
        watched.handle(Discovered(Member("n2", incarnation=1)), now)
        effects = watched.handle(OfficeLost("a newer epoch"), now)
        assert isinstance(effects[0], Lost)
        assert effects[0].reason == "a newer epoch"
        assert watched.elector.view.role is Role.FOLLOWER
        assert watched.handle(OfficeLost("again"), now) == []

    def test_who_resigns_for_good_never_returns(self, case: Case) -> None:
        watched, now = case.leading()
        effects = watched.handle(Resign("SIGTERM"), now)
        assert isinstance(effects[0], Lost)
        for step in range(200):
            for event in (Tick(), OfficeLost("late"), Resign("step-down", 1.0), Fitness(fit=True)):
                watched.handle(event, now + step * 0.3)
        assert watched.elector.view.role is Role.RESIGNED
        assert watched.elector.view.leader is None

    def test_a_pause_lasts_as_long_as_it_was_asked_for(self, case: Case) -> None:
        watched, now = case.leading()
        watched.handle(Resign("step-down", 30.0), now)
        while (deadline := watched.elector.deadline()) is not None and deadline < now + 30.0:
            watched.handle(Tick(), deadline)
            assert watched.elector.view.role is Role.RESIGNED
        end = now + 30.0
        while not watched.leading and (deadline := watched.elector.deadline()) is not None and deadline < end + 5.0:
            watched.handle(Tick(), max(deadline, end))
        assert watched.leading

    def test_a_tick_that_comes_an_hour_late_is_one_tick(self, case: Case) -> None:
        watched = case.started()
        watched.handle(Discovered(Member("n2", incarnation=1)), 0.0)
        watched.handle(Tick(), 3600.0)
        assert watched.handle(Tick(), 3600.0) == []


NAMES = ("n1", "n2", "n3")
NAME = st.sampled_from(NAMES)


class ContractMachine(RuleBasedStateMachine):
    """Three electors whose datagrams arrive in any order, often, never, or late; anything may happen at any time."""

    case: ClassVar[Case]

    @initialize()
    def begin(self) -> None:
        self.now = 50.0
        self.lives = dict.fromkeys(NAMES, 1)
        self.nodes = {name: self.case.started(name, self.now) for name in NAMES}
        self.air: list[tuple[str, str, bytes, bool]] = []
        for name in NAMES:
            for other in NAMES:
                if other != name:
                    self._give(name, Discovered(Member(other, incarnation=1, address=f"{other}:1")))

    @rule(later=st.sampled_from([0.0, 0.01, 0.1, 0.11, 0.36, 1.0, 3.1, 40.0]))
    def wait(self, later: float) -> None:
        self.now += later

    @rule(name=NAME)
    def tick(self, name: str) -> None:
        self._give(name, Tick())

    @rule(data=st.data(), again=st.booleans(), count=st.integers(1, 12))
    @precondition(lambda self: self.air)
    def deliver(self, data: st.DataObject, again: bool, count: int) -> None:
        for _ in range(min(count, len(self.air))):
            index = data.draw(st.integers(0, len(self.air) - 1))
            source, to, payload, stream = self.air[index] if again else self.air.pop(index)
            if to in self.nodes:
                self._give(to, Received(source, payload, stream))

    @rule(steps=st.integers(1, 15))
    def run_calmly(self, steps: int) -> None:
        for _ in range(steps):
            self.now += 0.05
            for name in NAMES:
                self._give(name, Tick())
            air, self.air = self.air, []
            for source, to, payload, stream in air:
                self._give(to, Received(source, payload, stream))

    @rule(name=NAME, payload=st.binary(max_size=60), sender=st.sampled_from(["n1", "n2", "n3", "x", ""]))
    def garbage(self, name: str, payload: bytes, sender: str) -> None:
        self._give(name, Received(sender, payload))

    @rule(name=NAME, seen=st.frozensets(st.sampled_from([*NAMES, "x"])))
    def witness(self, name: str, seen: frozenset[str]) -> None:
        self._give(name, Witnessed(seen))

    @rule(name=NAME, fit=st.booleans())
    def fitness(self, name: str, fit: bool) -> None:
        self._give(name, Fitness(fit))

    @rule(name=NAME)
    def lose_office(self, name: str) -> None:
        self._give(name, OfficeLost("lost"))

    @rule(name=NAME, pause_s=st.none() | st.sampled_from([-1.0, 0.0, 0.5, 10.0]))
    def resign(self, name: str, pause_s: float | None) -> None:
        self._give(name, Resign("resign", pause_s))

    @rule(name=NAME)
    def restart(self, name: str) -> None:
        self.lives[name] += 1
        member = Member(name, incarnation=self.lives[name], address=f"{name}:1")
        watched = self.nodes[name] = Watched(self.case.make(member))
        watched.start(self.now)
        for other in NAMES:
            if other != name:
                self._give(other, Discovered(member))
                self._give(name, Discovered(Member(other, incarnation=self.lives[other])))

    @rule(name=NAME, other=st.sampled_from([*NAMES, "x"]), incarnation=st.integers(0, 5))
    def discover(self, name: str, other: str, incarnation: int) -> None:
        self._give(name, Discovered(Member(other, incarnation=incarnation, address="elsewhere:1")))

    @rule(name=NAME, role=st.sampled_from(Role), term=st.integers(0, 9), leader=st.none() | NAME, sure=st.booleans())
    def observe(self, name: str, role: Role, term: int, leader: str | None, sure: bool) -> None:
        members = tuple(Member(other) for other in NAMES)
        self._give(name, Observed(role, term, leader, sure, members))

    def _give(self, name: str, event: Event) -> None:
        for effect in self.nodes[name].handle(event, self.now):
            if isinstance(effect, Send | Stream) and effect.to in NAMES and len(self.air) < 300:
                self.air.append((name, effect.to, effect.payload, isinstance(effect, Stream)))


def contract_machine(case: Case) -> type[ContractMachine]:
    """The machine for one algorithm."""
    return type("Machine", (ContractMachine,), {"case": case})
