"""A simulated replica set under the product's own stores: a primary that applies at once, and what the majority has.

A write is answered when the majority has it, reads see what the majority has, and compare-and-sets look at what the
primary has, as with `w: majority` and `readConcern: majority`. When the primary changes, what the majority had not got
by then is rolled back, every connection ends, and for a while there is nobody to ask. `impatient` answers writes at
once, as `w: 1` would: the safeguard that is switched off to see a run fail.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

from tests.simulation.mongo_data import Document
from tests.simulation.paths import OUTSIDE

# One change of one document: collection, id, before, after. None: there is none.
Change = tuple[str, Any, Document | None, Document | None]
Operation = Callable[["Writer"], Any]
CommitObserver = Callable[[Change], None]


class Writer:
    """What an operation sees of the primary, and what it wants changed. Applied whole, or not at all."""

    def __init__(self, server: SimulatedMongo) -> None:
        self._server = server
        self.changes: list[Change] = []
        self._own: dict[tuple[str, Any], Document | None] = {}

    def collection(self, name: str) -> dict[Any, Document]:
        """The documents of a collection as the primary has them, with this operation's own changes."""
        found = self._server.latest.setdefault(name, {})
        own = {key: value for (collection, key), value in self._own.items() if collection == name}
        if not own:
            return found
        merged = {**found, **{key: value for key, value in own.items() if value is not None}}
        return {key: value for key, value in merged.items() if own.get(key, value) is not None}

    def majority(self, name: str) -> dict[Any, Document]:
        """The same as the majority has it."""
        return self._server.committed.setdefault(name, {})

    def put(self, name: str, key: Any, document: Document | None) -> None:
        """Make this the document with that id; None removes it."""
        before = self.collection(name).get(key)
        self.changes.append((name, key, before, document))
        self._own[name, key] = document

    def conflicts(self) -> bool:
        """Whether another has changed meanwhile what this would change."""
        first: dict[tuple[str, Any], Document | None] = {}
        for name, key, before, _ in self.changes:
            first.setdefault((name, key), before)
        return any(self._server.latest.get(name, {}).get(key) is not before for (name, key), before in first.items())


class SimulatedMongo:
    """The set. `observers` see every change that reaches the majority, in order."""

    def __init__(self, rng: random.Random, *, commit_s: float = 0.0) -> None:
        self._rng = rng
        self.commit_s = commit_s
        self.impatient = False
        self.latest: dict[str, dict[Any, Document]] = {}
        self.committed: dict[str, dict[Any, Document]] = {}
        self.observers: list[CommitObserver] = []
        self.indexes: dict[str, list[tuple[tuple[str, ...], bool, Document]]] = {}
        self.life = 0
        self.up = True
        self.stalled = False
        self.lagging = False
        self.rolled_back = 0
        self._log: list[list[Change]] = []
        self._applied = 0
        self._waiting: list[tuple[int, Callable[[], None], Callable[[], None]]] = []
        self._backlog: list[tuple[Callable[[], None], Callable[[], None]]] = []
        self._dying: list[Callable[[], None]] = []

    # -- what may happen to it -----------------------------------------------------------------------------------------

    def step_down(self, within_s: float) -> None:
        """The primary is gone; another is there after `within_s`, with what the majority had, and perhaps more."""
        self.life += 1
        self.up = False
        keep = self._rng.randint(0, len(self._log))
        lost = self._log[keep:]
        self._log = self._log[:keep]
        for changes in reversed(lost):
            self.rolled_back += 1
            for name, key, before, _ in reversed(changes):
                _set(self.latest[name], key, before)
        for _, _, broken in self._waiting:
            broken()
        self._waiting.clear()
        self._commit(len(self._log))
        asyncio.get_running_loop().call_later(within_s, self._elected, context=OUTSIDE)

    def stall(self, *, on: bool) -> None:
        """Carry nothing out for a while."""
        self.stalled = on
        self._go_on()

    def lag(self, *, on: bool) -> None:
        """The secondaries get nothing: the primary applies and nothing reaches the majority."""
        self.lagging = on
        if not on:
            self._commit(len(self._log))

    def _elected(self) -> None:
        self.up = True
        self._go_on()

    def _go_on(self) -> None:
        if self.up and not self.stalled:
            backlog, self._backlog = self._backlog, []
            for carry_out, _ in backlog:
                carry_out()

    # -- what it does --------------------------------------------------------------------------------------------------

    def submit(
        self, operation: Operation, done: Callable[[Any], None], failed: Callable[[BaseException], None],
        broken: Callable[[], None], *, writes: bool,
    ) -> None:  # fmt: skip
        """Carry an operation out now, or once there is a primary; `done` when the majority has what it wrote."""
        if not self.up or self.stalled:
            self._backlog.append((lambda: self.submit(operation, done, failed, broken, writes=writes), broken))
            return
        writer = Writer(self)
        try:
            result = operation(writer)
        except BaseException as error:  # noqa: BLE001 - an error is an answer, told when the majority has what led to it
            self._apply(writer.changes)
            self._when_committed(lambda error=error: failed(error), broken)  # type: ignore[misc]
            return
        self._apply(writer.changes)
        if writes and not self.impatient:
            self._when_committed(lambda: done(result), broken)
        else:
            done(result)

    def apply_all(self, writer: Writer) -> bool:
        """Apply a transaction's changes; False if somebody was faster."""
        if writer.conflicts():
            return False
        self._apply(writer.changes)
        writer.changes = []
        return True

    def _apply(self, changes: list[Change]) -> None:
        if not changes:
            return
        for name, key, _, after in changes:
            _set(self.latest.setdefault(name, {}), key, after)
        self._log.append(list(changes))
        count = len(self._log)
        if self.lagging:
            return
        if not self.commit_s:
            self._commit(count)
            return
        delay = self.commit_s * (0.5 + self._rng.random())
        asyncio.get_running_loop().call_later(delay, self._commit_of, self.life, self._applied + count, context=OUTSIDE)

    def _commit_of(self, life: int, until: int) -> None:
        if life == self.life and not self.lagging:
            self._commit(until - self._applied)

    def _commit(self, count: int) -> None:
        for changes in self._log[: max(count, 0)]:
            self._applied += 1
            for change in changes:
                name, key, _, after = change
                _set(self.committed.setdefault(name, {}), key, after)
                for observer in self.observers:
                    observer(change)
        del self._log[: max(count, 0)]
        ready = [item for item in self._waiting if item[0] <= self._applied]
        self._waiting = [item for item in self._waiting if item[0] > self._applied]
        for _, done, _ in ready:
            done()

    def _when_committed(self, done: Callable[[], None], broken: Callable[[], None]) -> None:
        until = self._applied + len(self._log)
        if until <= self._applied or self.impatient:
            done()
        else:
            self._waiting.append((until, done, broken))


def _set(documents: dict[Any, Document], key: Any, document: Document | None) -> None:
    if document is None:
        documents.pop(key, None)
    else:
        documents[key] = document
