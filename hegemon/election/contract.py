"""What every election is to the rest of Hegemon: one contract for Solo, Bully, Gossip (SWIM) and Raft.

An elector is a state machine without I/O. It takes an event with the time and returns effects; a shell in ``cluster/``
owns the sockets, the clock and the office, and runs the effects in the order given. An elector that needs randomness
is given a generator when it is made. Election is for *liveness* only: to believe that one leads permits nothing.
``Won`` lets the node seek the office, and the epoch that the office hands out is what the stores check.

The states, as ``View.role`` shows them; an elector uses those that it needs:

======================  ======================================  =========================  ===========================
from                    on                                      to                         effects, in this order
======================  ======================================  =========================  ===========================
(not started)           start                                   follower, or leader when   Changed, then Won if leader
                                                                there is nobody to ask
follower                deadline passed without a leader        candidate                  Changed, Send...
candidate               another leader is known                 follower                   Changed
candidate               the election is won                     leader                     Changed, Won(term)
leader                  a better claim, or a quorum lost        follower                   Lost, Changed, Send...
leader                  OfficeLost                              follower                   Lost, Changed
leader                  Resign                                  resigned                   Lost, Changed, Send...
follower, candidate     Resign                                  resigned                   Changed, Send...
resigned                the pause of Resign is over             follower, or leader when   Changed, then Won if leader
                                                                there is nobody to ask
======================  ======================================  =========================  ===========================

What holds for every elector, and is checked by one contract suite:

- ``start`` is called once and first. Times are seconds of one monotonic clock and never fall. An event may come late,
  by any amount: a process can be stopped and continued, so a deadline is compared with ``now``, never counted.
- ``Won`` and ``Lost`` alternate, ``Won`` first; the terms of ``Won`` strictly rise. Between the two the node leads:
  the shell keeps trying to take the office if it is not vacant yet, and gives it up on ``Lost``.
- ``Lost`` comes before anything that tells others about it, so that the shell stops scheduling before a peer starts.
- ``Changed`` is given if and only if the view changed, and the last one given equals ``view``.
- After any call ``deadline()`` is the time at which the elector wants a ``Tick``, or None. It is later than ``now``
  after a ``Tick``: a shell that ticks when the deadline has come never spins.
- A node that is not fit (its `Fitness` says that it does not reach both stores) does not stand while a fit member is
  alive. A leader that stays unfit for `Timing.unfit_s` stands down if a fit member is alive, and stays otherwise.
- A member that is silent but whose `Witnessed` is fresh is alive: it is cut off from us, and is not succeeded.
- What comes from peers is authenticated but not trusted: a payload that cannot be read, or comes from nobody known,
  is dropped without an effect. Terms are this algorithm's own, and may begin anew with the processes (Raft's go on
  above the one that the office has recorded, also when all disks are lost); only the office's epoch never falls.

Trusted until when: a leader's belief until ``Lost``; a follower's ``View.leader`` for display and for redirecting
callers only, never for a decision that writes.
"""

from __future__ import annotations

import re
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

# The most bytes that `Send` may carry: with its envelope it fits an Ethernet frame. What is larger goes by `Stream`.
DATAGRAM_MAX: Final = 1200
STREAM_MAX: Final = 1 << 20


class Role(StrEnum):
    """What this node is in the election, as it sees itself."""

    FOLLOWER = "follower"
    CANDIDATE = "candidate"
    LEADER = "leader"
    RESIGNED = "resigned"


class Health(StrEnum):
    """What this node believes of a member."""

    ALIVE = "alive"
    SUSPECT = "suspect"
    DEAD = "dead"
    LEFT = "left"


@dataclass(frozen=True, slots=True)
class Member:
    """A node that takes part. ``id`` is its NODE_ID; ``incarnation`` grows when it returns or refutes a suspicion;
    ``address`` is where the shell's transport reaches it, as text that the elector only passes on; ``rank`` is its
    ELECTION_RANK, None where only the id ranks it; ``fit`` is False while it says that it does not reach both stores;
    ``voter`` is False for a member that only looks on (Raft)."""

    id: str
    health: Health = Health.ALIVE
    incarnation: int = 0
    address: str = ""
    rank: int | None = None
    fit: bool = True
    voter: bool = True


def precedence(member: Member) -> tuple[int, tuple[tuple[int, int, str], ...]]:
    """What the highest of wins: ELECTION_RANK (0 where it is not set), then NODE_ID in natural order (n10 after n9)."""
    parts = re.findall(r"[0-9]+|[^0-9]+", member.id)
    natural = tuple((0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part) for part in parts)
    return (member.rank or 0, natural)


@dataclass(frozen=True, slots=True)
class View:
    """What an elector believes now. ``leader`` is None while it knows none; ``members`` include this node, by id."""

    leader: str | None
    term: int
    role: Role
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Timing:
    """The periods of an election, in seconds, all nodes alike.

    ``heartbeat_s`` (ELECTION_HEARTBEAT): how often a leader, and whoever else must be missed fast, is heard of; a
    silence of ``silence_s`` is a loss. ``timeout_s`` (ELECTION_TIMEOUT): how long to wait for an election to end before
    a new one begins. ``interval_s`` (ELECTION_INTERVAL): the period of the full exchange. ``witness_s``: how long a
    leader that the store has shown alive counts as alive (OFFICE_TAKEOVER: its counter moves every OFFICE_BEAT);
    ``member_witness_s`` the same for others, whose beats are slower. ``unfit_s``: how long a leader may go on once it
    was told that it lacks a store (`Fitness`), which it is told a while after the store's last answer.
    """

    heartbeat_s: float = 0.1
    silence_s: float = 0.35
    timeout_s: float = 3.0
    interval_s: float = 1.0
    witness_s: float = 0.3
    member_witness_s: float = 1.5
    unfit_s: float = 3.0


class Randomness(Protocol):
    """What an elector that needs chance is given: `random.Random` fits."""

    def random(self) -> float: ...

    def randrange(self, stop: int, /) -> int: ...

    def shuffle(self, items: MutableSequence[Any], /) -> None: ...


# --- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tick:
    """The deadline has come. One that is early does nothing; several deadlines missed need only one."""


@dataclass(frozen=True, slots=True)
class Received:
    """A frame from a peer, already authenticated and decrypted. ``stream`` is True if Stream brought it, not Send."""

    sender: str
    payload: bytes
    stream: bool = False


@dataclass(frozen=True, slots=True)
class Discovered:
    """A peer became known: it answered at a place that CLUSTER_PEERS names, or stands in the store's registry. Its id
    and address can be relied on; it is not yet a proof of life."""

    member: Member


@dataclass(frozen=True, slots=True)
class Witnessed:
    """We have looked at the store, and the beats of these members had moved since the last look (several looks a
    second; told also when none has moved). The office's holder is in it if, and only if, its *office* counter moved,
    whatever its node's beat does. One of them that does not answer is cut off from us, not dead."""

    members: frozenset[str]


@dataclass(frozen=True, slots=True)
class Fitness:
    """Whether this node reaches both stores. True until told otherwise; told at every change."""

    fit: bool


@dataclass(frozen=True, slots=True)
class OfficeLost:
    """The office is gone or was given up: another holds a newer epoch, or a store stalled too long. A leader stands
    down; what it does next is the algorithm's choice, and the office's vacancy rule keeps that harmless."""

    reason: str


@dataclass(frozen=True, slots=True)
class Resign:
    """Stand down in an orderly way, telling the peers. ``pause_s`` None: for good, the process is leaving; else the
    node does not stand for election for so many seconds (an operator's step-down)."""

    reason: str
    pause_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observed:
    """What a library that runs an algorithm by itself has come to (Raft). ``confirmed``: it leads, and a command of its
    own has committed in this term."""

    role: Role
    term: int
    leader: str | None
    confirmed: bool
    members: tuple[Member, ...]


Event = Tick | Received | Discovered | Witnessed | Fitness | OfficeLost | Resign | Observed


# --- effects ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Send:
    """Give this to a peer as one datagram. It may be lost, late, doubled or overtaken."""

    to: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Stream:
    """Give this to a peer over a stream: for what is too large for a datagram, and as a probe when datagrams fail.
    There is no report of failure; whoever needs an answer sets a deadline for it."""

    to: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Won:
    """We believe that we lead: seek the office."""

    term: int


@dataclass(frozen=True, slots=True)
class Lost:
    """We no longer believe so: stop scheduling at once and give the office up. ``leader`` is the successor if known."""

    leader: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Changed:
    """The view is now this one: for other nodes' displays, for events and logs."""

    view: View


@dataclass(frozen=True, slots=True)
class Abdicate:
    """Make the library that runs the algorithm give its leadership up and stay out for ``pause_s`` (None: for good)."""

    reason: str
    pause_s: float | None = None


Effect = Send | Stream | Won | Lost | Changed | Abdicate


class Elector(Protocol):
    """One algorithm on one node. Not for use from several threads at once."""

    @property
    def view(self) -> View:
        """What it believes now."""
        ...

    def start(self, now: float) -> Sequence[Effect]:
        """Begin. Raises RuntimeError if it was started before."""
        ...

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """Take one event; never blocks. Raises RuntimeError if it was not started."""
        ...

    def deadline(self) -> float | None:
        """The time at which it wants a Tick, on the clock of ``now``; None if only an event can change anything."""
        ...
