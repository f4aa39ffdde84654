"""One probe at a time (SWIM, 3.1), with Lifeguard's doubts about oneself (LHA-Probe).

    begin ──Ping──> direct ──timeout──> indirect: PingRequest to k helpers, Ping over a stream ──period over──> failed
                      │                     │
                      └──────── Ack ────────┴──> answered

| what happens | effect |
|---|---|
| the Ping or its Ack is lost | helpers and the stream ask again, within the same period |
| the way between the two is cut | a helper's Ack comes back in the target's place |
| no Ack within the period | failed: the target becomes suspect, local health worsens |
| a helper says neither Ack nor Nack | local health worsens once more: it is us who hear nothing |
| an Ack comes late, doubled, or from somebody not asked | ignored |

As a helper: ping the target under a number of our own, pass its Ack on, say Nack when 80% of the timeout has passed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hegemon.election.contract import Randomness
from hegemon.election.swim_awareness import Awareness
from hegemon.election.swim_messages import Ack, Nack, Ping, PingRequest, SwimMessage
from hegemon.election.swim_table import MemberTable
from hegemon.election.swim_timers import Key, Timers
from hegemon.election.swim_timing import SwimTiming

Say = Callable[[str, SwimMessage, bool], None]  # to whom, what, and whether over a stream
DIRECT: Final[Key] = ("direct", "")


class _Round:
    __slots__ = ("answered", "helpers", "nacks", "seq", "target")

    def __init__(self, target: str, seq: int) -> None:
        self.target = target
        self.seq = seq
        self.answered = False
        self.helpers: list[str] = []
        self.nacks: set[str] = set()


class Prober:
    """Probes for one member, and helps others to. ``say`` sends; alarms ring back through `timeout` and `relay_due`."""

    def __init__(
        self,
        *,
        table: MemberTable,
        timers: Timers,
        awareness: Awareness,
        timing: SwimTiming,
        rng: Randomness,
        say: Say,
    ) -> None:
        self._table = table
        self._timers = timers
        self._awareness = awareness
        self._timing = timing
        self._rng = rng
        self._say = say
        self._seq = 0
        self._round: _Round | None = None
        self._relays: dict[int, tuple[str, int, str, bool]] = {}  # our number: asker, its number, target, nacked

    def begin(self, target: str, now: float) -> None:
        """Probe it; whatever round ran before is over."""
        self._seq += 1
        self._round = _Round(target, self._seq)
        self._say(target, Ping(self._seq), False)
        self._timers.set(DIRECT, now + self._awareness.stretch(self._timing.probe_timeout_s))

    def timeout(self) -> None:
        """The direct Ping had its time: ask helpers, and ask once more over a stream."""
        if self._round is not None and not self._round.answered:
            self._ask_helpers(self._round)
            self._say(self._round.target, Ping(self._round.seq), True)

    def end(self) -> str | None:
        """The period is over: the member that failed to answer, if it is still one of the live, else None."""
        ended, self._round = self._round, None
        self._timers.cancel(DIRECT)
        if ended is None or ended.answered or not self._table.is_live(ended.target):
            return None
        self._awareness.worse(1 + (len(ended.nacks) < len(ended.helpers)))
        return ended.target

    def abandon(self) -> None:
        """End without a verdict."""
        self._round = None
        self._timers.cancel(DIRECT)

    def acked(self, sender: str, seq: int) -> None:
        current = self._round
        if current is not None and seq == current.seq:
            if not current.answered and (sender == current.target or sender in current.helpers):
                current.answered = True
                self._timers.cancel(DIRECT)
                self._awareness.better()
        elif (relay := self._relays.get(seq)) is not None and relay[2] == sender:
            del self._relays[seq]
            self._timers.cancel(("relay", seq))
            self._say(relay[0], Ack(relay[1]), False)

    def nacked(self, sender: str, seq: int) -> None:
        if self._round is not None and seq == self._round.seq and sender in self._round.helpers:
            self._round.nacks.add(sender)

    def relay(self, asker: str, request: PingRequest, now: float) -> None:
        """Ping the target for somebody else."""
        if self._table.get(request.target) is None:
            return
        self._seq += 1
        self._relays[self._seq] = (asker, request.seq, request.target, False)
        self._timers.set(("relay", self._seq), now + self._timing.nack_s)
        self._say(request.target, Ping(self._seq), False)

    def relay_due(self, seq: int, now: float) -> None:
        """First the Nack; then, when an Ack would help nobody any more, forget it."""
        asker, number, target, nacked = self._relays.pop(seq)
        if not nacked:
            self._relays[seq] = (asker, number, target, True)
            self._timers.set(("relay", seq), now + self._timing.probe_interval_s * (1 + self._timing.health_max))
            self._say(asker, Nack(number), False)

    def _ask_helpers(self, current: _Round) -> None:
        current.helpers = self._table.pick(self._timing.helpers, self._rng, without=(current.target,))
        for helper in current.helpers:
            self._say(helper, PingRequest(current.seq, current.target), False)
