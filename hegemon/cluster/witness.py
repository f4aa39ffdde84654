"""What this node sees of the others in the stores: who beats, whether the office's counter moves, what it reaches.

It looks all the time, also while nobody here seeks the office: a node that has just been elected then knows already for
how long the last holder's counter has stood still, and an elector knows whether a silent peer is cut off or dead.

| what is trusted | until when |
|---|---|
| that the counter stands still | the next look; a gap between looks (we or Redis stood still) starts the time anew |
| that a store is reached | REACH_S after its last answer |
| the registry, as the API shows it | the next full look, however long Redis is away |

| failure | effect |
|---|---|
| Redis away or stalled | nothing is witnessed; not fit after REACH_S; the counter counts as unseen, not as still |
| Redis lost its data | the counter is unknown: UNKNOWN_PATIENCE_S from a rebuild's last step are waited |
| MongoDB away or stalled | not fit after REACH_S |
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

import msgspec
import structlog

from hegemon.events.bus import Emit, unheard
from hegemon.events.cluster import StoreBack, StoreLost
from hegemon.queue.errors import QueueError
from hegemon.queue.index import MemberIndex
from hegemon.queue.office_store import Office, OfficeStore

log = structlog.get_logger(__name__)

# A counter that is missing is unknown, not still: its holder gets this long to build a new index.
UNKNOWN_PATIENCE_S: Final = 3.0
REACH_S: Final = 1.0
TRUTH_S: Final = 0.5
TRUTH_HOLDING_S: Final = 0.2


class Registered(msgspec.Struct, frozen=True):
    """A node as it stands in the store's registry. `beat` is its counter; `information` is what it says of itself;
    `slots` and `held` are of its open workers, `types` what they handle."""

    incarnation: str
    beat: int
    information: dict[str, Any]
    slots: int = 0
    held: int = 0
    types: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Its NODE_ID."""
        return str(self.information["id"])


class Witness:
    """One node's eyes on the stores. `index` and `offices` must have connections of their own that confirm nothing.

    `looked(moved)` gets the NODE_IDs whose beats moved (the holder: whose office counter moved), `fit(reached)` each
    change of fitness, `registered(nodes)` the registry after each full look, `recorded(term)` in which term the office
    was last taken, after each look at its document.
    """

    def __init__(
        self,
        *,
        node: str,
        index: MemberIndex,
        offices: OfficeStore,
        beat_s: float,
        interval_s: float,
        holding: Callable[[], bool],
        looked: Callable[[frozenset[str]], None],
        fit: Callable[[bool], None],
        registered: Callable[[list[Registered]], None],
        recorded: Callable[[int], None] = lambda term: None,
        emit: Emit = unheard,
    ) -> None:
        self._node = node
        self._index = index
        self._offices = offices
        self._beat_s = beat_s
        self._interval_s = interval_s
        self._holding = holding
        self._looked = looked
        self._tell_fit = fit
        self._registered = registered
        self._recorded = recorded
        self._emit = emit
        # When each store that is lost was last heard.
        self._lost: dict[str, float] = {}
        self._counter: tuple[int, str, int | None, int] | None = None
        self._still_since_s = 0.0
        self._looked_s = float("-inf")
        self._redis_seen_s = time.monotonic()
        self._truth_seen_s = time.monotonic()
        self._beats: dict[str, int] = {}
        self._was_fit = True
        self.office = Office()

    async def run(self) -> None:
        """Look until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._safely(self._look_at_office, self._beat_s), name="witness-office")
            group.create_task(self._safely(self._look_at_registry, self._interval_s), name="witness-registry")
            group.create_task(self._look_at_truth(), name="witness-truth")
            group.create_task(self._judge(), name="witness-fitness")

    def still_s(self) -> float:
        """For how long the holder's counter is known to have stood still; 0 when it was not seen of late."""
        if self._counter is None or self._stale(time.monotonic()):
            return 0.0
        return self._looked_s - self._still_since_s

    def vacated(self, takeover_s: float) -> bool:
        """Whether the holder has been silent so long that it may be succeeded."""
        known = self._counter is not None and self._counter[2] is not None
        return self.still_s() >= (takeover_s if known else UNKNOWN_PATIENCE_S)

    def answered(self) -> None:
        """Redis has answered somebody else of this node: the office's own beat, say."""
        self._redis_seen_s = time.monotonic()

    @property
    def epoch(self) -> int:
        """The marker's epoch as last seen; 0 while none was."""
        return self._counter[0] if self._counter else 0

    @property
    def truth_age_s(self) -> float:
        """Seconds since MongoDB's majority last answered."""
        return time.monotonic() - self._truth_seen_s

    def _stale(self, now: float) -> bool:
        return now - self._looked_s > max(4 * self._beat_s, 0.25)

    async def _safely(self, look: Callable[[], Any], pace_s: float) -> None:
        while True:
            began = time.monotonic()
            try:
                await look()
            except QueueError:
                pass  # the fitness tells
            except Exception:  # a node without eyes would call everybody dead: never for a fault of ours
                log.exception("look_failed", look=look.__name__)
            await asyncio.sleep(max(pace_s - (time.monotonic() - began), pace_s / 4))

    async def _look_at_office(self) -> None:
        if self._holding():
            self._counter = None  # our own; whoever comes after us begins anew
            return
        seen = _, holder, beat, _ = await self._index.look()
        now = time.monotonic()
        moved = self._counter is not None and self._counter != seen
        if self._counter != seen or self._stale(now):
            self._still_since_s = now
        self._counter, self._looked_s, self._redis_seen_s = seen, now, now
        # Told also when nothing has moved: that the store answered says that we are not the ones who are cut off.
        self._looked(frozenset({holder}) if moved and holder and beat is not None else frozenset())

    async def _look_at_registry(self) -> None:
        counts = await self._index.counts()
        self._redis_seen_s = time.monotonic()
        nodes = []
        for incarnation, (information, beat) in counts.nodes.items():
            mine = [item for item in counts.workers.values() if item[0]["node_incarnation"] == incarnation]
            nodes.append(
                Registered(
                    incarnation,
                    beat,
                    information,
                    sum(about["slots"] for about, _ in mine if not about["solo"]),
                    sum(held for _, held in mine),
                    tuple(sorted({name for about, _ in mine for name in about["types"]})),
                )
            )
        # A beat that falls is Redis gone back, not a life.
        moved = {node.id for node in nodes if self._beats.get(node.incarnation, node.beat) < node.beat}
        self._beats = {node.incarnation: node.beat for node in nodes}
        # The holder is judged by the office's counter alone.
        self._looked(frozenset(moved - {self._counter[1] if self._counter else ""}))
        self._registered(nodes)

    async def _look_at_truth(self) -> None:
        while True:
            try:
                async with asyncio.timeout(REACH_S):
                    self.office = await self._offices.read()
                self._truth_seen_s = time.monotonic()
                self._recorded(self.office.term)
            except (QueueError, TimeoutError):
                pass
            except Exception:  # as above
                log.exception("look_failed", look="truth")
            await asyncio.sleep(TRUTH_HOLDING_S if self._holding() else TRUTH_S)

    async def _judge(self) -> None:
        while True:
            now = time.monotonic()
            fit = max(now - self._redis_seen_s, now - self._truth_seen_s) <= REACH_S
            if fit != self._was_fit:
                self._was_fit = fit
                log.log(20 if fit else 30, "stores_reached" if fit else "stores_unreached", node=self._node)
                self._tell_fit(fit)
            for store, seen_s in (("Redis", self._redis_seen_s), ("MongoDB", self._truth_seen_s)):
                self._tell_store(store, seen_s, now)
            await asyncio.sleep(self._beat_s)

    def _tell_store(self, store: str, seen_s: float, now_s: float) -> None:
        lost_s = self._lost.get(store)
        if lost_s is None and now_s - seen_s > REACH_S:
            self._lost[store] = seen_s
            self._emit(StoreLost(store))
        elif lost_s is not None and now_s - seen_s <= REACH_S:
            del self._lost[store]
            self._emit(StoreBack(store, round(seen_s - lost_s, 3)))
