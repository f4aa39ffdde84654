"""The last log lines of this node in memory, its workers' among them: what `hegemon logs` reads.

Bounded by bytes and lines. What jobs say may take all the room that there is, but leaves half of it to the node's own
lines when those need it: a handler that talks does not push out an election.
"""

from __future__ import annotations

import secrets
import threading
from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from hegemon.cluster.log_ports import LOG_LEVELS, LogFilter, LogPage
from hegemon.monitoring.long_lines import LINE_MAX, shortened

LINES_MAX: Final = 20_000
# What one line costs beside its text: the tuple, the number, the object's head.
_OVERHEAD: Final = 200
# number, level as a number, text as JSON
_Kept = tuple[int, int, bytes]


class LogRing:
    """At most `bytes_max` bytes of lines; 0 keeps none. All methods may be called in any thread."""

    def __init__(self, bytes_max: int, *, lines_max: int = LINES_MAX) -> None:
        self._bytes_max = bytes_max
        self._lines_max = lines_max
        # A cursor of another start of this node is no place in this ring.
        self._run = secrets.token_hex(4)
        self._lock = threading.RLock()
        self._jobs: deque[_Kept] = deque()
        self._others: deque[_Kept] = deque()
        self._bytes = {True: 0, False: 0}
        self._seq = 0

    def keep(self, level: str, text: str) -> None:
        """Keep a line: a JSON object on one line, masked."""
        if not self._bytes_max:
            return
        line = text.encode(errors="replace")
        if len(line) > LINE_MAX:
            line = shortened(line)
        about_job = b'"job": ' in line or b'"job":' in line
        with self._lock:
            self._seq += 1
            (self._jobs if about_job else self._others).append((self._seq, _number(level), line))
            self._bytes[about_job] += len(line) + _OVERHEAD
            while sum(self._bytes.values()) > self._bytes_max or len(self._jobs) + len(self._others) > self._lines_max:
                self._drop()

    def page(self, which: LogFilter, *, limit: int, after: str | None) -> LogPage:
        """See the port."""
        with self._lock:
            seen = self._place(after)
            found = sorted([*_behind(self._jobs, seen or 0), *_behind(self._others, seen or 0)])
            last = self._seq
        matching = (line for line in (found if seen is not None else reversed(found)) if _matches(which, line))
        some: list[_Kept] = []
        for line in matching:
            some.append(line)
            if len(some) >= limit:
                break
        if seen is None:
            some.reverse()
        # Behind a whole page there may be more.
        until = some[-1][0] if seen is not None and len(some) == limit else last
        # Between what was read and what is here, the numbers of those that fell out are missing.
        missed = 0 if seen is None else until - seen - sum(number <= until for number, _, _ in found)
        return LogPage([msgspec.json.decode(text) for _, _, text in some], f"{self._run}-{until}", missed)

    def _place(self, after: str | None) -> int | None:
        """Up to which number was read: 0 if that was another life of this node."""
        if after is None:
            return None
        run, _, number = after.rpartition("-")
        return min(int(number), self._seq) if run == self._run else 0

    def _drop(self) -> None:
        about_job = self._bytes[True] > self._bytes_max // 2 or len(self._jobs) > self._lines_max // 2
        if not self._others:
            about_job = True
        dropped = (self._jobs if about_job else self._others).popleft()
        self._bytes[about_job] -= len(dropped[2]) + _OVERHEAD


def _number(level: str) -> int:
    return LOG_LEVELS.index(level) if level in LOG_LEVELS else LOG_LEVELS.index("info")


def _behind(lines: deque[_Kept], seq: int) -> Iterator[_Kept]:
    """From the new end, since what is asked for is mostly what has just come."""
    for line in reversed(lines):
        if line[0] <= seq:
            return
        yield line


def _matches(which: LogFilter, line: _Kept) -> bool:
    _, level, text = line
    if which.level is not None and level < LOG_LEVELS.index(which.level):
        return False
    # Cheap first: most lines are not about what is looked for.
    for wanted in (which.job, which.request):
        if wanted is not None and wanted.encode() not in text:
            return False
    if which.job is None and which.request is None and which.since is None and which.grep is None:
        return True
    fields = msgspec.json.decode(text)
    return (
        which.job in (None, fields.get("job"))
        and which.request in (None, fields.get("request_id"))
        and (which.since is None or str(fields.get("timestamp", "")) >= which.since)
        # As it is, not as JSON may spell it.
        and (which.grep is None or which.grep.casefold() in msgspec.json.encode(fields).decode().casefold())
    )
