"""Golden transcripts of three Raft voters, PySyncObj in the middle: what they say to each other, win and lose."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from hegemon.cluster.raft_frames import (
    AppendEntries,
    Frame,
    Keepalive,
    NextIndex,
    PreVote,
    PreVoteReply,
    RequestVote,
    TimeoutNow,
    Vote,
    decode,
)
from hegemon.election.contract import Abdicate, Changed, Effect, Lost, Resign, Won
from tests.cluster.raft_network import Machine, RaftNetwork


class Recorder(RaftNetwork):
    """Writes down what happens. What one says to another in the same words in the same term is written once after each
    direction, which leaves one of all heartbeats; of keepalives only the last of a node that leaves is written."""

    def __init__(self) -> None:
        super().__init__(3, delay=(0.001, 0.001))
        self.lines: list[str] = []
        self._begun = self.now
        self._written: set[tuple[str, str, int, str]] = set()

    def say(self, text: str) -> None:
        self.lines.append(f"{self.now - self._begun:8.3f}  {text}")

    def direct(self, text: str) -> None:
        self._written.clear()
        self.say(f"--- {text}")

    def calm(self) -> str:
        """They have elected; how they did stands in the transcript of the first election."""
        leader = self.settle()
        self.run(1.0)
        self.lines.clear()
        self._begun = self.now
        return leader

    def _post(self, source: str, to: str, payload: bytes) -> None:
        frame = decode(payload)
        assert frame is not None
        text = told(frame)
        if text is not None and (source, to, frame.term, text) not in self._written:
            self._written.add((source, to, frame.term, text))
            self.say(f"{source} -> {to}  {text}")
        super()._post(source, to, payload)

    def _carry_out(self, machine: Machine, effects: Iterable[Effect]) -> None:
        effects = list(effects)
        for effect in effects:
            match effect:
                case Won(term):
                    self.say(f"{machine.id} WON term {term}")
                case Lost(leader, reason):
                    self.say(f"{machine.id} LOST to {leader}: {reason}")
                case Abdicate(reason, pause_s):
                    self.say(f"{machine.id} abdicates: {reason}, {'for good' if pause_s is None else f'{pause_s} s'}")
                case Changed(view):
                    health = " ".join(f"{member.id}={member.health}" for member in view.members)
                    self.say(f"{machine.id} is {view.role}, leader {view.leader}, term {view.term}; {health}")
        super()._carry_out(machine, effects)


def told(frame: Frame) -> str | None:
    match frame.body:
        case Keepalive():
            return "farewell" if frame.left else None
        case PreVote(term):
            return f"would you vote for me in term {term}?"
        case PreVoteReply(term, granted):
            return f"I would{'' if granted else ' not'}, in term {term}"
        case RequestVote(term, index, last):
            return f"vote for me in term {term}; my log ends with {index} of term {last}"
        case Vote(term):
            return f"my vote in term {term}"
        case AppendEntries(term, commit, previous, _, entries):
            with_entries = "".join(f", entry {index} of term {of}" for index, of in entries)
            return f"heartbeat of term {term}: follows {previous}{with_entries}, {commit} committed"
        case NextIndex(following, _, success):
            return f"{'got it' if success else 'refused'}, next is {following}"
        case TimeoutNow(term):
            return f"stand at once, leader of term {term} hands over"


def first_election(net: Recorder) -> None:
    net.run(1.0, net.settled)
    net.run(0.3)


def killed_leader(net: Recorder) -> None:
    leader = net.calm()
    net.direct(f"{leader} is killed")
    net.crash(leader)
    net.run(1.0)


def orderly_hand_over(net: Recorder) -> None:
    leader = net.calm()
    net.direct(f"{leader} gets SIGTERM")
    net.tell(leader, Resign("SIGTERM"))
    net.run(0.5)


def a_follower_returns(net: Recorder) -> None:
    net.calm()
    away = net.followers()[0]
    net.direct(f"{away} is cut off")
    net.isolate(away)
    net.run(3.0)
    net.direct("the way is free again")
    net.heal()
    net.run(1.0)


def a_killed_follower_returns(net: Recorder) -> None:
    net.calm()
    away = net.followers()[0]
    net.direct(f"{away} is killed")
    net.crash(away)
    net.run(1.0)
    net.direct(f"{away} is started again, with its disk")
    net.start(away)
    net.run(1.0)


def a_leader_alone(net: Recorder) -> None:
    leader = net.calm()
    net.direct(f"{leader} is cut off")
    net.isolate(leader)
    net.run(1.5)
    net.direct("the way is free again")
    net.heal()
    net.run(0.5)


@pytest.mark.parametrize(
    "scene",
    [first_election, killed_leader, orderly_hand_over, a_follower_returns, a_killed_follower_returns, a_leader_alone],
    ids=lambda scene: scene.__name__,
)
def test_the_dialogue_is_the_one_that_was_reviewed(
    scene: Callable[[Recorder], None], transcript: Callable[[str, str], str]
) -> None:
    net = Recorder()
    with net.running():
        scene(net)
    dialogue = "\n".join(net.lines) + "\n"
    assert dialogue == transcript(f"raft_{scene.__name__}", dialogue)
