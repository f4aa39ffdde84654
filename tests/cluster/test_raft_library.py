"""PySyncObj's traps, one by one: what it takes for granted, and that the driver gives it or does without."""

from __future__ import annotations

import logging
import math
import random
from itertools import pairwise

import pytest

from hegemon.cluster.raft_frames import (
    AppendEntries,
    Frame,
    Keepalive,
    NextIndex,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
    electorate,
    encode,
)
from hegemon.cluster.raft_library import CANDIDATE, FOLLOWER, LEADER, clock
from hegemon.cluster.raft_peers import Periods
from hegemon.election.contract import Timing
from tests.cluster.raft_bench import VOTERS, Bench
from tests.cluster.raft_network import RaftNetwork, virtual_time


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_vote_that_comes_twice_counts_once(bench: Bench) -> None:
    term = bench.stand()
    for _ in range(3):
        bench.hear("n2", term, Vote(term), number=50)
    bench.hear("n2", term, Vote(term), number=51)
    assert bench.library.state == CANDIDATE
    bench.hear("n3", term, Vote(term))
    assert bench.library.state == LEADER


def test_votes_of_an_earlier_term_or_of_strangers_do_not_count(bench: Bench) -> None:
    term = bench.stand()
    for peer in ("n2", "n3", "n4"):
        bench.hear(peer, term, Vote(term - 1))
    bench.voter.receive("n9", encode(Frame(electorate(VOTERS), 1, 9, term, True, False, False, Vote(term))), bench.now)
    assert bench.library.state == CANDIDATE


def test_it_does_not_stand_without_a_majority_of_pre_votes_however_long_it_was_stopped(bench: Bench) -> None:
    bench.now += 3600.0
    bench.tick()
    assert bench.said(PreVote) == ["n2", "n3", "n4", "n5"]
    bench.hear("n2", 4, PreVoteReply(5, True))
    bench.hear("n2", 4, PreVoteReply(5, True))
    bench.hear("n3", 4, PreVoteReply(5, False))
    bench.hear("n4", 4, PreVoteReply(4, True))
    bench.tick()
    assert (bench.library.state, bench.library.term) == (FOLLOWER, 4)
    bench.hear("n5", 4, PreVoteReply(5, True))
    bench.tick()
    assert (bench.library.state, bench.library.term) == (CANDIDATE, 5)


def test_pre_votes_of_a_while_ago_do_not_count(bench: Bench) -> None:
    bench.now += 1.0
    bench.tick()
    bench.hear("n2", 4, PreVoteReply(5, True))
    bench.now += 1.0
    bench.hear("n3", 4, PreVoteReply(5, True))
    bench.tick()
    assert bench.library.state == FOLLOWER


def test_a_pre_vote_is_refused_while_a_leader_lives_and_given_when_it_is_silent_or_asks_itself(bench: Bench) -> None:
    def answer(sender: str) -> bool:
        bench.sent.clear()
        bench.hear(sender, 4, PreVote(5))
        reply = bench.sent[-1][1]
        assert isinstance(reply, PreVoteReply)
        return reply.granted

    bench.hear("n2", 4, AppendEntries(4, 1, 1, 0, []))
    assert not answer("n3")
    assert answer("n2")
    bench.now += 0.36
    assert answer("n3")
    bench.hear("n3", 6, Keepalive())
    assert not answer("n4"), "a term that has been entered is over"


def test_a_pre_vote_changes_nothing_for_who_is_asked(bench: Bench) -> None:
    before = bench.library.term
    bench.hear("n3", 4, PreVote(99))
    assert bench.library.term == before


def test_any_frame_of_a_later_term_makes_a_leader_step_down(bench: Bench) -> None:
    term = bench.stand()
    for peer in ("n2", "n3"):
        bench.hear(peer, term, Vote(term))
    assert bench.library.state == LEADER
    bench.hear("n4", term + 3, Keepalive())
    assert (bench.library.state, bench.library.term) == (FOLLOWER, term + 3)


def test_answers_to_an_earlier_leadership_confirm_nothing(bench: Bench) -> None:
    term = bench.stand()
    for peer in ("n2", "n3"):
        bench.hear(peer, term, Vote(term))
    for peer in ("n2", "n3"):
        bench.hear(peer, term - 1, NextIndex(3, False, True))
    bench.tick()
    assert not bench.library.confirmed
    for peer in ("n2", "n3"):
        bench.hear(peer, term, NextIndex(3, False, True))
    bench.tick()
    assert bench.library.confirmed


def test_what_was_committed_in_one_term_confirms_no_other(bench: Bench) -> None:
    for _ in range(2):
        term, confirmed = bench.stand(), list[bool]()
        for answer in (Vote(term), NextIndex(3, False, True)):
            for peer in ("n2", "n3"):
                bench.hear(peer, term, answer)
            bench.tick()
            confirmed.append(bench.library.confirmed)
        assert confirmed == [False, True]
        bench.hear("n4", term + 1, Keepalive())


def test_a_late_heartbeat_does_not_cut_the_log_back(bench: Bench) -> None:
    bench.hear("n2", 5, AppendEntries(5, 1, 1, 0, [(2, 5)]), number=10)
    bench.hear("n2", 5, AppendEntries(5, 1, 1, 0, []), number=9)
    assert bench.library._getRaftLogSize() == 2


def test_entries_that_come_again_are_no_conflict(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        bench.hear("n2", 5, AppendEntries(5, 2, 1, 0, [(2, 5)]))
        bench.tick()
    assert bench.library._getRaftLogSize() == 2
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_the_log_of_a_later_term_begins_anew_and_so_every_log_is_up_to_date(bench: Bench) -> None:
    bench.hear("n2", 5, AppendEntries(5, 2, 1, 0, [(2, 5)]))
    bench.hear("n3", 6, RequestVote(6, 1, 0))
    assert bench.said(Vote) == ["n3"]
    assert bench.library._getRaftLogSize() == 1


def test_a_leader_that_falls_behind_is_told_the_term_by_whom_it_sends_heartbeats(bench: Bench) -> None:
    bench.hear("n2", 4, AppendEntries(3, 1, 1, 0, []))
    assert bench.said(Keepalive) == ["n2"]


def test_who_is_asked_to_stand_by_its_leader_needs_no_pre_votes_and_by_others_does(bench: Bench) -> None:
    bench.hear("n2", 4, AppendEntries(4, 1, 1, 0, []))
    bench.hear("n3", 4, TimeoutNow(4))
    bench.tick()
    assert bench.library.state == FOLLOWER
    bench.hear("n2", 4, TimeoutNow(4))
    bench.tick()
    assert bench.library.state == CANDIDATE


def test_frames_of_an_earlier_life_are_dropped_until_the_later_one_has_long_been_silent(bench: Bench) -> None:
    bench.hear("n2", 4, Keepalive(), session=5)
    bench.hear("n2", 9, Keepalive(), session=4)
    assert bench.library.term == 4
    bench.now += 3.1
    bench.hear("n2", 9, Keepalive(), session=4)
    assert bench.library.term == 9


def test_a_node_with_another_list_of_voters_is_not_heard(bench: Bench) -> None:
    frame = Frame(electorate(VOTERS[:3]), 1, 1, 9, True, False, False, RequestVote(9, 1, 0))
    bench.voter.receive("n2", encode(frame), bench.now)
    assert bench.library.term == 4
    assert bench.voter.dropped["voters"] == 1


def test_idle_links_between_followers_are_kept_warm_and_everybody_stays_alive_to_everybody() -> None:
    net = RaftNetwork(5)
    with net.running():
        net.settle()
        net.run(10.0)
        one, other = net.followers()[:2]
        times = [at for at, source, to in net.sent if (source, to) == (one, other) and at > net.now - 5.0]
        assert max(b - a for a, b in pairwise(times)) <= 0.25
        for machine in net.machines.values():
            assert machine.elector is not None
            assert {member.health.value for member in machine.elector.view.members} == {"alive"}


def test_the_log_stays_at_two_entries_over_many_elections() -> None:
    net = RaftNetwork(3)
    with net.running():
        for _ in range(8):
            leader = net.settle()
            net.crash(leader)
            net.run(1.5)
            net.start(leader)
        net.settle()
        assert max(machine.library._getRaftLogSize() for machine in net.machines.values()) == 2
        assert max(net.terms().values()) >= 9


def test_pysyncobj_starts_no_thread_parks_its_deadline_and_falls_back_in_time(bench: Bench) -> None:
    conf = bench.library.conf
    assert not conf.autoTick
    assert not conf.useFork
    assert not conf.commandsWaitLeader
    assert not bench.library.tick_thread_alive()
    assert conf.leaderFallbackTimeout == pytest.approx(0.35)
    assert (conf.raftMinTimeout, conf.raftMaxTimeout) == (pytest.approx(0.4), pytest.approx(0.6))
    assert vars(bench.library)["_SyncObj__raftElectionDeadline"] == math.inf


def test_periods_follow_the_timing_and_refuse_a_silence_shorter_than_a_heartbeat() -> None:
    slow = Periods.of(Timing(heartbeat_s=1.0, silence_s=3.5))
    assert (slow.silence_s, slow.timeout_s) == (3.5, (4.0, 6.0))
    with pytest.raises(ValueError, match="longer than heartbeat_s"):
        Periods.of(Timing(heartbeat_s=0.5, silence_s=0.5))


def test_the_clock_is_pysyncobjs_own() -> None:

    with virtual_time(lambda: 42.0, random.Random(1)):
        assert clock() == 42.0
    assert clock() != 42.0


def test_a_seed_replays_to_the_last_frame() -> None:
    def run() -> list[tuple[float, str, str]]:
        net = RaftNetwork(5, seed=7, loss=0.1, delay=(0.001, 0.05))
        with net.running():
            net.run(3.0)
            return net.sent

    assert run() == run()
