"""A circuit breaker for a store: callers of a store that is down get their 503 at once instead of after a time-out.

    closed --(threshold failures in a row)--> open --(after open_s)--> half open --success--> closed
                                                ^----------failure-----------'

While half open one call at a time is let through to try. Loops that must go on for ever do not use it; they back off.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hegemon.queue.errors import StoreUnavailable


class Breaker:
    """One store's breaker. `threshold` failures in a row open it for `open_s` seconds."""

    def __init__(
        self, store: str, *, threshold: int = 3, open_s: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.store = store
        self._threshold = threshold
        self._open_s = open_s
        self._clock = clock
        self._failures = 0
        self._open_until = 0.0
        self._probing = False
        # What was said when the store failed last, and whether it answered then, and refused.
        self._said: str | None = None
        self.refused = False

    @property
    def open(self) -> bool:
        """Whether calls are refused now."""
        return self._failures >= self._threshold and (self._clock() < self._open_until or self._probing)

    def check(self) -> None:
        """Raise `StoreUnavailable` at once while the breaker is open, in the words of the last failure."""
        if self.open:
            wait = max(self._open_until - self._clock(), 0.1)
            raise StoreUnavailable(self.store, self._said, retry_after_s=wait, refuses=self.refused)

    def succeeded(self) -> None:
        """A call got its answer."""
        self._failures = 0
        self._probing = False

    def failed(self, error: StoreUnavailable) -> None:
        """A call found the store away, or was refused by it."""
        self._said, self.refused = str(error), error.refuses
        self._failures += 1
        self._probing = False
        if self._failures >= self._threshold:
            self._open_until = self._clock() + self._open_s

    @asynccontextmanager
    async def guard(self) -> AsyncIterator[None]:
        """Run one call under the breaker; only `StoreUnavailable` counts as a failure."""
        self.check()
        half_open = self._failures >= self._threshold
        if half_open:
            self._probing = True
        try:
            yield
        except StoreUnavailable as error:
            self.failed(error)
            raise
        except BaseException:
            if half_open:
                self._probing = False
            raise
        else:
            self.succeeded()
