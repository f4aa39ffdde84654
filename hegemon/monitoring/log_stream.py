"""Where lines are written: stderr. A full disk under it, or a reader that is gone, costs lines, and not the process.

Each line that comes while nothing is taken is counted, and so told of in the lines after it (`lines_lost`): a node's
ring keeps them all, and the first that is written again tells whoever reads the file how many are missing before it.
"""

from __future__ import annotations

import io
import threading
from dataclasses import dataclass, field
from typing import Any, TextIO

import structlog


@dataclass
class Losses:
    """How many lines were not written since the last one that was, and whether one was begun and not ended. Streams
    over one descriptor share it, and its lock, which each holds while it writes a line."""

    lines: int = 0
    torn: bool = False
    # Reentrant: a line may be written by the collector in the middle of writing another.
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False, compare=False)

    def told(self, logger: Any, method: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
        """The step that says so in the lines that come after."""
        del logger, method
        if self.lines:
            line["lines_lost"] = self.lines
        return line


class LogStream:
    """`stream` for those who write a line and then flush, which writes it at once. It never fails for what is below.
    Whoever writes takes care that each line is one thread's, as `logging` and structlog do."""

    def __init__(self, stream: TextIO, losses: Losses) -> None:
        self._stream = stream
        # Past the buffer: what it could not write it would keep and write later, in the middle of something else.
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        self._raw = raw if isinstance(raw, io.RawIOBase) else None
        self._losses = losses
        self._line: list[str] = []

    def write(self, text: str) -> int:
        """Take a part of a line."""
        self._line.append(text)
        return len(text)

    def flush(self) -> None:
        """Write what was taken."""
        text = "".join(self._line)
        self._line.clear()
        if not text:
            return
        with self._losses.lock:
            try:
                self._put(text)
            except OSError:
                self._losses.lines += 1
            else:
                self._losses.lines = 0

    def _put(self, text: str) -> None:
        if self._raw is None:
            self._stream.write(text)
            self._stream.flush()
            return
        whole = "\n" + text if self._losses.torn else text
        rest = memoryview(whole.encode(self._stream.encoding, "backslashreplace"))
        self._stream.flush()
        while rest:
            # None is a pipe that would have to be waited for.
            count = self._raw.write(rest) or 0
            if not count:
                raise BlockingIOError
            self._losses.torn = True
            rest = rest[count:]
        self._losses.torn = False
