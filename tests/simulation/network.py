"""The network between nodes: datagrams that are lost, late, doubled or overtaken, streams that come in order or not at
all, and cuts in one direction or both. It stands in for the product's transport, below the electors."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from hegemon.election.contract import Member
from tests.simulation.loop import CURRENT, Process
from tests.simulation.paths import OUTSIDE

ASK_AGAIN_S = (0.05, 0.1, 0.2, 0.5, 1.0)


class Network:
    """All nodes' wires. `loss` and `doubled` are shares of datagrams; `delay_s` the scale of a one-way delay, `tail`
    the share of those that take up to a hundred times as long."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.delay_s = 0.0003
        self.tail = 0.0
        self.loss = 0.0
        self.doubled = 0.0
        self.sent = 0
        self._cuts: Counter[tuple[str, str]] = Counter()
        self._there: dict[str, SimulatedTransport] = {}
        self._stream_due: dict[tuple[str, str], float] = {}

    def cut(self, pairs: Iterable[tuple[str, str]]) -> None:
        """Let nothing from the first of a pair to its second; names of nodes."""
        self._cuts.update(pairs)

    def mend(self, pairs: Iterable[tuple[str, str]]) -> None:
        """End cuts; where another still holds, nothing gets through yet."""
        self._cuts.subtract(pairs)

    def weather(self, *, loss: float = 0.0, doubled: float = 0.0, tail: float = 0.0, delay_s: float = 0.0003) -> None:
        """How datagrams fare from now on."""
        self.loss, self.doubled, self.tail, self.delay_s = loss, doubled, tail, delay_s

    def heal(self) -> None:
        """No cuts, no loss, no delay beyond the usual."""
        self._cuts.clear()
        self.weather()

    def _cut_between(self, sender: str, target: str) -> bool:
        return self._cuts[sender, target] > 0

    def join(self, address: str, transport: SimulatedTransport) -> None:
        """A node listens."""
        self._there[address] = transport

    def leave(self, address: str, transport: SimulatedTransport) -> None:
        """It listens no more."""
        if self._there.get(address) is transport:
            del self._there[address]

    def datagram(self, sender: SimulatedTransport, address: str, deliver: Callable[[SimulatedTransport], None]) -> None:
        """One datagram to an address."""
        self.sent += 1
        copies = 2 if self.doubled and self._rng.random() < self.doubled else 1
        for _ in range(copies):
            if not self.loss or self._rng.random() >= self.loss:
                self._post(sender, address, deliver, asyncio.get_running_loop().time() + self._delay())

    def stream(self, sender: SimulatedTransport, address: str, deliver: Callable[[SimulatedTransport], None]) -> None:
        """One message of a stream: what is lost on its way is sent again below, and takes longer."""
        self.sent += 1
        when = asyncio.get_running_loop().time() + 3 * self._delay()
        while self.loss and self._rng.random() < self.loss:
            when += 0.2
        pair = (sender.address, address)
        when = max(when, self._stream_due.get(pair, 0.0))
        self._stream_due[pair] = when
        self._post(sender, address, deliver, when)

    def _post(
        self, sender: SimulatedTransport, address: str, deliver: Callable[[SimulatedTransport], None], when: float
    ) -> None:
        def arrive() -> None:
            target = self._there.get(address)
            if target is not None and not self._cut_between(sender.name, target.name):
                deliver(target)

        target = self._there.get(address)
        if target is None or self._cut_between(sender.name, target.name) or not sender.process.alive:
            return
        asyncio.get_running_loop().call_at(when, arrive, context=OUTSIDE)

    def _delay(self) -> float:
        delay = self.delay_s * (0.5 + self._rng.random())
        if self.tail and self._rng.random() < self.tail:
            delay *= 1 + 99 * self._rng.random() ** 2
        return delay


class SimulatedTransport:
    """What the product's transport does for an election, on the simulated network."""

    network: Network

    def __init__(
        self,
        me: Member | Callable[[], Member],
        *,
        received: Callable[[str, bytes, bool], None],
        met: Callable[[Member], None],
        **_: Any,
    ) -> None:
        process = CURRENT.get()
        assert process is not None
        self.process: Process = process
        self.counters: Counter[str] = Counter()
        self._me = me if callable(me) else lambda: me
        self._received = received
        self._met = met
        self._addresses: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[None]] = {}

    @property
    def name(self) -> str:
        """The node's NODE_ID."""
        return self._me().id

    @property
    def address(self) -> str:
        """Where it is reached."""
        return self._me().address

    async def start(self) -> None:
        """Listen."""
        self.network.join(self.address, self)

    async def close(self) -> None:
        """Listen no more, ask nobody."""
        self.network.leave(self.address, self)
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def send(self, to: str, payload: bytes) -> None:
        """One datagram; dropped and counted when it is not known where to."""
        self._out(self.network.datagram, to, payload, stream=False)

    def stream(self, to: str, payload: bytes) -> None:
        """The same over a stream."""
        self._out(self.network.stream, to, payload, stream=True)

    def introduce(self, address: str, id: str | None = None) -> None:  # noqa: A002 - the transport's own name for it
        """A place to ask, until it answers."""
        if address != self.address and address not in self._asking:
            self._asking[address] = asyncio.create_task(self._ask(address))

    def _out(self, way: Callable[..., None], to: str, payload: bytes, *, stream: bool) -> None:
        address = self._addresses.get(to)
        if address is None:
            self.counters["unknown"] += 1
            return
        sender = self.name

        def deliver(target: SimulatedTransport) -> None:
            target.in_(lambda: target.hear(sender, self.address, payload, stream=stream), who=to)

        way(self, address, deliver)

    def in_(self, work: Callable[[], None], who: str | None = None) -> None:
        """Do something as this transport's own process, if it is whom the sender meant."""
        if self.process.alive and who in (None, self.name):
            asyncio.get_running_loop().call_soon(work, context=self.context())

    def context(self) -> Any:
        """A context of this node's process."""
        import contextvars  # noqa: PLC0415 - beside its one use

        made = contextvars.Context()
        made.run(CURRENT.set, self.process)
        return made

    def hear(self, sender: str, address: str, payload: bytes, *, stream: bool) -> None:
        """A frame has come."""
        self._addresses.setdefault(sender, address)
        self._received(sender, payload, stream)

    def _answer(self, asker: SimulatedTransport) -> None:
        mine, theirs = self._me(), asker._me()
        self._know(theirs)
        self.network.datagram(self, asker.address, lambda target: target.in_(lambda: target._know(mine)))

    def _know(self, member: Member) -> None:
        if self._addresses.get(member.id) != member.address or member.id not in self._met_ids:
            self._met_ids.add(member.id)
            self._addresses[member.id] = member.address
            self._met(member)

    @property
    def _met_ids(self) -> set[str]:
        found: set[str] = self.__dict__.setdefault("_met_already", set())
        return found

    async def _ask(self, address: str) -> None:
        asked = 0
        while address not in self._addresses.values():
            self.network.datagram(self, address, lambda target: target.in_(lambda: target._answer(self)))
            await asyncio.sleep(ASK_AGAIN_S[min(asked, len(ASK_AGAIN_S) - 1)])
            asked += 1
