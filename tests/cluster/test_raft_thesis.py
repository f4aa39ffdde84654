"""One test for each sentence of Ongaro's thesis on elections that the other Raft tests leave open.

"Consensus: Bridging Theory and Practice", 2014. Which test holds which sentence stands in docs/papers.md.
"""

from __future__ import annotations

from itertools import pairwise

import pytest

from hegemon.cluster.raft_frames import (
    AppendEntries,
    Keepalive,
    NextIndex,
    PreVote,
    RequestVote,
    TimeoutNow,
    Vote,
)
from hegemon.cluster.raft_library import CANDIDATE, FOLLOWER, LEADER
from hegemon.cluster.raft_state import Durable
from tests.cluster.raft_bench import VOTERS, Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()


def elected(bench: Bench, *confirming: str) -> int:
    """It leads, and those named have answered to its entry. Returns the term."""
    term = bench.stand()
    for peer in ("n2", "n3"):
        bench.hear(peer, term, Vote(term))
    bench.tick()
    for peer in confirming:
        bench.hear(peer, term, NextIndex(3, False, True))
    bench.tick()
    assert bench.library.state == LEADER
    return term


def test_a_request_of_an_earlier_term_gets_no_vote_3_3(bench: Bench) -> None:
    bench.hear("n2", 4, RequestVote(3, 9, 3))
    assert bench.said(Vote) == []
    assert bench.library.term == 4


def test_a_term_has_one_vote_and_who_asks_first_gets_it_3_4(bench: Bench) -> None:
    bench.hear("n2", 5, RequestVote(5, 1, 0))
    bench.hear("n3", 5, RequestVote(5, 1, 0))
    assert bench.said(Vote) == ["n2"]
    assert bench.disk.content is not None
    assert (bench.disk.content.term, bench.disk.content.vote) == (5, "n2")


def test_a_candidate_enters_the_next_term_and_its_own_vote_is_on_disk_before_it_asks_3_4(bench: Bench) -> None:
    kept: list[Durable | None] = []
    post = bench.voter._out._send

    def note(to: str, payload: bytes) -> None:
        post(to, payload)
        if isinstance(bench.sent[-1][1], RequestVote):
            kept.append(bench.disk.content)

    bench.voter._out._send = note
    assert bench.stand() == 5
    assert sorted(bench.said(RequestVote)) == [*VOTERS[1:]]
    assert [(durable.term, durable.vote) for durable in kept if durable] == [(5, "n1")] * 4


def test_a_majority_elects_counting_the_candidate_itself_and_less_does_not_3_4(bench: Bench) -> None:
    term = bench.stand()
    bench.hear("n2", term, Vote(term))
    assert bench.library.state == CANDIDATE
    bench.hear("n3", term, Vote(term))
    assert bench.library.state == LEADER


def test_who_is_elected_says_so_at_once_to_all_3_4(bench: Bench) -> None:
    bench.sent.clear()
    elected(bench)
    assert set(bench.said(AppendEntries)) == {*VOTERS[1:]}


def test_a_candidate_that_hears_a_leader_of_its_term_follows_and_of_an_earlier_one_does_not_3_4(bench: Bench) -> None:
    term = bench.stand()
    bench.hear("n4", term, AppendEntries(term - 1, 1, 1, 0, []))
    assert bench.library.state == CANDIDATE
    bench.hear("n4", term, AppendEntries(term, 1, 1, 0, []))
    assert (bench.library.state, bench.library.term) == (FOLLOWER, term)


def test_a_vote_that_splits_is_followed_by_an_election_in_a_later_term_3_4(bench: Bench) -> None:
    first = bench.stand()
    bench.hear("n2", first, Vote(first))
    second = bench.stand()
    assert second == first + 1
    bench.hear("n3", second, Vote(second))
    assert bench.library.state == CANDIDATE, "a vote of the first counts in the second"
    bench.hear("n2", second, Vote(second))
    assert bench.library.state == LEADER


def test_election_timeouts_are_drawn_anew_from_their_interval_3_4(bench: Bench) -> None:
    drawn = set()
    for number in range(1, 21):
        bench.now += 0.1
        bench.hear("n2", 4, AppendEntries(4, 1, 1, 0, []), number=number)
        drawn.add(round(bench.voter._deadline - bench.now, 6))
    assert len(drawn) == 20
    assert min(drawn) >= 0.4 - 1e-6
    assert max(drawn) <= 0.6 + 1e-6


def test_heartbeats_keep_a_follower_from_standing_3_4(bench: Bench) -> None:
    for number in range(1, 101):
        bench.now += 0.35
        bench.hear("n2", 4, AppendEntries(4, 1, 1, 0, []), number=number)
        bench.tick()
    assert bench.said(PreVote) == []
    assert (bench.library.state, bench.library.term) == (FOLLOWER, 4)


def test_a_leader_sends_heartbeats_more_often_than_anybody_loses_patience_3_9(bench: Bench) -> None:
    term = elected(bench, "n2", "n3")
    times: list[float] = []
    for _ in range(200):
        bench.now += 0.01
        bench.sent.clear()
        for peer in ("n2", "n3"):
            bench.hear(peer, term, NextIndex(3, False, True))
        bench.tick()
        if "n4" in bench.said(AppendEntries):
            times.append(bench.now)
    assert bench.library.state == LEADER
    assert max(after - before for before, after in pairwise(times)) <= 0.12


def test_the_lead_is_handed_to_one_that_has_our_entry_though_others_come_before_it_3_10(bench: Bench) -> None:
    term = elected(bench, "n2", "n3")
    for peer in ("n4", "n5"):
        bench.hear(peer, term, Keepalive())
    bench.sent.clear()
    bench.abdicate()
    assert bench.said(TimeoutNow) == ["n3"], "of those that have it the best; n4 and n5 would be better, and lack it"


def test_who_was_handed_the_lead_stands_in_a_later_term_without_waiting_3_10(bench: Bench) -> None:
    bench.hear("n2", 4, AppendEntries(4, 1, 1, 0, []))
    bench.hear("n2", 4, TimeoutNow(4))
    bench.tick()
    assert set(bench.said(RequestVote)) == {*VOTERS[1:]}
    assert (bench.library.state, bench.library.term) == (CANDIDATE, 5)


def test_a_leader_without_answers_of_a_majority_stands_down_and_with_them_does_not_6_2(bench: Bench) -> None:
    term = elected(bench, "n2", "n3")
    for _ in range(50):
        bench.now += 0.1
        for peer in ("n2", "n3"):
            bench.hear(peer, term, NextIndex(3, False, True))
        bench.tick()
    assert bench.library.state == LEADER
    for _ in range(5):
        bench.now += 0.1
        bench.hear("n2", term, NextIndex(3, False, True))
        bench.tick()
    assert (bench.library.state, bench.library.term) == (FOLLOWER, term)
