"""Raft wired to its node: the driver on its thread, the transport and the shell on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from hegemon.cluster.electors import ElectionBroken, ElectionFault
from hegemon.cluster.peer_election import PeerElection
from hegemon.cluster.raft_driver import RaftDriver, on_loop
from hegemon.cluster.raft_state import RaftFile, RaftStateError
from hegemon.cluster.settings import Settings
from hegemon.election.contract import Abdicate, Effect, Event, Fitness, Member, Randomness, Timing
from hegemon.election.raft import RaftElector


class _FitnessToo(RaftElector):
    """What the node says of its fitness goes to the driver as well, which keeps an unfit voter from standing."""

    on_fitness: Callable[[bool], None] | None = None

    def handle(self, event: Event, now: float) -> list[Effect]:
        if isinstance(event, Fitness) and self.on_fitness is not None:
            self.on_fitness(event.fit)
        return super().handle(event, now)


class RaftElection(PeerElection):
    """Raft among the nodes that CLUSTER_PEERS names. ``failed`` is the fault that ended the driver, None while it runs.

    `open` raises ElectionFault with a sentence if DATA_DIR cannot be relied on.
    """

    def __init__(
        self, settings: Settings, me: Member, timing: Timing, now_ms: Callable[[], int], rng: Randomness
    ) -> None:
        self._voters = tuple(dict.fromkeys(peer.id for peer in settings.election.cluster_peers if peer.id is not None))
        self._timing = timing
        self._cluster_id = settings.cluster.cluster_id
        self._data_dir = settings.election.data_dir
        self._rng = rng
        self._driver: RaftDriver | None = None
        self.failed: Exception | None = None
        self._broken = asyncio.Event()
        elector = _FitnessToo(me, voters=self._voters, timing=timing)
        super().__init__(elector, settings, me, now_ms, abdicate=self._abdicate)
        elector.on_fitness = self._set_fit

    @property
    def traffic(self) -> Mapping[str, int]:
        driver = {} if self._driver is None else {f"raft_{why}": n for why, n in self._driver.dropped.items()}
        return {**super().traffic, **driver}

    def received(self, sender: str, payload: bytes, stream: bool) -> None:
        if self._driver is not None:
            self._driver.received(sender, payload, stream)

    async def open(self) -> None:
        if self._data_dir is None:
            raise ValueError("raft needs DATA_DIR")  # the settings refuse it before
        loop = asyncio.get_running_loop()
        try:
            driver = RaftDriver(
                self._me,
                voters=self._voters,
                timing=self._timing,
                storage=RaftFile(self._data_dir / "raft", cluster_id=self._cluster_id, node_id=self._me.id),
                send=on_loop(loop, self.transport.send),
                observed=on_loop(loop, self.shell.tell),
                failed=on_loop(loop, self._fail),
                rng=self._rng,
            )
        except RaftStateError as error:
            raise ElectionFault(str(error)) from error
        await super().open()
        self._driver = driver
        driver.start()

    async def close(self) -> None:
        if self._driver is not None:
            # It hands over by frames, which need this loop: so it is awaited elsewhere.
            await asyncio.to_thread(self._driver.stop)
        await super().close()

    def _abdicate(self, effect: Abdicate) -> None:
        if self._driver is not None:
            self._driver.abdicate(effect.reason, effect.pause_s)

    def _set_fit(self, fit: bool) -> None:
        if self._driver is not None:
            self._driver.set_fit(fit)

    def recorded(self, term: int) -> None:
        if self._driver is not None:
            self._driver.set_recorded(term)

    def _fail(self, error: Exception) -> None:
        self.failed = error
        self._broken.set()

    async def watch(self) -> None:
        await self._broken.wait()
        raise ElectionBroken(f"the Raft election of this node has broken down: {self.failed!r}") from self.failed
