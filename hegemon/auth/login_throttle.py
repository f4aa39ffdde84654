"""How fast passwords can be guessed: after a few failed logins the next ones must wait, twice as long each time.

Three counts stand side by side, and a login waits for the longest of them:

    name from an address   5 free tries, then 1 s, 2 s, 4 s … 15 min   somebody guesses one account
    address                20 free tries, then 1 s … 15 min            somebody tries a list of names
    name from anywhere     50 free tries, then 1 s … 10 s              many addresses guess one account; the cap is
                                                                       low, so that a stranger can slow the account's
                                                                       owner down, and never lock him out

An attempt is counted when it starts and forgiven when it succeeds, so that a thousand attempts at once are a thousand
attempts. A count is forgotten after an hour without attempts. Names are counted whether they exist or not: the throttle
tells nobody which do. Each node counts for itself: over N nodes there are N times the free tries, and no login waits
for a store, or passes because one is away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from hegemon.auth.errors import LoginThrottled

FORGOTTEN_AFTER_S: Final = 3600.0
# Counts of each kind that are remembered; the one that was touched longest ago goes first.
SIZE_MAX: Final = 10_000


class Patience(msgspec.Struct, frozen=True):
    """`free` tries cost nothing; the next waits a second, and each one after it twice as long, up to `longest_s`."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """How long after the last of so many failures the next try may come."""
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(self.longest_s, 2.0 ** min(beyond, 30))


PAIR: Final = Patience(5, 900.0)
ADDRESS: Final = Patience(20, 900.0)
NAME: Final = Patience(50, 10.0)


class _Counts:
    """Failures by key, with the moment of the last one."""

    def __init__(self, patience: Patience, size_max: int) -> None:
        self._patience = patience
        self._size_max = size_max
        self._found: dict[bytes, tuple[int, float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def wait_s(self, key: bytes, now: float) -> float:
        failures, at = self._found.get(key, (0, now))
        if now - at >= FORGOTTEN_AFTER_S:
            return 0.0
        return max(0.0, at + self._patience.wait_s(failures) - now)

    def add(self, key: bytes, now: float) -> None:
        failures, at = self._found.pop(key, (0, now))
        self._found[key] = (1 if now - at >= FORGOTTEN_AFTER_S else failures + 1, now)
        if len(self._found) > self._size_max:
            del self._found[next(iter(self._found))]

    def forgive(self, key: bytes, *, all_of_it: bool) -> None:
        failures, at = self._found.get(key, (0, 0.0))
        if all_of_it or failures <= 1:
            self._found.pop(key, None)
        else:
            self._found[key] = (failures - 1, at)


class LoginThrottle:
    """`attempt` before a password is checked; after it `succeeded` if it was right, `unchecked` if nobody looked.
    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float], size_max: int = SIZE_MAX) -> None:
        self._clock = clock
        self._pairs = _Counts(PAIR, size_max)
        self._addresses = _Counts(ADDRESS, size_max)
        self._names = _Counts(NAME, size_max)

    def attempt(self, name: str, address: str) -> None:
        """Count an attempt as failed until it is not. LoginThrottled, with retry_after_s and without counting, if it
        comes too early. `address` as limits count (`limit_key`)."""
        now = self._clock()
        kinds = self._kinds(name, address)
        wait_s = max(counts.wait_s(key, now) for counts, key in kinds)
        if wait_s > 0.0:
            raise LoginThrottled(retry_after_s=wait_s)
        for counts, key in kinds:
            counts.add(key, now)

    def succeeded(self, name: str, address: str) -> None:
        """Forgive the attempt, and this name's failures from this address. The address's other failures stand: a
        guesser with an account of his own does not wash himself clean with it."""
        for counts, key in self._kinds(name, address):
            counts.forgive(key, all_of_it=counts is self._pairs)

    def unchecked(self, name: str, address: str) -> None:
        """Take the attempt back: the node could not look at the password, so it was no failure."""
        for counts, key in self._kinds(name, address):
            counts.forgive(key, all_of_it=False)

    def _kinds(self, name: str, address: str) -> tuple[tuple[_Counts, bytes], ...]:
        # Hashed: a name may be a megabyte long, and two that differ must not meet through a separator.
        by_name = hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=16).digest()
        by_address = address.encode()
        return (self._pairs, by_name + by_address), (self._addresses, by_address), (self._names, by_name)
