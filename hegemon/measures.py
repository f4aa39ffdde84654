"""What one process counts: plain integers, written where things happen, read when somebody looks.

A *measure* is a family (name, labels, bounds); a *meter* is one series of it: a counter, or a histogram with fixed
bounds. A meter costs an addition, a histogram a bisection more, and nothing is shared or locked: each process has its
own `Meters`, a worker's lie in memory that its supervisor reads, also after the worker's death. `Totals` adds up
processes; what it gives never falls.

Values that come from users (queues) are bounded: the first SERIES_MAX names of a process have series of their own, the
rest share OTHER. The sums over processes are bounded once more.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Protocol

import msgspec

SERIES_MAX: Final = 100
OTHER: Final = "other"
# Sums are kept as whole numbers of this part of the unit.
MICRO: Final = 1_000_000
# A clock that was set must not make a sum that its 64 bits cannot hold.
_SUM_MAX: Final = (1 << 63) - 1

# From what is hardly a wait to what may still be waited for; one set, so that waits can be compared.
JOB_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
                3600.0)  # fmt: skip
# Handlers that do next to nothing are told apart, too.
HANDLER_S: Final = (0.0001, 0.00025, 0.0005, *JOB_S)
REQUEST_S: Final = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LAG_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0)

# For the benchmark of what measuring costs, and for nothing else.
_OFF: Final = bool(os.environ.get("HEGEMON_UNMEASURED"))
Key = tuple[str, ...]


class Row(Protocol):
    """The integers of a series: a list, or a part of a board's memory."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, value: int, /) -> None: ...

    def __iter__(self) -> Iterator[int]: ...


class Measure(msgspec.Struct, frozen=True):
    """A family. Without `bounds` it counts; with them, the upper ends of its buckets (the last one, without an end, is
    not among them). `named`: its first label is a name that users choose."""

    name: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()
    named: bool = False
    # Values of the last label that are shown from the start, with 0: else the first one that is counted would be missed
    # by whoever looks at how a counter grows.
    known: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """How many integers a series takes: a count, or the buckets and the sum."""
        return len(self.bounds) + 2 if self.bounds else 1


OUTCOMES: Final = ("completed", "failed", "retried", "cancelled")
SUBMITTED: Final = Measure("submitted", ("queue",), named=True)
ENDED: Final = Measure("ended", ("queue", "outcome"), named=True, known=OUTCOMES)
PROCESSING: Final = Measure("processing", ("queue",), HANDLER_S, named=True)
WAIT: Final = Measure("wait", ("queue",), JOB_S, named=True)
LATENESS: Final = Measure("lateness", ("queue",), JOB_S, named=True)
ROUND: Final = Measure("round", (), REQUEST_S)
DISPATCHED: Final = Measure("dispatched")
GROUP: Final = Measure("group", ("operation",), SIZES)
STORE: Final = Measure("store", ("store", "operation"), REQUEST_S)
REFUSED: Final = Measure("refused", ("reason",), known=("absent", "older", "newer"))
LAG: Final = Measure("lag", (), LAG_S)
HTTP: Final = Measure("http", ("operation", "status"))
HTTP_TIME: Final = Measure("http_time", ("operation",), REQUEST_S)
MEASURES: Final[Mapping[str, Measure]] = {
    one.name: one
    for one in (
        *(SUBMITTED, ENDED, PROCESSING, WAIT, LATENESS, ROUND, DISPATCHED, GROUP, STORE, REFUSED, LAG),
        *(HTTP, HTTP_TIME),
    )
}


class Meter:
    """One series."""

    __slots__ = ("_bounds", "_place", "row")

    def __init__(self, bounds: tuple[float, ...], row: Row) -> None:
        self._bounds = bounds
        self._place = partial(bisect_left, bounds)
        self.row = row

    def add(self, n: int = 1) -> None:
        """Count `n`."""
        self.row[0] += n

    def observe(self, value: float) -> None:
        """One value into its bucket. What is below zero, by a clock that was set, counts as zero."""
        row = self.row
        row[bisect_left(self._bounds, value)] += 1
        if value > 0:
            row[-1] = min(row[-1] + round(value * MICRO), _SUM_MAX)

    def observe_all(self, values: Sequence[float]) -> None:
        """Many values at once, at a fraction of what each by itself would cost."""
        row = self.row
        for place, n in Counter(map(self._place, values)).items():
            row[place] += n
        row[-1] = min(row[-1] + max(round(sum(values) * MICRO), 0), _SUM_MAX)


class _Idle(Meter):
    """Nothing is measured."""

    __slots__ = ()

    def add(self, n: int = 1) -> None:
        pass

    def observe(self, value: float) -> None:
        pass

    def observe_all(self, values: Sequence[float]) -> None:
        pass


class Names:
    """The names that have series of their own: the first SERIES_MAX, for ever, so that no sum ever falls."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def of(self, name: str) -> str:
        """The name itself, or OTHER."""
        if name not in self._known:
            if len(self._known) >= SERIES_MAX:
                return OTHER
            self._known.add(name)
        return name


def _in_memory(key: Key, width: int) -> Row:
    del key
    return [0] * width


class Meters:
    """One process's. `allot(key, width)` gives a new series its integers, all 0; by default in the process's own
    memory. A series may be made in any thread; whoever adds to one in several threads locks."""

    def __init__(self, allot: Callable[[Key, int], Row] = _in_memory) -> None:
        self._allot = allot
        self._names = Names()
        self._meters: dict[Key, Meter] = {}
        self._making = threading.Lock()

    def at(self, measure: Measure, *labels: str) -> Meter:
        """The series of these labels; made at its first use."""
        meter = self._meters.get((measure.name, *labels))
        return self._make(measure, labels) if meter is None else meter

    def _make(self, measure: Measure, labels: tuple[str, ...]) -> Meter:
        with self._making:
            if measure.named:
                labels = (self._names.of(labels[0]), *labels[1:])
            key = (measure.name, *labels)
            meter = self._meters.get(key)
            if meter is None:
                kind = _Idle if _OFF else Meter
                meter = self._meters[key] = kind(measure.bounds, self._allot(key, measure.width))
            return meter

    @property
    def off(self) -> bool:
        """Nothing is measured: whoever gathers for these need not."""
        return _OFF

    def read(self) -> Iterator[tuple[Key, Sequence[int]]]:
        """All series, as they stand."""
        for key, meter in list(self._meters.items()):
            yield key, tuple(meter.row)


class Totals:
    """Series of several processes added up. Those of one that has ended are `kept`."""

    def __init__(self, names: Names | None = None) -> None:
        self._names = names or Names()
        self._kept: dict[Key, list[int]] = {}

    def keep(self, series: Iterable[tuple[Key, Sequence[int]]]) -> None:
        """The last words of a process: part of every sum from now on."""
        self._add(self._kept, series)

    def sums(self, *processes: Iterable[tuple[Key, Sequence[int]]]) -> dict[Key, list[int]]:
        """What was kept and what these have, by series."""
        sums = {key: list(row) for key, row in self._kept.items()}
        for series in processes:
            self._add(sums, series)
        return sums

    def _add(self, sums: dict[Key, list[int]], series: Iterable[tuple[Key, Sequence[int]]]) -> None:
        for key, row in series:
            if MEASURES[key[0]].named:
                key = (key[0], self._names.of(key[1]), *key[2:])  # noqa: PLW2901 - the same series, by its bounded name
            known = sums.get(key)
            if known is None:
                sums[key] = list(row)
            else:
                for place, n in enumerate(row):
                    known[place] += n
