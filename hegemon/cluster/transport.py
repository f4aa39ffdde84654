"""Nodes talking to each other: one UDP socket and one TCP listener on one port, and what they need of time and tasks.

`frames` seals, `sessions` says what may be believed, `transport_places` whom to ask and when, `streams` has the TCP
connections; here they are given sockets. Callers hear nothing of the network's failures; everything that is dropped is
counted by its reason in `counters`:

===================  ===================================================================================================
counter              what was dropped
===================  ===================================================================================================
garbage              not a frame at all, a frame cut short, or one that came the wrong way
oversize             longer than a frame may be (never decrypted), or a payload that we were asked to send
foreign_cluster      another cluster's, or one under a secret that we do not accept (never decrypted)
forged               changed on its way, or made without the secret
replayed             delivered before, or older than the window; our own frame sent back to us
stale_boot           for an earlier start of ours, of an earlier start of its sender, or a proof that came too late
unknown_peer         a payload of a node that has not proven itself lately; a payload for a node that nobody knows
queue_full           more waits for a peer, or for the socket, than is kept
send_failed          the system refused a datagram (a firewall's EPERM, ENOBUFS, no route)
stream_*             see `streams`
===================  ===================================================================================================

=============================================  =========================================================================
failure                                        effect
=============================================  =========================================================================
a peer starts anew, on the same or a new port  its first HELLO, or the first frame either way, brings a new session: one
                                               and a half round trips
a peer moves behind its name                   it is silent, is asked, and each asking looks the name up again
a name cannot be resolved (yet)                the peer is answered where it came from
no session yet                                 the newest 8 payloads of the last 2 s are kept for a node that we know of
datagrams do not get through, streams do       streams prove their ends themselves and go on
a flood without the secret                     one failed decryption a frame; nothing is stored
a flood of recorded frames                     answers no larger than what asked, and at most 20 HELLOs a second
=============================================  =========================================================================
"""

from __future__ import annotations

import asyncio
import random
import socket
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from hegemon.cluster.frames import Keys
from hegemon.cluster.sessions import PEERS_MAX, Facts, Sessions, Verdict
from hegemon.cluster.streams import STALE_S, Streams
from hegemon.cluster.transport_addresses import Addresses, SocketAddress, open_pair
from hegemon.cluster.transport_places import FIRST_S, Places
from hegemon.election.contract import DATAGRAM_MAX, STREAM_MAX, Member, Randomness
from hegemon.version import VERSION

COUNTERS: Final = (
    *("garbage", "oversize", "foreign_cluster", "forged", "replayed", "stale_boot", "unknown_peer", "queue_full"),
    *("send_failed", "stream_failed", "stream_refused", "stream_timeout", "stream_idle"),
    *("datagrams_in", "datagrams_out", "streams_in", "streams_out", "asked"),
)
PENDING_MAX: Final = 8
# How many HELLOs a second go to senders that are at no place that we know: their addresses may be made up.
STRANGERS_PER_S: Final = 20
_STRANGERS_KEPT: Final = 256


class Transport:
    """The node's voice. `me` are this node's own facts, asked for at every handshake if callable. `received` gets the
    sender's NODE_ID, the payload, and whether a stream brought it. `met` gets a member that has proven itself for the
    first time, after a new start, or with other facts. `twin` gets the address of another live process that has our
    NODE_ID, once a start of it. All are called on the event loop, and never after `close`. Not for other threads."""

    def __init__(
        self,
        me: Callable[[], Member] | Member,
        *,
        bind: tuple[str, int],
        keys: Keys,
        received: Callable[[str, bytes, bool], None],
        met: Callable[[Member], None],
        twin: Callable[[str], None] | None = None,
        version: str = VERSION,
        rng: Randomness | None = None,
    ) -> None:
        self._me = me
        self._bind = bind
        self._received = received
        self._met = met
        self._twin = twin
        self._version = version
        self.counts = dict.fromkeys(COUNTERS, 0)
        self.counters: Mapping[str, int] = MappingProxyType(self.counts)
        self.port = bind[1]
        # The socket's buffer is full: the protocol below tells.
        self.paused = False
        self._sessions = Sessions((me() if callable(me) else me).id, keys)
        self._places = Places(self._sessions.ask_at, rng or random.Random())
        self._streams = Streams(self)
        self._addresses = Addresses(socket.AF_INET)
        self._sources: dict[str, SocketAddress] = {}
        self._pending: dict[str, deque[tuple[float, bytes]]] = {}
        self._strangers: OrderedDict[SocketAddress, float] = OrderedDict()
        self._datagrams: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Bind and begin to ask. Raises OSError if the port cannot be had, ValueError for facts that do not fit."""
        loop = asyncio.get_running_loop()
        host, port = self._bind
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        family, numeric = found[0][0], str(found[0][4][0])
        self._addresses = Addresses(family)
        datagrams, streams = open_pair(family, numeric, port)
        self.port = datagrams.getsockname()[1]
        try:
            self._sessions.hello(self._facts(), time.monotonic())
            self._datagrams, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=datagrams)
            self._server = await asyncio.start_server(self._streams.serve, sock=streams)
        except BaseException:
            if self._datagrams is not None:
                self._datagrams.abort()
            datagrams.close()
            streams.close()
            raise
        self._tick()

    async def close(self) -> None:
        """Stop at once; nothing is called back any more. May be called again, and without `start`."""
        datagrams, self._datagrams = self._datagrams, None
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        await self._streams.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._addresses.close()
        if datagrams is not None:
            datagrams.abort()
        if self._server is not None:
            await self._server.wait_closed()
        # Sockets are closed in callbacks of callbacks of the loop's next turns.
        for _ in range(3):
            await asyncio.sleep(0)

    def introduce(self, address: str, id: str | None = None) -> None:  # noqa: A002 (the interface's name)
        """Ask who is at HOST:PORT until it answers. `id` is who should be there: payloads for it are kept meanwhile."""
        if not self._places.add(address, id, time.monotonic(), introduced=True):
            self.counts["queue_full"] += 1
        elif self._datagrams is not None:
            self._tick()

    def forget(self, address: str) -> None:
        """Ask no more at a place that was introduced, or learned."""
        self._places.remove(address)

    def facts(self, id: str) -> Facts | None:  # noqa: A002 (as above)
        """What a node said of itself when it last proved itself, its version too; None if it never has."""
        peer = self._sessions.peers.get(id)
        return None if peer is None else peer.facts

    def send(self, to: str, payload: bytes) -> None:
        """One datagram of at most DATAGRAM_MAX bytes to a node."""
        if self._datagrams is None:
            return
        now = time.monotonic()
        if len(payload) > DATAGRAM_MAX:
            self.counts["oversize"] += 1
            return
        target = self._target(to)
        frame = self._sessions.seal(to, payload, now) if target is not None else None
        if frame is not None and target is not None:
            self.counts["datagrams_out"] += 1
            self._sendto(frame, target)
        elif to in self._sessions.peers or self._places.address_of(to) is not None:
            waiting = self._pending.setdefault(to, deque())
            if len(waiting) >= PENDING_MAX:
                waiting.popleft()
                self.counts["queue_full"] += 1
            waiting.append((now, payload))
        else:
            self.counts["unknown_peer"] += 1

    def stream(self, to: str, payload: bytes) -> None:
        """One message of at most STREAM_MAX bytes to a node, over TCP."""
        if self._datagrams is None:
            return
        if len(payload) > STREAM_MAX:
            self.counts["oversize"] += 1
        elif to == self._sessions.id or (to not in self._sessions.peers and self._places.address_of(to) is None):
            self.counts["unknown_peer"] += 1
        else:
            self._streams.send(to, payload)

    # --- what streams ask for -----------------------------------------------------------------------------------------

    def judge(self, frame: bytes, *, stream: bool) -> Verdict:
        """Open a frame and count what it came to."""
        verdict = self._sessions.receive(frame, self._facts, time.monotonic(), stream=stream)
        if verdict.dropped is not None:
            self.counts[verdict.dropped] += 1
        elif verdict.payload is not None:
            self.counts["streams_in" if stream else "datagrams_in"] += 1
        return verdict

    def act(self, verdict: Verdict, *, stream: bool = True) -> None:
        """Tell whoever is to know. After the reply has left: what `met` sends at once must not overtake it."""
        if self._datagrams is None:
            return
        now = time.monotonic()
        if verdict.sender is not None and verdict.payload is not None:
            self._received(verdict.sender, verdict.payload, stream)
        if verdict.own or verdict.twin is not None:
            self._places.own(verdict.place, now)
        if verdict.twin is not None and self._twin is not None:
            self._twin(verdict.twin)
        if verdict.proven is not None:
            member = verdict.proven.facts.member()
            self._places.answered(verdict.place, member.id, now)
            if verdict.news:
                self._addresses.doubt(member.address)
                if self._addresses.known(member.address) is None:
                    self._spawn(self._learn(member.address))
                self._places.add(member.address, member.id, now, introduced=False)
                self._met(member)
            self._flush(member.id, now)
            self._tick()

    def hello(self) -> bytes:
        """A frame to begin a connection with."""
        return self._sessions.hello(self._facts(), time.monotonic())

    def seal_stream(self, to: str, payload: bytes) -> bytes | None:
        """A frame for a proven peer."""
        return self._sessions.seal(to, payload, time.monotonic(), stream=True)

    async def dial(self, to: str) -> SocketAddress | None:
        """Where a peer is reached: where it says, else where it came from."""
        peer = self._sessions.peers.get(to)
        address = self._places.address_of(to) if peer is None else peer.facts.address
        found = None if address is None else await self._addresses.resolve(address)
        return found or self._sources.get(to)

    # --- datagrams ----------------------------------------------------------------------------------------------------

    def datagram(self, frame: bytes, source: SocketAddress) -> None:
        """What the socket brought."""
        if self._datagrams is None:
            return
        verdict = self.judge(frame, stream=False)
        if verdict.reply is not None:
            self._sendto(verdict.reply, source)
        if verdict.proven is not None:
            if len(self._sources) >= 2 * PEERS_MAX:
                self._sources = {node: at for node, at in self._sources.items() if node in self._sessions.peers}
            self._sources[verdict.proven.facts.id] = source
        if verdict.ask and self._may_ask(source):
            self._ask(source, 0)
        self.act(verdict, stream=False)

    def _may_ask(self, source: SocketAddress) -> bool:
        """Whether the sender of a frame without a session gets a HELLO now. The source may be a lie, so its port and
        host get one HELLO in 0.1 s, and all that are new to us together STRANGERS_PER_S."""
        now = time.monotonic()
        last = self._strangers.get(source)
        if last is not None and now - last < FIRST_S:
            return False
        while self._strangers and (len(self._strangers) >= _STRANGERS_KEPT or self._oldest_stranger() <= now - 1):
            self._strangers.popitem(last=False)
        if len(self._strangers) >= STRANGERS_PER_S and source not in self._sources.values():
            return False
        self._strangers[source] = now
        self._strangers.move_to_end(source)
        return True

    def _oldest_stranger(self) -> float:
        return next(iter(self._strangers.values()))

    def _target(self, to: str) -> SocketAddress | None:
        peer = self._sessions.peers.get(to)
        if peer is None:
            return None
        return self._addresses.known(peer.facts.address) or self._sources.get(to)

    def _flush(self, to: str, now: float) -> None:
        for queued_at, payload in self._pending.pop(to, ()):
            if now - queued_at <= STALE_S:
                self.send(to, payload)

    def _sendto(self, frame: bytes, target: SocketAddress) -> None:
        if self._datagrams is None:
            return
        if self.paused:
            self.counts["queue_full"] += 1
            return
        try:
            self._datagrams.sendto(frame, target)
        except (OSError, ValueError):  # uvloop's for an address of another family
            self.counts["send_failed"] += 1

    def _facts(self) -> Facts:
        return Facts.of(self._me() if callable(self._me) else self._me, self._version)

    # --- asking -------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Ask at the places that are due, and come back when the next one is."""
        if self._timer is not None:
            self._timer.cancel()
        now = time.monotonic()
        for place in self._places.due(now):
            known = self._addresses.known(place.address)
            if known is not None:
                self._ask(known, place.number)
            if not self._addresses.fresh(place.address):
                self._spawn(self._learn(place.address, place.number, known))
        deadline = self._places.deadline()
        if deadline is not None:
            # A clock of whole milliseconds must not wake us early again and again.
            self._timer = asyncio.get_running_loop().call_later(max(deadline - now, 0.0) + 0.002, self._tick)

    def _ask(self, target: SocketAddress, place: int) -> None:
        self.counts["asked"] += 1
        self._sendto(self._sessions.hello(self._facts(), time.monotonic(), place), target)

    async def _learn(self, address: str, place: int = 0, known: SocketAddress | None = None) -> None:
        """Look a name up, and ask there if that says something new."""
        found = await self._addresses.resolve(address)
        if place and found is not None and found != known and self._datagrams is not None:
            self._ask(found, place)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work, name="transport-resolve")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Datagrams(asyncio.DatagramProtocol):
    """Hands on what the socket brings."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self._transport.datagram(data, addr)

    def pause_writing(self) -> None:
        self._transport.paused = True

    def resume_writing(self) -> None:
        self._transport.paused = False

    def error_received(self, exc: Exception) -> None:
        self._transport.counts["send_failed"] += 1
