"""What a handler answers: status, ready bytes, headers. Plain values, so that a hot endpoint pays for nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"

_ENCODER: Final = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer. `hang_up` closes the connection after it: the rest of the request is not worth reading."""

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()
    hang_up: bool = False


def encode(value: Any) -> bytes:
    """`value` (Structs, dicts, lists, `msgspec.Raw` as it stands) as JSON bytes."""
    return _ENCODER.encode(value)


def ok(value: Any) -> Reply:
    """200 with `value` as JSON."""
    return Reply(200, _ENCODER.encode(value))
