"""What a SWIM member believes, one sentence of SWIM (Das, Gupta, Motivala 2002) and of Lifeguard (Dadgar, Phillips,
Currey 2018) after the other: suspicion, incarnations, dissemination, coming and going."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from hegemon.election.contract import (
    DATAGRAM_MAX,
    Discovered,
    Effect,
    Fitness,
    Health,
    Member,
    Received,
    Resign,
    Send,
    Stream,
    Tick,
    Witnessed,
)
from hegemon.election.swim import Swim
from hegemon.election.swim_awareness import Suspicion
from hegemon.election.swim_dissemination import Dissemination
from hegemon.election.swim_messages import Ack, Fact, News, Ping, PingRequest, State, decode_facts, encode
from hegemon.election.swim_table import supersedes
from hegemon.election.swim_timing import LAN, WAN, SwimTiming
from tests.election.swim_groups import acquainted, said, state_of, until_probe

ALIVE, SUSPECT, DEAD, LEFT = Health


def hear(swim: Swim, now: float, *facts: Fact, sender: str = "n1") -> list[Effect]:
    return swim.handle(Received(sender, encode(News(facts))), now)


def health(swim: Swim, member: str) -> Health | None:
    known = swim.member(member)
    return None if known is None else known.health


def facts_in(effects: list[Effect]) -> list[Fact]:
    return [f for _, m in said(effects) if isinstance(m, News | Ping | Ack) for f in m.facts]


def own_fact(swim: Swim) -> Member:
    me = swim.member("me")
    assert me is not None
    return me


# -- SWIM 4.2: suspicion and incarnations ------------------------------------------------------------------------------


@pytest.mark.parametrize(("said_health", "held"), [*itertools.product(Health, Health)])
def test_which_news_overrides_which_belief_4_2(said_health: Health, held: Health) -> None:
    def overrides(i: int, j: int) -> bool:
        return supersedes(Fact("n1", said_health, i), Fact("n1", held, j))

    if said_health is ALIVE:  # alive overrides with a higher incarnation only, the dead too: they may return
        expected = (True, False, False)
    elif held in (DEAD, LEFT):
        expected = (False, False, False)
    elif said_health is SUSPECT and held is SUSPECT:
        expected = (True, False, False)
    else:
        expected = (True, True, False)
    assert (overrides(2, 1), overrides(1, 1), overrides(0, 1)) == expected


def test_a_suspected_member_is_told_of_dead_only_after_its_time_4_2() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("n2", SUSPECT, 0, by="n1"))
    assert health(swim, "n2") is SUSPECT
    swim_until(swim, now, now + 3.9)
    assert health(swim, "n2") is SUSPECT
    swim_until(swim, now + 3.9, now + 4.1)
    assert health(swim, "n2") is DEAD


def swim_until(swim: Swim, now: float, end: float) -> list[Effect]:
    """Time passes; whoever is probed answers, except n2."""
    effects: list[Effect] = []
    while (deadline := swim.deadline()) is not None and deadline <= end:
        now = max(now, deadline)
        new = swim.handle(Tick(), now)
        effects += new
        for to, message in said(new):
            if isinstance(message, Ping) and to != "n2":
                effects += swim.handle(Received(to, encode(Ack(message.seq))), now)
    return effects


def test_a_suspicion_and_then_a_death_that_we_come_to_are_told_to_the_others_4_2() -> None:
    swim, now = acquainted(3)
    effects = swim_until(swim, now, now + 20.0)  # n2 answers nobody
    told = [f for f in facts_in([e for e in effects if isinstance(e, Send) and e.to == "n1"]) if f.id == "n2"]
    assert list(dict.fromkeys((f.health, f.incarnation, f.by) for f in told)) == [(SUSPECT, 0, "me"), (DEAD, 0, "me")]


def test_a_member_refutes_a_suspicion_of_itself_with_a_higher_incarnation_4_2() -> None:
    swim, now = acquainted(3)
    told = facts_in(hear(swim, now, Fact("me", SUSPECT, 4, by="n1")))
    assert {(f.id, f.health, f.incarnation) for f in told} == {("me", ALIVE, 5)}
    assert own_fact(swim).incarnation == 5


def test_a_suspicion_of_an_incarnation_that_is_past_needs_no_refutation_4_2() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("me", SUSPECT, 4, by="n1"))
    hear(swim, now, Fact("me", SUSPECT, 4, by="n2"))
    assert own_fact(swim).incarnation == 5


def test_only_a_member_itself_raises_its_incarnation_4_2() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("n2", SUSPECT, 0, by="n1"))
    swim_until(swim, now, now + 10.0)
    known = swim.member("n2")
    assert known is not None
    assert known.incarnation == 0


def test_an_alive_of_a_higher_incarnation_ends_a_suspicion_4_2() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("n2", SUSPECT, 0, by="n1"))
    hear(swim, now + 1.0, Fact("n2", ALIVE, 1))
    assert health(swim, "n2") is ALIVE
    timer_left = [key for key in swim._timers._at if key[0] == "suspect"]
    assert not timer_left


def test_a_returning_node_takes_an_incarnation_above_what_is_said_of_it() -> None:
    for word in (Fact("me", DEAD, 7, by="n1"), Fact("me", LEFT, 7), Fact("me", ALIVE, 7)):
        swim, now = acquainted(3)
        hear(swim, now, word)
        assert (own_fact(swim).incarnation, own_fact(swim).health) == (8, ALIVE)


def test_an_incarnation_that_nobody_could_exceed_is_not_believed() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("me", DEAD, 1 << 53, by="n1"))
    assert own_fact(swim).incarnation == 0


def test_a_silent_member_that_the_store_shows_stays_suspect_for_as_long_as_it_does() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("n2", SUSPECT, 0, by="n1"))
    for second in range(1, 30):
        swim.handle(Witnessed(frozenset({"n2"})), now + second)
        swim_until(swim, now + second, now + second + 0.9)
    hear(swim, now + 30.0, Fact("n2", DEAD, 0, by="n1"))
    assert health(swim, "n2") is SUSPECT
    swim_until(swim, now + 30.0, now + 40.0)
    assert health(swim, "n2") is DEAD


# -- Lifeguard: LHA-Suspicion and the buddy system ---------------------------------------------------------------------


def test_the_suspicion_timeout_falls_from_max_to_min_with_the_logarithm_of_confirmations() -> None:
    suspicion = Suspicion("n1", 100.0, least_s=8.0, most_s=48.0, expected=3)
    seen = [suspicion.deadline()]
    for by in ("n2", "n3", "n4"):
        assert suspicion.confirm(by)
        seen.append(suspicion.deadline())
    assert seen == pytest.approx([148.0, 148 - 40 * math.log(2, 4), 148 - 40 * math.log(3, 4), 108.0])


def test_only_independent_confirmations_count_and_only_the_first_k() -> None:
    suspicion = Suspicion("n1", 0.0, least_s=8.0, most_s=48.0, expected=3)
    assert not suspicion.confirm("n1")
    assert suspicion.confirm("n2")
    assert not suspicion.confirm("n2")
    assert suspicion.confirm("n3")
    assert suspicion.confirm("n4")
    assert not suspicion.confirm("n5")


def test_the_first_k_confirmations_are_passed_on_and_shrink_the_time() -> None:
    swim, now = acquainted(8)
    hear(swim, now, Fact("n2", SUSPECT, 0, by="n3"))
    most = swim._timers._at["suspect", "n2"][0] - now
    assert most == pytest.approx(6 * 4.0)
    for by, passed_on in (("n4", True), ("n5", True), ("n6", True), ("n7", False)):
        swim_until(swim, now, now + 0.5)
        now += 0.5
        swim._group.queue.drop("n2")
        hear(swim, now, Fact("n2", SUSPECT, 0, by=by))
        assert ("n2" in swim._group.queue._pieces) == passed_on
    assert swim._timers._at["suspect", "n2"][0] == pytest.approx(now - 2.0 + 4.0)


def test_too_few_members_to_confirm_means_the_short_time_at_once() -> None:
    for size, timeout in ((4, 4.0), (5, 24.0)):
        swim, now = acquainted(size)
        hear(swim, now, Fact("n2", SUSPECT, 0, by="n1"))
        assert swim._timers._at["suspect", "n2"][0] - now == pytest.approx(timeout)


def test_the_shortest_suspicion_grows_with_the_logarithm_of_the_group() -> None:
    assert [LAN.suspicion_min_s(n) for n in (1, 10, 100, 1000)] == pytest.approx([4.0, 4.0, 8.0, 12.0])
    assert WAN.suspicion_min_s(100) == pytest.approx(60.0)


def test_whoever_is_suspected_is_told_with_the_ping_and_with_every_answer() -> None:
    swim, now = acquainted(2)
    hear(swim, now, Fact("n1", SUSPECT, 0, by="x"))
    swim._group.queue.drop("n1")
    pings: list[Ping] = []
    while not pings and health(swim, "n1") is SUSPECT:
        now = swim.deadline() or now
        pings = [m for to, m in said(swim.handle(Tick(), now)) if to == "n1" and isinstance(m, Ping)]
    [(_, ack)] = said(swim.handle(Received("n1", encode(Ping(5))), now))[:1]
    assert isinstance(ack, Ack)
    for message in (pings[0], ack):
        assert [(f.id, f.health) for f in message.facts] == [("n1", SUSPECT)]


def test_a_suspect_hears_of_that_before_all_other_news_however_much_there_is() -> None:
    swim, now = acquainted(60)
    hear(swim, now, Fact("n3", SUSPECT, 0, by="n1"))
    swim._group.queue.drop("n3")
    hear(swim, now, *[Fact(f"n{number}", ALIVE, 5, address="a" * 200) for number in range(4, 60)])
    [(_, ack)] = said(swim.handle(Received("n3", encode(Ping(1))), now))[:1]
    assert isinstance(ack, Ack)
    assert len(ack.facts) > 1
    assert (ack.facts[0].id, ack.facts[0].health) == ("n3", SUSPECT)


def test_one_that_is_held_for_dead_and_speaks_is_told_what_to_refute() -> None:
    swim, now = acquainted(3)
    hear(swim, now, Fact("n2", DEAD, 0, by="n1"))
    effects = swim.handle(Received("n2", encode(News(()))), now + 5.0)
    assert ("n2", News((Fact("n2", DEAD, 0, by="n1"),))) in said(effects)
    assert not said(swim.handle(Received("n2", encode(News(()))), now + 5.01))


# -- SWIM 4.1 and 5: dissemination -------------------------------------------------------------------------------------


def test_news_rides_on_acks_on_requests_to_ping_and_on_pings_4_1() -> None:
    swim, now = acquainted(40)
    now, _, _ = until_probe(swim, now)
    hear(swim, now + 0.49, Fact("n2", ALIVE, 1))
    effects = swim.handle(Received("n3", encode(Ping(1))), now + 0.49)
    effects += swim.handle(Tick(), now + 0.5)
    hear(swim, now + 0.9, Fact("n4", ALIVE, 1))
    effects += swim.handle(Tick(), now + 1.0)
    messages = [m for _, m in said([e for e in effects if isinstance(e, Send)])]
    carried = {(type(m), f.id) for m in messages if isinstance(m, Ack | PingRequest | Ping) for f in m.facts}
    assert carried >= {(Ack, "n2"), (PingRequest, "n2"), (Ping, "n4")}


@pytest.mark.parametrize(
    "fact",
    [
        Fact("n9", ALIVE, 0),
        Fact("n3", ALIVE, 1),
        Fact("n3", SUSPECT, 0, by="n1"),
        Fact("n3", DEAD, 0),
        Fact("n3", LEFT, 0),
    ],
    ids=["joined", "refuted", "suspected", "dead", "left"],
)
def test_what_is_news_is_passed_on_and_what_is_known_is_not_4_1(fact: Fact) -> None:
    swim, now = acquainted(4)
    assert fact in facts_in(hear(swim, now, fact))
    swim._group.queue.drop(fact.id)
    assert fact not in facts_in(hear(swim, now + 0.1, fact, sender="n2"))


def test_each_piece_is_sent_lambda_log_n_times_and_what_was_sent_least_first_4_1() -> None:
    queue = Dissemination()
    queue.add(Fact("old", ALIVE, 1))
    for _ in range(3):
        assert [fact.id for fact in queue.take(1000, 12)] == ["old"]
    queue.add(Fact("new", ALIVE, 1))
    assert [fact.id for fact in queue.take(30, 12)] == ["new"]
    sent = 4
    while queue:
        sent += len(queue.take(1000, 12))
    assert sent == 24
    assert [LAN.retransmits(n) for n in (1, 9, 99, 100)] == [4, 4, 8, 12]


def test_newer_news_of_a_member_takes_the_place_of_the_older_4_1() -> None:
    queue = Dissemination()
    queue.add(Fact("n1", SUSPECT, 1, by="n2"))
    queue.add(Fact("n1", ALIVE, 2))
    assert queue.take(1000, 4) == (Fact("n1", ALIVE, 2),)


def test_a_datagram_never_exceeds_its_limit_however_much_news_there_is() -> None:
    swim, now = acquainted(60)
    long = [Fact(f"n{number}", ALIVE, 5, address="a" * 200) for number in range(1, 60)]
    effects = hear(swim, now, *long) + swim.handle(Received("n3", encode(Ping(1))), now)
    sizes = [len(effect.payload) for effect in effects if isinstance(effect, Send)]
    assert sizes
    assert max(sizes) <= DATAGRAM_MAX


def test_news_is_gossiped_at_once_when_all_was_calm_then_every_gossip_interval() -> None:
    swim, now = acquainted(10)
    effects = hear(swim, now, Fact("n2", ALIVE, 1))
    assert len({to for to, m in said(effects) if isinstance(m, News)}) == 3
    assert not said(swim.handle(Received("n1", encode(News(()))), now + 0.1))
    assert len({to for to, m in said(swim.handle(Tick(), now + 0.2)) if isinstance(m, News)}) == 3


# -- the full exchange, coming and going -------------------------------------------------------------------------------


def test_who_is_discovered_gets_the_whole_state_and_is_no_member_before_it_answers() -> None:
    swim = Swim(Member("me", address="me:1"), rng=random.Random(1))
    swim.start(0.0)
    [effect] = swim.handle(Discovered(Member("n1", address="n1:1")), 0.0)
    assert isinstance(effect, Stream)
    [(to, state)] = said([effect])
    assert (to, isinstance(state, State) and state.answer) == ("n1", True)
    assert health(swim, "n1") is None
    swim.handle(Received("n1", state_of([Fact("n1", ALIVE, 3, "n1:1"), Fact("n2", ALIVE, 0)])), 0.1)
    assert {m.id for m in swim.members} == {"me", "n1", "n2"}


def test_a_state_is_answered_with_ours_so_that_both_know_all() -> None:
    swim, now = acquainted(3)
    swim.handle(Discovered(Member("n9")), now)
    effects = swim.handle(Received("n9", state_of([Fact("n9", ALIVE, 0, "n9:1")], answer=True), stream=True), now)
    states = [(to, m) for to, m in said(effects) if isinstance(m, State)]
    assert [to for to, _ in states] == ["n9"]
    assert {f.id for f in decode_facts(states[0][1].facts)} == {"me", "n1", "n2", "n9"}


def test_a_state_calls_a_member_dead_and_it_still_gets_the_time_of_a_suspect() -> None:
    swim, now = acquainted(3)
    swim.handle(Received("n1", state_of([Fact("n1", ALIVE, 0), Fact("n2", DEAD, 0), Fact("x", DEAD, 0)])), now)
    assert (health(swim, "n2"), health(swim, "x")) == (SUSPECT, None)


def test_the_dead_are_greeted_now_and_then_and_forgotten_at_last_and_the_left_sooner() -> None:
    swim, now = acquainted(4, timing=SwimTiming(sync_s=1.0))
    hear(swim, now, Fact("n2", DEAD, 0, by="n1"), Fact("n3", LEFT, 0))
    greeted = {to for to, m in said(swim_until(swim, now, now + 10.0)) if isinstance(m, State)}
    assert "n2" in greeted
    assert "n3" not in greeted
    swim_until(swim, now + 10.0, now + 61.0)
    assert (health(swim, "n2"), health(swim, "n3")) == (DEAD, None)
    swim_until(swim, now + 61.0, now + 3700.0)
    assert health(swim, "n2") is None


def test_a_member_that_leaves_says_so_and_is_silent_then() -> None:
    swim, now = acquainted(4)
    effects = swim.handle(Resign("SIGTERM"), now)
    told = {to for to, m in said(effects) if isinstance(m, News) and m.facts[0].health is LEFT}
    assert told == {"n1", "n2", "n3"}
    after = said(swim.handle(Received("n1", encode(Ping(3))), now + 3.0))
    assert not [message for _, message in after if isinstance(message, Ack)]
    assert health(swim, "me") is LEFT


def test_a_change_of_fitness_is_news_under_a_new_incarnation() -> None:
    swim, now = acquainted(4)
    facts = facts_in(swim.handle(Fitness(fit=False), now))
    assert {(f.incarnation, f.fit) for f in facts} == {(1, False)}
    assert not swim.handle(Fitness(fit=False), now)


def test_the_full_exchange_is_rarer_in_large_groups() -> None:
    assert [LAN.sync_every_s(n) for n in (2, 32, 64, 100, 128)] == [1.0, 1.0, 2.0, 3.0, 3.0]
