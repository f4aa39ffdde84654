"""Raft's elections in virtual time: each test is a sentence of the thesis or of this project's own promises."""

from __future__ import annotations

import random
from statistics import median

import pytest

from hegemon.cluster.raft_frames import Body, NextIndex, PreVote, RequestVote, TimeoutNow, Vote, decode
from hegemon.cluster.raft_library import LEADER
from hegemon.election.contract import Fitness, Lost, OfficeLost, Resign, Role, Timing
from tests.cluster.raft_network import RaftNetwork, TwoLeadersError

SIZES = pytest.mark.parametrize("size", [3, 5, 7])
WAN = Timing(heartbeat_s=0.4, silence_s=2.5, timeout_s=12.0, interval_s=4.0)


def body(payload: bytes) -> Body:
    frame = decode(payload)
    assert frame is not None
    return frame.body


def failover(size: int, seed: int) -> float:
    """Virtual seconds from a kill of the leader to another's Won."""
    net = RaftNetwork(size, seed=seed)
    with net.running():
        net.settle()
        net.run(net.rng.uniform(0.5, 1.0))
        leader = net.leader()
        assert leader is not None
        net.crash(leader)
        killed = net.now
        assert net.run(10.0, lambda: net.leader() is not None)
        return net.now - killed


@SIZES
def test_a_cluster_elects_one_leader_and_everybody_sees_it(size: int) -> None:
    net = RaftNetwork(size)
    with net.running():
        leader = net.settle(2.0)
        assert all(machine.elector and machine.elector.view.leader == leader for machine in net.machines.values())


@SIZES
def test_a_killed_leader_is_succeeded_within_a_second(size: int) -> None:
    times = [failover(size, seed) for seed in range(8)]
    assert median(times) <= 0.6
    assert max(times) <= 1.2


@SIZES
def test_in_calm_nothing_changes(size: int) -> None:
    net = RaftNetwork(size, seed=size)
    with net.running():
        net.settle()
        net.run(240.0 / size)
        assert len(net.won) == 1


def test_a_voter_alone_in_its_cluster_leads_and_its_terms_rise_over_restarts() -> None:
    net = RaftNetwork(1)
    with net.running():
        for _ in range(3):
            assert net.run(2.0, lambda: net.leader() == "n1")
            net.crash("n1")
            net.start("n1")
    terms = [term for _, _, term in net.won]
    assert terms == sorted(set(terms))


@SIZES
def test_without_a_majority_nobody_leads_and_no_term_grows(size: int) -> None:
    net = RaftNetwork(size)
    with net.running():
        net.settle()
        for name in [net.leader() or "", *net.followers()][: size // 2 + 1]:
            net.crash(name)
        net.run(1.0)
        before = net.terms()
        net.run(20.0)
        assert net.leader() is None
        assert net.terms() == before


def test_a_leadership_counts_only_after_its_own_entry_has_committed() -> None:
    """Votes arrive, answers to the no-op do not: PySyncObj calls itself leader, and nobody has Won (thesis 6.4)."""
    net = RaftNetwork(3)
    net.filter = lambda source, to, payload: not isinstance(body(payload), NextIndex)
    with net.running():
        assert net.run(5.0, lambda: any(m.library.state == LEADER for m in net.machines.values()))
        net.run(5.0)
        assert net.won == []


def chaos(size: int, seed: int, seconds: float = 25.0) -> None:
    """Loss, doubling, overtaking, cuts one way and both, crashes with a disk, one lost disk, pauses; then healing."""
    net = RaftNetwork(size, seed=seed, loss=0.1, doubled=0.1, delay=(0.0002, 0.05))
    rng = random.Random(seed)
    with net.running():
        end = net.now + seconds
        while net.now < end:
            net.run(rng.expovariate(1.5))
            name = rng.choice(net.voters)
            up = net.machines[name].up
            match rng.randrange(7):
                case 0 | 1 if up:
                    net.crash(name)
                case 0 | 1 | 2:
                    net.crash(name)
                    net.start(name)
                case 3:
                    net.isolate(name)
                case 4:
                    net.cut([name], [rng.choice(net.voters)], both=False)
                case 5:
                    net.heal()
                case _ if up:
                    net.sleep(name, rng.choice([0.2, 0.5, 2.0]))
        net.heal()
        net.loss = 0.0
        for name in net.voters:
            if not net.machines[name].up:
                net.start(name)
        net.settle(6.0)


@SIZES
@pytest.mark.parametrize("seed", range(4))
def test_whatever_fails_a_term_has_one_leader_and_healing_leads_to_one(size: int, seed: int) -> None:
    chaos(size, seed)


def kill_whoever_voted(seed: int, *, forgets_votes: bool, disk: bool = True) -> None:
    """Eight failovers on a slow network, and each voter is killed and restarted right after its vote has left."""
    net = RaftNetwork(5, seed=seed, delay=(0.0002, 0.15), forgets_votes=forgets_votes)
    voted: list[str] = []

    def note(source: str, _: str, payload: bytes) -> bool:
        if isinstance(body(payload), Vote):
            voted.append(source)
        return True

    net.filter = note
    with net.running():
        for _ in range(8):
            net.run(10.0, lambda: net.leader() is not None)
            if leader := net.leader():
                net.crash(leader)
            voted.clear()
            end = net.now + 3.0
            while net.now < end:
                net.run(end - net.now, lambda: bool(voted))
                while voted:
                    name = voted.pop()
                    if net.machines[name].up:
                        net.crash(name)
                        net.start(name, disk=disk or not net.machines[name].disk.content)
            for name in net.voters:
                if not net.machines[name].up:
                    net.start(name)


def gives_two_leaders(seed: int, *, forgets_votes: bool) -> bool:
    """Whether a term had two leaders while whoever voted was killed."""
    try:
        kill_whoever_voted(seed, forgets_votes=forgets_votes)
    except TwoLeadersError:
        return True
    return False


@pytest.mark.parametrize("seed", range(6))
def test_a_vote_outlives_a_crash_so_that_a_term_has_one_leader(seed: int) -> None:
    assert not gives_two_leaders(seed, forgets_votes=False)


def test_with_votes_forgotten_in_a_crash_a_term_gets_two_leaders() -> None:
    assert any(gives_two_leaders(seed, forgets_votes=True) for seed in range(30))


def away_for_three_seconds(seed: int, *, prevote: bool) -> bool:
    """Whether a follower that was cut off for 3 s changed the leader or the term on its return."""
    net = RaftNetwork(3, seed=seed, prevote=prevote)
    with net.running():
        leader = net.settle()
        terms = net.terms()
        follower = net.rng.choice(net.followers())
        net.isolate(follower)
        net.run(3.0)
        net.heal()
        net.run(2.0)
        return net.leader() != leader or net.terms() != terms


def test_a_returning_follower_does_not_depose_a_healthy_leader() -> None:
    assert not any(away_for_three_seconds(seed, prevote=True) for seed in range(30))


def test_without_a_pre_vote_a_returning_follower_deposes_the_leader() -> None:
    assert all(away_for_three_seconds(seed, prevote=False) for seed in range(5))


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0, 30.0])
def test_a_leader_stopped_and_continued_gives_up_at_once_if_it_was_succeeded(seconds: float) -> None:
    net = RaftNetwork(3)
    with net.running():
        leader = net.settle()
        net.sleep(leader, seconds)
        net.run(seconds)
        awake = net.now
        assert net.run(2.0, net.settled)
        lost = [at for at, effect in net.machines[leader].history if isinstance(effect, Lost)]
        assert (lost == []) == (net.leader() == leader)
        assert all(at - awake <= 0.1 for at in lost)


@pytest.mark.parametrize(("timing", "delay", "loss"), [(WAN, (0.25, 0.35), 0.0), (WAN, (0.0002, 0.002), 0.2)])
def test_a_slow_or_lossy_network_with_long_periods_is_calm(
    timing: Timing, delay: tuple[float, float], loss: float
) -> None:
    net = RaftNetwork(3, timing=timing, delay=delay, loss=loss)
    with net.running():
        assert net.run(60.0, lambda: net.leader() is not None)
        before = len(net.won)
        net.run(200.0)
        assert len(net.won) == before


# --- giving up --------------------------------------------------------------------------------------------------------


@SIZES
def test_a_resigning_leader_hands_over_within_a_tenth_of_a_second(size: int) -> None:
    net = RaftNetwork(size)
    with net.running():
        leader = net.settle()
        net.run(1.0)
        net.tell(leader, Resign("SIGTERM"))
        at = net.now
        assert net.machines[leader].leads is None
        assert net.run(0.1, lambda: net.leader() is not None)
        # Of fit voters the best rank is asked, and names rank where nothing else does.
        assert net.leader() == max(name for name in net.voters if name != leader)
        net.run(10.0)
        assert len([won for won in net.won if won[0] >= at]) == 1


def test_a_paused_leader_asks_for_no_votes_before_its_pause_is_over_and_for_votes_after() -> None:
    net = RaftNetwork(3)
    asked: list[float] = []

    def note(source: str, _: str, payload: bytes) -> bool:
        if source == leader and isinstance(body(payload), PreVote | RequestVote):
            asked.append(net.now)
        return True

    with net.running():
        leader = net.settle()
        net.run(1.0)
        net.filter = note
        net.tell(leader, Resign("step-down", 5.0))
        end = net.now + 5.0
        assert net.run(0.3, lambda: net.leader() is not None)
        for name in net.voters:
            if name != leader:
                net.crash(name)
        net.run(8.0)
        assert asked
        assert end <= asked[0] <= end + 1.0


def test_a_hand_over_that_nobody_hears_ends_in_an_election_all_the_same() -> None:
    net = RaftNetwork(3)
    net.filter = lambda source, to, payload: not isinstance(body(payload), TimeoutNow)
    with net.running():
        leader = net.settle()
        net.tell(leader, Resign("SIGTERM"))
        assert net.run(1.2, lambda: net.leader() is not None)


def test_only_fit_voters_are_handed_the_leadership_and_stand() -> None:
    net = RaftNetwork(5)
    with net.running():
        leader = net.settle()
        fit = net.rng.choice(net.followers())
        for name in net.followers():
            if name != fit:
                net.tell(name, Fitness(False))
                driver = net.machines[name].driver
                assert driver is not None
                driver.set_fit(False)
        net.run(1.0)
        net.tell(leader, Resign("SIGTERM"))
        assert net.run(0.1, lambda: net.leader() == fit)
        net.start(leader)
        net.run(1.0)
        net.crash(fit)
        assert net.run(2.0, lambda: net.leader() is not None)
        assert net.leader() == leader


def test_an_unfit_leader_hands_over_after_its_patience_and_stays_if_nobody_is_fit() -> None:
    net = RaftNetwork(3)
    with net.running():
        leader = net.settle()
        net.run(1.0)

        def unfit(name: str) -> None:
            driver = net.machines[name].driver
            assert driver is not None
            driver.set_fit(False)
            net.tell(name, Fitness(False))

        unfit(leader)
        net.run(2.9)
        assert net.leader() == leader
        assert net.run(0.5, lambda: net.leader() not in (None, leader))
        for name in net.voters:
            unfit(name)
        last = net.leader()
        net.run(10.0)
        assert net.leader() == last


def test_a_leader_that_loses_the_office_lets_another_lead_in_a_later_term() -> None:
    net = RaftNetwork(3)
    with net.running():
        leader = net.settle()
        net.run(1.0)
        term = net.machines[leader].leads
        assert term is not None
        net.tell(leader, OfficeLost("newer epoch"))
        assert net.run(0.3, lambda: net.leader() not in (None, leader))
        assert net.won[-1][2] > term


# --- onlookers, disks -------------------------------------------------------------------------------------------------


def test_onlookers_learn_the_leader_and_its_successor_and_never_lead() -> None:
    net = RaftNetwork(3, onlookers=2)
    with net.running():
        leader = net.settle()
        net.crash(leader)
        net.settle()
        assert all(name in net.voters for _, name, _ in net.won)
        onlooker = net.machines["o1"].elector
        assert onlooker is not None
        assert onlooker.view.role is Role.FOLLOWER
        assert {member.id: member.voter for member in onlooker.view.members} == {
            "n1": True,
            "n2": True,
            "n3": True,
            "o1": False,
        }


def test_all_restarted_with_their_disks_go_on_in_a_later_term() -> None:
    net = RaftNetwork(3)
    with net.running():
        net.settle()
        before = max(net.terms().values())
        for name in net.voters:
            net.crash(name)
        for name in net.voters:
            net.start(name)
        net.settle()
        assert min(net.terms().values()) > before


def test_one_node_without_its_disk_takes_part_again_and_no_term_falls() -> None:
    net = RaftNetwork(3)
    with net.running():
        leader = net.settle()
        before = max(net.terms().values())
        net.crash(leader)
        net.start(leader, disk=False)
        net.settle()
        net.run(1.0)
        assert min(net.terms().values()) > before


def test_all_without_their_disks_go_on_above_the_term_of_the_office() -> None:
    net = RaftNetwork(3)
    with net.running():
        net.settle()
        before = max(net.terms().values())
        for name in net.voters:
            net.crash(name)
        for name in net.voters:
            net.start(name, disk=False)
        net.settle()
        assert min(net.terms().values()) > before
