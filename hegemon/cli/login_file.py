"""Where `hegemon login` keeps its tokens: one file of the user's own, readable by nobody else, an entry for each node's
URL. Commands that run at the same time take turns at renewing them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from hegemon.client.credentials import TokenPair

_MODE: Final = 0o600


def folder() -> Path:
    """`hegemon` in XDG_CONFIG_HOME, else in ~/.config."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "hegemon"


class LoginFile:
    """The login at one URL, as the client keeps it (`hegemon.client.credentials.Keeper`)."""

    def __init__(self, url: str, place: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._path = (place or folder()) / "logins.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else renews a login meanwhile."""
        with self._turn(".lock"):
            yield

    @contextmanager
    def _turn(self, suffix: str) -> Iterator[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(self._path.with_suffix(suffix), os.O_RDWR | os.O_CREAT, _MODE), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def load(self) -> TokenPair | None:
        """The pair for this URL; None where there is none, or the file is no such file."""
        return self._all().get(self._url)

    def save(self, pair: TokenPair | None) -> None:
        """Keep it, or forget it. A crash leaves the old file or the new one."""
        with self._turn(".write"):
            logins = self._all()
            if pair is None:
                logins.pop(self._url, None)
            else:
                logins[self._url] = pair
            aside = self._path.with_suffix(f".{secrets.token_hex(4)}")
            with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE), "wb") as file:
                file.write(msgspec.json.encode(logins))
            aside.replace(self._path)

    def _all(self) -> dict[str, TokenPair]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, TokenPair])
        except (OSError, msgspec.DecodeError, UnicodeDecodeError):
            return {}
