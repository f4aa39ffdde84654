"""A real pseudo-terminal with a command at it: what it shows now, keys, another size."""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.waiting import PATIENCE_S

HEGEMON = [sys.executable, "-m", "hegemon.cli"]
_STYLE = re.compile("\x1b\\[[0-9;?]*[A-Za-z]")
# How a picture of the whole screen begins.
_HOME = "\x1b[H"


class Terminal:
    """`columns` by `lines`. `written` is everything that the command wrote so far, `before` what `settings` were
    before there was one.
    """

    def __init__(self, columns: int, lines: int) -> None:
        self._ours, self._theirs = pty.openpty()
        self.before = self.settings
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self.written = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.resize(columns, lines)

    def resize(self, columns: int, lines: int) -> None:
        """Another size; whoever is at it hears of that."""
        self._lines = lines
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        if self.process is not None:
            self.process.send_signal(signal.SIGWINCH)

    def start(self, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """`hegemon` with these arguments."""
        left_out = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        self.process = subprocess.Popen(
            [*HEGEMON, *arguments],
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env=kept | {"TERM": "xterm-256color"} | dict(environment),
        )

    @property
    def settings(self) -> list[object]:
        """What the terminal does with keys."""
        return termios.tcgetattr(self._theirs)

    def press(self, keys: str) -> None:
        """As a person would."""
        os.write(self._ours, keys.encode())

    def until(self, pattern: str) -> str:
        """The screen, once the pattern is on it; fails with the last one."""
        until = time.monotonic() + PATIENCE_S
        while not re.search(pattern, self.screen, re.MULTILINE):
            assert time.monotonic() < until, f"no {pattern!r} on:\n{self.screen}"
            assert self.process is not None
            assert self._read(0.05) or self.process.poll() is None, f"it ended before {pattern!r}:\n{self.screen}"
        return self.screen

    def ended(self) -> int:
        """Its exit code, once it has ended and everything that it wrote is read."""
        assert self.process is not None
        until = time.monotonic() + PATIENCE_S
        # A terminal that nobody reads holds up who writes.
        while self.process.poll() is None:
            assert time.monotonic() < until, f"no end:\n{self.screen}"
            self._read(0.01)
        while self._read(0.0):
            pass
        return self.process.returncode

    @property
    def screen(self) -> str:
        """The last whole picture of a live command, without styles; empty before the first."""
        pictures = self.written.split(_HOME)
        whole = next((one for one in reversed(pictures) if one.count("\n") >= self._lines - 1), "")
        return "\n".join(line.rstrip() for line in _STYLE.sub("", whole).replace("\r", "").split("\n"))

    def _read(self, within_s: float) -> bool:
        """Take what is there, and say whether there was something."""
        if not select.select([self._ours], [], [], within_s)[0]:
            return False
        found = os.read(self._ours, 65536)
        self.written += self._decoder.decode(found)
        return bool(found)

    def close(self) -> None:
        """End what runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)
        os.close(self._theirs)


@contextlib.contextmanager
def at_a_terminal(
    *arguments: str, columns: int = 80, lines: int = 24, environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """A command at a terminal, for the length of the block."""
    terminal = Terminal(columns, lines)
    try:
        terminal.start(arguments, environment or {})
        yield terminal
    finally:
        terminal.close()
