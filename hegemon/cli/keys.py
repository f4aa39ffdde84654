"""Keys of a terminal as they are pressed, without a Return; nothing where keys cannot be read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import Final

_NAMES: Final = {
    b"\t": "tab",
    b"\x1b[Z": "back-tab",
    b"\x1b[A": "up",
    b"\x1bOA": "up",
    b"\x1b[B": "down",
    b"\x1bOB": "down",
    b"\x1b[5~": "page-up",
    b"\x1b[6~": "page-down",
}
# A sequence of the terminal, or one byte.
_KEY: Final = re.compile(rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL)


@contextlib.contextmanager
def pressed(key: Callable[[str], None]) -> Iterator[None]:
    """Call `key` with each key: "tab", "up", … or the letter in lower case; with "" when the terminal is gone."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    import termios
    import tty

    loop, descriptor = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)

    def read() -> None:
        try:
            found = os.read(descriptor, 100)
        except OSError:
            found = b""
        if not found:
            loop.remove_reader(descriptor)
        for name in names(found) or [""]:
            key(name)

    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        # A terminal that is gone has no state to go back to.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def names(found: bytes) -> list[str]:
    """The keys in what a terminal sent."""
    return [_NAMES.get(part) or part.decode("latin-1").lower() for part in _KEY.findall(found)]
