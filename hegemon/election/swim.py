"""SWIM (Das, Gupta, Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2018): who is alive, without I/O.

States of a member in the eyes of another (``swim_table`` has the rule which news wins):

    unknown ──State, alive or suspect news──> ALIVE <──refuted: a higher incarnation──┐
                                                │ a probe failed, or others say so    │
                                                └──> SUSPECT ──its timeout──> DEAD ───┤──forget_s──> unknown
                                              LEFT <── its own word                   └── it comes back, and is told

| what is trusted | until when |
|---|---|
| that a member is alive | a probe of it fails, or somebody suspects it |
| that a suspect is dead | it refutes; it has from 4 log10(n) periods (many suspect it) to 6 times that |
| that a silent member which the store has shown lives | ``witness_s`` after the look: it stays suspect, however long |
| our own judgement | less so with each failure, ours or others' (``swim_awareness``), and after we were stopped |

| failure | effect |
|---|---|
| messages lost, doubled, overtaken | probes have other ways; news is sent several times and has an order of its own |
| the process stopped, continued | every deadline moves by the time lost: nobody is judged for what we could not hear |
| a partition | each side holds the other for dead, and greets one of the dead every ``sync_s``: they are told, refute |
| a member restarts | it is told what is said of it, and takes an incarnation above that |
| one that cannot be read, or a stranger's | dropped; who was Discovered becomes known by a State that begins with it |
"""

from __future__ import annotations

import msgspec

from hegemon.election.contract import (
    DATAGRAM_MAX,
    Discovered,
    Effect,
    Event,
    Fitness,
    Health,
    Member,
    Randomness,
    Received,
    Resign,
    Send,
    Stream,
    Witnessed,
)
from hegemon.election.swim_awareness import Awareness
from hegemon.election.swim_membership import GOSSIP, GREET, Membership
from hegemon.election.swim_messages import (
    Ack,
    Fact,
    Nack,
    News,
    Ping,
    PingRequest,
    State,
    SwimMessage,
    decode,
    decode_facts,
    encode,
)
from hegemon.election.swim_probe import Prober
from hegemon.election.swim_table import LIVE
from hegemon.election.swim_timers import Key, Timers
from hegemon.election.swim_timing import LAN, SwimTiming

PROBE: Key = ("probe", "")
SYNC: Key = ("sync", "")
GREETINGS = 60  # to somebody who never answered; a new Discovered begins anew
FAREWELLS = 10


class Swim:
    """The membership as ``me`` sees it. Takes the events of the elector's contract and returns its Send and Stream
    effects; ``witness_s`` is how long a look at the store proves a member alive. It leads nobody."""

    def __init__(self, me: Member, *, rng: Randomness, timing: SwimTiming = LAN, witness_s: float = 1.5) -> None:
        self._me = me.id
        self._rng = rng
        self._timing = timing
        self._timers = Timers()
        self.awareness = Awareness(timing.health_max)
        self._group = Membership(
            me, timers=self._timers, awareness=self.awareness, timing=timing, rng=rng, witness_s=witness_s
        )
        self._table = self._group.table
        self._prober = Prober(
            table=self._table,
            timers=self._timers,
            awareness=self.awareness,
            timing=timing,
            rng=rng,
            say=self._say,
        )
        self._unmet: dict[str, int] = {}
        self._introduced: set[str] = set()
        self._packed: tuple[int, bytes] = (-1, b"")
        self._out: list[Effect] = []

    # -- what others ask -----------------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """Grows whenever `members` changes."""
        return self._table.version

    @property
    def members(self) -> tuple[Member, ...]:
        """All that are known, this one too, by id."""
        return self._table.members()

    @property
    def live(self) -> list[str]:
        """The ids of the others that are alive or suspect, in no order. Not to be changed."""
        return self._table.live

    def member(self, member: str) -> Member | None:
        """What is believed of one of them; None of somebody unknown."""
        entry = self._table.get(member)
        return None if entry is None else entry.member

    def pick(self, count: int) -> list[str]:
        """Up to ``count`` of the live others at random."""
        return self._table.pick(count, self._rng)

    def deadline(self) -> float | None:
        """When it wants a Tick."""
        return self._timers.next()

    # -- events --------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> list[Effect]:
        """Begin; the first probe comes at a random moment of the first period, so that not all probe at once."""
        self._timers.set(PROBE, now + self._rng.random() * self._timing.probe_interval_s)
        self._timers.set(SYNC, now + (0.5 + self._rng.random()) * self._timing.sync_s)
        return []

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Take one event; what an election alone needs does nothing here."""
        self._notice_lateness(now)
        match event:
            case Received(sender, payload, stream):
                if (message := decode(payload)) is not None:
                    self._receive(sender, message, now, stream=stream)
            case Witnessed(members):
                self._group.witness(members, now)
            case Discovered(member):
                self._discover(member, now)
            case Fitness(fit) if fit != self._group.own.fit and not self._group.left:
                self._group.restate(now, fit=fit)
            case Resign(_, None) if not self._group.left:
                self._leave(now)
            case _:
                pass
        return self._conclude(now)

    def receive(self, sender: str, message: SwimMessage, now: float, *, stream: bool) -> list[Effect]:
        """As `handle` with Received, of a message that is decoded already."""
        self._notice_lateness(now)
        self._receive(sender, message, now, stream=stream)
        return self._conclude(now)

    def heard(self, sender: str, now: float) -> list[Effect]:
        """Somebody sent a message of the layer above; if it is not taken for alive, it is told so."""
        self._remind(sender, now)
        return self._conclude(now)

    def _conclude(self, now: float) -> list[Effect]:
        while (key := self._timers.due(now)) is not None:
            self._ring(key, now)
        out, self._out = self._out, []
        return out

    def _notice_lateness(self, now: float) -> None:
        """Whoever misses a deadline of his own was stopped or starved, and could not hear: all else gets that time too
        (Lifeguard: the detector itself may be at fault)."""
        due = self._timers.next()
        if due is None or now - due <= self._timing.late_s:
            return
        late_s = now - due
        self.awareness.worse(min(3, 1 + int(late_s / self._timing.probe_interval_s)))
        self._timers.postpone(late_s)
        for member in self._table.live:
            entry = self._table.get(member)
            if entry is not None and entry.suspicion is not None:
                entry.suspicion.started_at += late_s

    def _ring(self, key: Key, now: float) -> None:
        match key:
            case ("probe", _):
                self._probe(now)
            case ("direct", _):
                self._prober.timeout()
            case ("relay", int(seq)):
                self._prober.relay_due(seq, now)
            case ("gossip", _):
                self._gossip(now)
            case ("sync", _):
                self._sync(now)
            case ("greet", _):
                self._greet_one(now)
            case ("suspect", str(member)):
                self._group.expire(member, now)
            case ("forget", str(member)):
                self._table.forget(member)
                self._group.queue.drop(member)

    # -- probing -------------------------------------------------------------------------------------------------------

    def _probe(self, now: float) -> None:
        failed = self._prober.end()
        if failed is not None and (entry := self._table.get(failed)) is not None:
            self._group.suspect(entry, entry.fact.incarnation, self._me, now)
        target = self._group.schedule.next(self._group.is_unsuspected, self._group.is_doubtful)
        if target is not None:
            self._prober.begin(target, now)
        self._timers.set(PROBE, now + self.awareness.stretch(self._timing.probe_interval_s))

    # -- messages ------------------------------------------------------------------------------------------------------

    def _receive(self, sender: str, message: SwimMessage, now: float, *, stream: bool) -> None:
        if self._group.left or sender == self._me:
            return
        if isinstance(message, State):
            self._on_state(sender, message, now)
            return
        if self._table.get(sender) is None:
            return
        if not isinstance(message, Nack):
            for fact in message.facts:
                self._group.learn(fact, sender, now)
        match message:
            case Ping(seq):
                self._say(sender, Ack(seq), stream)
            case Ack(seq):
                self._prober.acked(sender, seq)
            case Nack(seq):
                self._prober.nacked(sender, seq)
            case PingRequest():
                self._prober.relay(sender, message, now)
        self._remind(sender, now)

    def _say(self, to: str, message: SwimMessage, stream: bool) -> None:
        entry = self._table.get(to)
        payload = encode(message)
        if not isinstance(message, Nack | State) and entry is not None:
            facts: tuple[Fact, ...] = ()
            room = DATAGRAM_MAX - len(payload) - 8
            if entry.fact.health is not Health.ALIVE and (size := len(encode(entry.fact))) <= room:
                facts = (entry.fact,)  # Lifeguard's buddy system: who is suspected is the first to know
                room -= size
            if self._group.queue:
                facts += self._group.queue.take(room, self._timing.retransmits(len(self._table)))
            if facts:
                payload = encode(msgspec.structs.replace(message, facts=facts))
        self._out.append(Stream(to, payload) if stream else Send(to, payload))

    def _remind(self, sender: str, now: float) -> None:
        """Gossip to the dead: one who speaks while we do not take it for alive is told what it has to refute."""
        entry = self._table.get(sender)
        if entry is None or sender == self._me or entry.fact.health in (Health.ALIVE, Health.LEFT):
            return
        if now - entry.reminded_at >= self._timing.gossip_s:
            entry.reminded_at = now
            self._out.append(Send(sender, encode(News((entry.fact,)))))

    def _gossip(self, now: float) -> None:
        self._group.gossiped_at = now
        for member in self._table.pick(self._timing.fanout, self._rng):
            if not self._group.queue:
                break
            self._say(member, News(()), False)
        if self._group.queue and self._table.live:
            self._timers.set(GOSSIP, now + self._timing.gossip_s)

    # -- the full exchange, coming and going ---------------------------------------------------------------------------

    def _discover(self, member: Member, now: float) -> None:
        entry = self._table.get(member.id)
        if self._group.left or member.id == self._me:
            return
        self._introduced.add(member.id)
        if member.id in self._unmet:
            return
        if entry is None or entry.fact.health not in LIVE or entry.fact.incarnation < member.incarnation:
            self._unmet[member.id] = GREETINGS
            self._exchange(member.id, answer=True)
            self._group.look_for_the_lost(now)

    def _exchange(self, to: str, *, answer: bool) -> None:
        if self._packed[0] != self._table.version:
            self._packed = (self._table.version, encode(self._table.facts()))
        self._say(to, State(self._table.digest, answer, msgspec.Raw(self._packed[1])), True)

    def _on_state(self, sender: str, state: State, now: float) -> None:
        known = self._table.get(sender) is not None
        if not (known or sender in self._introduced) or (known and state.digest == self._table.digest):
            return
        facts = decode_facts(state.facts)
        if not facts or facts[0].id != sender or facts[0].health is not Health.ALIVE:
            return
        self._unmet.pop(sender, None)
        for fact in facts:
            # What is hearsay is not the last word: a member that is called dead here gets the time of a suspect.
            hearsay = msgspec.structs.replace(fact, health=Health.SUSPECT) if fact.health is Health.DEAD else fact
            if hearsay is fact or self._table.get(fact.id) is not None:
                self._group.learn(hearsay, sender, now)
        if state.answer:
            self._exchange(sender, answer=False)

    def _sync(self, now: float) -> None:
        for member in self._table.pick(1, self._rng):
            self._exchange(member, answer=True)
        self._timers.set(SYNC, now + self._timing.sync_every_s(len(self._table)))

    def _greet_one(self, now: float) -> None:
        """One of those who never answered, or of the dead: it may be that a partition has healed."""
        for member in [member for member in self._unmet if self._table.is_live(member)]:
            del self._unmet[member]
        lost = [*self._unmet, *(entry.fact.id for entry in self._table if entry.fact.health is Health.DEAD)]
        if not lost or self._group.left:  # found, or forgotten, meanwhile
            return
        member = lost[self._rng.randrange(len(lost))]
        if member in self._unmet:
            self._unmet[member] -= 1
            if not self._unmet[member]:
                del self._unmet[member]
        self._exchange(member, answer=True)
        self._timers.set(GREET, now + self._timing.sync_s)

    def _leave(self, now: float) -> None:
        self._group.restate(now, health=Health.LEFT)
        self._prober.abandon()
        for key in (PROBE, SYNC, GREET):
            self._timers.cancel(key)
        farewell = encode(News((self._group.own,)))
        for member in self._table.pick(FAREWELLS, self._rng):
            self._out.append(Send(member, farewell))
