"""One Swim that knows some others, and whose calm is read out: what it says, and when it probes next."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from hegemon.election.contract import Discovered, Effect, Health, Member, Received, Send, Stream, Tick
from hegemon.election.swim import Swim
from hegemon.election.swim_messages import Ack, Fact, Ping, State, SwimMessage, decode, encode
from hegemon.election.swim_timing import SwimTiming

# The full exchange would only be in the way where one member's part is looked at alone.
QUIET = SwimTiming(sync_s=1e6)


def state_of(members: Sequence[Fact], *, answer: bool = False) -> bytes:
    """A State as its first member would send it."""
    return encode(State(1, answer, msgspec.Raw(encode(tuple(members)))))


def acquainted(size: int, *, seed: int = 1, timing: SwimTiming = QUIET, witness_s: float = 1.5) -> tuple[Swim, float]:
    """`me` in a group of ``size`` with n1, n2..., after all news of it has been told; and the time."""
    swim = Swim(Member("me"), rng=random.Random(seed), timing=timing, witness_s=witness_s)
    swim.start(0.0)
    others = [Fact(f"n{number}", Health.ALIVE, 0, f"n{number}:1") for number in range(1, size)]
    swim.handle(Discovered(Member("n1", address="n1:1")), 0.0)
    swim.handle(Received("n1", state_of(others)), 0.0)
    now = 0.0
    while now < 10.0:  # every probe is answered
        now = swim.deadline() or now
        _answer(swim, swim.handle(Tick(), now), now)
    assert len(swim.live) == size - 1
    return swim, now


def _answer(swim: Swim, effects: Sequence[Effect], now: float) -> None:
    for to, message in said(effects):
        if isinstance(message, Ping):
            swim.handle(Received(to, encode(Ack(message.seq))), now)


def said(effects: Sequence[Effect]) -> list[tuple[str, SwimMessage]]:
    """To whom, what."""
    pairs = []
    for effect in effects:
        if isinstance(effect, Send | Stream):
            message = decode(effect.payload)
            assert message is not None
            pairs.append((effect.to, message))
    return pairs


def until_probe(swim: Swim, now: float) -> tuple[float, str, int]:
    """Tick until it pings somebody of its own accord: when, whom, under which number."""
    for _ in range(1000):
        now = max(now, swim.deadline() or now)
        for effect in swim.handle(Tick(), now):
            message = decode(effect.payload) if isinstance(effect, Send) else None
            if isinstance(effect, Send) and isinstance(message, Ping):
                return now, effect.to, message.seq
    raise AssertionError("it does not probe")
