"""Transports on loopback with what they heard and met, for the tests of this directory, and strangers beside them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from hegemon.cluster.frames import Keys
from hegemon.cluster.transport import Transport
from hegemon.cluster.transport_addresses import join
from hegemon.election.contract import Member
from tests.waiting import wait_until

KEYS = Keys.from_secrets("c", "a secret")


@dataclass
class Node:
    """One transport with its journal."""

    name: str
    host: str = "127.0.0.1"
    keys: Keys = KEYS
    port: int = 0
    advertise: Callable[[int], str] | None = None
    heard: list[tuple[str, bytes, bool]] = field(default_factory=list)
    met: list[Member] = field(default_factory=list)
    twins: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.transport = Transport(
            self.me,
            bind=(self.host, self.port),
            keys=self.keys,
            received=lambda sender, payload, stream: self.heard.append((sender, payload, stream)),
            met=self.met.append,
            twin=self.twins.append,
        )

    @property
    def address(self) -> str:
        port = self.transport.port if hasattr(self, "transport") else self.port
        return self.advertise(port) if self.advertise else join(self.host, port)

    def me(self) -> Member:
        return Member(self.name, incarnation=1, address=self.address)

    def count(self, name: str) -> int:
        return self.transport.counters[name]

    async def counts(self, name: str, least: int) -> None:
        """Wait until so many were counted."""
        await wait_until(lambda: self.count(name) >= least, message=f"{least} of {name} at {self.name}")

    async def hears(self, message: tuple[str, bytes, bool]) -> None:
        """Wait until it has heard this: sender, payload, whether by stream."""
        await wait_until(lambda: message in self.heard, message=f"{message} to reach {self.name}")

    def knows(self, *others: "Node") -> bool:
        """Whether it has met each of them as they are now."""
        return all(
            (peer := self.transport._sessions.peers.get(other.name)) is not None
            and peer.boot == other.transport._sessions.boot
            for other in others
        )


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Start them, and close them whatever happens."""
    try:
        for node in nodes:
            await node.transport.start()
        yield
    finally:
        for node in nodes:
            await node.transport.close()


async def acquaint(*nodes: Node) -> None:
    """Introduce each to all that follow, and wait until all know all."""
    for at, node in enumerate(nodes):
        for other in nodes[at + 1 :]:
            node.transport.introduce(other.address, other.name)
    await wait_until(
        lambda: all(node.knows(*(other for other in nodes if other is not node)) for node in nodes),
        message="all nodes to know each other",
    )


async def exchange(one: Node, other: Node, text: bytes = b"ping") -> None:
    """A datagram and a stream each way."""
    for sender, receiver in ((one, other), (other, one)):
        sender.transport.send(receiver.name, text)
        sender.transport.stream(receiver.name, text)
        for stream in (False, True):
            await receiver.hears((sender.name, text, stream))


def raw() -> socket.socket:
    """Any stranger's socket."""
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stranger.bind(("127.0.0.1", 0))
    return stranger


@asynccontextmanager
async def tapped(node: Node) -> AsyncIterator[list[bytes]]:
    """Every datagram that the node sends from now on, as a listener on the wire sees them."""
    frames: list[bytes] = []
    transport = node.transport
    original = transport._sendto

    def record(frame: bytes, target: tuple[object, ...]) -> None:
        frames.append(frame)
        original(frame, target)

    transport._sendto = record  # type: ignore[method-assign]  # the wire itself cannot be listened to without root
    try:
        yield frames
    finally:
        transport._sendto = original  # type: ignore[method-assign]  # as above


async def stream_to(node: Node, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw connection on which this has been written."""
    reader, writer = await asyncio.open_connection("127.0.0.1", node.transport.port)
    writer.write(data)
    return reader, writer
