"""The thread that Raft runs in, so that a busy event loop does not cost a leadership.

Everything of Raft happens on this one thread. What comes in (`received`, `abdicate`, `set_fit`, `set_recorded`) may be
called from any thread and only queues; what goes out (``send``, ``observed``, ``failed``) is *called on the driver's
thread* and must neither block nor raise: to reach an event loop give `on_loop(loop, function)`.

    frames ──received──> queue (bounded, the oldest go) ──tick──> RaftVoter | RaftOnlooker ──send──> transport
                                                            └──observed──> RaftElector, through the shell

| failure | effect |
|---|---|
| frames come faster than they are taken | the oldest are dropped and counted: Raft takes any loss |
| the event loop is gone or stuck | `on_loop` drops what it cannot give; the node is silent to the others |
| a fault in PySyncObj or here | the thread says once more that it does not lead, calls ``failed`` and ends: a node that is silent harms nobody, one in an unknown state might |

A simulation makes drivers without starting them, puts its own clock and randomness into PySyncObj (the names
``monotonicTime`` and ``random`` of ``pysyncobj.syncobj``), and calls `tick` when a frame was given or `deadline` came.
"""  # noqa: E501 - a table row

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, ParamSpec

import structlog

from hegemon.cluster import raft_library
from hegemon.cluster.raft_onlooker import RaftOnlooker
from hegemon.cluster.raft_state import Storage
from hegemon.cluster.raft_voter import RaftVoter
from hegemon.election.contract import Member, Observed, Randomness, Role, Timing

log = structlog.get_logger(__name__)

QUEUE_MAX: Final = 2000
PENDING_MAX: Final = 2000
# How long `stop` waits for a successor to be asked, and for the thread.
HANDOVER_S: Final = 0.3

P = ParamSpec("P")


def on_loop(loop: asyncio.AbstractEventLoop, function: Callable[P, object]) -> Callable[P, None]:
    """``function``, to be called from any thread and run on ``loop``. A loop that has PENDING_MAX calls waiting, or is
    closed, is given no more: they are dropped."""
    pending = 0
    lock = threading.Lock()

    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal pending
        with lock:
            pending -= 1
        function(*args, **kwargs)

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal pending
        with lock:
            if pending >= PENDING_MAX:
                return
            pending += 1
        try:
            loop.call_soon_threadsafe(lambda: run(*args, **kwargs))
        except RuntimeError:  # closed
            return

    return call


class RaftDriver:
    """Runs Raft for ``me`` among ``voters`` (NODE_IDs, all nodes alike); an onlooker if ``me`` is none of them.

    ``send(to, payload)`` gives a datagram to the transport: no frame of Raft's is larger than DATAGRAM_MAX.
    ``observed`` gets each new `Observed`. ``storage`` is `RaftFile` in production. ``now`` is the time of creation on
    `raft_library.clock` (default: its present time). Raises RaftStateError with a sentence if what is on disk cannot be
    relied on, ValueError if there are no voters or the timing makes no sense.
    """

    def __init__(
        self,
        me: Member,
        *,
        voters: Sequence[str],
        timing: Timing,
        storage: Storage,
        send: Callable[[str, bytes], None],
        observed: Callable[[Observed], None],
        failed: Callable[[Exception], None] | None = None,
        rng: Randomness | None = None,
        now: float | None = None,
        prevote: bool = True,
    ) -> None:
        if not voters or len(set(voters)) != len(voters):
            raise ValueError("voters must be NODE_IDs, each once, and at least one")
        now = raft_library.clock() if now is None else now
        self._me = me
        self._core: RaftVoter | RaftOnlooker
        if me.id in voters:
            self._core = RaftVoter(
                me,
                voters=voters,
                timing=timing,
                storage=storage,
                rng=rng or random.Random(),
                post=send,
                now=now,
                prevote=prevote,
            )
        else:
            self._core = RaftOnlooker(me, voters=voters, timing=timing, post=send, now=now)
        self._tell = observed
        self._failed = failed
        self._told: Observed | None = None
        self._frames: deque[tuple[str, bytes]] = deque(maxlen=QUEUE_MAX)
        self._orders: deque[Callable[[float], None]] = deque(maxlen=QUEUE_MAX)
        self._due = now
        self._wake = threading.Event()
        self._stopping = False
        self._follows = threading.Event()  # set while it does not lead
        self._follows.set()
        self._thread: threading.Thread | None = None

    # -- from any thread -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. Raises RuntimeError if it was started before."""
        if self._thread is not None:
            raise RuntimeError("this driver was started before")
        self._thread = threading.Thread(target=self._run, name="raft", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand a leadership over (HANDOVER_S at most), say farewell, end the thread. Blocks; may be called twice."""
        if self._thread is None or self._stopping:
            return
        self.abdicate("the node leaves", None)
        self._follows.wait(HANDOVER_S)
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=5.0)

    def received(self, sender: str, payload: bytes, stream: bool = False) -> None:
        """A frame from the transport, authenticated as ``sender``'s."""
        self._frames.append((sender, payload))
        self._wake.set()

    def abdicate(self, reason: str, pause_s: float | None = None) -> None:
        """Carry out the elector's `Abdicate`."""
        if self._told is not None and self._told.role is Role.LEADER:
            self._follows.clear()
        self._order(lambda now: self._core.abdicate(reason, pause_s, now))

    def set_fit(self, fit: bool) -> None:
        """Say whether this node reaches both stores, at every change (what the elector hears as `Fitness`)."""
        self._order(lambda _: self._core.set_fit(fit))

    def set_recorded(self, term: int) -> None:
        """Say in which term the office was last taken, by its document (0: never), at each look: a voter without a past
        takes no part before. One with a past is spared it."""
        core = self._core
        if isinstance(core, RaftVoter) and core.blank:
            self._order(lambda _: core.set_recorded(term))

    @property
    def dropped(self) -> Mapping[str, int]:
        """Frames not taken or not sent, by reason; for metrics."""
        return dict(self._core.dropped)

    def _order(self, order: Callable[[float], None]) -> None:
        self._orders.append(order)
        self._wake.set()

    # -- on the driver's thread, or a simulation's ---------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Take what has come, do what is due, tell what has changed. ``now`` is `raft_library.clock`'s."""
        # As many as there are now: those that come meanwhile must not keep the clock of this tick alive.
        for _ in range(len(self._orders)):
            self._orders.popleft()(now)
        for _ in range(len(self._frames)):
            sender, payload = self._frames.popleft()
            self._core.receive(sender, payload, now)
        self._core.tick(now)
        self._due = self._core.deadline()
        self._publish(self._core.observed(now))

    def deadline(self) -> float:
        """When `tick` wants to be called next, if no frame comes before."""
        return self._due

    def farewell(self, now: float) -> None:
        """Tell the peers that this node leaves."""
        self._core.farewell(now)

    def _publish(self, observed: Observed) -> None:
        if observed.role is not Role.LEADER:
            self._follows.set()
        if observed != self._told:
            self._told = observed
            self._tell(observed)

    def _run(self) -> None:
        try:
            while not self._stopping:
                self._wake.clear()
                self.tick(raft_library.clock())
                self._wake.wait(max(0.0, self._due - raft_library.clock()))
            self.farewell(raft_library.clock())
        except Exception as error:
            log.exception("raft_failed", node=self._me.id)
            if self._told is not None:
                self._publish(replace(self._told, role=Role.FOLLOWER, leader=None, confirmed=False))
            if self._failed is not None:
                self._failed(error)
