"""What a worker holds: every claim by id, and those among them that wait here for a slot, in priority order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from hegemon.queue.entries import parse_entry
from hegemon.queue.jobs import PRIORITY_MAX
from hegemon.worker.execution import Taken


class Claims:
    """The claims of one worker. A claim is known from its taking until its end is acknowledged; `waiting` counts those
    that have not started.
    """

    def __init__(self) -> None:
        self._entries: dict[str, str] = {}
        self._queues: list[deque[Taken]] = [deque() for _ in range(PRIORITY_MAX + 1)]
        self._cancelled: set[str] = set()
        self.waiting = 0

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> dict[str, str]:
        """Entry by id, of all that is held."""
        return dict(self._entries)

    def claim(self, job_id: str, entry: str) -> bool:
        """Hold a job; False if it is held already, and its taking was only told twice."""
        if job_id in self._entries:
            return False
        self._entries[job_id] = entry
        return True

    def forget(self, job_id: str) -> None:
        """The job is no longer held. A cancellation that came too late must not meet it when it is requeued by hand."""
        self._entries.pop(job_id, None)
        self._cancelled.discard(job_id)

    def put(self, job: Taken) -> None:
        """A claimed job waits for a slot."""
        self._queues[job.entry.priority].append(job)
        self.waiting += 1

    def first(self) -> Taken | None:
        """The next to start: highest priority, oldest."""
        for queue in reversed(self._queues):
            if queue:
                return queue[0]
        return None

    def started(self, job: Taken) -> None:
        """The job that `first` gave waits no more."""
        self._queues[job.entry.priority].popleft()
        self.waiting -= 1

    def cancel(self, job_id: str, attempt: int) -> bool:
        """Note that a claim is cancelled; False if it is not this attempt that is held: it went back meanwhile."""
        entry = self._entries.get(job_id)
        if entry is None or parse_entry(entry).attempt != attempt:
            return False
        self._cancelled.add(job_id)
        return True

    def cancelled(self, job_id: str) -> bool:
        """Whether a claim was cancelled before it started."""
        return job_id in self._cancelled

    def shed(self, count: int) -> list[str]:
        """Let go of up to `count` that wait, lowest priority and newest first; their ids."""
        back: list[str] = []
        for job in self._last():
            if len(back) >= count:
                break
            back.append(job.entry.id)
            self._queues[job.entry.priority].pop()
            self.waiting -= 1
        for job_id in back:
            self.forget(job_id)
        return back

    def _last(self) -> Iterator[Taken]:
        for queue in self._queues:
            while queue:
                yield queue[-1]
