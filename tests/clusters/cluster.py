"""Several nodes as real processes on shared real stores: load through whichever of them answers, and outside judges."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from hegemon.election.contract import Member, precedence
from tests.clusters.witnesses import Witnesses
from tests.faults.trial import PATIENCE_S, Trial
from tests.judge.verdict import Verdict
from tests.nodes import NodeProcess, free_port
from tests.waiting import wait_until

SECRET: Final = "0123456789abcdef0123456789abcdef"
# Far beyond what any election takes, so that a slow machine is not a failed test.
LEADER_S: Final = 120.0
PAUSE_S: Final = 0.03
ANSWER_S: Final = 3.0
LONG_S: Final = 8.0
# Between two looks at what takes tens of milliseconds at least: the nodes need the processor themselves.
LOOK_S: Final = 0.05


# What a node's CLUSTER_PEERS are: its name and all addresses by name are given.
Peers = Callable[[str, Mapping[str, str]], str]


def all_of_them(name: str, addresses: Mapping[str, str]) -> str:
    """Every node with its name, as Raft wants it; its own entry too."""
    return ",".join(f"{peer}@{address}" for peer, address in addresses.items())


class Cluster(Trial):
    """`count` nodes n1, n2, …; the load and the journals are those of `Trial`, whose `node` is the first of them."""

    def __init__(
        self,
        directory: Path,
        *,
        algorithm: str,
        count: int,
        environment: Mapping[str, str],
        peers: Peers | None = None,
        odd: Mapping[str, Mapping[str, str]] | None = None,
        **stores: str,
    ) -> None:
        super().__init__(directory, environment=environment, **stores)
        self.algorithm = algorithm
        self._directory = directory
        self._peers = peers or all_of_them
        self.addresses = self.addresses_of(count)
        self.nodes = [self.make(name, self.settings(name, **(odd or {}).get(name, {}))) for name in self.addresses]
        self.node = self.nodes[0]
        self._turn = itertools.count()
        self._shunned: dict[str, float] = {}
        # What stood in the way when the last `settle` took long.
        self.lacking = ""
        self.witnesses = Witnesses(lambda: self.nodes, cluster_id=self.cluster_id, **stores)

    def addresses_of(self, count: int) -> dict[str, str]:
        """Where the nodes hear each other, by name; tests/clusters/network.py gives each node a host of its own."""
        return {f"n{number + 1}": f"127.0.0.1:{free_port()}" for number in range(count)}

    def make(self, name: str, environment: Mapping[str, str]) -> NodeProcess:
        """A node, not started."""
        return NodeProcess(environment, name=name)

    def settings(self, name: str, **more: str) -> dict[str, str]:
        """The environment of a node of this cluster."""
        host, port = self.addresses[name].rsplit(":", 1)
        return {
            **self.environment,
            "ELECTION_ALGORITHM": self.algorithm,
            "CLUSTER_HOST": host,
            "CLUSTER_PORT": port,
            "CLUSTER_PEERS": self._peers(name, self.addresses),
            "CLUSTER_SECRET": SECRET,
            "DATA_DIR": str(self._directory / f"data-{name}"),
            **more,
        }

    def add(self, name: str, **more: str) -> NodeProcess:
        """One more node, which the others' CLUSTER_PEERS do not name; it is not started."""
        named = dict(self.addresses)
        self.addresses[name] = f"127.0.0.1:{free_port()}"
        node = self.make(name, self.settings(name, **more))
        self.addresses = named
        self.nodes.append(node)
        return node

    async def remove(self, node: NodeProcess) -> None:
        """Kill it, and forget it."""
        self.nodes.remove(node)
        await _closed(node)

    async def start_all(self) -> None:
        """Start all that do not run, and wait until they are ready and agree."""
        for node in self.nodes:
            if not runs(node):
                node.spawn()
        await self.settle()

    # -- who leads -----------------------------------------------------------------------------------------------------

    def named(self, name: str) -> NodeProcess:
        """The node of that NODE_ID."""
        return next(node for node in self.nodes if name_of(node) == name)

    @property
    def best(self) -> NodeProcess:
        """Of those that run, the one that Bully prefers."""
        return max((node for node in self.nodes if runs(node)), key=lambda node: precedence(Member(name_of(node))))

    async def views(self, nodes: Sequence[NodeProcess] | None = None) -> dict[str, dict[str, Any]]:
        """What the running nodes (of these) say of the election; who does not answer within seconds is left out."""
        asked = [node for node in nodes or self.nodes if runs(node)]
        found = await asyncio.gather(*(election(node) for node in asked))
        return {name_of(node): view for node, view in zip(asked, found, strict=True) if view is not None}

    async def leader(self, *, other_than: NodeProcess | None = None, timeout: float = LEADER_S) -> NodeProcess:
        """The node that leads, once one does: by its own word, `active`."""

        async def found() -> list[str]:
            await asyncio.sleep(LOOK_S)
            views = await self.views([node for node in self.nodes if node is not other_than])
            return [name for name, view in views.items() if view["active"]]

        return self.named((await wait_until(found, timeout, "a leader"))[0])

    async def settle(self, timeout: float = LEADER_S, *, best: bool = True) -> NodeProcess:
        """The leader, once all that run are ready, name it, and call each other alive. With Bully, unless not `best`,
        it is the one that takes over from others: it may do so some ELECTION_INTERVALs later.
        """
        said: dict[str, Any] = {}
        began, self.lacking = time.monotonic(), ""

        async def agreed() -> str:
            await asyncio.sleep(LOOK_S)
            running = [node for node in self.nodes if runs(node)]
            views = await self.views(running)
            said.clear()
            said.update({name: (view["leader_id"], view["active"], alive(view)) for name, view in views.items()})
            if not self.lacking and time.monotonic() - began > LONG_S:
                self.lacking = f"{said}; ready: {[name_of(node) for node in running if await is_ready(node)]}"
            leaders = {view["leader_id"] for view in views.values()}
            (leader,) = leaders if len(leaders) == 1 else (None,)
            if leader is None or len(views) < len(running) or not views.get(leader, {}).get("active"):
                return ""
            if best and self.algorithm == "bully" and leader != name_of(self.best):
                return ""
            if any(alive(view) != set(views) for view in views.values()):
                return ""
            ready = await asyncio.gather(*(is_ready(node) for node in running))
            return leader if all(ready) else ""

        try:
            return self.named(await wait_until(agreed, timeout, "all nodes to agree"))
        except BaseException:
            print(said, self.words())  # noqa: T201 - pytest shows it beside the failure
            raise

    # -- load ----------------------------------------------------------------------------------------------------------

    async def post(self, path: str, body: Any = None) -> dict[str, Any] | None:
        """By whichever running node is next in turn."""
        running = [node for node in self.nodes if runs(node)]
        # As callers behind a load balancer: who did not answer is left alone for a while.
        answering = [node for node in running if self._shunned.get(name_of(node), 0.0) < time.monotonic()] or running
        if not answering:
            return None
        node = answering[next(self._turn) % len(answering)]
        try:
            reply = await node.api.post(path, json=body, timeout=ANSWER_S)
        except httpx.TransportError:
            self._shunned[name_of(node)] = time.monotonic() + ANSWER_S
            return None
        if reply.status_code >= 500 or reply.status_code == 429:
            return None
        assert reply.status_code in (200, 201), reply.text
        answer: dict[str, Any] = reply.json()
        return answer

    @asynccontextmanager
    async def load(self, singles: int = 2, seconds: float = 0.02) -> AsyncIterator[None]:
        """Some hundred jobs a second, short and delayed ones, singly and in batches, and the judge's eyes."""
        over = asyncio.Event()

        async def submit(number: int) -> None:
            while not over.is_set():
                delay = {"delay": 0.3} if number == 0 else {}
                await self.offer("journaled", {"seconds": seconds}, **delay)
                await asyncio.sleep(PAUSE_S)

        async def batches() -> None:
            while not over.is_set():
                await self.offer_many([{"type": "journaled", "payload": {"seconds": seconds}}] * 10)
                await asyncio.sleep(5 * PAUSE_S)

        async with self.watching(), asyncio.TaskGroup() as group:
            for number in range(singles):
                group.create_task(submit(number))
            group.create_task(batches())
            try:
                yield
            finally:
                over.set()

    async def progress(self, count: int = 30, timeout: float = LEADER_S) -> None:
        """Wait until so many more jobs were accepted, and as many more begun and ended."""
        accepted, written = self.acks.count + count, self._lines() + 2 * count

        async def enough() -> bool:
            await asyncio.sleep(LOOK_S)
            return self.acks.count >= accepted and self._lines() >= written

        await wait_until(enough, timeout, f"{count} more jobs")

    def _lines(self) -> int:
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def all_run(self) -> None:
        """No node has ended by itself; fails with its last words."""
        for node in self.nodes:
            assert runs(node), f"{name_of(node)} has ended:\n{node.log[-3000:]}"

    # -- the judges ----------------------------------------------------------------------------------------------------

    def lawful(self) -> None:
        """Nothing unlawful was seen of the leadership; fails with what it was."""
        violations = self.witnesses.violations()
        assert not violations, f"{violations[:10]}\n{self.words()}"

    async def clear_verdict(self, timeout: float = PATIENCE_S) -> Verdict:
        """As `Trial` has it; and the leadership was lawful all the time."""
        ended = await self.settled(timeout)
        verdict = self.verdict()
        assert ended and verdict.ok, f"{verdict}\n{self.words()}"  # noqa: PT018 - one picture of both
        self.lawful()
        return verdict

    def words(self, length: int = 4000) -> str:
        """The last words of all nodes."""
        return "\n".join(f"-- {name_of(node)}\n{node.log[-length:]}" for node in self.nodes)

    async def close(self) -> None:
        """Kill what runs, close what is open."""
        self.open_gate()
        await asyncio.gather(*(_closed(node) for node in self.nodes if node is not self.node))
        await super().close()
        self.witnesses.close()


async def _closed(node: NodeProcess) -> None:
    if node.process is None:
        await node.api.aclose()
    else:
        await node.close()


def name_of(node: NodeProcess) -> str:
    """Its NODE_ID."""
    return node.environment["NODE_ID"]


def runs(node: NodeProcess) -> bool:
    """Whether its process is there."""
    return node.process is not None and node.process.poll() is None


def alive(view: Mapping[str, Any]) -> set[str]:
    """The members that this view calls alive."""
    return {member["id"] for member in view["members"] if member["health"] == "alive"}


async def election(node: NodeProcess) -> dict[str, Any] | None:
    """What it says of the election; None if it does not answer within seconds."""
    try:
        reply = await node.api.get("/api/v1/election", timeout=3.0)
    except httpx.HTTPError:
        return None
    return dict(reply.json()) if reply.status_code == 200 else None


async def is_ready(node: NodeProcess) -> bool:
    """Whether it takes requests."""
    try:
        return (await node.api.get("/readyz", timeout=3.0)).status_code == 200
    except httpx.HTTPError:
        return False


@asynccontextmanager
async def on_cluster(
    directory: Path,
    *,
    algorithm: str,
    count: int,
    redis_url: str,
    mongodb_uri: str,
    database: str,
    environment: Mapping[str, str],
    peers: Peers | None = None,
    odd: Mapping[str, Mapping[str, str]] | None = None,
    kind: type[Cluster] = Cluster,
) -> AsyncIterator[Cluster]:
    """A running cluster for the length of the block, watched; `environment` wins over `trial.QUICK`, and for
    single nodes `odd` over both."""
    cluster = kind(
        directory,
        algorithm=algorithm,
        count=count,
        environment=environment,
        peers=peers,
        odd=odd,
        redis_url=redis_url,
        mongodb_uri=mongodb_uri,
        database=database,
    )
    try:
        async with cluster.witnesses.watching():
            await cluster.start_all()
            yield cluster
            with contextlib.suppress(Exception):
                cluster.open_gate()
    finally:
        await cluster.close()
