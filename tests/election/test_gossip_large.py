"""Gossip beyond ten members: beats go through relays, and the leader is still missed and succeeded."""

from __future__ import annotations

import pytest

from hegemon.election.contract import DATAGRAM_MAX, Member, Timing
from hegemon.election.gossip import Gossip
from hegemon.election.gossip_messages import Beat, decode
from hegemon.election.gossip_pulse import beats, slowness
from hegemon.election.gossip_reign import Reign
from tests.election.swim_network import Network


@pytest.mark.parametrize("seed", range(1, 6))
def test_sixty_nodes_elect_the_best_and_succeed_it_within_five_seconds(seed: int) -> None:
    net: Network[Gossip] = Network(
        lambda me, rng: Gossip(me, timing=Timing(), rng=rng, expected=60), seed=seed, loss=0.01
    )
    for number in range(60):
        net.start(Member(f"n{number}"))
        if number:
            net.introduce(f"n{number}", "n0")

    def led_by(leader: str) -> bool:
        return all(node.view.leader == leader for node in net.each())

    assert net.run(10.0, until=lambda: led_by("n59"))
    net.run(10.0)
    assert led_by("n59")
    net.kill("n59")
    assert net.run(5.0, until=lambda: led_by("n58"))


def test_every_member_gets_each_beat_once_through_few_relays() -> None:
    for size in (1, 9, 10, 37, 99):
        members = [f"n{number}" for number in range(size)]
        sends = beats(Beat(1, "me", 7, company=True), members)
        got = []
        for send in sends:
            beat = decode(send.payload)
            assert isinstance(beat, Beat)
            assert len(send.payload) <= DATAGRAM_MAX
            got += [send.to, *beat.pass_on]
        assert sorted(got) == sorted(members)
        assert len(sends) == size if size < 10 else len(sends) <= size**0.5 + 2


def test_long_names_never_burst_a_beat() -> None:
    members = [f"{number:03}" + "x" * 250 for number in range(80)]
    sends = beats(Beat(1, "me", 7, company=True), members)
    assert max(len(send.payload) for send in sends) <= DATAGRAM_MAX


def test_the_heartbeat_slows_down_beyond_ten_members_only() -> None:
    assert [slowness(n) for n in (1, 3, 10)] == [1.0, 1.0, 1.0]
    assert 4.3 < slowness(100) < 4.4


def test_evidence_is_never_made_younger_by_passing_it_on_nor_by_repeating_it() -> None:
    reign = Reign("n1", 3, heard_at=100.0, count=7)
    assert not reign.hear(7, 105.0, 0, company=True)  # doubled or late: an old beat is no sign of life
    assert reign.hear(9, 99.0, 2, company=True)
    assert (reign.heard_at, reign.count, reign.hops) == (100.0, 9, 0)
    assert reign.hear(10, 101.0, 2, company=True)
    assert reign.silent_from(0.35, 0.1) == 101.0 + 0.35 + 0.4
