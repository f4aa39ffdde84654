"""Passwords: argon2id in a thread of its own, so that a login costs the node's loop nothing, and a bounded queue, so
that a flood of logins costs the others nothing.

A name that does not exist takes as long to refuse as a wrong password: it is verified against a hash of nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import msgspec
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from hegemon.auth.errors import InvalidUser, LoginsBusy

T = TypeVar("T")

LENGTH_MIN: Final = 12
LENGTH_MAX: Final = 1024
# How many hashes may wait for the thread: at 60 to 120 ms each the last is answered within two seconds.
WAITING_MAX: Final = 16
RETRY_AFTER_S: Final = 2.0

# The most common ones of at least twelve characters in the published leaks, and what people make of a rule like ours.
_COMMON: Final = frozenset(
    """
    123456789012 1234567890123 12345678901234 1234567890123456 111111111111 000000000000 123123123123 121212121212
    123456123456 1234567891011 123454321234 112233445566 abcdefghijkl abcdefghijklm abcd12345678 abc123abc123
    qwertyuiop12 qwertyuiop123 qwertyuiopas qwertyuiopasdf qwertyuiopasdfghjklzxcvbnm qwerty123456 qwertyqwerty
    qwerty12345678 1qaz2wsx3edc 1q2w3e4r5t6y 1q2w3e4r5t6y7u8i q1w2e3r4t5y6 1qazxsw23edc zaq12wsxcde3 asdfghjkl123
    asdfghjklzxc zxcvbnm12345 zxcvbnmasdfgh password1234 password12345 password123456 password1234567
    passwordpassword passw0rd1234 p@ssw0rd1234 p@ssword1234 mypassword123 mypassword1234 newpassword1
    newpassword123 adminadminadmin administrator administrator1 administrator123 admin1234567 admin12345678
    admin123admin admin123admin123 adminpassword adminpassword123 root12345678 rootpassword rootrootroot
    changeme1234 changeme12345 changemechangeme changemenow1 letmeinletmein letmein12345 welcome12345
    welcome123456 welcomewelcome iloveyou1234 iloveyouforever iloveyou12345 sunshine1234 princess1234 football1234
    baseball1234 superman1234 batman123456 dragon123456 monkey123456 master123456 michael12345 trustno1trustno1
    whatever1234 computer1234 internet1234 samsung12345 liverpool1234 correcthorsebatterystaple
    correct-horse-battery-staple aaaaaaaaaaaa xxxxxxxxxxxx testtesttest test12345678 testpassword secretsecret
    secretpassword secret123456 hegemonhegemon hegemon12345 hegemonadmin
    """.split()  # noqa: SIM905 - a list of so many strings would take a page
)


class Cost(msgspec.Struct, frozen=True):
    """What a hash costs: `memory_kib` of memory, run over `passes` times, in `lanes` that could go in parallel.

    The defaults are above what OWASP asks at the least (19 MiB, 2 passes) and take 60 to 120 ms.
    """

    memory_kib: int = 65_536
    passes: int = 2
    lanes: int = 1


class Passwords:
    """Hashes and verifies. One per node; `close` when it goes."""

    def __init__(self, cost: Cost | None = None, *, waiting_max: int = WAITING_MAX) -> None:
        cost = cost or Cost()
        self._hasher = PasswordHasher(
            time_cost=cost.passes, memory_cost=cost.memory_kib, parallelism=cost.lanes, hash_len=32, salt_len=16
        )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="argon2")
        self._waiting = 0
        self._waiting_max = waiting_max
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The encoded hash, with its salt and its cost. LoginsBusy when too many wait."""
        return await self._run(lambda: self._hasher.hash(_normal(password)))

    async def verify(self, encoded: str | None, password: str) -> bool:
        """Whether `password` is the one of the hash. None stands for a user that is not there: False, and as slow."""
        return await self._run(lambda: self._verify(encoded, password))

    def stale(self, encoded: str) -> bool:
        """Whether the hash was made at another cost than a new one would be."""
        return self._hasher.check_needs_rehash(encoded)

    def close(self) -> None:
        """Let the thread end; what waits is not waited for."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _verify(self, encoded: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash(secrets.token_hex(32))
        try:
            self._hasher.verify(self._nobody if encoded is None else encoded, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
        return encoded is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= self._waiting_max:
            raise LoginsBusy(retry_after_s=RETRY_AFTER_S)
        self._waiting += 1
        try:
            future = self._thread.submit(work)
        except BaseException:
            self._waiting -= 1
            raise
        # Not when the caller has gone, but when the thread is done with it: until then it is in the queue.
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: _soon(loop, self._one_less))
        return await asyncio.wrap_future(future)

    def _one_less(self) -> None:
        self._waiting -= 1


def check(password: str, *, user: str = "") -> None:
    """Refuse a new password that is too short, too long, or that everybody tries first. InvalidUser."""
    text = _normal(password)
    if not LENGTH_MIN <= len(text) <= LENGTH_MAX:
        raise InvalidUser(f"a password has {LENGTH_MIN} to {LENGTH_MAX} characters", field="password")
    plain = text.casefold()
    if plain in _COMMON or len(set(plain)) < 4 or (user and plain.replace(user.casefold(), "") == ""):
        raise InvalidUser("this password is among the first that anybody tries; take another", field="password")


def generated() -> str:
    """A new random password: 20 characters of 120 random bits."""
    return secrets.token_urlsafe(15)


def _normal(password: str) -> str:
    # The same letters, typed on another keyboard or system, are the same password (NIST SP 800-63B, 5.1.1.2).
    return unicodedata.normalize("NFKC", password)


def _soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(call)
    except RuntimeError:
        pass  # the loop has ended, and with it whoever counted
