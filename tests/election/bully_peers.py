"""One Bully by itself, and peers that a test plays by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hegemon.election import bully_messages as wire
from hegemon.election.bully import Bully
from hegemon.election.contract import Discovered, Effect, Event, Member, Received, Role, Tick, Timing

STEP_S = 0.05


class Peers:
    """`name` is the Bully under test; the others are heard, and `leader` leads them in term 1 (None: nobody)."""

    def __init__(
        self,
        name: str,
        others: Sequence[str],
        *,
        leader: str | None = "n5",
        preempt: bool = True,
        make: type[Bully] = Bully,
        timing: Timing | None = None,
    ) -> None:
        self.now = 10.0
        self.timing = timing or Timing()
        self.bully = make(Member(name, incarnation=1), timing=self.timing, preempt=preempt, expected=len(others))
        self.leader, self.term = leader, 1
        self.seqs = dict.fromkeys(others, 0)
        self.incarnations = dict.fromkeys(others, 1)
        self.bully.start(self.now)
        self.effects: list[Effect] = []
        for other in others:
            self.give(Discovered(Member(other, incarnation=1, address=f"{other}:1")))
            self.hear(other, wire.Beat)

    @property
    def role(self) -> Role:
        return self.bully.view.role

    def give(self, event: Event) -> list[Effect]:
        self.effects = list(self.bully.handle(event, self.now))
        return self.effects

    def payload(
        self,
        sender: str,
        message: Callable[[wire.Head], wire.Message],
        *,
        leads: int | None = None,
        fit: bool = True,
        standing: bool = True,
    ) -> bytes:
        """A message as `sender` would say it; `leads`: it claims to lead in that term, else follows `self.leader`."""
        self.seqs[sender] += 1
        seq, incarnation = self.seqs[sender], self.incarnations[sender]
        claim = None
        if leads is not None:
            claim = wire.Claim(sender, incarnation, leads, seq, sound=fit, followed=True)
        elif self.leader in self.seqs:
            pulse = self.seqs[self.leader]
            claim = wire.Claim(self.leader, self.incarnations[self.leader], self.term, pulse, sound=True, followed=True)
        return wire.encode(message(wire.Head(incarnation, seq, seq, self.term, None, fit, standing, True, claim)))

    def hear(
        self,
        sender: str,
        message: Callable[[wire.Head], wire.Message] = wire.Beat,
        *,
        leads: int | None = None,
        fit: bool = True,
        standing: bool = True,
    ) -> list[Effect]:
        return self.give(Received(sender, self.payload(sender, message, leads=leads, fit=fit, standing=standing)))

    def pass_time(self, seconds: float, *, beating: Sequence[str] = ()) -> list[Effect]:
        """Ticks, and beats of those named; everything that came of it."""
        effects: list[Effect] = []
        end = self.now + seconds
        while self.now + STEP_S <= end + 1e-9:
            self.now += STEP_S
            for sender in beating:
                effects += self.hear(sender)
            effects += self.give(Tick())
        return [effect for effect in effects if not self._is_routine(effect)]

    def leader_dies(self, leader: str) -> None:
        """Nobody hears the leader any more; the others go on."""
        others = [other for other in self.seqs if other != leader]
        while self.bully.view.leader == leader:
            self.effects = self.pass_time(STEP_S, beating=others)
        self.leader = None

    last: list[Effect]

    def answer(self, sender: str) -> None:
        """`sender` answers the question that is open."""
        ballots = [
            message.ballot
            for effect in self.effects
            if isinstance(message := wire.decode(getattr(effect, "payload", b"")), wire.Election)
        ]
        self.hear(sender, lambda head: wire.Answer(head, ballots[-1]))

    def _is_routine(self, effect: Effect) -> bool:
        message = wire.decode(getattr(effect, "payload", b""))
        return isinstance(message, wire.Beat | wire.Table)
