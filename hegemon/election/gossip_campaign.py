"""What a Gossip node does about leadership of its own accord: lead, miss the leader, stand, hand over.

`Gossip` adds what it hears from others, and the elector's contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from hegemon.election.contract import (
    Effect,
    Health,
    Lost,
    Member,
    Randomness,
    Resign,
    Role,
    Send,
    Stream,
    Timing,
    Won,
)
from hegemon.election.gossip_messages import Ask, Beat, Claim, HandOver, LeaderMessage, Vouch
from hegemon.election.gossip_pulse import beats, slowness
from hegemon.election.gossip_reign import Reign, best_other, better_than
from hegemon.election.swim import Swim
from hegemon.election.swim_messages import encode
from hegemon.election.swim_timing import LAN, SwimTiming

WINDOW: Final = 2.5  # heartbeats in which somebody may vouch for the leader whom a claim would depose
TURN: Final = 3.0  # heartbeats that each better member has before the next stands
DEAD_EVERY: Final = 5  # beats after which one goes to the dead too
ASKED: Final = 2  # members asked at random about a leader that is not heard
NEVER: Final = float("inf")


@dataclass(slots=True)
class _Standing:
    term: int
    until: float
    again_at: float
    granted: set[str] = field(default_factory=set)


@dataclass(slots=True)
class _Farewell:
    word: HandOver
    until: float
    again_at: float


class Campaign:
    """The state of one node, and what time does to it. Effects gather in `_lost`, `_won` and `_out`."""

    def __init__(
        self, me: Member, *, timing: Timing, rng: Randomness, expected: int = 1, swim: SwimTiming = LAN
    ) -> None:
        self._me = me.id
        self._timing = timing
        self._expected = expected
        self._swim = Swim(
            me, rng=rng, timing=replace(swim, sync_s=timing.interval_s), witness_s=timing.member_witness_s
        )
        self._role = Role.FOLLOWER
        self._reign: Reign | None = None
        self._blind = True  # the leader of the reign is not heard, and somebody stands in its place
        self._term = 0  # of the last leader we knew; what the view shows
        self._seen = 0  # the highest term that was ever led in, as far as we know
        self._ended = 0  # terms up to this are over
        self._witnessed: dict[str, float] = {}
        self._looked_at = -NEVER  # when a store last answered us; for ever ago if nobody looks at one for us
        self._missed_at: float | None = None
        self._stand_at = NEVER
        self._stand_version = -1
        self._standing: _Standing | None = None
        self._promised_until = -NEVER
        self._promised: tuple[int, str] | None = None
        self._hold_until = -NEVER
        self._resigned_until: float | None = None
        self._complete_at = NEVER
        self._started_at = NEVER
        self._unfit_at = NEVER
        self._beat_at = NEVER
        self._ask_at = -NEVER
        self._voucher: str | None = None
        self._farewell: _Farewell | None = None
        self._wake: float | None = None
        self._lost: Lost | None = None
        self._won: Won | None = None
        self._out: list[Effect] = []

    # -- leading -------------------------------------------------------------------------------------------------------

    def _lead(self, now: float) -> None:
        reign = self._reign
        if reign is None:
            return
        # Not in the step that won: what was not yet told cannot be taken back.
        unfit = self._won is None and now >= self._unfit_at
        if unfit and best_other(self._own(), self._swim.members) is not None:
            self._hand_over("it does not reach both stores", now)
            return
        if now < self._beat_at:
            return
        reign.count += 1
        self._beat_at = now + self._heartbeat_s()
        beat = Beat(reign.term, self._me, reign.count, reign.company)
        live = self._swim.live
        self._out += beats(beat, self._swim.pick(len(live)))
        if reign.count % DEAD_EVERY == 0:
            payload = encode(beat)
            dead = [member.id for member in self._swim.members if member.health is Health.DEAD]
            self._out += [Send(member, payload) for member in dead[: 2 * DEAD_EVERY]]

    def _win(self, term: int, now: float, *, company: bool) -> None:
        self._reign = Reign(self._me, term, now, company=company)
        self._role, self._blind, self._term = Role.LEADER, False, term
        self._seen = max(self._seen, term)
        self._won = Won(term)
        self._beat_at = now
        self._standing, self._missed_at, self._farewell = None, None, None

    def _yield(self, reason: str, leader: str | None) -> None:
        """Lead no more; what comes instead is the caller's to say."""
        if self._role is Role.LEADER:
            self._lost = Lost(leader, reason)
            self._role = Role.FOLLOWER
            self._reign, self._blind, self._missed_at = None, True, None

    def _hand_over(self, reason: str, now: float) -> None:
        """Stand down and name who is next."""
        reign = self._reign
        if reign is None:
            return
        successor = best_other(self._own(), self._swim.members)
        self._yield(reason, None if successor is None else successor.id)
        self._ended = max(self._ended, reign.term)
        word = HandOver(reign.term, None if successor is None else successor.id)
        hold_s = self._timing.interval_s if successor is None else self._timing.timeout_s
        self._hold_until = now + hold_s
        self._farewell = _Farewell(word, now + self._timing.interval_s, now)
        if successor is not None:
            self._out.append(Stream(successor.id, encode(word)))

    def _repeat_farewell(self, now: float) -> None:
        farewell = self._farewell
        if farewell is None or now < farewell.again_at:
            return
        if now >= farewell.until or not self._misses(now):
            self._farewell = None
            return
        payload = encode(farewell.word)
        self._out += [Send(member, payload) for member in self._swim.live]
        farewell.again_at = now + self._heartbeat_s()

    def _lose_office(self, reason: str, now: float) -> None:
        if self._role is Role.LEADER:
            self._hand_over(reason, now)

    def _resign(self, reason: str, pause_s: float | None, now: float) -> None:
        if self._resigned_until == NEVER:
            return  # to leave for good is final
        self._resigned_until = NEVER if pause_s is None else now + max(0.0, pause_s)
        if self._role is Role.LEADER:
            self._hand_over(reason, now)
        self._standing = None
        self._role = Role.RESIGNED
        if pause_s is None:
            self._repeat_farewell(now)  # before SWIM's farewell, after which nobody listens to us
            self._out += self._swim.handle(Resign(reason), now)

    # -- following, and missing the leader -----------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        if self._role is Role.RESIGNED and self._resigned_until is not None and now >= self._resigned_until:
            self._role, self._resigned_until, self._hold_until = Role.FOLLOWER, None, now
        if not self._misses(now):
            self._give_way()
            self._missed_at, self._blind = None, False
            self._ask_about_leader(now)
            return
        self._see_whose_turn(now)
        if not self._may_stand():
            self._give_way()
            self._blind = True
            return
        standing_for = self._standing
        if standing_for is None:
            if now >= self._stand_from():
                self._stand(max(self._seen, self._ended, self._term) + 1, now)
        elif now >= self._wins_from(now) and (now >= standing_for.until or self._all_granted(standing_for)):
            self._win(standing_for.term, now, company=bool(standing_for.granted))
        elif now >= standing_for.again_at:
            self._claim(standing_for, now)

    def _misses(self, now: float) -> bool:
        """Whether there is no leader whom we hear of. A healthy one is never missed, whoever outranks it."""
        reign = self._reign
        if reign is None:
            return True
        if reign.leader == self._me:
            return False
        member = self._swim.member(reign.leader)
        return member is None or member.health is Health.LEFT or now >= self._silent_from(reign)

    def _silent_from(self, reign: Reign) -> float:
        witnessed = self._witnessed.get(reign.leader, -NEVER) + self._timing.witness_s
        return max(witnessed, reign.silent_from(self._silence_s(), self._heartbeat_s()))

    def _ask_about_leader(self, now: float) -> None:
        reign = self._reign
        if reign is None or reign.leader == self._me or now < self._asks_at(reign):
            return
        heartbeat_s = self._heartbeat_s()
        # Long silent and only witnessed: cut off. Ask on, but without haste.
        self._ask_at = now + heartbeat_s * (1 if now - reign.heard_at < 10 * self._silence_s() else 10)
        payload = encode(Ask())
        for member in dict.fromkeys([*filter(None, [self._voucher]), reign.leader, *self._swim.pick(ASKED)]):
            self._out.append(Send(member, payload))

    def _asks_at(self, reign: Reign) -> float:
        return max(self._ask_at, reign.heard_at + 2 * self._heartbeat_s())

    def _see_whose_turn(self, now: float) -> None:
        """When we may stand: each better one goes first. At the very beginning all who are expected may come first."""
        first = self._reign is None and self._seen == 0 and self._expected > 1
        if first and self._complete_at == NEVER and len(self._swim.live) + 1 >= self._expected:
            self._complete_at = now
        if self._missed_at is None:
            self._missed_at = now
        elif self._stand_version == self._swim.version:
            return
        self._stand_version = self._swim.version
        start = self._missed_at
        if first:
            start = max(start, min(self._complete_at + self._silence_s(), self._started_at + self._timing.timeout_s))
        turn = better_than(self._own(), self._swim.members, self._missed())
        self._stand_at = start + min(turn, 4) * TURN * self._heartbeat_s()

    def _stand_from(self) -> float:
        return max(self._stand_at, self._hold_until, self._promised_until)

    def _may_stand(self) -> bool:
        """The fit may; the unfit only at the head of others, none of whom is fit. Alone they could do nothing as
        leaders, and would come back from a partition with a term that deposes a healthy one."""
        if self._role is Role.RESIGNED:
            return False
        if self._own().fit:
            return True
        fit = [
            member.fit
            for member in self._swim.members
            if member.health is Health.ALIVE and member.id not in (self._me, self._missed())
        ]
        return bool(fit) and not any(fit)

    def _wins_from(self, now: float) -> float:
        """When we may win. Who hears neither the leader nor a store is cut off from both, and would come back with a
        term that deposes a healthy leader: it waits until a store answers, or until it is told that none does."""
        missed_at = now if self._missed_at is None else self._missed_at
        answered = self._looked_at == -NEVER or self._looked_at >= missed_at - self._silence_s() / 2
        if answered or self._reign is None:
            return -NEVER
        return missed_at + self._timing.timeout_s

    def _stand(self, term: int, now: float) -> None:
        self._blind = True
        if not self._swim.live and now >= self._wins_from(now):
            self._win(term, now, company=False)
            return
        self._role = Role.CANDIDATE
        self._standing = _Standing(term, now + WINDOW * self._heartbeat_s(), now)
        self._claim(self._standing, now)

    def _claim(self, standing_for: _Standing, now: float) -> None:
        payload = encode(Claim(standing_for.term))
        self._out += [Send(member, payload) for member in self._swim.live if member not in standing_for.granted]
        standing_for.again_at = now + self._heartbeat_s()

    def _all_granted(self, standing_for: _Standing) -> bool:
        asked = {m.id for m in self._swim.members if m.health is Health.ALIVE} - {self._me, self._missed()}
        return bool(asked) and asked <= standing_for.granted

    def _give_way(self) -> None:
        self._standing = None
        if self._role is Role.CANDIDATE:
            self._role = Role.FOLLOWER

    # -- small things --------------------------------------------------------------------------------------------------

    def _next(self, now: float) -> float | None:
        """When something of the above is due."""
        at = NEVER if self._farewell is None else self._farewell.again_at
        if self._role is Role.RESIGNED and self._resigned_until is not None:
            at = min(at, self._resigned_until)
        reign = self._reign
        if self._role is Role.LEADER:
            at = min(at, self._beat_at)
        elif reign is not None and not self._misses(now):
            at = min(at, self._asks_at(reign), self._silent_from(reign))
        elif self._standing is not None:
            at = min(at, max(self._standing.until, self._wins_from(now)), self._standing.again_at)
        elif self._may_stand():
            at = min(at, self._stand_from())
        return None if at == NEVER else at

    def _word(self, now: float) -> Vouch:
        reign = self._reign
        if reign is None:
            return Vouch(self._seen, None)
        age_s = 0.0 if reign.leader == self._me else max(0.0, now - reign.heard_at)
        return Vouch(reign.term, reign.leader, reign.count, age_s, min(reign.hops, 254), reign.company)

    def _tell(self, to: str, message: LeaderMessage) -> None:
        self._out.append(Send(to, encode(message)))

    def _own(self) -> Member:
        own = self._swim.member(self._me)
        assert own is not None  # noqa: S101 (SWIM knows itself always)
        return own

    def _missed(self) -> str | None:
        return None if self._reign is None else self._reign.leader

    def _heartbeat_s(self) -> float:
        return self._timing.heartbeat_s * slowness(len(self._swim.live) + 1)

    def _silence_s(self) -> float:
        return self._timing.silence_s * slowness(len(self._swim.live) + 1)
