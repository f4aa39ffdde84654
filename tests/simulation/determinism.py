"""Clocks and randomness for code that asks the standard library for them: all from the virtual loop and the seed."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any
from unittest import mock

from tests.simulation.loop import CURRENT, Process, VirtualLoop

# Where virtual time begins on the wall: 2027-01-15.
WALL_S = 1_800_000_000.0


@contextlib.contextmanager
def deterministic(loop: VirtualLoop) -> Iterator[None]:
    """Within this block the standard library's clocks and randomness are the current process's own."""

    def process() -> Process:
        return CURRENT.get() or loop.world

    def monotonic() -> float:
        return loop.now + process().offset_s

    def wall() -> float:
        return WALL_S + loop.now + process().wall_offset_s

    def urandom(n: int) -> bytes:
        return process().rng.randbytes(n)

    def token_hex(n: int | None = None) -> str:
        return urandom(n or 32).hex()

    def own(name: str) -> Any:
        def draw(*args: Any) -> Any:
            return getattr(process().rng, name)(*args)

        return draw

    class OwnRandom(random.Random):
        """Unseeded, it is seeded by the process that makes it."""

        def __init__(self, x: Any = None) -> None:
            super().__init__(process().rng.getrandbits(64) if x is None else x)

    def generate() -> uuid.UUID:
        return uuid.UUID(bytes=urandom(16), version=4)

    with contextlib.ExitStack() as stack:
        for target, name, value in (
            (time, "monotonic", monotonic),
            (time, "monotonic_ns", lambda: int(monotonic() * 1e9)),
            (time, "time", wall),
            (time, "time_ns", lambda: int(wall() * 1e9)),
            (os, "urandom", urandom),
            (secrets, "token_hex", token_hex),
            (secrets, "token_bytes", lambda n=None: urandom(n or 32)),
            (secrets, "randbits", own("getrandbits")),
            (random, "Random", OwnRandom),
            *((random, name, own(name)) for name in ("random", "uniform", "randint", "choice", "shuffle", "sample")),
            (uuid, "uuid4", generate),
        ):
            stack.enter_context(mock.patch.object(target, name, value))
        # What the collector finds, and when, depends on more than the seed.
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
