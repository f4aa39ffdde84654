"""Voters without a past: which terms they take for gone, though whoever knows them is away or has lost its disk too."""

from __future__ import annotations

import random

import pytest

from hegemon.cluster.raft_frames import Frame, PreVote, PreVoteReply, RequestVote, Vote, decode, electorate, encode
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.contract import Member, Timing
from tests.cluster.raft_network import Disk, RaftNetwork, virtual_time

VOTERS = ("n1", "n2", "n3")


def led_in_some_terms(net: RaftNetwork, terms: int = 3) -> int:
    """Leaders are killed and return with their disks; the last leader's term."""
    for _ in range(terms):
        leader = net.settle()
        net.crash(leader)
        net.settle()
        net.start(leader)
    net.settle()
    return max(net.terms().values())


def kill_all(net: RaftNetwork) -> None:
    """No word of theirs is on its way any more either."""
    for name in net.voters:
        net.crash(name)
    net.run(1.0)


@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("seed", range(4))
def test_who_lost_the_disks_of_a_majority_goes_on_above_the_term_of_one_that_is_away(size: int, seed: int) -> None:
    net = RaftNetwork(size, seed=seed)
    with net.running():
        before = led_in_some_terms(net)
        kill_all(net)
        away, *others = net.voters
        for name in others:
            net.start(name, disk=False)
        net.settle()
        assert min(net.terms().values()) > before
        net.start(away)
        net.settle()
        assert min(net.terms().values()) > before


def test_without_the_recorded_term_they_would_begin_anew() -> None:
    net = RaftNetwork(3)
    with net.running():
        before = led_in_some_terms(net)
        kill_all(net)
        net.leaders.clear()
        net.recorded = 0
        for name in net.voters[1:]:
            net.start(name, disk=False)
        net.settle()
        assert max(net.terms().values()) < before


def test_without_a_past_nobody_leads_until_the_office_was_read_and_soon_after() -> None:
    net = RaftNetwork(3)
    net.recorded = None
    with net.running():
        assert not net.run(10.0, lambda: net.leader() is not None)
        assert set(net.terms().values()) == {0}
        net.record(5)
        net.settle(1.5)
        assert net.won[0][2] == 6


def test_a_voter_alone_in_its_cluster_waits_for_the_office_too() -> None:
    net = RaftNetwork(1)
    net.recorded = None
    with net.running():
        assert not net.run(10.0, lambda: net.leader() is not None)
        net.record(5)
        assert net.run(1.5, lambda: net.leader() == "n1")
        assert net.won[0][2] == 6


def test_who_kept_its_disk_asks_for_no_record() -> None:
    net = RaftNetwork(3)
    with net.running():
        net.settle()
        for name in net.voters:
            net.crash(name)
        before = max((net.machines[name].disk.load() or pytest.fail("no disk")).term for name in net.voters)
        net.recorded = None
        for name in net.voters:
            net.start(name)
        net.settle(1.5)
        assert min(net.terms().values()) == before + 1
        net.record(50)
        net.run(2.0)
        assert set(net.terms().values()) == {before + 1}


@pytest.mark.parametrize("seed", range(10))
def test_a_follower_that_comes_back_without_its_disk_deposes_nobody_and_its_vote_counts_again(seed: int) -> None:
    net = RaftNetwork(3, seed=seed)
    with net.running():
        led_in_some_terms(net, 1)
        net.run(1.0)
        leader, before, won = net.leader(), net.terms(), len(net.won)
        blank = net.rng.choice(net.followers())
        net.crash(blank)
        net.run(net.rng.uniform(0.0, 2.0))
        net.start(blank, disk=False)
        net.run(5.0)
        assert (net.leader(), net.terms(), len(net.won)) == (leader, before, won)
        assert leader is not None
        net.crash(leader)
        net.settle(2.0)


class Blank:
    """Voter n1 of three without a past, and frames of n2, which is in term 5; n3 is away."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.frames: list[Frame] = []
        self._number = 0
        self.voter = RaftVoter(
            Member("n1"),
            voters=VOTERS,
            timing=Timing(),
            storage=Disk(),
            rng=random.Random(1),
            post=self._post,
            now=self.now,
        )

    def _post(self, _: str, payload: bytes) -> None:
        frame = decode(payload)
        assert frame is not None
        self.frames.append(frame)

    def after(self, seconds: float) -> None:
        self.now += seconds
        with virtual_time(lambda: self.now, random.Random(1)):
            self.voter.tick(self.now)

    def abstains(self) -> bool:
        """Whether it takes no part yet."""
        return self.voter.blank

    def asked(self, body: PreVote | RequestVote, term: int) -> list[object]:
        """The answers to n2's question, sent in this term."""
        self._number += 1
        before = len(self.frames)
        frame = Frame(electorate(VOTERS), 1, self._number, term, True, False, False, body)
        with virtual_time(lambda: self.now, random.Random(1)):
            self.voter.receive("n2", encode(frame), self.now)
        return [frame.body for frame in self.frames[before:] if isinstance(frame.body, Vote | PreVoteReply)]


def test_a_voter_that_waited_out_the_timeout_votes_in_no_term_up_to_the_recorded_one_and_tells_of_it() -> None:
    blank = Blank()
    with virtual_time(lambda: blank.now, random.Random(1)):
        blank.voter.set_recorded(7)
        assert blank.asked(PreVote(6), 5) == [PreVoteReply(6, False)]
        blank.after(2.9)
        assert blank.abstains()
        blank.after(0.2)
        assert not blank.abstains()
        assert blank.frames[-1].term == 7
        for term in (6, 7):
            assert blank.asked(PreVote(term), term - 1) == [PreVoteReply(term, False)]
            assert blank.asked(RequestVote(term, 1, 0), term) == []
        assert blank.asked(PreVote(8), 7) == [PreVoteReply(8, True)]
        assert blank.asked(RequestVote(8, 1, 0), 8) == [Vote(8)]


def test_a_voter_that_was_not_told_the_recorded_term_waits_longer_than_the_timeout() -> None:
    blank = Blank()
    blank.asked(PreVote(6), 5)
    blank.after(60.0)
    assert blank.abstains()
    blank.voter.set_recorded(3)
    blank.after(0.1)
    assert not blank.abstains()
    assert blank.asked(RequestVote(5, 1, 0), 5) == []
    assert blank.asked(RequestVote(6, 1, 0), 6) == [Vote(6)]


def test_a_later_word_of_an_earlier_term_lowers_nothing() -> None:
    blank = Blank()
    blank.voter.set_recorded(7)
    blank.voter.set_recorded(6)
    blank.asked(PreVote(6), 5)
    blank.after(3.1)
    assert blank.frames[-1].term == 7
