"""A simulated cluster: the product's own nodes, whole, each with its processes, over simulated stores and network."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from datetime import timedelta
from functools import partial
from typing import Any
from unittest import mock

import structlog

from hegemon.cluster import leadership, node_stores, peer_election
from hegemon.cluster import node as node_module
from hegemon.cluster.node import Node
from hegemon.cluster.node_ends import StartError
from hegemon.cluster.settings import load
from hegemon.election.contract import Role
from hegemon.monitoring.log_ring import LogRing
from hegemon.queue import breaker, mongo
from hegemon.queue.redis import Redis
from hegemon.worker import board
from tests.simulation import workers
from tests.simulation.frontend import Frontend
from tests.simulation.judge import Judge
from tests.simulation.loop import CURRENT, Process, VirtualLoop, acting_as
from tests.simulation.mongo_client import Client
from tests.simulation.mongo_store import SimulatedMongo
from tests.simulation.network import Network, SimulatedTransport
from tests.simulation.paths import Path
from tests.simulation.redis_data import Scripts
from tests.simulation.redis_store import SimulatedRedis, client
from tests.simulation.voters import Disk, raft_in_place

CLUSTER_ID = "simulated"
STORE_DELAY_S = {"redis": 0.0002, "mongo": 0.0004}
SETTINGS = {
    "MONGODB_TIMEOUT": "2s",
    "REDIS_TIMEOUT": "1s",
    "CLUSTER_SECRET": "0123456789abcdef0123456789abcdef",
    "CLUSTER_ID": CLUSTER_ID,
    "WORKER_COUNT": "4",
    "LOG_LEVEL": "info",
}
# As long as one process of a node lives, its clocks run apart from others' by this much, in seconds.
CLOCKS_APART_S = 5000.0


class HostProcess(Process):
    """A process and the host that it runs on."""

    def __init__(self, host: Host, name: str, seed: int) -> None:
        super().__init__(name, seed, offset_s=host.offset_s)
        self.host = host
        self.wall_offset_s = host.wall_offset_s


class Host:
    """A machine: its clocks, its ways to the stores, its disk, and the node that may run on it."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self.name = name
        self.offset_s = world.rng.uniform(0, CLOCKS_APART_S)
        self.wall_offset_s = 0.0
        self.paths: dict[str, list[Path]] = {"redis": [], "mongo": []}
        self.cuts = {"redis": (False, False), "mongo": (False, False)}
        self.processes: list[HostProcess] = []
        self.disk = Disk(name, forgets_votes=not world.votes)
        self.lives = 0
        self.node: Node | None = None
        self.stop: asyncio.Event | None = None
        self.task: asyncio.Task[None] | None = None
        self.main: HostProcess | None = None

    def process(self, name: str) -> HostProcess:
        """A new process on this host."""
        made = HostProcess(self, name, self._world.seed)
        self.processes = [*(one for one in self.processes if one.alive), made]
        return made

    def path(self, store: str) -> Path:
        """A way for the current process to a store."""
        process = CURRENT.get()
        path = Path(process, random.Random(self._world.rng.getrandbits(64)), delay_s=STORE_DELAY_S[store])
        path.cut(there=self.cuts[store][0], back=self.cuts[store][1])
        path.loss, path.tail = self._world.store_loss, self._world.store_tail
        alive = [one for one in self.paths[store] if one.process is not None and one.process.alive]
        self.paths[store] = [*alive, path]
        return path

    def cut(self, store: str, *, there: bool, back: bool) -> None:
        """Cut, or heal, this host's way to a store."""
        self.cuts[store] = (there, back)
        for path in self.paths[store]:
            path.cut(there=there, back=back)

    @property
    def up(self) -> bool:
        """Whether a node lives here."""
        return self.task is not None and not self.task.done()

    def start(self) -> None:
        """Start a node."""
        self.lives += 1
        self.main = self.process(f"{self.name}#{self.lives}")
        self.task = self._world.loop.spawn(self.main, self._live(), self.main.name)

    async def _live(self) -> None:
        settings = load(SETTINGS | self._world.settings(self.name), None)
        self.stop = asyncio.Event()
        self.node = Node(settings, Frontend(self._world, self.name))
        try:
            await self.node.run(self.stop)
        except StartError as error:
            # As any keeper of services would: it is started again by whoever starts nodes.
            self._world.judge.ended(self.name, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
            told = "".join(traceback.format_exception(error)[-3:]).replace("\n", " / ")
            self._world.judge.violated("fault", f"{self.name} ended by {told}")

    async def crash(self) -> None:
        """All of it is killed at once (kill -9, or the power cut)."""
        for process in self.processes:
            process.alive = False
        for process in self.processes:
            self._world.loop.resume(process)
        self.node = None
        if self.task is not None:
            self.task.cancel()
        for process in self.processes:
            await process.end()
        self.processes = []

    def lose_disk(self) -> None:
        """What was on it is gone."""
        self.disk = Disk(self.name, forgets_votes=self.disk.forgets_votes)

    async def leave(self) -> None:
        """SIGTERM, and wait."""
        if self.stop is not None and self.task is not None:
            self.stop.set()
            await asyncio.gather(self.task, return_exceptions=True)
            self.node = None


class World:
    """A cluster under one algorithm and seed. Each node's client submits a job every `pace_s` seconds, 0 for none; no
    pause, cut or outage is longer than `longest_s`."""

    def __init__(
        self, seed: int, *, algorithm: str = "solo", nodes: int = 3, pace_s: float = 0.15, longest_s: float = 3.5
    ) -> None:
        self.seed = seed
        self.algorithm = algorithm
        self.pace_s = pace_s
        self.longest_s = longest_s
        self.open = True
        # Safeguards that a test may switch off.
        self.confirm = self.leases = self.votes = True
        self.unlucky = False
        self.patches: list[tuple[Any, str, Any]] = []
        self.extra: dict[str, str] = {}
        self.rng = random.Random(f"{seed}/world")
        self.loop = VirtualLoop(seed)
        self.judge = Judge()
        self.store_loss = self.store_tail = 0.0
        self.network = Network(random.Random(f"{seed}/network"))
        self.redis = SimulatedRedis(SCRIPTS, random.Random(f"{seed}/redis"), keep_history=True)
        self.mongo = SimulatedMongo(random.Random(f"{seed}/mongo"), commit_s=0.001)
        self.redis.observers.append(self._redis_did)
        self.mongo.observers.append(self.judge.mongo_did)
        self.names = [f"n{i + 1}" for i in range(nodes)]
        self.hosts: dict[str, Host] = {}
        self.started_s = self.loop.now

    def settings(self, name: str) -> dict[str, str]:
        """What a node of this world is started with besides."""
        port = 7000 + self.names.index(name)
        own = {"NODE_ID": name, "ELECTION_ALGORITHM": self.algorithm, "CLUSTER_PORT": str(port)}
        if self.algorithm != "solo":
            own["CLUSTER_PEERS"] = ",".join(f"{other}@127.0.0.1:{7000 + i}" for i, other in enumerate(self.names))
        if self.algorithm == "raft":
            own["DATA_DIR"] = f"/nonexistent/{name}"
        return own | self.extra

    # -- running -------------------------------------------------------------------------------------------------------

    def run(self, scenario: Callable[[World], Coroutine[Any, Any, None]]) -> Judge:
        """Carry a scenario out, from the first start to the last look. The judge has all that was seen."""
        from tests.simulation.determinism import deterministic  # noqa: PLC0415 - nobody else should reach for it

        with deterministic(self.loop), self._in_place():
            asyncio.set_event_loop(self.loop)
            try:
                self.hosts = {name: Host(self, name) for name in self.names}
                self.loop.after_step = self._look
                self.loop.run_until_complete(self._whole(scenario))
            finally:
                asyncio.set_event_loop(None)
                self.loop.close()
        return self.judge

    async def _whole(self, scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
        await scenario(self)
        self.open = False
        self.judge.close_books(self.mongo.committed.get("jobs", {}), settled=False)
        for fault in self.loop.faults:
            self.judge.violated("fault", f"{fault.get('message')}: {fault.get('exception')!r}")
        for host in self.hosts.values():
            await host.crash()

    def disk(self, host: Host) -> Disk:
        """Where a node on this host keeps what must outlive it."""
        return host.disk

    @property
    def now_s(self) -> float:
        """Virtual seconds since the start."""
        return self.loop.now - self.started_s

    def start_all(self) -> None:
        """Start a node on every host that has none."""
        for host in self.hosts.values():
            if not host.up:
                host.start()

    def heal(self) -> None:
        """End every fault but crashes."""
        self.network.heal()
        self.store_loss = self.store_tail = 0.0
        if not self.redis.up:
            self.redis.start()
        self.redis.stall(on=False)
        self.mongo.stall(on=False)
        self.mongo.lag(on=False)
        for host in self.hosts.values():
            for store in ("redis", "mongo"):
                host.cut(store, there=False, back=False)
                for path in host.paths[store]:
                    path.loss = path.tail = 0.0
            for process in host.processes:
                self.loop.resume(process)

    def weather(self, *, loss: float, tail: float) -> None:
        """How messages to the stores fare from now on."""
        self.store_loss, self.store_tail = loss, tail
        for host in self.hosts.values():
            for path in [*host.paths["redis"], *host.paths["mongo"]]:
                path.loss, path.tail = loss, tail

    # -- looking -------------------------------------------------------------------------------------------------------

    def _redis_did(self, script: bytes, args: Any, reply: Any, who: str) -> None:
        self.judge.now_s = self.now_s
        self.judge.redis_did(who, script, args, reply)

    def _look(self, process: Process) -> None:
        judge = self.judge
        judge.now_s = self.now_s
        if not isinstance(process, HostProcess) or process.host.node is None or not process.alive:
            return
        node = process.host.node
        part = getattr(node, "_leadership", None)
        if part is None:
            return
        if part.office.held is not None:
            judge.holds(f"{process.host.name}#{process.host.lives}", part.office.held.epoch)
        if node._pulse.epoch:
            judge.sees(process.host.name, "epoch", node._pulse.epoch)
        view = part.shell.view
        if self.algorithm != "raft":
            judge.sees(process.name, "term", view.term)
            return
        # Terms outlive their nodes, as the disks do; one node leads in each. A node that has just begun knows none.
        if view.term:
            judge.sees(process.host.name, "term", view.term)
        if view.role is Role.LEADER:
            judge.leads(process.host.name, view.term)

    def parts(self) -> Iterator[tuple[Host, leadership.Leadership]]:
        """The leading halves of the living nodes."""
        for host in self.hosts.values():
            part = getattr(host.node, "_leadership", None)
            if host.up and part is not None:
                yield host, part

    def leaders(self) -> dict[str, str | None]:
        """Whom each living node takes for the leader."""
        return {host.name: part.shell.view.leader for host, part in self.parts()}

    def active(self) -> list[str]:
        """Nodes whose office is active, by their own clocks."""
        return [host.name for host, part in self.parts() if acting_as(host.main, partial(_is_active, part))]

    # -- in place of the outside world ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        def host() -> Host:
            process = CURRENT.get()
            assert isinstance(process, HostProcess)
            return process.host

        def redis(_: str, cluster_id: str, *, timeout: timedelta, confirm: bool = True, **__: Any) -> Redis:
            return client(
                self.redis, host().path("redis"), cluster_id, timeout=timeout, confirm=confirm and self.confirm
            )

        def connect(_: str, *, timeout: timedelta, **__: Any) -> Client:
            return Client(self.mongo, host().path("mongo"), timeout_s=timeout.total_seconds())

        def log(_: Any, level: str, event: MutableMapping[str, Any]) -> str:
            process = CURRENT.get()
            if level in ("error", "critical") and "exc_info" in event:
                self.judge.counts[f"logged {event.get('event')}"] += 1
            if self.judge.tracing:
                self.judge.now_s = self.now_s
                self.judge.say(process.name if process else "world", f"[{level}] {event.pop('event')}", **event)
            raise structlog.DropEvent

        hooks = {
            "spawn": staticmethod(lambda parent, name: parent.host.process(name)),
            "started": staticmethod(self.judge.started),
            "run_as": staticmethod(self.loop.spawn),
        }
        supervisor = type("Supervisor", (workers.SimulatedSupervisor,), hooks)
        transport = type("Transport", (SimulatedTransport,), {"network": self.network})
        before = structlog.get_config()
        disk = self.disk
        structlog.configure(processors=[log], cache_logger_on_first_use=False)
        with contextlib.ExitStack() as stack:
            for target, name, value in (
                (node_module, "node_logs", lambda settings: LogRing(0)),
                (node_stores, "Redis", redis),
                (node_module, "Supervisor", supervisor),
                (leadership, "Redis", redis),
                (workers, "Redis", redis),
                (peer_election, "Transport", transport),
                (mongo, "connect", connect),
                *self.patches,
            ):
                stack.enter_context(mock.patch.object(target, name, value))
            stack.enter_context(raft_in_place(lambda: disk(host()), lambda: self.unlucky))
            clocked = {"clock": time.monotonic}
            if not self.leases:
                stack.enter_context(mock.patch.object(board.Board, "lease_s", return_value=float("inf")))
            stack.enter_context(mock.patch.dict(breaker.Breaker.__init__.__kwdefaults__, clocked))
            try:
                yield
            finally:
                structlog.configure(**before)


def _is_active(part: leadership.Leadership) -> bool:
    return part.office.is_active


SCRIPTS = Scripts()
