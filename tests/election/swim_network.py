"""A network in virtual time for up to some hundred electors: one heap of deliveries and alarms.

It loses datagrams by seed and delays them a little; streams arrive unless the way is cut. It is quick (about 20 us an
event), since all that the figures need is many events; `tests/simulation` has the crueller network.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Generic, Protocol, TypeVar

from hegemon.election.contract import Discovered, Effect, Event, Member, Received, Send, Stream, Tick

Cut = Callable[[str, str], bool]  # from whom, to whom: whether nothing gets through


class Core(Protocol):
    """What Swim and every Elector have in common."""

    def start(self, now: float) -> Sequence[Effect]: ...

    def handle(self, event: Event, now: float) -> Sequence[Effect]: ...

    def deadline(self) -> float | None: ...


C = TypeVar("C", bound=Core)


class Network(Generic[C]):
    """Nodes by id. ``made(member, rng)`` makes a node's core; ``watch`` sees the effects of every step."""

    def __init__(
        self,
        made: Callable[[Member, random.Random], C],
        *,
        seed: int,
        loss: float = 0.0,
        delay_s: tuple[float, float] = (0.0002, 0.002),
        watch: Callable[[str, Sequence[Effect], float], None] | None = None,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.nodes: dict[str, C] = {}
        self.loss = loss
        self.delay_s = delay_s
        self.cut: Cut | None = None
        self.sent = 0
        self.events = 0
        self._made = made
        self._watch = watch
        self._heap: list[tuple[float, int, str, Event | None, int]] = []
        self._order = 0
        self._alarm: dict[str, float] = {}
        self._lives: dict[str, int] = {}
        self._stopped: dict[str, list[Event]] = {}

    def start(self, member: Member) -> C:
        """Start a node, or start it anew with nothing remembered."""
        core = self._made(member, random.Random(self.random.random()))
        self.nodes[member.id] = core
        self._lives[member.id] = self._lives.get(member.id, 0) + 1
        self._alarm.pop(member.id, None)
        self._carry_out(member.id, core.start(self.now))
        return core

    def introduce(self, node: str, to: str) -> None:
        """Tell a node and another where they are, as the transport does once they have proved who they are."""
        self.tell(to, Discovered(Member(node, address=f"{node}:7946")))
        self.tell(node, Discovered(Member(to, address=f"{to}:7946")))

    def tell(self, node: str, event: Event) -> None:
        """Give a node an event now."""
        if node in self._stopped:
            self._stopped[node].append(event)
        else:
            self._step(node, event)

    def kill(self, node: str) -> None:
        """As kill -9 does: no word to anybody."""
        del self.nodes[node]
        self._lives[node] += 1
        self._stopped.pop(node, None)

    def stop(self, node: str) -> None:
        """SIGSTOP: what arrives waits."""
        self._stopped[node] = []

    def resume(self, node: str) -> None:
        """SIGCONT: first what waited, as a socket's buffer would give it (the last 500), then the alarm."""
        for event in self._stopped.pop(node)[-500:]:
            self._step(node, event)
        self._step(node, Tick())

    def run(self, for_s: float, until: Callable[[], bool] | None = None) -> bool:
        """Let time pass; stops early, and says True, when ``until`` holds."""
        end = self.now + for_s
        while self._heap and self._heap[0][0] <= end:
            self.now, _, node, event, life = heappop(self._heap)
            if self._lives.get(node) != life or node not in self.nodes:
                continue
            if node in self._stopped:
                if event is not None:
                    self._stopped[node].append(event)
                continue
            if event is None:
                if self._alarm.get(node) != self.now:
                    continue
                event = Tick()
            self._step(node, event)
            if until is not None and until():
                return True
        self.now = end
        return until is not None and until()

    def each(self) -> Iterator[C]:
        """The cores that run."""
        return iter(self.nodes.values())

    def _step(self, node: str, event: Event) -> None:
        self.events += 1
        self._carry_out(node, self.nodes[node].handle(event, self.now))

    def _carry_out(self, node: str, effects: Sequence[Effect]) -> None:
        if effects and self._watch is not None:
            self._watch(node, effects, self.now)
        for effect in effects:
            if isinstance(effect, Send | Stream):
                self._deliver(node, effect)
        deadline = self.nodes[node].deadline()
        if deadline is not None and self._alarm.get(node) != deadline:
            self._push(max(deadline, self.now), node, None)
        if deadline is None:
            self._alarm.pop(node, None)
        else:
            self._alarm[node] = max(deadline, self.now)

    def _deliver(self, sender: str, effect: Send | Stream) -> None:
        self.sent += 1
        stream = isinstance(effect, Stream)
        if effect.to not in self.nodes or (self.cut is not None and self.cut(sender, effect.to)):
            return
        if not stream and self.loss and self.random.random() < self.loss:
            return
        least, most = self.delay_s
        delay = least + (most - least) * self.random.random()
        if stream:  # a handshake, the message; a way back is needed too
            if self.cut is not None and self.cut(effect.to, sender):
                return
            delay *= 3
        self._push(self.now + delay, effect.to, Received(sender, effect.payload, stream))

    def _push(self, at: float, node: str, event: Event | None) -> None:
        self._order += 1
        heappush(self._heap, (at, self._order, node, event, self._lives[node]))
