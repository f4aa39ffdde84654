"""What a handler may know and say while it runs: its job, its progress, its log, and whether it should stop."""

from __future__ import annotations

from typing import Any, Final

LOG_LINE_MAX: Final = 2000
_PENDING_LINES_MAX: Final = 200


def storable(text: str) -> str:
    """Text that UTF-8 can carry: lone surrogates, as file names bring them, are spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


class Voice:
    """What a context says, as the worker hears it. Written by handlers, in any thread; read by the event loop."""

    __slots__ = ("cancelled", "dirty", "lines", "said", "traceparent")

    def __init__(self) -> None:
        self.cancelled = False
        self.said: tuple[float, str] | None = None
        self.lines: list[str] = []
        self.dirty = False
        # The other way round: what the worker tells the handler of its trace.
        self.traceparent: str | None = None

    def drain(self, now_ms: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]] | None:
        """Progress and new log lines since the last call, None if nothing was said."""
        if not self.dirty:
            return None
        self.dirty = False
        said, self.said = self.said, None
        lines, self.lines = self.lines, []
        progress = None if said is None else {"fraction": said[0], "message": storable(said[1]), "at": now_ms}
        return progress, [{"at": now_ms, "line": storable(line)} for line in lines]


class Context:
    """Given to handlers that have a parameter annotated `Context`. All methods are synchronous and thread-safe.

    - `job_id`, `type`, `queue`, `tags`: the job.
    - `attempt`: the number of this claim; it only grows, also when a worker was lost.
    - `failures`: failed tries so far, the ones that count against `max_retries`.
    - `request_id`: of the request that submitted it; log lines of the handler carry it, too. None for an older job.
    """

    __slots__ = ("_voice", "attempt", "failures", "job_id", "queue", "request_id", "tags", "type")

    def __init__(
        self,
        job_id: str,
        type: str,  # noqa: A002 - the field's name everywhere else
        queue: str,
        attempt: int,
        failures: int,
        tags: tuple[str, ...] = (),
        request_id: str | None = None,
        *,
        voice: Voice | None = None,
    ) -> None:
        self.job_id = job_id
        self.type = type
        self.queue = queue
        self.attempt = attempt
        self.failures = failures
        self.tags = tags
        self.request_id = request_id
        self._voice = voice or Voice()

    @property
    def cancelled(self) -> bool:
        """True once the job was cancelled or its soft timeout has passed: stop soon. Async handlers are also
        cancelled.
        """
        return self._voice.cancelled

    @property
    def traceparent(self) -> str | None:
        """The W3C trace context to pass on to whomever the handler calls: this attempt's own where the worker traces,
        else the submitter's; None without either.
        """
        return self._voice.traceparent

    def progress(self, fraction: float, message: str = "") -> None:
        """Say how far the job is, 0 to 1; shown with the job within a moment. The last value wins."""
        self._voice.said = (min(max(float(fraction), 0.0), 1.0), message[:LOG_LINE_MAX])
        self._voice.dirty = True

    def log(self, line: str) -> None:
        """Add a line to the job's log; the newest 200 lines are kept."""
        if len(self._voice.lines) < _PENDING_LINES_MAX:
            self._voice.lines.append(str(line)[:LOG_LINE_MAX])
        self._voice.dirty = True
