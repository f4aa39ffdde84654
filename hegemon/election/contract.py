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
- What comes from peers is authenticated but not trusted: a payload that cannot be read, or comes from nobody known,
  is dropped without an effect. Terms are this algorithm's own, and may begin anew when all disks are lost; only the
  office's epoch never falls.

Trusted until when: a leader's belief until ``Lost``; a follower's ``View.leader`` for display and for redirecting
callers only, never for a decision that writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


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
    ELECTION_RANK, None where only the id ranks it."""

    id: str
    health: Health = Health.ALIVE
    incarnation: int = 0
    address: str = ""
    rank: int | None = None


@dataclass(frozen=True, slots=True)
class View:
    """What an elector believes now. ``leader`` is None while it knows none; ``members`` include this node, by id."""

    leader: str | None
    term: int
    role: Role
    members: tuple[Member, ...]


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
    """A peer was named by CLUSTER_PEERS, or by the store's registry: a place to ask, not yet a proof of life."""

    member: Member


@dataclass(frozen=True, slots=True)
class Witnessed:
    """The store has seen the beats of these members move since the last time. One of them that does not answer is cut
    off from us, not dead."""

    members: frozenset[str]


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


Event = Tick | Received | Discovered | Witnessed | OfficeLost | Resign


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


Effect = Send | Stream | Won | Lost | Changed


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
