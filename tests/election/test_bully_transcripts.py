"""Whole dialogues of Bully nodes, readable, line by line: what went over the wire, what was won and lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hegemon.election import bully_messages as wire
from hegemon.election.bully import Bully
from hegemon.election.contract import (
    Changed,
    Effect,
    Event,
    Lost,
    Member,
    Received,
    Send,
    Stream,
    Timing,
    Witnessed,
    Won,
)
from tests.election.virtual_network import Link, Node, VirtualNetwork


class Recorder(VirtualNetwork):
    """Writes down what happens, but for beats and tables, which would drown it."""

    lines: list[str]

    def say(self, text: str) -> None:
        self.lines.append(f"{self.now - 100.0:8.3f}  {text}")

    def give(self, name: str, event: Event) -> None:
        if isinstance(event, Received):
            message = wire.decode(event.payload)
            if message is not None and not isinstance(message, wire.Beat | wire.Table):
                self.say(f"{name} <- {event.sender}  {told(message)}{'  (stream)' if event.stream else ''}")
        super().give(name, event)

    def _done(self, node: Node, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Won(term):
                    self.say(f"{node.member.id} WON term {term}")
                case Lost(leader, reason):
                    self.say(f"{node.member.id} LOST to {leader}: {reason}")
                case Changed(view):
                    health = " ".join(f"{member.id}={member.health}" for member in view.members)
                    self.say(f"{node.member.id} is {view.role}, leader {view.leader}, term {view.term}; {health}")
                case Send(to, payload) | Stream(to, payload):
                    message = wire.decode(payload)
                    assert message is not None
                    if not isinstance(message, wire.Beat | wire.Table):
                        self.say(f"{node.member.id} -> {to}  {told(message)}")
                case _:
                    pass
        super()._done(node, effects)


def told(message: wire.Message) -> str:
    match message:
        case wire.Election(head, ballot):
            following = "" if head.claim is None else f", following {head.claim.leader}"
            return f"election, ballot {ballot}{following}"
        case wire.Answer(_, ballot):
            return f"answer to ballot {ballot}"
        case wire.Handover(_, successor, leaving):
            return f"hand-over to {successor}{', leaving' if leaving else ''}"
        case _:
            claim = message.head.claim
            return "coordinator" if claim is None else f"coordinator: {claim.leader} in term {claim.term}"


def three(preempt: bool = True) -> Recorder:
    network = Recorder(
        lambda me: Bully(me, timing=Timing(), preempt=preempt, expected=2),
        [Member("n1"), Member("n2"), Member("n3")],
        witness=False,
    )
    network.link, network.lines = Link(latency_s=(0.001, 0.001)), []
    return network


def calm(network: Recorder) -> None:
    """Three that have elected; how they did stands in the dialogue of the start."""
    network.start()
    network.run(1.0)
    network.lines.clear()


def a_start_together(network: Recorder) -> None:
    network.start()
    network.run(1.0)


def kill_and_return(network: Recorder) -> None:
    calm(network)
    network.say("--- n3 is killed")
    network.kill("n3")
    network.run(1.5)
    network.say("--- n3 is started again")
    network.start("n3")
    network.run(1.0)


def resignation(network: Recorder) -> None:
    calm(network)
    network.say("--- n3 gets SIGTERM")
    network.resign("n3")
    network.run(1.0)


def the_next_in_rank_dies_with_the_leader(network: Recorder) -> None:
    calm(network)
    network.say("--- n3 and n2 are killed")
    network.kill("n3", "n2")
    network.run(2.0)


def one_way_cut(network: Recorder) -> None:
    calm(network)
    network.say("--- n3 is not heard by n2 any more, but by n1")
    network.cut("n3", "n2")
    network.run(2.0)
    network.say("--- n3 is heard by nobody, but hears all")
    network.cut("n3", "n1")
    network.run(2.0)
    network.say("--- the cuts are healed")
    network.heal()
    network.run(2.0)


def a_witnessed_leader(network: Recorder) -> None:
    calm(network)
    network.say("--- n3 is cut off, but stands in the store")
    network.partition("n1 n2", "n3")
    for _ in range(20):
        network.run(0.1)
        for name in ("n1", "n2"):
            network.give(name, Witnessed(frozenset({"n3"})))
    network.say("--- the store shows it no more")
    network.run(1.0)


@pytest.mark.parametrize(
    "scene",
    [
        a_start_together,
        kill_and_return,
        resignation,
        the_next_in_rank_dies_with_the_leader,
        one_way_cut,
        a_witnessed_leader,
    ],
    ids=lambda scene: scene.__name__,
)
def test_the_dialogue_is_the_one_that_was_reviewed(
    scene: Callable[[Recorder], None], transcript: Callable[[str, str], str]
) -> None:
    network = three()
    scene(network)
    dialogue = "\n".join(network.lines) + "\n"
    assert dialogue == transcript(f"bully_{scene.__name__}", dialogue)


def test_without_preemption_a_higher_node_that_returns_only_follows(transcript: Callable[[str, str], str]) -> None:
    network = three(preempt=False)
    kill_and_return(network)
    dialogue = "\n".join(network.lines) + "\n"
    assert dialogue == transcript("bully_kill_and_return_without_preemption", dialogue)
