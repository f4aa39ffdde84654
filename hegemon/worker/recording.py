"""Recording how jobs ended: one group to MongoDB, then to the index. Sends again until both have it; never guesses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog

from hegemon.failpoints import failpoint
from hegemon.queue.entries import reencode_body
from hegemon.queue.errors import IncarnationClosed, IndexRefused, StoreUnavailable
from hegemon.queue.index import WorkerIndex
from hegemon.queue.store import Failure, JobStore
from hegemon.worker.execution import Outcome, Run
from hegemon.worker.measuring import Measured
from hegemon.worker.telling import Teller

log = structlog.get_logger(__name__)

# A mark for every job would cost a third of the throughput: most end before they are worth one.
MARK_AFTER_S: Final = 0.1
BACKOFF_S: Final = (0.02, 0.05, 0.1, 0.25, 0.5)


class Recorder:
    """Ends of one worker. `forget` is told of jobs that are no longer held; `store_away` while MongoDB does not
    answer.
    """

    def __init__(
        self,
        *,
        store: JobStore,
        index: WorkerIndex,
        node: str,
        measured: Measured,
        forget: Callable[[str], object],
        teller: Teller,
    ) -> None:
        self._store = store
        self._index = index
        self._node = node
        self._measured = measured
        self._forget = forget
        self._teller = teller
        self.store_away = False

    async def record(self, group: Sequence[Outcome]) -> list[tuple[str, int]]:
        """Record the ends of a group; returns what to acknowledge, (id, attempt).

        Does not give up while a store is away. An end that cannot be written at all must not take its neighbours with
        it: then each is written by itself, and that one fails its job.
        """
        await self._note(group)
        try:
            refused = await self._write(group)
        except IncarnationClosed:
            raise
        except Exception as error:  # whatever a document's contents make the driver raise
            if len(group) > 1:
                return [ack for outcome in group for ack in await self.record([outcome])]
            log.exception("end_not_recordable", job=group[0].job.entry.id)
            group = [_unrecordable(group[0], error)]
            refused = await self._write(group)
        failpoint("finish.after_write")
        return await self._settle(group, refused)

    async def show(self, running: Iterable[Run], now_s: float, now_ms: int) -> None:
        """Show as running what runs longer than a moment, and pass on progress and log lines: one group each. The
        supervisor is told of failures."""
        self._teller.flush(now_s)
        marks, notes = [], []
        for run in running:
            claim = (run.job.entry.id, run.job.entry.attempt)
            if not run.marked and now_s - run.started_s > MARK_AFTER_S:
                run.marked = True
                marks.append((*claim, run.started_ms))
            said = run.voice.drain(now_ms)
            if said is not None:
                notes.append((*claim, *said))
        try:
            if marks:
                await self._store.mark_started(marks, worker=self._index.worker, node=self._node, now_ms=now_ms)
            if notes:
                await self._store.note(notes)
        except StoreUnavailable:
            pass  # Only for people to look at; the end of the job is what counts.

    async def _note(self, group: Sequence[Outcome]) -> None:
        notes = [(item.job.entry.id, item.job.entry.attempt, *item.said) for item in group if item.said is not None]
        if notes:
            # Only for people to look at: sent once, since a second sending might write the lines twice.
            with contextlib.suppress(StoreUnavailable):
                await self._store.note(notes)

    async def _write(self, group: Sequence[Outcome]) -> set[str]:
        done = [outcome.completion for outcome in group if outcome.completion]
        failed = [outcome.failure for outcome in group if outcome.failure]
        worker, node = self._index.worker, self._node
        failures = 0
        refused: set[str] = set()
        while done or failed:
            try:
                if done:
                    refused |= await self._store.complete(done, worker=worker, node=node)
                    done = []
                if failed:
                    refused |= await self._store.fail(failed, worker=worker, node=node)
                    failed = []
            except StoreUnavailable:
                # The outcome is unknown: the same compare-and-set again, and what matches nothing is read back.
                self.store_away = True
                await asyncio.sleep(BACKOFF_S[min(failures, 4)])
                failures += 1
        self.store_away = False
        return refused

    async def _settle(self, group: Sequence[Outcome], refused: set[str]) -> list[tuple[str, int]]:
        acks: list[tuple[str, int]] = []
        moves: list[tuple[str, str, bytes, int]] = []
        drops: list[tuple[str, int]] = []
        ended: list[tuple[str, str]] = []
        for outcome in group:
            job_id = outcome.job.entry.id
            queue = outcome.job.entry.queue
            if job_id in refused:
                ended.append((queue, "refused"))
                drops.append((job_id, outcome.job.entry.attempt))
            elif outcome.completion is not None:
                ended.append((queue, "completed"))
                acks.append((job_id, outcome.job.entry.attempt))
            elif outcome.failure is None:
                drops.append((job_id, outcome.job.entry.attempt))  # Cancelled.
            elif outcome.again is None or outcome.failure.due is None:
                ended.append((queue, "failed"))
                self._say(outcome)
                acks.append((job_id, outcome.job.entry.attempt))
            else:
                ended.append((queue, "retried"))
                self._say(outcome)
                entry, due = outcome.job.entry, outcome.failure.due
                next_entry = entry.again(seq=outcome.failure.seq)
                moves.append((entry.text, next_entry, reencode_body(entry.attempt + 1, outcome.again), due))
        self._measured.settled(ended, len(group))
        if moves:
            failpoint("retry.after_write")
        await self._move(moves, drops)
        return acks

    def _say(self, outcome: Outcome) -> None:
        """A try that failed, to the supervisor and to the log. What the error says is the handler's, and may be a
        person's: it stands with the job."""
        self._teller.ended(outcome)
        failure, body = outcome.failure, outcome.job.body
        if failure is None:
            return
        write, event = (log.error, "job_failed") if failure.due is None else (log.warning, "job_retried")
        fields = {} if body.request_id is None else {"request_id": body.request_id}
        write(
            event,
            job=failure.id,
            attempt=failure.attempt,
            type=body.type,
            queue=body.queue,
            outcome=failure.outcome,
            error=str(failure.error.get("type", ""))[:100],
            **fields,
        )

    async def _move(self, moves: Sequence[tuple[str, str, bytes, int]], drops: Sequence[tuple[str, int]]) -> None:
        failures = 0
        while moves or drops:
            try:
                if moves:
                    await self._index.retry(moves)
                    for move in moves:
                        self._forget(move[0][:36])
                    moves = ()
                if drops:
                    await self._index.drop(drops)
                    for job_id, _ in drops:
                        self._forget(job_id)
                    drops = ()
            except (IndexRefused, StoreUnavailable):
                # During a rebuild too: if it counted the old claim as ours, only this moves the job on.
                await asyncio.sleep(BACKOFF_S[min(failures, 4)])
                failures += 1


def _unrecordable(outcome: Outcome, error: Exception) -> Outcome:
    """The end of a job whose own end cannot be written: failed, with nothing in it that came from the handler."""
    entry = outcome.job.entry
    ended = outcome.completion.completed_at if outcome.completion else 0
    ended = outcome.failure.ended_at if outcome.failure else ended
    told = {"type": "Unrecordable", "message": f"its end could not be written: {type(error).__name__}"}
    return Outcome(outcome.job, failure=Failure(entry.id, entry.attempt, "unrecordable", told, None, ended))
