"""Whole SWIM groups in virtual time at LAN values: the figures, and what each safeguard is for."""

from __future__ import annotations

import random
from statistics import median

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from hegemon.election.contract import DATAGRAM_MAX, Health, Member, Received, Send, Tick
from hegemon.election.swim import Swim
from hegemon.election.swim_awareness import Awareness
from hegemon.election.swim_membership import Membership
from hegemon.election.swim_messages import Fact, News, encode
from hegemon.election.swim_probe import Prober
from tests.election.swim_figures import Figures, false_deaths, group, lossy_false_deaths, measure
from tests.election.swim_groups import acquainted
from tests.election.swim_network import Network


def health_seen(net: Network[Swim], member: str) -> set[Health]:
    return {known.health for node, swim in net.nodes.items() if node != member and (known := swim.member(member))}


def test_a_hundred_nodes_see_joins_and_deaths_in_time_and_nobody_dies_falsely() -> None:
    found = [measure(1, seed=seed) for seed in range(7, 12)]
    figures = Figures([s for each in found for s in each.joins], [s for each in found for s in each.deaths], 0)
    assert max(figures.joins) <= 2.0
    assert median(figures.deaths) <= 10.0
    assert figures.death_p99 <= 12.5
    assert sum(each.false for each in found) == 0


@pytest.mark.parametrize("seed", range(5))
def test_fifty_nodes_that_lose_a_twentieth_hold_nobody_falsely_for_dead(seed: int) -> None:
    assert lossy_false_deaths(seed) == 0


@pytest.mark.parametrize("seed", range(5))
def test_fifty_nodes_apart_and_with_one_stopped_bury_nobody_whom_they_can_reach(seed: int) -> None:
    """A partition longer than any suspicion; meanwhile one is stopped, and wakes before it heals or after."""
    net = group(50, seed=seed, loss=0.01)
    nodes = net.random.sample(sorted(net.nodes), 50)
    size = net.random.randrange(5, 26)
    side = {name: number < size for number, name in enumerate(nodes)}
    stopped = net.random.choice(nodes)
    begun, woken = net.now, False
    wakes_s = net.random.choice([2, 10, 30, 70])
    net.stop(stopped)
    net.cut = lambda sender, to: side[sender] != side[to]
    incarnations: dict[tuple[str, str], int] = {}
    while net.now - begun < 110.0:
        if net.cut is not None and net.now - begun >= 60.0:
            assert all(Health.DEAD in health_seen(net, name) for name in nodes if side[name]), "it was long enough"
            net.cut = None
        if not woken and net.now - begun >= wakes_s:
            net.resume(stopped)
            woken = True
        net.run(2.0)
        for node, swim in net.nodes.items():
            for member in swim.members:
                assert member.incarnation >= incarnations.get((node, member.id), 0), "an incarnation fell"
                incarnations[node, member.id] = member.incarnation
                buried = member.health is Health.DEAD and side[node] == side[member.id]
                assert not buried or member.id == stopped, f"{node} holds {member.id} for dead, which it reaches"
    assert all(health_seen(net, name) == {Health.ALIVE} for name in nodes)


def test_the_load_on_a_member_does_not_grow_with_the_group() -> None:
    loads = []
    for size in (10, 100):
        net = group(size, seed=1, loss=0.0)
        before = net.sent
        net.run(30.0)
        loads.append((net.sent - before) / size / 30.0)
    assert loads[1] <= loads[0] * 1.1


# -- safeguards, one at a time off -------------------------------------------------------------------------------------


def accusations(net: Network[Swim], without: tuple[str, ...] = ()) -> int:
    """How often somebody had to refute: an accusation may be over within milliseconds, the incarnation stays."""
    return sum(m.incarnation for node, swim in net.nodes.items() for m in swim.members if m.id == node not in without)


def accusations_under_a_cut(seed: int) -> int:
    """How many are accused while two members cannot reach each other, but all others can."""
    net = group(6, seed=seed, loss=0.0)
    pair = {"n001", "n002"}
    net.cut = lambda sender, to: {sender, to} == pair
    net.run(30.0)
    return accusations(net)


def test_a_cut_between_two_members_raises_no_suspicion_thanks_to_indirect_probes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert accusations_under_a_cut(1) == 0
    monkeypatch.setattr(Prober, "_ask_helpers", lambda *_: None)
    assert accusations_under_a_cut(1) > 0


def accusations_without_datagrams(seed: int) -> int:
    """How many are accused while every datagram is lost, as behind a firewall that lets streams through only."""
    net = group(6, seed=seed, loss=0.0)
    net.loss = 1.0
    net.run(30.0)
    return accusations(net)


def test_members_that_lose_every_datagram_accuse_nobody_thanks_to_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accusations_without_datagrams(1) == 0
    monkeypatch.setattr(Prober, "timeout", lambda prober: prober._ask_helpers(prober._round))
    assert accusations_without_datagrams(1) > 0


def wrongly_suspected_deaths(seed: int) -> int:
    """A member is unreachable for two seconds, again and again: it is suspected, but it lives."""
    net = group(8, seed=seed, loss=0.0)
    found = 0
    for _ in range(5):
        net.cut = lambda sender, to: "n003" in {sender, to}
        net.run(3.5)
        net.cut = None
        net.run(20.0)
        found += false_deaths(net)
    return found


def test_a_member_unreachable_for_a_moment_lives_thanks_to_refutation(monkeypatch: pytest.MonkeyPatch) -> None:
    assert wrongly_suspected_deaths(1) == 0
    monkeypatch.setattr(Membership, "_refute", lambda *_: None)
    assert wrongly_suspected_deaths(1) > 0


def accusations_by_a_deaf_member(seed: int) -> int:
    """One of twenty hears nothing for a minute, but is heard. How often does it accuse the healthy?"""
    net = group(20, seed=seed, loss=0.0)
    net.cut = lambda _, to: to == "n003"
    net.run(60.0)
    return accusations(net, without=("n003",))


def test_a_deaf_member_accuses_the_healthy_half_as_much_thanks_to_local_health(monkeypatch: pytest.MonkeyPatch) -> None:
    aware = sum(accusations_by_a_deaf_member(seed) for seed in range(3))
    monkeypatch.setattr(Awareness, "worse", lambda *_: None)
    unaware = sum(accusations_by_a_deaf_member(seed) for seed in range(3))
    assert 2 * aware <= unaware, f"{aware} with local health, {unaware} without"


def test_one_that_wakes_buries_nobody_thanks_to_noticing_that_it_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    def after_a_minute_of_sleep() -> Health | None:
        swim, now = acquainted(4)
        swim.handle(Received("n1", encode(News((Fact("n2", Health.SUSPECT, 0, by="n1"),)))), now)
        swim.handle(Tick(), now + 60.0)
        known = swim.member("n2")
        return None if known is None else known.health

    assert after_a_minute_of_sleep() is Health.SUSPECT
    monkeypatch.setattr(Swim, "_notice_lateness", lambda *_: None)
    assert after_a_minute_of_sleep() is Health.DEAD


# -- partitions, restarts, pauses --------------------------------------------------------------------------------------


def test_a_partition_longer_than_any_suspicion_heals_within_two_seconds() -> None:
    net = group(10, seed=3, loss=0.0)
    side = {f"n{number:03}" for number in range(5)}
    net.cut = lambda sender, to: (sender in side) != (to in side)
    net.run(90.0)
    assert health_seen(net, "n007") == {Health.ALIVE, Health.DEAD}
    net.cut = None
    begun = net.now
    assert net.run(10.0, until=lambda: all(len(swim.live) == 9 for swim in net.each()))
    assert net.now - begun <= 2.0
    net.run(10.0)
    assert all(health_seen(net, node) == {Health.ALIVE} for node in net.nodes)


def test_a_restarted_member_is_alive_to_all_under_a_higher_incarnation() -> None:
    net = group(10, seed=3, loss=0.01)
    net.kill("n004")
    net.run(30.0)
    assert health_seen(net, "n004") == {Health.DEAD}
    net.start(Member("n004"))
    net.introduce("n004", "n008")
    net.run(3.0)
    assert health_seen(net, "n004") == {Health.ALIVE}


@pytest.mark.parametrize("stopped_s", [0.2, 2.0, 30.0])
def test_one_that_was_stopped_holds_nobody_for_dead_and_is_alive_again_itself(stopped_s: float) -> None:
    net = group(10, seed=5, loss=0.01)
    net.stop("n002")
    net.run(stopped_s)
    net.resume("n002")
    for _ in range(10):
        net.run(0.5)
        assert {m.id for s in net.each() for m in s.members if m.health is Health.DEAD} <= {"n002"}
    assert all(health_seen(net, node) == {Health.ALIVE} for node in net.nodes)


class AnyHistory(RuleBasedStateMachine):
    """Members come, die, are stopped, cut off; afterwards all that run agree, and nobody has broken a limit."""

    @initialize(seed=st.integers(0, 1000), loss=st.sampled_from([0.0, 0.05, 0.2]))
    def begin(self, seed: int, loss: float) -> None:
        self.largest = 0
        self.net: Network[Swim] = Network(
            lambda me, rng: Swim(me, rng=rng), seed=seed, loss=loss, watch=lambda _, effects, __: self._look(effects)
        )
        self.net.start(Member("n0"))
        self.rng = random.Random(seed)
        self.incarnations: dict[tuple[str, str], int] = {}

    def _look(self, effects: object) -> None:
        assert isinstance(effects, list)
        for effect in effects:
            if isinstance(effect, Send):
                self.largest = max(self.largest, len(effect.payload))

    @rule(name=st.sampled_from(["n1", "n2", "n3", "n4", "n5"]))
    def start_or_kill(self, name: str) -> None:
        if name in self.net.nodes:
            self.net.kill(name)
            for key in [key for key in self.incarnations if key[0] == name]:
                del self.incarnations[key]
        else:
            self.net.start(Member(name))
            self.net.introduce(name, "n0")

    @rule(for_s=st.sampled_from([0.05, 0.7, 5.0]))
    def wait(self, for_s: float) -> None:
        self.net.run(for_s)

    @rule(one=st.sampled_from(["n0", "n1", "n2"]), both=st.booleans())
    def cut_off(self, one: str, both: bool) -> None:
        self.net.cut = lambda sender, to: sender == one or (both and to == one)

    @rule()
    def heal(self) -> None:
        self.net.cut = None

    @invariant()
    def incarnations_never_fall_and_datagrams_fit(self) -> None:
        if not hasattr(self, "net"):
            return
        assert self.largest <= DATAGRAM_MAX
        for node, swim in self.net.nodes.items():
            for member in swim.members:
                assert member.incarnation >= self.incarnations.get((node, member.id), 0)
                self.incarnations[node, member.id] = member.incarnation

    def teardown(self) -> None:
        if not hasattr(self, "net"):
            return
        self.net.cut, self.net.loss = None, 0.0
        self.net.run(40.0)
        running = set(self.net.nodes)
        for swim in self.net.each():
            assert {m.id for m in swim.members if m.health is Health.ALIVE} == running


def test_after_any_history_all_that_run_agree_on_who_does() -> None:
    run_state_machine_as_test(AnyHistory, settings=settings(max_examples=30, stateful_step_count=15, deadline=None))
