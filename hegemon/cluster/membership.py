"""The members of the cluster as this node knows them: what the election sees, beside what the store's registry tells.

Nodes find each other by any one of CLUSTER_PEERS that answers, and by the registry of the Redis that they share. What
is known of a node stays known while Redis is away.

Two live nodes with one NODE_ID: `twins` refuses the later one before it starts. Where it could not see the other, the
one with the later boot number (MongoDB hands them out) sees the other's beat move, and ends. The earlier one, whose
place in the cluster the later one has taken by then, ends too once the other is gone: it is heard again after a start.
One start may have several incarnations, as it was swept and went on: with our own boot number, it was ourselves.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec
import structlog

from hegemon.cluster.twins import RISES, TwinError, TwinGone, refusal
from hegemon.cluster.witness import Registered
from hegemon.election.contract import Discovered, Event, Health, Member, View

log = structlog.get_logger(__name__)

TWIN_GONE_S: Final = 3.0


class Known(msgspec.Struct, frozen=True):
    """A member with what it says of itself. `information` has url, version, strategy, started_at; it is empty for a
    member that never stood in the registry. `slots`, `held` and `types` are of its open workers, as last seen."""

    member: Member
    information: dict[str, Any]
    slots: int = 0
    held: int = 0
    types: tuple[str, ...] = ()


class Membership:
    """One node's knowledge. `me` is this node as it tells others; `incarnation` its present one in the stores."""

    def __init__(
        self,
        *,
        me: Member,
        boot: int,
        incarnation: Callable[[], str],
        view: Callable[[], View],
        tell: Callable[[Event], None],
        introduce: Callable[[str, str | None], None] | None,
    ) -> None:
        self.me = me
        self._boot = boot
        self._incarnation = incarnation
        self._view = view
        self._tell = tell
        self._introduce = introduce
        self._registry: dict[str, Registered] = {}
        self._beats: dict[str, int] = {}
        self._moved_s: dict[str, float] = {}
        self._rises = Counter[str]()  # of beats, by incarnation
        self._introduced: set[tuple[str, str]] = set()
        self._later_twins: dict[str, str] = {}
        self._twin: asyncio.Future[TwinError] = asyncio.get_running_loop().create_future()

    def registered(self, nodes: Iterable[Registered]) -> None:
        """The registry as a full look found it."""
        found: dict[str, Registered] = {}
        beats: dict[str, int] = {}
        for node in nodes:
            beats[node.incarnation] = node.beat
            # A beat that falls is Redis gone back, not a life.
            moved = self._beats.get(node.incarnation, node.beat) < node.beat
            if moved or node.incarnation not in self._beats:
                self._moved_s[node.incarnation] = time.monotonic()
            # A later start has our place whether it still beats or not; an earlier one is only what a past life left.
            self._rises[node.incarnation] += moved
            lives = self._rises[node.incarnation] >= RISES or _started(node) > self._boot
            ours = node.incarnation == self._incarnation() or _started(node) == self._boot
            if node.id == self.me.id and lives and not ours:
                self._meet_twin(node)
            newer = found.get(node.id)
            if newer is None or self._lately(node) > self._lately(newer):
                found[node.id] = node
        self._beats = beats
        self._rises = Counter({name: count for name, count in self._rises.items() if name in beats})
        self._moved_s = {name: when for name, when in self._moved_s.items() if name in beats}
        self._miss_twins(beats)
        # Who has left the registry may still be a member: what was known of it is kept while the election knows it.
        known = {member.id for member in self._view().members}
        kept = {name: node for name, node in self._registry.items() if name in known}
        self._registry = kept | found
        for node in found.values():
            self._discover(node)

    def _lately(self, node: Registered) -> tuple[int, float]:
        """Orders the incarnations of one NODE_ID: by start, and those of one start by their last beats."""
        return _started(node), self._moved_s[node.incarnation]

    def met(self, member: Member) -> None:
        """A peer answered over the network, and proved who it is."""
        self._tell(Discovered(member))

    def members(self) -> list[Known]:
        """All members that the election or the registry knows, by id."""
        named = {member.id: member for member in self._view().members}
        found = []
        for name in sorted(named.keys() | self._registry.keys()):
            node = self._registry.get(name)
            member = named.get(name)
            if node is None:
                found.append(Known(member or Member(name), {}))
                continue
            # A node that the election does not know cannot take part: what it last said is all there is.
            member = member or Member(name, health=Health.SUSPECT, address=node.information.get("cluster_address", ""))
            found.append(Known(member, node.information, node.slots, node.held, node.types))
        return found

    def silent_s(self, incarnation: str) -> float:
        """For how long this incarnation's beat has stood still, as far as we have looked; 0 if it is not known yet."""
        now = time.monotonic()
        return now - self._moved_s.get(incarnation, now)

    async def refuse_twin(self) -> None:
        """Raise TwinError once another node of our name is seen to live and was there first; TwinGone once one that has
        taken our place is gone."""
        raise await self._twin

    def twin_heard(self, address: str) -> None:
        """The network brought words of another live node with our NODE_ID. The registry decides who goes."""
        log.error("node_id_used_twice", node=self.me.id, address=address)

    def _meet_twin(self, node: Registered) -> None:
        where = str(node.information.get("url") or node.information.get("cluster_address") or node.incarnation)
        if _started(node) < self._boot:
            self._end(TwinError(refusal(self.me.id, where)))
        elif node.incarnation not in self._later_twins:
            self._later_twins[node.incarnation] = where
            log.error("node_id_used_twice", node=self.me.id, address=where)

    def _miss_twins(self, beats: Mapping[str, int]) -> None:
        """A later twin that has gone leaves us unheard: to the others we are an earlier life of it."""
        for name, where in self._later_twins.items():
            if name not in beats or self.silent_s(name) > TWIN_GONE_S:
                sentence = (
                    f"another node with NODE_ID={self.me.id} ({where}) took this node's place in the cluster and is "
                    "gone again: start this one anew, and give each node a NODE_ID of its own"
                )
                self._end(TwinGone(sentence))

    def _end(self, error: TwinError) -> None:
        if not self._twin.done():
            self._twin.set_result(error)

    def _discover(self, node: Registered) -> None:
        address = node.information.get("cluster_address")
        if node.id == self.me.id or not address or (node.incarnation, address) in self._introduced:
            return
        if len(self._introduced) > 1000:
            self._introduced.clear()
        self._introduced.add((node.incarnation, address))
        if self._introduce is not None:
            self._introduce(address, node.id)
        incarnation = int(node.information.get("boot", 0)) << BOOT_SHIFT
        self._tell(Discovered(Member(node.id, Health.ALIVE, incarnation, address, node.information.get("rank"))))


# A boot leaves room for this many refutations (2 to the power) before the next boot's numbers begin.
BOOT_SHIFT: Final = 20


def _started(node: Registered) -> int:
    return int(node.information.get("boot", 0))
