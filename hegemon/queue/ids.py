"""Job ids and incarnations: UUIDv7 text (RFC 9562 section 5.7), so that ids of one node sort by the time of acceptance.

The time comes from the cluster clock, never from a node's own wall clock; within one process ids only grow, also when
many share a millisecond.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterable
from typing import Final

ID_PATTERN: Final = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
_COUNTER_BITS: Final = 18


class IdSource:
    """Makes ids for one process. 48 bits of time, 12 + 6 bits of counter, 56 random bits drawn once and again at each
    ms.
    """

    __slots__ = ("_counter", "_last_ms", "_tail")

    def __init__(self) -> None:
        self._last_ms = 0
        self._counter = 0
        self._tail = secrets.randbits(56)

    def next(self, now_ms: int) -> str:
        """One id for `now_ms` (cluster clock). A clock that stands or steps back borrows from the counter, then the
        next ms.
        """
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            self._counter = 0
            self._tail = secrets.randbits(56)
        else:
            self._counter += 1
            if self._counter >> _COUNTER_BITS:
                self._last_ms += 1
                self._counter = 0
        high, low = self._counter >> 6, self._counter & 0x3F
        text = f"{self._last_ms:012x}7{high:03x}{0x80 | low:02x}{self._tail:014x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def floor_id(time_ms: int) -> str:
    """The smallest id that `time_ms` could have: a bound for range queries by time."""
    text = f"{max(time_ms, 0):012x}7000800000000000" + "0000"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def unpack_id(packed: bytes | bytearray, place: int) -> str:
    """The id in the 16 bytes at `place` of many."""
    text = packed[16 * place : 16 * place + 16].hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def pack_ids(ids: Iterable[str]) -> bytes:
    """Ids in 16 bytes each; `unpack_id` gives one back."""
    return bytes.fromhex("".join(ids).replace("-", ""))


def is_id(text: str) -> bool:
    """Whether `text` could be a job id at all; saves a store the question."""
    return ID_PATTERN.fullmatch(text) is not None


def incarnation(name: str) -> str:
    """A name for one life of a node or a worker process: `name~` and 64 random bits; never used twice."""
    return f"{name}~{os.urandom(8).hex()}"
