"""The one door to PySyncObj. Its private parts are named here only; the version is pinned for their sake (ADR 0011).

What is different from PySyncObj out of the box, and why:

| PySyncObj 0.3.17 | here |
|---|---|
| an own TCP transport: pickles, closes idle links, buffers frames of any announced length, resolves names on its thread | none of it: messages are handed to the driver as values, and come from it as values |
| stands for election when its deadline has passed | its deadline is parked at infinity; the driver keeps it and says when (pre-vote) |
| term and vote go to a file without fsync | `TermJournal` notes that they changed; the driver saves before anything leaves |
| one log for ever, compacted by pickling | the log of a term begins anew (below): at most two entries, nothing to compact |
| ``connected`` follows TCP | always connected: a lost message is a lost message. The driver counts silence by itself |
| a message of a later term reaches only some handlers | `adopt` brings any later term in, as thesis 3.3 has it |

**The log of a term begins anew.** Hegemon replicates nothing by Raft: its log only proves that a majority follows this
leader in this term, by the leader's no-op having committed (thesis 3.6.2, 6.4). So on entering a term each node's log is
the same single entry; the leader's no-op is the second. Election Safety (at most one leader a term) rests on votes alone
and is untouched; Leader Completeness (thesis 3.6.3) would protect entries of earlier terms, of which there are none. In
exchange no node's log is ever behind another's, and a hub that alone reaches a majority can always win ("constrained
election"), where Raft with a log would stay without a leader; and there is no journal to damage, grow or compact.
"""  # noqa: E501 - table rows

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from typing import Any, Final

# PySyncObj has no type information. This file is the only one that imports it, and gives its parts types.
from pysyncobj import syncobj  # type: ignore[import-untyped]
from pysyncobj.config import FAIL_REASON, SyncObjConf  # type: ignore[import-untyped]
from pysyncobj.journal import MemoryJournal  # type: ignore[import-untyped]
from pysyncobj.node import Node  # type: ignore[import-untyped]
from pysyncobj.transport import Transport  # type: ignore[import-untyped]

from hegemon.cluster.raft_frames import NO_OP

FOLLOWER: Final = 0
CANDIDATE: Final = 1
LEADER: Final = 2
_FIRST: Final = (NO_OP, 1, 0)  # the entry with which every log begins

Post = Callable[[str, dict[str, Any]], None]


def clock() -> float:
    """PySyncObj's monotonic clock, in seconds: not that of ``time.monotonic``, from which it may drift. Looked up at
    each call, since a simulation puts another in its place."""
    return float(syncobj.monotonicTime())


class Peer(Node):  # type: ignore[misc] # the base is untyped
    """A node by its NODE_ID. Its hash is the same in every process, so that sets of peers have one order by seed."""

    def __hash__(self) -> int:
        return zlib.crc32(self.id.encode())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and bool(self.id == other.id)


class TermJournal(MemoryJournal):  # type: ignore[misc] # the base is untyped
    """The log of the present term, in memory; and the term and vote, of which it tells ``changed`` before PySyncObj
    goes on. A later term begins with an empty log."""

    def __init__(self, term: int, vote: str | None, *, changed: Callable[[int, str | None, bool], None]) -> None:
        super().__init__()
        self._term = term
        self._vote = vote
        self._changed = changed
        self.add(*_FIRST)

    def setCurrentTerm(self, term: int, votedForNodeId: str | None) -> None:  # noqa: N802, N803 - PySyncObj's names
        later = term > self._term
        if later:
            self.clear()
            self.add(*_FIRST)
        self._term, self._vote = term, votedForNodeId
        self._changed(term, votedForNodeId, later)

    def getCurrentTerm(self) -> int:  # noqa: N802 - PySyncObj's name
        return self._term

    def getVotedForNodeId(self) -> str | None:  # noqa: N802 - PySyncObj's name
        return self._vote


class _Outlet(Transport):  # type: ignore[misc] # the base is untyped
    """PySyncObj's transport: what it sends goes to ``post``, what it is to hear comes through `hear`."""

    def __init__(self, post: Post) -> None:
        super().__init__(None, None, [])
        self._post = post

    def send(self, node: Peer, message: dict[str, Any]) -> bool:
        self._post(node.id, message)
        return True

    def hear(self, node: Peer, message: dict[str, Any]) -> None:
        self._onMessageReceived(node, message)

    def meet(self, node: Peer) -> None:
        self._onNodeConnected(node)


class Library(syncobj.SyncObj):  # type: ignore[misc] # the base is untyped
    """PySyncObj as an election and nothing else. Not for several threads; it starts none and opens no socket.

    ``saved`` is told of each new (term, vote). ``heartbeat_s``, ``timeout_s`` (shortest and longest election timeout)
    and ``fallback_s`` (how long a leader without a majority's answers believes) are seconds.
    """

    def __init__(
        self,
        me: str,
        others: list[str],
        *,
        term: int,
        vote: str | None,
        heartbeat_s: float,
        timeout_s: tuple[float, float],
        fallback_s: float,
        post: Post,
        changed: Callable[[int, str | None], None],
    ) -> None:
        conf = SyncObjConf(
            autoTick=False,
            appendEntriesPeriod=heartbeat_s,
            raftMinTimeout=timeout_s[0],
            raftMaxTimeout=timeout_s[1],
            leaderFallbackTimeout=fallback_s,
            connectionTimeout=timeout_s[1],
            commandsWaitLeader=False,
            dynamicMembershipChange=False,
            useFork=False,
            logCompactionMinTime=math.inf,
        )
        outlet = _Outlet(post)
        super().__init__(Peer(me), [Peer(other) for other in others], conf=conf, transport=outlet)
        self._outlet = outlet
        self._on_change = changed
        # Nothing has happened yet: without autoTick the constructor only sets fields.
        self._SyncObj__raftLog = TermJournal(term, vote, changed=self._entered)
        self._SyncObj__raftCurrentTerm = term
        self._SyncObj__votedForNodeId = vote
        for other in others:
            outlet.meet(Peer(other))

    def _entered(self, term: int, vote: str | None, later: bool) -> None:
        if later:  # the log began anew, and with it what has been committed and applied of it
            self._SyncObj__raftCommitIndex = 1
            self._SyncObj__raftLastApplied = 1
        self._on_change(term, vote)

    # -- what it believes ----------------------------------------------------------------------------------------------

    @property
    def term(self) -> int:
        return int(self._SyncObj__raftCurrentTerm)

    @property
    def state(self) -> int:
        """FOLLOWER, CANDIDATE or LEADER."""
        return int(self._SyncObj__raftState)

    @property
    def confirmed(self) -> bool:
        """It leads, and its no-op of this term has committed: a majority has followed it in this term."""
        return self.state == LEADER and self._SyncObj__raftCommitIndex >= self._SyncObj__noopIDx

    def heartbeat_due(self) -> float:
        """When a leader sends its next heartbeat."""
        return float(self._SyncObj__newAppendEntriesTime)

    def fallback_due(self) -> float:
        """When a leader that hears nothing more stands down; infinity if it needs nobody."""
        needed = (len(self.otherNodes) + 1) // 2
        if not needed:
            return math.inf
        answers = sorted((self._SyncObj__lastResponseTime[node] for node in self.otherNodes), reverse=True)
        return float(answers[needed - 1]) + float(self.conf.leaderFallbackTimeout)

    # -- what it is told -----------------------------------------------------------------------------------------------

    def hear(self, sender: str, message: dict[str, Any]) -> None:
        """Take a message of a voter's."""
        if message["type"] == "append_entries":
            message = self._without_known(message)
        self._outlet.hear(Peer(sender), message)

    def _without_known(self, message: dict[str, Any]) -> dict[str, Any]:
        """Entries that we have already are no conflict, and are not to be cut off and written again (thesis 3.5)."""
        log = self._SyncObj__raftLog
        index, entries = message["prevLogIdx"], list(message["entries"])
        while entries and entries[0][1] == index + 1 and 0 <= index < len(log) and log[index] == entries[0]:
            _, index, message["prevLogTerm"] = entries.pop(0)
        return message | {"prevLogIdx": index, "entries": entries}

    def adopt(self, term: int, sender: str) -> None:
        """Enter a later term as a follower, whatever brought the news (thesis 3.3). PySyncObj does so only for a
        request for votes, so it is given one whose log is older than any: it enters the term and gives no vote."""
        message = {"type": "request_vote", "term": term, "last_log_index": -1, "last_log_term": -1}
        self.hear(sender, message)

    def take_deadline(self) -> float | None:
        """The election deadline that PySyncObj has drawn since the last call, or None; 0 if the leader asks us to
        stand at once. It is parked, so that PySyncObj never stands unless `stand` says so: a process can be stopped
        between any two lines, and a deadline that passed meanwhile must still go through the pre-vote."""
        drawn: float = vars(self)["_SyncObj__raftElectionDeadline"]
        self._SyncObj__raftElectionDeadline = math.inf
        return None if drawn == math.inf else drawn

    def stand(self) -> None:
        """Become a candidate in the next tick."""
        self._SyncObj__raftElectionDeadline = -math.inf

    def step_down(self) -> None:
        """Stop leading, without a successor."""
        self._SyncObj__setState(FOLLOWER)
        self._SyncObj__raftLeader = None

    def hand_to(self, successor: str) -> bool:
        """Ask ``successor`` to stand at once (thesis 3.10); False if it lacks our no-op and could not be heard."""
        outcome: list[int] = []
        self.transferLeadership(Peer(successor), callback=lambda _, reason: outcome.append(reason))
        return outcome == [FAIL_REASON.SUCCESS]
