"""What a worker process tells its supervisor of failed tries, for the node's events: a few a second one by one, the
rest counted. Nothing of it is on the path of a job that succeeds, and nothing of it ever waits for the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from hegemon.worker.execution import Outcome

TOLD_MAX: Final = 10
TELL_EVERY_S: Final = 1.0
# Fact: job, type, queue, attempt, outcome, the error's type, whether there is another try.
Fact = tuple[str, str, str, int, str, str, bool]


class Teller:
    """`tell` sends a message, or says False: it cannot now. Then it is sent later, with what came meanwhile."""

    def __init__(self, tell: Callable[[dict[str, Any]], bool]) -> None:
        self._tell = tell
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
        """Tell what there is to tell, once a second."""
        if now_s - self._told_s < TELL_EVERY_S or not self._facts:
            return
        self._told_s = now_s
        if self._tell({"is": "ends", "jobs": self._facts, **self._left_out}):
            self._facts = []
            self._left_out = {"dead": 0, "retried": 0}
