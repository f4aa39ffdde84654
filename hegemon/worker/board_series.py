"""The part of a board that holds a worker's series: it writes them in place, its supervisor reads them at any moment.

    used | record | record | …        record: name length, width | name | width integers of 64 bits
      └ bytes of whole records; raised last, so that a record that is seen is whole

A series is made once and never moves. What a worker counted is there after its SIGKILL, to the last addition.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final

from hegemon.measures import Key, Row

# Room for three histograms and three counters of 101 queues, and the rest: only what is used becomes memory.
SIZE: Final = 1 << 18
_USED: Final = struct.Struct("<q")
_HEAD: Final = struct.Struct("<II")
_BETWEEN: Final = "\n"


class BoardSeries:
    """The series from `start` of a board's memory on; `start` is a multiple of 8."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._memory = memory
        self._start = start

    def allot(self, key: Key, width: int) -> Row:
        """The worker's side: a new series of zeros. Beyond the room that there is, one that nobody sees."""
        name = _BETWEEN.join(key).encode()
        used: int = _USED.unpack_from(self._memory, self._start)[0]
        place = self._start + _USED.size + used
        cells = place + _HEAD.size + _padded(len(name))
        end = cells + 8 * width
        if end > self._start + SIZE:
            return [0] * width
        _HEAD.pack_into(self._memory, place, len(name), width)
        self._memory[place + _HEAD.size : place + _HEAD.size + len(name)] = name
        _USED.pack_into(self._memory, self._start, end - self._start - _USED.size)
        return memoryview(self._memory)[cells:end].cast("q")

    def read(self) -> Iterator[tuple[Key, tuple[int, ...]]]:
        """The supervisor's side: all series, as they stand."""
        used: int = _USED.unpack_from(self._memory, self._start)[0]
        place = self._start + _USED.size
        end = place + used
        while place < end:
            length, width = _HEAD.unpack_from(self._memory, place)
            place += _HEAD.size
            name = self._memory[place : place + length].decode()
            place += _padded(length)
            yield tuple(name.split(_BETWEEN)), struct.unpack_from(f"<{width}q", self._memory, place)
            place += 8 * width


def _padded(length: int) -> int:
    return -(-length // 8) * 8
