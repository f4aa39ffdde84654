"""A host of its own for every node: network namespaces on one bridge, and cuts between any two of them, one-way too.

A cut is a neighbour entry that leads nowhere: what is sent there is lost without a word, as on a real network, and
needs nothing but `ip`. It takes root; `unavailable()` says why there are no namespaces here.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from hegemon.cluster.embedded import REPLICA_SET, EmbeddedMongo, EmbeddedRedis
from tests.auth.parts import secured
from tests.clusters.cluster import Cluster, name_of, on_cluster
from tests.nodes import NodeProcess, free_port
from tests.waiting import PATIENCE

NOWHERE: Final = "02:00:00:00:00:01"
CLUSTER_PORT: Final = 7946
REDIS, MONGO = "redis", "mongo"
_numbers = itertools.count(os.getpid() * 4)
_made = itertools.count(1)


def ip(*arguments: str) -> None:
    """One `ip` command; its words when it fails."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@functools.cache
def unavailable() -> str:
    """Why no network of namespaces can be made here; empty when one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "network namespaces need `ip` (Debian: iproute2)"
    try:
        with Network(["probe"]).up() as network:
            network.cut("probe", REDIS)
            network.heal()
    except OSError as error:
        return f"network namespaces cannot be made here: {error}"
    return ""


class Network:
    """A bridge with this process and the stores on it, and one namespace for each name."""

    def __init__(self, names: Iterable[str]) -> None:
        # Names of namespaces are the whole machine's, whichever network the bridge is in.
        self._prefix = f"hegemon-test-{os.getpid()}-{next(_made)}"
        number = next(_numbers) % 4000
        self._bridge = f"hg{number}"
        self._subnet = f"10.{213 + number // 250}.{number % 250}"
        self.hosts = {REDIS: f"{self._subnet}.2", MONGO: f"{self._subnet}.3"}
        self.names = list(names)
        self.hosts |= {name: f"{self._subnet}.{10 + place}" for place, name in enumerate(self.names)}
        self._cuts: set[tuple[str, str]] = set()

    def namespace(self, name: str) -> str:
        """The namespace of that host."""
        return f"{self._prefix}-{name}"

    @contextmanager
    def up(self) -> Iterator[Network]:
        """The network, for the length of the block."""
        try:
            ip("link", "add", self._bridge, "type", "bridge")
            for address in (f"{self._subnet}.1", self.hosts[REDIS], self.hosts[MONGO]):
                ip("address", "add", f"{address}/24", "dev", self._bridge)
            ip("link", "set", self._bridge, "up")
            for place, name in enumerate(self.names):
                self._add(name, f"{self._bridge}p{place}")
            yield self
        finally:
            for name in self.names:
                with contextlib.suppress(OSError):
                    ip("netns", "delete", self.namespace(name))
            with contextlib.suppress(OSError):
                ip("link", "delete", self._bridge)

    def _add(self, name: str, port: str) -> None:
        there = self.namespace(name)
        # A process that was killed left it, and its number has come round.
        with contextlib.suppress(OSError):
            ip("netns", "delete", there)
        ip("netns", "add", there)
        ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", there)
        ip("link", "set", port, "master", self._bridge, "up")
        ip("-n", there, "address", "add", f"{self.hosts[name]}/24", "dev", "eth0")
        ip("-n", there, "link", "set", "eth0", "up")
        ip("-n", there, "link", "set", "lo", "up")

    def cut(self, sender: str, receiver: str) -> None:
        """What `sender`, a namespace, sends to `receiver` is lost from now on; a second cut changes nothing."""
        if (sender, receiver) not in self._cuts:
            target = ("lladdr", NOWHERE, "nud", "permanent", "dev", "eth0")
            ip("-n", self.namespace(sender), "neighbour", "replace", self.hosts[receiver], *target)
            self._cuts.add((sender, receiver))

    def part(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Nothing goes between these and those, either way. Stores answer; they send nothing by themselves."""
        for one, other in itertools.product(some, others):
            for sender, receiver in ((one, other), (other, one)):
                if sender not in (REDIS, MONGO):
                    self.cut(sender, receiver)

    def heal(self) -> None:
        """Everything arrives again."""
        for sender, receiver in self._cuts:
            ip("-n", self.namespace(sender), "neighbour", "delete", self.hosts[receiver], "dev", "eth0")
        self._cuts.clear()


class OpenRedis(EmbeddedRedis):
    """A Redis that other hosts reach too."""

    host = ""

    def _arguments(self) -> list[str]:
        mine = super()._arguments()
        mine[mine.index("--bind") + 1] = f"127.0.0.1 {self.host}"
        return [*mine, "--protected-mode", "no"]


class OpenMongo(EmbeddedMongo):
    """A mongod that other hosts reach too."""

    host = ""

    def _arguments(self) -> list[str]:
        mine = super()._arguments()
        mine[mine.index("--bind_ip") + 1] = f"127.0.0.1,{self.host}"
        return mine


class NetworkCluster(Cluster):
    """Each node on a host of its own; `network` must be up."""

    network: Network

    def addresses_of(self, count: int) -> dict[str, str]:
        return {name: f"{self.network.hosts[name]}:{CLUSTER_PORT}" for name in self.network.names[:count]}

    def make(self, name: str, environment: Mapping[str, str]) -> NodeProcess:
        # Beyond loopback a node wants credentials, and TLS or a proxy that has it.
        more, token = secured(environment["CLUSTER_ID"])
        node = NodeProcess(
            {**more, "TRUSTED_PROXIES": "192.0.2.1", **environment},
            name=name,
            host=self.network.hosts[name],
            prefix=("ip", "netns", "exec", self.network.namespace(name)),
        )
        node.api.headers["authorization"] = f"Bearer {token}"
        return node

    def others(self, node: NodeProcess) -> list[str]:
        """The names of all other nodes."""
        return [name_of(other) for other in self.nodes if other is not node]


@asynccontextmanager
async def on_network(
    directory: Path, *, algorithm: str, count: int, **environment: str
) -> AsyncIterator[tuple[NetworkCluster, OpenRedis, OpenMongo]]:
    """A running cluster of that many hosts, with stores of its own on the same network."""
    async with AsyncExitStack() as stack:
        network = Network([f"n{number + 1}" for number in range(count)])
        stack.enter_context(network.up())
        redis, mongo = (
            OpenRedis(directory / "redis", port=free_port(), start_timeout=PATIENCE),
            OpenMongo(directory / "mongo", port=free_port(), start_timeout=PATIENCE),
        )
        redis.host, mongo.host = network.hosts[REDIS], network.hosts[MONGO]
        for server in (redis, mongo):
            stack.push_async_callback(server.kill)
            await server.start()
        kind = type("NetworkClusterHere", (NetworkCluster,), {"network": network})
        cluster = await stack.enter_async_context(
            on_cluster(
                directory,
                algorithm=algorithm,
                count=count,
                kind=kind,
                redis_url=f"redis://{redis.host}:{redis.port}/0",
                mongodb_uri=f"mongodb://{mongo.host}:{mongo.port}/?replicaSet={REPLICA_SET}&directConnection=true",
                database="cluster",
                environment={"CLUSTER_ID": "cluster", **environment},
            )
        )
        assert isinstance(cluster, NetworkCluster)
        yield cluster, redis, mongo
