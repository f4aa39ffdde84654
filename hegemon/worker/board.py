"""Memory that a worker process shares with its supervisor: what runs now, and until when the lease holds.

Written with single aligned stores, read by the other side at any moment, also after a SIGKILL: so a supervisor knows
which job a dead worker ran, and kills one that is stuck beyond a job's hard deadline even while user code holds the
GIL. Behind it all lie the worker's series (`board_series`). All times are CLOCK_MONOTONIC seconds, which processes of
one machine share.
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import tempfile
import uuid
from typing import Final

import msgspec

from hegemon.worker.board_series import SIZE, BoardSeries

_HEADER: Final = 128
_SLOT: Final = struct.Struct("<16sIIdd")
_FLAG: Final = struct.Struct("<I")
_FLAG_AT: Final = 20
_STARTED_AT: Final = 24
_PLACED: Final = 1
_BEGUN: Final = 2
_DOUBLE: Final = struct.Struct("<d")
_COUNT: Final = struct.Struct("<q")
_LEASE_AT: Final = 0
_LOOP_AT: Final = 8
COUNTERS: Final = ("completed", "failed", "retried", "refused", "taken", "busy_us")
_COUNTERS_AT: Final = 16


class Running(msgspec.Struct, frozen=True):
    """One job in a slot. `begun`: its handler's first line was reached; else it waits for the event loop."""

    job_id: str
    attempt: int
    started_s: float
    deadline_s: float
    begun: bool


class Board:
    """`create` in the supervisor, `attach` in the worker (by the inherited file descriptor)."""

    def __init__(self, fd: int, slots: int) -> None:
        self.fd = fd
        self.slots = slots
        self._map = mmap.mmap(fd, _size(slots))
        self.series = BoardSeries(self._map, _HEADER + slots * _SLOT.size)

    @classmethod
    def create(cls, slots: int) -> Board:
        """A new, unnamed board."""
        if sys.platform == "linux":
            # Not a file: its pages are made when they are first touched, and where a full disk has none, that is a
            # SIGBUS, for the worker that counts a new queue as for the node that looks.
            fd = os.memfd_create("hegemon-board")
        else:
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _size(slots))
        os.set_inheritable(fd, True)
        return cls(fd, slots)

    def close(self) -> None:
        """Let go of the memory."""
        self._map.close()
        os.close(self.fd)

    # The supervisor's side.
    def set_lease(self, until_s: float) -> None:
        """The worker may start jobs until then."""
        _DOUBLE.pack_into(self._map, _LEASE_AT, until_s)

    def running(self) -> list[Running]:
        """What has started and not ended, as far as the worker got to say."""
        found = []
        for slot in range(self.slots):
            raw, attempt, used, started, deadline = _SLOT.unpack_from(self._map, _HEADER + slot * _SLOT.size)
            if used:
                found.append(Running(str(uuid.UUID(bytes=raw)), attempt, started, deadline, used == _BEGUN))
        return found

    def loop_beat_s(self) -> float:
        """When the worker's event loop last turned."""
        value: float = _DOUBLE.unpack_from(self._map, _LOOP_AT)[0]
        return value

    def counters(self) -> dict[str, int]:
        """Totals of this process's life."""
        return {name: _COUNT.unpack_from(self._map, _COUNTERS_AT + 8 * i)[0] for i, name in enumerate(COUNTERS)}

    # The worker's side.
    def lease_s(self) -> float:
        """Until when jobs may be started."""
        value: float = _DOUBLE.unpack_from(self._map, _LEASE_AT)[0]
        return value

    def turn(self, now_s: float) -> None:
        """The event loop turns."""
        _DOUBLE.pack_into(self._map, _LOOP_AT, now_s)

    def start(self, slot: int, job_id: str, attempt: int, started_s: float, deadline_s: float) -> None:
        """A job starts in this slot. The flag is written last, so that a slot in use is whole."""
        place = _HEADER + slot * _SLOT.size
        raw = bytes.fromhex(job_id.replace("-", ""))
        _SLOT.pack_into(self._map, place, raw, attempt, 0, started_s, deadline_s)
        _FLAG.pack_into(self._map, place + _FLAG_AT, _PLACED)

    def begin(self, slot: int, now_s: float) -> None:
        """The handler of this slot's job is entered now."""
        place = _HEADER + slot * _SLOT.size
        _DOUBLE.pack_into(self._map, place + _STARTED_AT, now_s)
        _FLAG.pack_into(self._map, place + _FLAG_AT, _BEGUN)

    def end(self, slot: int) -> None:
        """The job of this slot has ended."""
        _FLAG.pack_into(self._map, _HEADER + slot * _SLOT.size + _FLAG_AT, 0)

    def count(self, values: dict[str, int]) -> None:
        """Publish totals."""
        for i, name in enumerate(COUNTERS):
            _COUNT.pack_into(self._map, _COUNTERS_AT + 8 * i, values.get(name, 0))


def _size(slots: int) -> int:
    return _HEADER + slots * _SLOT.size + SIZE
