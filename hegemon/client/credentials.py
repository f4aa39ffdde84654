"""What a client shows of itself: an API key, a token, or the pair of a login, which is renewed when its time is up.

A 401 means that nothing was carried out, so the request is sent again, once, after a renewal.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Protocol

import msgspec

from hegemon.client.calls import Call, Reply

REFRESH: Final = "/auth/refresh"
_OWN: Final = frozenset({"/auth/login", REFRESH})


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gives."""

    access_token: str
    refresh_token: str
    role: str = ""
    expires_at: str = ""

    def __repr__(self) -> str:
        return f"TokenPair(role={self.role!r})"


class Keeper(Protocol):
    """Where a pair is kept beyond this process, and shared with others."""

    def locked(self) -> AbstractContextManager[None]:
        """While a pair is renewed: nobody else renews it."""

    def load(self) -> TokenPair | None:
        """The pair that is kept now."""

    def save(self, pair: TokenPair | None) -> None:
        """Keep this one; None forgets it."""


class _Nowhere:
    def __init__(self) -> None:
        self._pair: TokenPair | None = None

    def locked(self) -> AbstractContextManager[None]:
        return nullcontext()

    def load(self) -> TokenPair | None:
        return self._pair

    def save(self, pair: TokenPair | None) -> None:
        self._pair = pair


class Credentials:
    """One of an API key, a token or a pair; none of them is a stranger's. Safe to share among threads.

    What is not given comes from HEGEMON_TOKEN or HEGEMON_API_KEY, then from `keeper`. An empty token is none, also
    where the environment has one. A login takes the place of whatever was there.
    """

    def __init__(self, *, token: str | None = None, api_key: str | None = None, keeper: Keeper | None = None) -> None:
        if token is not None and api_key is not None:
            raise ValueError("give a token or an API key, not both")
        if token is None and api_key is None:
            token = os.environ.get("HEGEMON_TOKEN") or os.environ.get("HEGEMON_API_KEY")
        self._fixed = (api_key if token is None else token) or None
        if self._fixed is not None and not (self._fixed.isascii() and self._fixed.isprintable()):
            raise ValueError("a token or an API key is made of plain characters")
        self._keeper = keeper or _Nowhere()

    def shown(self) -> str | None:
        """What goes behind `Authorization: Bearer`."""
        if self._fixed is not None:
            return self._fixed
        pair = self._keeper.load()
        return None if pair is None else pair.access_token

    def headers(self, call: Call[Any], shown: str | None) -> dict[str, str]:
        """The headers for a call."""
        return {} if shown is None or call.path in _OWN else {"authorization": f"Bearer {shown}"}

    def locked(self) -> AbstractContextManager[None]:
        """Around `renewal` and `keep`: one renewal at a time, also among processes."""
        return self._keeper.locked()

    def worth_renewing(self, call: Call[Any], status: int) -> bool:
        """Whether such a refusal asks for a credential that could be had."""
        return status == 401 and self._fixed is None and call.path not in _OWN and self._keeper.load() is not None

    def renewal(self, used: str | None) -> Call[TokenPair] | None:
        """The call that renews the pair; None when another thread or process has done it since `used` was shown."""
        pair = self._keeper.load()
        if pair is None or pair.access_token != used:
            return None
        return refresh(pair.refresh_token)

    def keep(self, pair: TokenPair | None) -> None:
        """The pair to go on with; None after a logout, or when it can be renewed no more."""
        if pair is not None:
            self._fixed = None
        if self._fixed is None:
            self._keeper.save(pair)

    def present(self) -> TokenPair | None:
        """The pair, None where there is none."""
        return None if self._fixed is not None else self._keeper.load()


def login(username: str, password: str) -> Call[TokenPair]:
    """A pair for a name and its password."""
    return Call("POST", "/auth/login", _pair, body=msgspec.json.encode({"username": username, "password": password}))


def refresh(token: str) -> Call[TokenPair]:
    """The next pair. Repeatable: the node gives the same answer to a repetition."""
    return Call("POST", REFRESH, _pair, body=msgspec.json.encode({"refresh_token": token}), again=True)


def logout() -> Call[None]:
    """The end of the caller's session."""
    return Call("POST", "/auth/logout", lambda reply: None, again=True)


def _pair(reply: Reply) -> TokenPair:
    return msgspec.json.decode(reply.body, type=TokenPair)
