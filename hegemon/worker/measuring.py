"""What a worker process counts: totals for its supervisor, and durations, outcomes and groups for the metrics.

All of it lies on the board. Of a try that ends two numbers are noted, and worked out for all who ended meanwhile. The
numbers, and not the try: a thousand of those that live a moment longer cost a job more than all else here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from typing import Final

from hegemon.measures import ENDED, GROUP, LATENESS, PROCESSING, WAIT, Meters
from hegemon.worker.board import COUNTERS, Board
from hegemon.worker.execution import Run

# A job counts as scheduled if it was due so long after it was accepted: `seq` of a burst may run a little ahead, too.
AHEAD_MS: Final = 5


class _Tries:
    """How long the tries of one queue took and waited, since they were last worked out."""

    __slots__ = ("lates_ms", "times_s", "waits_ms")

    def __init__(self) -> None:
        self.times_s: list[float] = []
        self.waits_ms: list[int] = []
        self.lates_ms: list[int] = []


class Measured:
    """One worker's. `counters` are the board's totals."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.meters = Meters(board.series.allot)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._off = self.meters.off
        self._tries: dict[str, _Tries] = {}

    def took(self, jobs: int) -> None:
        """Jobs came out of the inbox together."""
        if jobs:
            self.counters["taken"] += jobs
            self.meters.at(GROUP, "take").observe(jobs)

    def ran(self, run: Run) -> None:
        """A try has ended, however."""
        if self._off:
            return
        entry = run.job.entry
        tries = self._tries.get(entry.queue)
        if tries is None:
            tries = self._tries[entry.queue] = _Tries()
        due_ms = entry.seq // 1000
        tries.times_s.append(time.monotonic() - run.started_s)
        tries.waits_ms.append(run.started_ms - due_ms)
        if entry.attempt == 1 and due_ms > run.job.body.created_at + AHEAD_MS:
            tries.lates_ms.append(run.started_ms - due_ms)

    def settled(self, ended: Iterable[tuple[str, str]], group: int) -> None:
        """Ends of one group of tries: (queue, and a counter's name). `group` also counts those that left no end."""
        for (queue, outcome), n in Counter(ended).items():
            self.counters[outcome] += n
            if outcome != "refused":
                self.meters.at(ENDED, queue, outcome).add(n)
        self.meters.at(GROUP, "finish").observe(group)

    def publish(self) -> None:
        """Bring the board up to date."""
        ended, self._tries = self._tries, {}
        for queue, tries in ended.items():
            self.meters.at(PROCESSING, queue).observe_all(tries.times_s)
            self.meters.at(WAIT, queue).observe_all([ms / 1000 for ms in tries.waits_ms])
            if tries.lates_ms:
                self.meters.at(LATENESS, queue).observe_all([ms / 1000 for ms in tries.lates_ms])
        self._board.count(self.counters)
