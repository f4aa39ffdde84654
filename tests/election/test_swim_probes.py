"""SWIM's failure detector, one sentence of the paper (Das, Gupta, Motivala 2002) after the other, and Lifeguard's local
health (Dadgar, Phillips, Currey 2018)."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from hegemon.election.contract import Health, Member, Received, Send, Stream, Tick
from hegemon.election.swim import Swim
from hegemon.election.swim_awareness import Awareness
from hegemon.election.swim_messages import Ack, Fact, Nack, News, Ping, PingRequest, SwimMessage, decode, encode
from hegemon.election.swim_schedule import ProbeSchedule
from hegemon.election.swim_timing import SwimTiming
from tests.election.swim_groups import QUIET, acquainted, said, until_probe


def test_in_each_period_one_member_is_pinged_3_1() -> None:
    swim, now = acquainted(5)
    pinged_at: list[float] = []
    for _ in range(8):
        now = swim.deadline() or now
        for to, message in said(swim.handle(Tick(), now)):
            if isinstance(message, Ping):
                pinged_at.append(now)
                swim.handle(Received(to, encode(Ack(message.seq))), now)
    assert [after - before for before, after in pairwise(pinged_at)] == pytest.approx([1.0] * 7)


def test_periods_need_not_coincide_so_that_each_member_begins_at_random_3_1() -> None:
    begun = []
    for seed in range(20):
        swim = Swim(Member("me"), rng=random.Random(seed), timing=QUIET)
        swim.start(5.0)
        begun.append(swim.deadline() or 0.0)
    assert min(begun) >= 5.0
    assert max(begun) < 6.0
    assert max(begun) - min(begun) > 0.5


def test_the_timeout_of_a_ping_is_shorter_than_the_period_3_1() -> None:
    with pytest.raises(ValueError, match="shorter than the probe interval"):
        SwimTiming(probe_timeout_s=1.0)


def test_the_answer_to_a_ping_is_an_ack_with_its_number_3_1() -> None:
    swim, now = acquainted(3)
    assert said(swim.handle(Received("n2", encode(Ping(77))), now)) == [("n2", Ack(77))]


def test_a_ping_over_a_stream_is_answered_over_a_stream() -> None:
    swim, now = acquainted(3)
    [effect] = swim.handle(Received("n2", encode(Ping(77)), stream=True), now)
    assert isinstance(effect, Stream)


def test_without_an_ack_in_time_k_members_are_asked_to_ping_and_a_stream_is_tried_3_1() -> None:
    swim, now = acquainted(8)
    now, target, seq = until_probe(swim, now)
    effects = swim.handle(Tick(), now + 0.5)
    asked = [to for to, message in said(effects) if message == PingRequest(seq, target)]
    assert len(set(asked)) == 3
    assert target not in asked
    assert [e.to for e in effects if isinstance(e, Stream)] == [target]


def test_who_is_asked_to_ping_is_drawn_anew_each_time_3_1() -> None:
    swim, now = acquainted(10)
    asked = set()
    for _ in range(10):
        now, target, seq = until_probe(swim, now)
        now += 0.5
        asked.add(frozenset(to for to, m in said(swim.handle(Tick(), now)) if isinstance(m, PingRequest)))
        swim.handle(Received(target, encode(Ack(seq))), now)
    assert len(asked) >= 5


def test_a_helper_pings_the_target_and_passes_its_ack_on_3_1() -> None:
    swim, now = acquainted(3)
    [(to, ping)] = said(swim.handle(Received("n1", encode(PingRequest(9, "n2"))), now))
    assert to == "n2"
    assert isinstance(ping, Ping)
    assert said(swim.handle(Received("n2", encode(Ack(ping.seq))), now + 0.01)) == [("n1", Ack(9))]


@pytest.mark.parametrize("through", ["target", "helper"])
def test_an_ack_within_the_period_direct_or_indirect_means_alive_3_1(through: str) -> None:
    swim, now = acquainted(5)
    now, target, seq = until_probe(swim, now)
    helpers = [to for to, m in said(swim.handle(Tick(), now + 0.5)) if isinstance(m, PingRequest)]
    swim.handle(Received(target if through == "target" else helpers[0], encode(Ack(seq))), now + 0.9)
    until_probe(swim, now + 0.9)
    assert _health(swim, target) is Health.ALIVE


def test_at_the_end_of_the_period_a_member_without_any_ack_is_suspected_4_2() -> None:
    swim, now = acquainted(5)
    now, target, _ = until_probe(swim, now)
    swim.handle(Tick(), now + 0.5)
    assert _health(swim, target) is Health.ALIVE
    until_probe(swim, now + 0.5)
    assert _health(swim, target) is Health.SUSPECT


@pytest.mark.parametrize(("held", "probed"), [(Health.SUSPECT, True), (Health.DEAD, False), (Health.LEFT, False)])
def test_a_suspect_is_probed_like_the_others_and_who_is_gone_no_more_4_2(held: Health, probed: bool) -> None:
    swim, now = acquainted(6)
    end = now + 20.0  # longer than the bound of 4.3, shorter than the time of a suspect
    swim.handle(Received("n1", encode(News((Fact("n5", held, 0, by="n1"),)))), now)
    pinged = set()
    while now < end and _health(swim, "n5") is held:
        now, target, seq = until_probe(swim, now)
        pinged.add(target)
        if target != "n5":
            swim.handle(Received(target, encode(Ack(seq))), now)
    assert pinged == {"n1", "n2", "n3", "n4"} | ({"n5"} if probed else set())


def test_an_ack_of_another_number_or_member_proves_nothing() -> None:
    swim, now = acquainted(5)
    now, target, seq = until_probe(swim, now)
    stranger = next(m.id for m in swim.members if m.id not in (target, "me"))
    swim.handle(Received(target, encode(Ack(seq + 1))), now + 0.1)
    swim.handle(Received(stranger, encode(Ack(seq))), now + 0.1)
    swim.handle(Tick(), now + 0.5)
    until_probe(swim, now + 0.5)
    assert _health(swim, target) is Health.SUSPECT


def test_every_member_is_probed_within_bounded_time_4_3() -> None:
    schedule = ProbeSchedule("n50", random.Random(1))
    members = [f"n{number:02}" for number in range(100) if number != 50]
    for member in members:
        schedule.add(member)
    bound = 2 * (2 * len(members) - 1)  # the paper's bound; ours has the random order in every other period
    turns = [schedule.next(lambda _: True) for _ in range(10 * bound)]
    for start in range(0, 9 * bound, 97):
        assert set(turns[start : start + bound]) == set(members)


def test_the_order_is_shuffled_anew_after_each_round_4_3() -> None:
    schedule = ProbeSchedule("m", random.Random(1))
    for number in range(20):
        schedule.add(f"n{number}")
    rounds = [tuple(schedule.next(lambda _: False) for _ in range(20)) for _ in range(4)]
    assert all(len(set(turns)) == 20 for turns in rounds)
    assert len(set(rounds)) == 4


def test_who_joins_is_inserted_at_random_and_not_probed_twice_nor_forgotten_4_3() -> None:
    places = Counter()  # type: Counter[int]
    for seed in range(200):
        schedule = ProbeSchedule("m", random.Random(seed))
        for number in range(10):
            schedule.add(f"n{number}")
        first = [schedule.next(lambda _: False) for _ in range(5)]
        schedule.add("new")
        rest = [schedule.next(lambda _: False) for _ in range(6)]
        assert len({*first, *rest} - {"new"}) >= 10 - ("new" in rest[:5])
        places[rest.index("new") if "new" in rest else -1] += 1
    assert len(places) >= 5


def test_every_other_period_goes_to_the_successor_on_the_ring_that_is_not_suspected() -> None:
    schedule = ProbeSchedule("n5", random.Random(1))
    for number in (1, 3, 7, 9):
        schedule.add(f"n{number}")
    assert [schedule.next(lambda _: True) for _ in range(4)][::2] == ["n7", "n7"]
    assert [schedule.next(lambda m: m not in ("n7", "n9")) for _ in range(4)][::2] == ["n1", "n1"]


def test_a_suspect_close_behind_on_the_ring_is_looked_at_by_whoever_has_not_accused_it_yet() -> None:
    schedule = ProbeSchedule("n1", random.Random(1))
    for number in range(2, 9):
        schedule.add(f"n{number}")
    for suspect, target in (("n2", "n2"), ("n5", "n5"), ("n6", "n2")):
        assert schedule.next(set(schedule._order).difference({suspect}).__contains__, {suspect}.__contains__) == target
        schedule.next(lambda _: True)


# -- Lifeguard: LHA-Probe ----------------------------------------------------------------------------------------------


def test_an_answered_probe_lowers_the_multiplier_and_a_failed_one_raises_it() -> None:
    swim, now = acquainted(2)
    now, _, _ = until_probe(swim, now)
    assert swim.awareness.score == 0
    swim.handle(Tick(), now + 0.5)
    now, target, seq = until_probe(swim, now + 0.5)
    assert swim.awareness.score == 1
    swim.handle(Received(target, encode(Ack(seq))), now + 0.1)
    assert swim.awareness.score == 0


def test_an_answer_through_a_helper_lowers_the_multiplier_too() -> None:
    swim, now = acquainted(5)
    now, _, seq = until_probe(swim, now)
    helper = next(to for to, m in said(swim.handle(Tick(), now + 0.5)) if isinstance(m, PingRequest))
    swim.awareness.worse()
    swim.handle(Received(helper, encode(Ack(seq))), now + 0.6)
    assert swim.awareness.score == 0


@pytest.mark.parametrize(("nacks", "score"), [(3, 1), (2, 2), (0, 2)])
def test_a_helper_that_does_not_even_nack_is_a_sign_of_our_own_ill_health(nacks: int, score: int) -> None:
    swim, now = acquainted(6)
    now, _, seq = until_probe(swim, now)
    helpers = [to for to, m in said(swim.handle(Tick(), now + 0.5)) if isinstance(m, PingRequest)]
    for helper in helpers[:nacks]:
        swim.handle(Received(helper, encode(Nack(seq))), now + 0.91)
    until_probe(swim, now + 0.91)
    assert swim.awareness.score == score


def test_a_helper_nacks_when_four_fifths_of_the_timeout_have_passed_and_still_passes_a_late_ack_on() -> None:
    swim, now = acquainted(3)
    [(_, ping)] = said(swim.handle(Received("n1", encode(PingRequest(9, "n2"))), now))
    assert isinstance(ping, Ping)
    assert ("n1", Nack(9)) not in said(swim.handle(Tick(), now + 0.39))
    assert ("n1", Nack(9)) in said(swim.handle(Tick(), now + 0.401))
    assert ("n1", Ack(9)) in said(swim.handle(Received("n2", encode(Ack(ping.seq))), now + 0.45))


def test_refuting_a_suspicion_of_oneself_raises_the_multiplier() -> None:
    swim, now = acquainted(3)
    swim.handle(Received("n1", encode(News((Fact("me", Health.SUSPECT, 0, by="n1"),)))), now)
    assert swim.awareness.score == 1


def test_the_multiplier_is_bounded_and_stretches_interval_and_timeout() -> None:
    awareness = Awareness(8)
    assert awareness.stretch(0.5) == 0.5
    awareness.worse(3)
    assert awareness.stretch(0.5) == 2.0
    awareness.worse(100)
    assert awareness.score == 8
    swim, now = acquainted(4)
    swim.awareness.worse(1)
    now, _, _ = until_probe(swim, now)
    assert not [m for _, m in said(swim.handle(Tick(), now + 0.99)) if isinstance(m, PingRequest)]
    assert [m for _, m in said(swim.handle(Tick(), now + 1.01)) if isinstance(m, PingRequest)]
    assert until_probe(swim, now + 1.01)[0] == pytest.approx(now + 2.0)


def test_a_deadline_of_our_own_that_is_missed_raises_the_multiplier_and_judges_nobody() -> None:
    swim, now = acquainted(4)
    now, target, _ = until_probe(swim, now)
    swim.handle(Tick(), now + 30.0)
    assert swim.awareness.score == 3
    assert _health(swim, target) is Health.ALIVE
    assert [m.health for m in swim.members] == [Health.ALIVE] * 4


def _health(swim: Swim, member: str) -> Health:
    known = swim.member(member)
    assert known is not None
    return known.health


def test_messages_come_back_as_they_were_and_garbage_as_nothing() -> None:
    fact = Fact("n1", Health.SUSPECT, 7, "a:1", -3, fit=False, by="n2")
    messages: list[SwimMessage] = [Ping(1, (fact,)), Ack(2), PingRequest(3, "x"), Nack(4), News((fact, fact))]
    for message in messages:
        assert decode(encode(message)) == message
        assert decode(encode(message)[:-1]) is None
    for bad in (b"", b"\xc1", b"\x93\x01", encode(News((fact,))) + b"x", b"\x92\x01\xff"):
        assert decode(bad) is None
    assert fact.member() == Member("n1", Health.SUSPECT, 7, "a:1", -3, fit=False)


def test_a_probe_begins_with_one_datagram() -> None:
    swim, now = acquainted(5)
    [effect] = swim.handle(Tick(), swim.deadline() or now)
    assert isinstance(effect, Send)
    assert isinstance(decode(effect.payload), Ping)
