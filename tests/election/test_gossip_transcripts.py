"""Golden transcripts: what the nodes of a small cluster say to each other and come to, line by line."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from hegemon.election.contract import Changed, Effect, Lost, Member, Resign, Send, Stream, Timing, Won
from hegemon.election.gossip import Gossip
from hegemon.election.gossip_messages import Claim, Grant, HandOver, decode
from hegemon.election.swim_messages import Ack, Fact, News, Ping, PingRequest, State, decode_facts
from tests.election.swim_network import Network


class Scribe:
    """Three nodes, and what they do, written down while it is wanted."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.net: Network[Gossip] = Network(
            lambda me, rng: Gossip(me, timing=Timing(), rng=rng, expected=3),
            seed=1,
            delay_s=(0.001, 0.001),
            watch=self._write,
        )
        self.begun = 0.0

    def say(self, what: str) -> None:
        """A line of the play's directions; the clock begins anew."""
        self.begun = self.net.now
        self.lines.append(f"# {what}")

    def _write(self, node: str, effects: Sequence[Effect], now: float) -> None:
        for effect in effects:
            if (line := shown(effect)) is not None:
                self.lines.append(f"{now - self.begun:6.3f} {node} {line}")


def shown(effect: Effect) -> str | None:
    """An effect as a line; beats and calm probes, which fill every second, are left out."""
    match effect:
        case Changed(view):
            members = " ".join(f"{m.id}:{m.health}{m.incarnation or ''}" for m in view.members)
            return f"is {view.role} in term {view.term}, follows {view.leader or 'nobody'}, knows {members}"
        case Won(term):
            return f"WON term {term}"
        case Lost(leader, reason):
            return f"LOST to {leader}: {reason}"
        case Send(to, payload) | Stream(to, payload):
            message = decode(payload)
            how = "=>" if isinstance(effect, Stream) else "->"
            name = type(message).__name__
            facts: tuple[Fact, ...] = ()
            match message:
                case State():
                    facts = decode_facts(message.facts)
                case Ping(_, some) | Ack(_, some) | PingRequest(_, _, some) | News(some):
                    facts = some
            if name in ("Beat", "Ask", "Vouch") or (name in ("Ping", "Ack", "State") and not facts and how == "->"):
                return None
            if name == "State":
                return f"{how} {to} State of {len(facts)}"
            told = " ".join(f"{f.id}:{f.health}{f.incarnation or ''}" for f in facts)
            detail = f" {message.term}" if isinstance(message, Claim | Grant | HandOver) else ""
            return f"{how} {to} {name}{detail}{' ' if told else ''}{told}"
        case _:
            return repr(effect)


def begin(scribe: Scribe) -> None:
    for name in ("n1", "n2", "n3"):
        scribe.net.start(Member(name, address=f"{name}:7946"))
        if name != "n1":
            scribe.net.introduce(name, "n1")


def first_election(scribe: Scribe) -> None:
    scribe.say("three nodes start; n2 and n3 know n1")
    begin(scribe)
    scribe.net.run(0.7)


def settled(scribe: Scribe) -> None:
    begin(scribe)
    scribe.net.run(5.0)
    scribe.lines.clear()


def killed_leader(scribe: Scribe) -> None:
    settled(scribe)
    scribe.say("n3 leads and is killed")
    scribe.net.kill("n3")
    scribe.net.run(0.8)


def orderly_leave(scribe: Scribe) -> None:
    settled(scribe)
    scribe.say("n3 leads and is told to leave")
    scribe.net.tell("n3", Resign("SIGTERM"))
    scribe.net.run(0.3)


def false_suspicion(scribe: Scribe) -> None:
    settled(scribe)
    scribe.say("n1 is cut off for three seconds: suspected, it refutes when it is back")
    scribe.net.cut = lambda sender, to: "n1" in (sender, to)
    scribe.net.run(3.0)
    scribe.say("the way is free again")
    scribe.net.cut = None
    scribe.net.run(2.0)


PLAYS: dict[str, Callable[[Scribe], None]] = {
    "gossip_first_election": first_election,
    "gossip_killed_leader": killed_leader,
    "gossip_orderly_leave": orderly_leave,
    "gossip_false_suspicion": false_suspicion,
}


@pytest.mark.parametrize("play", PLAYS)
def test_the_dialogue_is_as_it_is_written(play: str, transcript: Callable[[str, str], str]) -> None:
    scribe = Scribe()
    PLAYS[play](scribe)
    dialogue = "\n".join(scribe.lines) + "\n"
    assert dialogue == transcript(play, dialogue)


def test_chance_comes_from_the_given_generator_alone() -> None:
    texts = []
    for _ in range(2):
        random.seed()
        scribe = Scribe()
        killed_leader(scribe)
        texts.append(scribe.lines)
    assert texts[0] == texts[1]
