"""The chosen election with all that it needs besides its state machine: a transport for Bully and Gossip, and for Raft
the driver of its library too. Solo needs nothing, and is spared the memory of what the others import."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from hegemon.cluster.settings import Settings
from hegemon.cluster.shell import ElectionShell
from hegemon.election.contract import Member, Randomness, Timing, Witnessed
from hegemon.election.solo import Solo

Met = Callable[[Member], None]


class ElectionFault(Exception):
    """This node cannot take part in elections, now or any more; the message says why and what to do."""


class ElectionBroken(ElectionFault):
    """It went well until a fault of the program ended it: a new start may mend it."""


class Election:
    """One node's election. `introduce` is None where there are no peers; `traffic` counts what was sent and dropped."""

    def __init__(self, shell: ElectionShell) -> None:
        self.shell = shell
        self.introduce: Callable[[str, str | None], None] | None = None

    @property
    def traffic(self) -> Mapping[str, int]:
        """Frames by what became of them since the start."""
        return {}

    @property
    def health_score(self) -> int | None:
        """Gossip's doubt in itself, 0 is healthy; None for the others."""
        return None

    def meet(self, met: Met, twin: Callable[[str], None]) -> None:
        """Who is to be told of peers that prove who they are, and of another node with our own NODE_ID."""

    def witnessed(self, moved: frozenset[str]) -> None:
        """What the witness saw."""
        self.shell.tell(Witnessed(moved))

    def recorded(self, term: int) -> None:
        """In which term the office was last taken, by its document (0: never); told at each look, by the witness. Only
        Raft needs it: a term outlives there the disks of a majority."""

    async def open(self) -> None:
        """Listen and begin to ask the peers. OSError when the port, or what was kept on disk, cannot be had now,
        ElectionFault when that cannot be relied on."""

    async def watch(self) -> None:
        """Raise ElectionBroken once the election has broken down; until then, or for ever, wait."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Close what listens."""


def make_election(
    settings: Settings, me: Member, timing: Timing, now_ms: Callable[[], int], rng: Randomness
) -> Election:
    """The election that ELECTION_ALGORITHM names."""
    # Imported where it is chosen: ciphers and PySyncObj would cost a lone node a tenth of its memory.
    match settings.election.election_algorithm:
        case "solo":
            return Election(ElectionShell(Solo(me.id), now_ms))
        case "raft":
            from hegemon.cluster.raft_election import RaftElection  # noqa: PLC0415

            return RaftElection(settings, me, timing, now_ms, rng)
        case _:
            from hegemon.cluster.peer_election import PeerElection, make_elector  # noqa: PLC0415

            return PeerElection(make_elector(settings.election, me, timing, rng), settings, me, now_ms)
