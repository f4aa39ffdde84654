"""What a worker process counts: totals for its supervisor, and durations, outcomes and groups for the metrics.

All of it lies on the board. What belongs to a try is noted when it ends, by one tuple, and worked out for all who ended
meanwhile: so a job costs half a microsecond of it.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from hegemon.measures import ENDED, GROUP, LATENESS, PROCESSING, WAIT, Meters
from hegemon.worker.board import COUNTERS, Board
from hegemon.worker.execution import Run

# A job counts as scheduled if it was due so long after it was accepted: `seq` of a burst may run a little ahead, too.
AHEAD_MS: Final = 5


class Measured:
    """One worker's. `counters` are the board's totals."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.meters = Meters(board.series.allot)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self._ran: list[tuple[Run, float]] = []

    def took(self, jobs: int) -> None:
        """Jobs came out of the inbox together."""
        if jobs:
            self.counters["taken"] += jobs
            self.meters.at(GROUP, "take").observe(jobs)

    def ran(self, run: Run) -> None:
        """A try has ended, however."""
        if not self.meters.off:
            self._ran.append((run, time.monotonic()))

    def settled(self, ended: Iterable[tuple[str, str]], group: int) -> None:
        """Ends of one group of tries: (queue, and a counter's name). `group` also counts those that left no end."""
        for (queue, outcome), n in Counter(ended).items():
            self.counters[outcome] += n
            if outcome != "refused":
                self.meters.at(ENDED, queue, outcome).add(n)
        self.meters.at(GROUP, "finish").observe(group)

    def publish(self) -> None:
        """Bring the board up to date."""
        ran, self._ran = self._ran, []
        waits: dict[str, list[float]] = defaultdict(list)
        lates: dict[str, list[float]] = defaultdict(list)
        times: dict[str, list[float]] = defaultdict(list)
        for run, ended_s in ran:
            entry = run.job.entry
            queue, due_ms = entry.queue, entry.seq // 1000
            waited_s = (run.started_ms - due_ms) / 1000
            times[queue].append(ended_s - run.started_s)
            waits[queue].append(waited_s)
            if entry.attempt == 1 and due_ms > run.job.body.created_at + AHEAD_MS:
                lates[queue].append(waited_s)
        for measure, found in ((PROCESSING, times), (WAIT, waits), (LATENESS, lates)):
            for queue, values in found.items():
                self.meters.at(measure, queue).observe_all(values)
        self._board.count(self.counters)
