"""What a node's worker processes tell of ends of jobs, as events: failures one by one, though not more than are worth
reading; successes counted, by the totals that the workers publish anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from hegemon.events.bus import Emit
from hegemon.events.jobs import JobDead, JobRetried, JobsCompleted, JobsUnlisted

# Rare enough that a busy hour does not push out everything else that the node remembers.
COUNT_EVERY_S: Final = 10.0


class JobFacts:
    """One node's. `heard` takes what a worker process says, `count` the totals of all of them, again and again."""

    def __init__(self, emit: Emit, now_s: float) -> None:
        self._emit = emit
        self._completed = 0
        self._counted_s = now_s
        self._unlisted = [0, 0]

    def heard(self, message: Mapping[str, Any]) -> None:
        """A worker's message `ends`: its `jobs` are those that it tells one by one, and it says how many are not."""
        for job, type_, queue, attempt, outcome, error, again in message["jobs"]:
            self._emit((JobRetried if again else JobDead)(job, type_, queue, attempt, outcome, error))
        for place, name in enumerate(("dead", "retried")):
            self._unlisted[place] += message[name]

    def count(self, completed: int, now_s: float, *, last: bool = False) -> None:
        """`completed` is the total since this node started; `last`: there will be no other count."""
        if now_s - self._counted_s < COUNT_EVERY_S and not last:
            return
        seconds, self._counted_s = now_s - self._counted_s, now_s
        more, self._completed = completed - self._completed, completed
        if more > 0:
            self._emit(JobsCompleted(more, round(seconds, 3)))
        if any(self._unlisted):
            dead, retried = self._unlisted
            self._unlisted = [0, 0]
            self._emit(JobsUnlisted(dead, retried))
