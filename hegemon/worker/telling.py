"""What a worker process tells its supervisor: failed tries, for the node's events, a few a second one by one, the rest
counted; and its log lines, for the node's ring. Nothing of it is on the path of a job that succeeds, and nothing of it
ever waits for the supervisor.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import msgspec

from hegemon.log_context import RUN
from hegemon.worker.execution import Outcome

TOLD_MAX: Final = 10
TELL_EVERY_S: Final = 1.0
LINES_MAX: Final = 1000
# The supervisor reads lines of at most 64 KiB.
LINE_BYTES_MAX: Final = 8_000
MESSAGE_BYTES_MAX: Final = 48_000
LINES_PER_S: Final = 500
# One that talks too much must not silence its neighbours.
LINES_PER_S_AND_JOB: Final = 200
# Fact: job, type, queue, attempt, outcome, the error's type, whether there is another try.
Fact = tuple[str, str, str, int, str, str, bool]


class Teller:
    """`tell` sends a message, or says False: it cannot now. Then it is sent later, with what came meanwhile."""

    def __init__(self, tell: Callable[[dict[str, Any]], bool], lines: LineFeed | None = None) -> None:
        self._tell = tell
        self._lines = lines
        self._facts: list[Fact] = []
        self._left_out = {"dead": 0, "retried": 0}
        self._told_s = 0.0

    def ended(self, outcome: Outcome) -> None:
        """A failure is recorded."""
        failure, body = outcome.failure, outcome.job.body
        if failure is None:
            return
        again = failure.due is not None
        if len(self._facts) >= TOLD_MAX:
            self._left_out["retried" if again else "dead"] += 1
            return
        error = str(failure.error.get("type", ""))[:100]
        self._facts.append((failure.id, body.type, body.queue, failure.attempt, failure.outcome, error, again))

    def flush(self, now_s: float) -> None:
        """Tell what there is to tell: failures once a second."""
        if self._lines is not None:
            self._lines.flush()
        if now_s - self._told_s < TELL_EVERY_S or not self._facts:
            return
        self._told_s = now_s
        if self._tell({"is": "ends", "jobs": self._facts, **self._left_out}):
            self._facts = []
            self._left_out = {"dead": 0, "retried": 0}


class LineFeed:
    """Passes log lines on, from whatever thread writes one, at once if the supervisor listens. What comes faster than
    LINES_PER_S and LINES_PER_S_AND_JOB, or than it listens, is left out and counted; all of it stands on stderr.

    Locks are only tried: a line may be written by a thread that is in the middle of one already.
    """

    def __init__(
        self,
        tell: Callable[[dict[str, Any]], bool],
        shortened: Callable[[bytes], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shortened` makes a line of more than LINE_BYTES_MAX fit."""
        self._tell = tell
        self._shortened = shortened
        self._clock = clock
        self._lines: deque[tuple[str, bytes]] = deque()
        self._sending = threading.Lock()
        self._left_out = 0
        # When this second began, how many lines came in it, and how many of them of each job.
        self._second = 0.0
        self._count = 0
        self._by_job: dict[str, int] = {}

    def keep(self, level: str, text: str) -> None:
        """A line: JSON, masked."""
        if not self._admit():
            self._left_out += 1
            return
        line = text.encode(errors="replace")
        self._lines.append((level, line if len(line) <= LINE_BYTES_MAX else self._shortened(line)))
        self.flush()

    def flush(self) -> None:
        """Pass on what waits."""
        if not (self._lines or self._left_out) or not self._sending.acquire(blocking=False):
            return
        try:
            while self._lines or self._left_out:
                some, left_out = self._some(), self._left_out
                lines = [(level, msgspec.Raw(line)) for level, line in some]
                if not self._tell({"is": "logs", "lines": lines, "left_out": left_out}):
                    self._lines.extendleft(reversed(some))
                    return
                self._left_out -= left_out
        finally:
            self._sending.release()

    def _admit(self) -> bool:
        now = self._clock()
        if now - self._second >= 1.0:
            self._second, self._count, self._by_job = now, 0, {}
        run = RUN.get()
        job = "" if run is None else run[0]
        of_job = self._by_job.get(job, 0)
        if self._count >= LINES_PER_S or len(self._lines) >= LINES_MAX or (job and of_job >= LINES_PER_S_AND_JOB):
            return False
        self._count += 1
        self._by_job[job] = of_job + 1
        return True

    def _some(self) -> list[tuple[str, bytes]]:
        """As many as one message takes."""
        some: list[tuple[str, bytes]] = []
        size = 0
        while self._lines and size + len(self._lines[0][1]) <= MESSAGE_BYTES_MAX:
            some.append(self._lines.popleft())
            size += len(some[-1][1]) + 20
        return some
