"""Who leads, on top of SWIM: the best of the alive and fit, and a healthy leader stays.

    follower ──misses the leader──> candidate ──all granted, or nobody vouched for 2.5 heartbeats──> leader
       ^                              │                                                                │
       ├── a vouch, a beat, a better claim                                                             │
       ├── its pause is over ── resigned <── Resign ───────────────────────────────────────────────────┤
       └─ a beat or vouch of a higher term (same term: with company, then precedence), ────────────────┘
                     OfficeLost, unfit for ``unfit_s`` while a fit member is alive

SWIM needs 4 s and more to be sure of a death, so the leader is missed by a clock of its own: it beats each
``heartbeat_s`` to all members; beyond ten members to about the square root of their number, drawn anew for each beat,
which pass it on to the rest, and less often (``slowness``). Who hears nothing for two heartbeats asks others.

| what is trusted | until when |
|---|---|
| that the leader lives | its last beat, heard or vouched for, is ``silence_s`` old, the store's word ``witness_s`` |
| that we may claim | somebody vouches for the leader; who is better goes first, by three heartbeats each |
| that we lead | somebody leads in a higher term; the office decides what it is worth |

| failure | effect |
|---|---|
| the leader dies | all miss it alike; the best claims, the others grant, within a round trip |
| the best survivor is dead too, or resigned, or unfit | the next claims three heartbeats later |
| the leader is cut off from some | they live by others' vouches and follow it |
| the leader is cut off from all, the store shows it | it is not succeeded |
| the leader is cut off from all, from the store too | succeeded in the next term; the office fences it; it yields |
| a follower is cut off from all, the store too | it does not lead itself: it learns first that it is not fit |
| two lead after a partition | beats reach the dead too, each half second: the lower term yields |
| claims cross | same term: the better stays, the other grants |
| we were stopped | what we did not hear does not count; listen first, then judge |
| a claim, grant or hand-over is lost | claims and hand-overs are repeated; a grant is not needed after the window |
"""

from __future__ import annotations

from dataclasses import replace

from hegemon.election.contract import (
    Changed,
    Effect,
    Event,
    Fitness,
    Health,
    Member,
    OfficeLost,
    Randomness,
    Received,
    Resign,
    Role,
    Stream,
    Timing,
    View,
    Witnessed,
)
from hegemon.election.gossip_campaign import NEVER, Campaign
from hegemon.election.gossip_messages import Ask, Beat, Claim, Grant, HandOver, LeaderMessage, Vouch, decode
from hegemon.election.gossip_reign import Reign, standing
from hegemon.election.swim_messages import State, encode
from hegemon.election.swim_timing import LAN, SwimTiming


class Gossip(Campaign):
    """The elector of ELECTION_ALGORITHM=gossip. ``expected`` is how many members the configuration names, this one
    too: a node that expects nobody leads at once, another waits for the rest, ``timing.timeout_s`` at most. ``swim``
    are the periods of the membership; its full exchange takes ``timing.interval_s``."""

    def __init__(
        self, me: Member, *, timing: Timing, rng: Randomness, expected: int = 1, swim: SwimTiming = LAN
    ) -> None:
        super().__init__(me, timing=timing, rng=rng, expected=expected, swim=swim)
        self._view_key: tuple[object, ...] = ()
        self._leader_word_at = NEVER
        # A leader that was succeeded for its silence. SWIM takes seconds to be sure of it; people and the leader's
        # duties need not wait that long to doubt it.
        self._doubted: str | None = None
        self._view = View(None, 0, Role.FOLLOWER, self._swim.members)

    # -- the elector's contract ----------------------------------------------------------------------------------------

    @property
    def view(self) -> View:
        return self._view

    @property
    def health_score(self) -> int:
        """Lifeguard's local health multiplier, 0 is healthy."""
        return self._swim.awareness.score

    def deadline(self) -> float | None:
        times = [at for at in (self._swim.deadline(), self._wake) if at is not None]
        return min(times, default=None)

    def start(self, now: float) -> list[Effect]:
        if self._started_at != NEVER:
            raise RuntimeError("this elector was started before")
        self._started_at = now
        self._out = self._swim.start(now)
        if self._expected <= 1:
            self._win(1, now, company=False)
        return self._conclude(now)

    def handle(self, event: Event, now: float) -> list[Effect]:
        if self._started_at == NEVER:
            raise RuntimeError("this elector was not started")
        self._notice_lateness(now)
        match event:
            case Received(sender, payload, stream):
                if sender == self._view.leader:
                    self._leader_word_at = now
                if sender == self._doubted:
                    self._doubted = None
                self._receive(sender, payload, now, stream=stream)
            case OfficeLost(reason):
                self._lose_office(reason, now)
            case Resign(reason, pause_s):
                self._resign(reason, pause_s, now)
            case _:
                self._out += self._swim.handle(event, now)
        match event:
            case Witnessed(members):
                self._looked_at = now
                self._witnessed.update(dict.fromkeys(members, now))
            case Fitness(fit):
                self._unfit_at = NEVER if fit else min(self._unfit_at, now + self._timing.unfit_s)
                if fit and self._role is not Role.LEADER and self._misses(now):
                    # What cut us off from the stores may have cut us off from the leader: listen before we stand.
                    self._hold_until = max(self._hold_until, now + self._timing.interval_s + self._silence_s())
        return self._conclude(now)

    def _conclude(self, now: float) -> list[Effect]:
        if self._role is not Role.LEADER:
            self._follow(now)
        if self._role is Role.LEADER:
            self._lead(now)
        self._repeat_farewell(now)
        self._wake = self._next(now)
        reign = self._reign
        leader = None if reign is None or self._blind else reign.leader
        effects: list[Effect] = [] if self._lost is None else [self._lost]
        before = self._view.leader
        if leader not in (before, None) and before not in (None, self._me):
            if now - self._leader_word_at > self._timing.silence_s / 2:
                self._doubted = before
            self._leader_word_at = now
        key = (self._swim.version, leader, self._term, self._role, self._doubted)
        if key != self._view_key:
            view = View(leader, self._term, self._role, tuple(map(self._shown, self._swim.members)))
            self._view_key = key
            if view != self._view:
                self._view = view
                effects.append(Changed(view))
        if self._won is not None:
            effects.append(self._won)
        effects += self._out
        self._lost, self._won, self._out = None, None, []
        return effects

    def _shown(self, member: Member) -> Member:
        doubted = member.id == self._doubted and member.health is Health.ALIVE
        return replace(member, health=Health.SUSPECT) if doubted else member

    def _notice_lateness(self, now: float) -> None:
        """After we were stopped, the silence of the leader is our own: it gets the time that we lost."""
        due = self.deadline()
        if due is None or now - due <= self._silence_s() / 2:
            return
        late_s = now - due
        if self._reign is not None:
            self._reign.heard_at = min(now, self._reign.heard_at + late_s)
        if self._standing is not None:
            self._give_way()
        self._missed_at = None
        self._hold_until = max(self._hold_until, now + self._silence_s())

    # -- messages ------------------------------------------------------------------------------------------------------

    def _receive(self, sender: str, payload: bytes, now: float, *, stream: bool) -> None:
        message = decode(payload)
        if message is None or sender == self._me:
            return
        if not isinstance(message, LeaderMessage):
            self._out += self._swim.receive(sender, message, now, stream=stream)
            if isinstance(message, State) and message.answer and self._swim.member(sender) and not self._misses(now):
                self._out.append(Stream(sender, encode(self._word(now))))  # so that who joins knows the leader at once
            return
        if self._swim.member(sender) is None or self._resigned_until == NEVER:
            return
        match message:
            case Beat():
                self._on_beat(sender, message, now)
            case Ask():
                self._tell(sender, self._word(now))
            case Vouch():
                self._on_vouch(sender, message, now)
            case Claim(term):
                self._on_claim(sender, term, now)
            case Grant(term):
                self._on_grant(sender, term)
            case HandOver():
                self._on_hand_over(sender, message, now)
        self._out += self._swim.heard(sender, now)

    def _on_beat(self, sender: str, beat: Beat, now: float) -> None:
        if beat.leader == self._me or self._swim.member(beat.leader) is None:
            return
        if sender == beat.leader:
            passed_on = Beat(beat.term, beat.leader, beat.count, beat.company)
            for member in beat.pass_on:
                self._tell(member, passed_on)
        self._hear(Reign(beat.leader, beat.term, now, beat.count, 0, beat.company), now)

    def _on_vouch(self, sender: str, vouch: Vouch, now: float) -> None:
        self._seen = max(self._seen, vouch.term)
        if vouch.leader is None or vouch.leader == self._me:
            if self._role is Role.LEADER and vouch.term > self._term:
                self._yield("a higher term was seen", None)  # whose leader is gone; or it was us, before a restart
            return
        if self._swim.member(vouch.leader) is None:
            return
        reign = Reign(vouch.leader, vouch.term, now - vouch.age_s, vouch.count, vouch.hops + 1, vouch.company)
        if self._hear(reign, now):
            self._voucher = sender

    def _hear(self, said: Reign, now: float) -> bool:
        """Take the evidence of a leader, if it is news of ours or a better claim; else tell that leader of ours."""
        reign = self._reign
        self._seen = max(self._seen, said.term)
        if said.term <= self._ended:
            return False
        if reign is not None and (said.term, said.leader) == (reign.term, reign.leader):
            return reign.hear(said.count, said.heard_at, said.hops, company=said.company)
        if reign is None or self._is_stronger(said, reign):
            if said.term < self._term or now >= said.silent_from(self._silence_s(), self._heartbeat_s()):
                if self._role is Role.LEADER:
                    self._yield("a higher term was seen", None)
                return False
            self._adopt(said)
            return True
        if said.hops == 0:
            self._tell(said.leader, self._word(now))
        return False

    def _is_stronger(self, said: Reign, reign: Reign) -> bool:
        """Which of two leaders remains: the higher term; then the one whom somebody follows; then the better."""
        if said.term != reign.term:
            return said.term > reign.term
        if said.company != reign.company:
            return said.company
        one, other = self._swim.member(said.leader), self._swim.member(reign.leader)
        return one is not None and (other is None or standing(one)[1] > standing(other)[1])

    def _adopt(self, reign: Reign) -> None:
        self._yield(f"{reign.leader} leads in term {reign.term}", reign.leader)
        self._give_way()
        self._reign, self._blind, self._missed_at = reign, False, None
        self._term = reign.term
        self._promised = None
        self._tell(reign.leader, Grant(reign.term))

    def _on_claim(self, sender: str, term: int, now: float) -> None:
        reign = self._reign
        if reign is not None and reign.leader == sender and term > reign.term:
            # Our own leader stands again: it was restarted, and does not lead.
            self._ended = max(self._ended, reign.term)
            self._reign = reign = None
        member = self._swim.member(sender)
        if member is None:
            return
        if term <= max(self._seen, self._ended) or not self._misses(now):
            self._tell(sender, self._word(now))
            return
        mine, theirs = standing(self._own()), standing(member)
        running = self._standing
        if running is not None:
            if (running.term, mine) > (term, theirs):
                self._tell(sender, Claim(running.term))
                return
        elif mine > theirs and self._may_stand() and now >= max(self._hold_until, self._promised_until):
            self._stand(term, now)
            return
        if self._promised is not None and now < self._promised_until:
            promised = self._swim.member(self._promised[1])
            if self._promised[0] == term and promised is not None and standing(promised) > theirs:
                return
        self._give_way()
        self._blind = True
        self._promise(term, sender, now)
        self._tell(sender, Grant(term))

    def _promise(self, term: int, to: str, now: float) -> None:
        """Leave the way free for somebody, for as long as a leader may be silent."""
        self._promised, self._promised_until = (term, to), now + self._silence_s()

    def _on_grant(self, sender: str, term: int) -> None:
        if self._standing is not None and self._standing.term == term:
            self._standing.granted.add(sender)
        elif self._role is Role.LEADER and self._reign is not None and self._reign.term == term:
            self._reign.company = True

    def _on_hand_over(self, sender: str, word: HandOver, now: float) -> None:
        reign = self._reign
        if word.term < self._term or word.term <= self._ended or (reign is not None and reign.leader != sender):
            return
        self._seen, self._ended = max(self._seen, word.term), word.term
        self._reign, self._blind, self._missed_at = None, True, None
        if word.successor == self._me:
            self._give_way()
            if self._may_stand():  # else whoever named us did not know: the others stand once our time is over
                self._win(max(self._seen, self._term) + 1, now, company=True)
        elif word.successor is not None:
            self._promise(word.term + 1, word.successor, now)
