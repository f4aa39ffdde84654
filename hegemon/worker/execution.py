"""Running handlers: one task or thread a job, its timeouts, and what its end means. No store is touched here.

take ─> ready to start ──lease holds, slot free──> running ──returns──> Completion
             │ expired, payload wrong                │  ├─raises──> Failure (again later, or given up)
             └──> Failure, given up, never started   │  └─cancelled on request──> nothing to record
                                                     └─soft timeout: cancelled / asked to stop ─> Failure "timeout"
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import random
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from hegemon.failpoints import failpoint
from hegemon.log_context import RUN
from hegemon.queue.clock import ClusterClock
from hegemon.queue.completions import Completion
from hegemon.queue.entries import Body, Entry
from hegemon.queue.retry import Reject, Retry, RetryPolicy, RetryRule
from hegemon.queue.sealing import Sealed, Sealer, Unreadable
from hegemon.queue.sequence import due_seq
from hegemon.queue.store import Failure
from hegemon.tracing.ports import RunTracer, TracedRun
from hegemon.worker.board import Board
from hegemon.worker.context import Context, Voice, storable
from hegemon.worker.options import WorkerOptions
from hegemon.worker.registry import Handler, InvalidPayload

log = structlog.get_logger(__name__)

SHORT_MS: Final = 5
TRACEBACK_MAX: Final = 8_000
MESSAGE_MAX: Final = 2_000
_encode: Final = msgspec.json.Encoder().encode


class Taken(msgspec.Struct, frozen=True):
    """A job in this process's hands."""

    entry: Entry
    body: Body


class Run(msgspec.Struct, eq=False):
    """A job that runs. `future` is its task, or its thread's future."""

    job: Taken
    voice: Voice
    slot: int
    started_s: float
    started_ms: int
    soft_s: float
    future: asyncio.Future[Any] | None = None
    ending: str | None = None
    marked: bool = False
    traced: TracedRun | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How a job ended here: at most one of completion and failure; neither when a cancellation was recorded elsewhere.
    `again` is the body of the next attempt; `said` the progress and log lines that were not passed on yet."""

    job: Taken
    completion: Completion | None = None
    failure: Failure | None = None
    again: Body | None = None
    said: tuple[dict[str, Any] | None, list[dict[str, Any]]] | None = None


class Executor:
    """Starts jobs in free slots and reports each end once, to `ended`; `ran` gets each try that was started."""

    def __init__(
        self,
        *,
        board: Board,
        clock: ClusterClock,
        handlers: dict[str, Handler],
        options: WorkerOptions,
        ended: Callable[[Outcome], None],
        rng: random.Random,
        ran: Callable[[Run], None] = lambda run: None,
        tracer: RunTracer | None = None,
    ) -> None:
        self._board = board
        self._clock = clock
        self._handlers = handlers
        self._policy = RetryPolicy.from_dict(options.retry)
        self._grace_s = options.grace_ms / 1000
        self._result_bytes_max = options.result_bytes_max
        self._max_retries = options.max_retries
        self._timeout_ms = options.timeout_ms
        self._sealer = Sealer.of(options.payload_encryption_keys)
        self._ended = ended
        self._rng = rng
        self._ran = ran
        self._tracer = tracer
        self._worker = options.worker
        # Asked here: a line that is not written would cost more than the question.
        self._wordy = options.log_level == "debug"
        self._free = list(range(board.slots - 1, -1, -1))
        self._threads = ThreadPoolExecutor(max_workers=board.slots, thread_name_prefix="handler")
        self.running: dict[str, Run] = {}

    @property
    def free(self) -> int:
        """Slots without a job."""
        return len(self._free)

    def start(self, job: Taken) -> bool:
        """Start a job in a free slot, or report at once why it cannot run. False if the lease does not hold."""
        body = job.body
        now_ms = self._clock.now_ms()
        if body.expires_at is not None and now_ms >= body.expires_at:
            self._refuse(job, "expired", {"type": "Expired", "message": "its expires_at passed before it could start"})
            return True
        handler = self._handlers.get(body.type)
        if handler is None:
            self._refuse(job, "no_handler", {"type": "NoHandler", "message": f"no handler for type {body.type!r} here"})
            return True
        try:
            arguments = handler.arguments(self._payload(job))
        except Unreadable as error:
            self._refuse(job, "unreadable_payload", {"type": "UnreadablePayload", "message": f"the payload: {error}"})
            return True
        except InvalidPayload as error:
            self._refuse(job, "invalid_payload", {"type": "InvalidPayload", "message": str(error)})
            return True
        voice = Voice()
        if handler.context is not None:
            entry = job.entry
            arguments[handler.context] = Context(
                entry.id, body.type, body.queue, entry.attempt, body.failures, body.tags, body.request_id, voice=voice
            )
            voice.traceparent = None if body.trace is None else body.trace.parent
        timeout_ms = self._timeout_of(body, handler)
        started_s = time.monotonic()
        # The last look before user code runs: whoever was stopped longer than its lease must not start anything.
        if started_s >= self._board.lease_s():
            return False
        soft_s = started_s + timeout_ms / 1000
        slot = self._free.pop()
        self._board.start(slot, job.entry.id, job.entry.attempt, started_s, soft_s + self._grace_s)
        run = Run(job, voice, slot, started_s, now_ms, soft_s)
        self.running[job.entry.id] = run
        loop = asyncio.get_running_loop()
        if self._tracer is not None:
            run.traced = self._trace(self._tracer, job, now_ms)
            if run.traced is not None:
                voice.traceparent = run.traced.traceparent
        if self._wordy:
            log.debug("job_started", **_about(job))
        begun = functools.partial(self._begin, run)
        if handler.is_async:
            run.future = loop.create_task(_contained(handler.function, arguments, begun))
        else:
            call = functools.partial(
                contextvars.copy_context().run, _contained_call, handler.function, arguments, begun
            )
            run.future = loop.run_in_executor(self._threads, call)
        run.future.add_done_callback(functools.partial(self._done, run))
        return True

    def cancel(self, job_id: str, why: str = "cancelled") -> None:
        """Stop a running job: an async handler is cancelled, a thread is asked to stop."""
        run = self.running.get(job_id)
        if run is not None and run.ending is None:
            run.ending = why
            run.voice.cancelled = True
            if isinstance(run.future, asyncio.Task):
                run.future.cancel()

    def expire(self, now_s: float) -> None:
        """Apply soft timeouts. What is stuck beyond its hard deadline is the supervisor's."""
        for run in list(self.running.values()):
            if now_s >= run.soft_s:
                self.cancel(run.job.entry.id, "timeout")

    def close(self) -> None:
        """Start no thread any more; those that run die with the process."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _begin(self, run: Run) -> None:
        # Only now can this job hold up its process: what waits for the loop must not be blamed for who blocks it.
        self._board.begin(run.slot, time.monotonic())
        # This context is the handler's alone, and ends with it.
        job = run.job
        RUN.set((job.entry.id, job.entry.attempt, job.body.request_id))
        if run.traced is not None:
            run.traced.enter()

    def _trace(self, tracer: RunTracer, job: Taken, now_ms: int) -> TracedRun | None:
        entry, body = job.entry, job.body
        about = {
            "messaging.message.id": entry.id,
            "messaging.message.body.size": len(body.payload or b""),
            "messaging.client.id": self._worker,
            "hegemon.job.type": body.type,
            "hegemon.job.attempt": entry.attempt,
            "hegemon.job.failures": body.failures,
        }
        if body.request_id is not None:
            about["hegemon.request.id"] = body.request_id
        # `seq` is the moment from which it was eligible, in thousandths of a millisecond.
        try:
            return tracer(about, body.queue, body.trace, waited_s=(now_ms - entry.seq / 1000) / 1000)
        except Exception:  # what people look at must not cost a job
            log.exception("span_failed", job=entry.id, attempt=entry.attempt)
            return None

    def _payload(self, job: Taken) -> bytes:
        # Opened only here: bodies travel and wait as they are stored.
        return self._sealer.open(job.entry.id, "payload", Sealed(job.body.payload or b"{}", job.body.kid))

    def _timeout_of(self, body: Body, handler: Handler) -> int:
        return body.timeout_ms or handler.timeout_ms or self._timeout_ms

    def _refuse(self, job: Taken, outcome: str, error: dict[str, Any]) -> None:
        failure = Failure(job.entry.id, job.entry.attempt, outcome, error, None, self._clock.now_ms(), counts=False)
        self._ended(Outcome(job, failure=failure))

    def _done(self, run: Run, future: asyncio.Future[Any]) -> None:
        self._board.end(run.slot)
        self._free.append(run.slot)
        del self.running[run.job.entry.id]
        self._ran(run)
        failpoint("run.before_finish")
        try:
            outcome = self._outcome(run, future)
        except Exception as error:  # noqa: BLE001 - a job whose end is not reported would stay for ever
            outcome = self._failed(run, RuntimeError(f"its end could not be told: {type(error).__name__}"))
        if run.traced is not None:
            try:
                outcome = _traced(run.traced, outcome)
            except Exception:  # as above
                log.exception("span_failed", job=run.job.entry.id, attempt=run.job.entry.attempt)
        if self._wordy:
            how = "cancelled" if outcome.completion is None else "completed"
            how = how if outcome.failure is None else outcome.failure.outcome
            seconds = round(time.monotonic() - run.started_s, 6)
            log.debug("job_ended", **_about(run.job), outcome=how, seconds=seconds)
        said = run.voice.drain(self._clock.now_ms())
        self._ended(outcome if said is None else msgspec.structs.replace(outcome, said=said))

    def _outcome(self, run: Run, future: asyncio.Future[Any]) -> Outcome:
        if run.ending == "cancelled":
            if not future.cancelled():
                future.exception()
            return Outcome(run.job)
        if future.cancelled():
            return self._failed(run, None)
        if (error := future.exception()) is not None:
            return self._failed(run, error)
        return self._returned(run, future.result())

    def _returned(self, run: Run, value: Any) -> Outcome:
        result = None
        if value is not None:
            try:
                result = _encode(value)
            except Exception as error:  # noqa: BLE001 - whatever a value's own methods raise
                what = Reject(f"the result cannot be written as JSON: {error}")
                return self._failed(run, what, "invalid_result")
            if len(result) > self._result_bytes_max:
                what = Reject(f"the result has {len(result)} bytes; at most {self._result_bytes_max} (MAX_RESULT_SIZE)")
                return self._failed(run, what, "result_too_large")
        entry = run.job.entry
        sealed = None if result is None else self._sealer.seal(entry.id, "result", result)
        done = Completion(entry.id, entry.attempt, sealed, *stamps(run.started_ms, self._clock.now_ms()))
        return Outcome(run.job, completion=done)

    def _failed(self, run: Run, error: BaseException | None, outcome: str | None = None) -> Outcome:
        body, entry, now_ms = run.job.body, run.job.entry, self._clock.now_ms()
        if run.ending == "shutdown":
            return self._handed_back(run, now_ms)
        if error is None:
            outcome = run.ending or "interrupted"
            seconds = self._timeout_of(body, self._handlers[body.type]) / 1000
            words = (
                f"ran longer than its timeout of {seconds:g} s" if outcome == "timeout" else "was cancelled from within"
            )
            told: dict[str, Any] = {"type": "JobTimeout" if outcome == "timeout" else "Interrupted", "message": words}
        else:
            told = describe(error)
            if run.ending == "timeout" and outcome is None:
                outcome = "timeout"
        handler = self._handlers[body.type]
        policy = handler.retry or self._policy
        if body.retry is not None:
            policy = RetryPolicy.from_dict(body.retry, default=policy)
        retries = next(n for n in (body.max_retries, handler.max_retries, self._max_retries) if n is not None)
        decision = RetryRule(policy, retries).decide(body.failures + 1, error or TimeoutError(), self._rng)
        outcome = outcome or ("rejected" if isinstance(error, Reject) else "failed")
        if not isinstance(decision, Retry):
            failure = Failure(entry.id, entry.attempt, outcome, told, run.started_ms, now_ms)
            return Outcome(run.job, failure=failure)
        due = now_ms + decision.delay_ms
        failure = Failure(entry.id, entry.attempt, outcome, told, run.started_ms, now_ms, due=due, seq=due_seq(due))
        again = msgspec.structs.replace(body, failures=body.failures + 1, seq=due_seq(due), suspect=False)
        return Outcome(run.job, failure=failure, again=again)

    @staticmethod
    def _handed_back(run: Run, now_ms: int) -> Outcome:
        entry, body = run.job.entry, run.job.body
        told = {"type": "HandedBack", "message": "its node stopped before it was done"}
        failure = Failure(
            entry.id,
            entry.attempt,
            "handed_back",
            told,
            run.started_ms,
            now_ms,
            counts=False,
            due=now_ms,
            seq=entry.seq,
        )
        return Outcome(run.job, failure=failure, again=body)


def _about(job: Taken) -> dict[str, Any]:
    """The fields of a line about a job that is not written by its handler."""
    body = job.body
    about = {"job": job.entry.id, "attempt": job.entry.attempt, "type": body.type, "queue": body.queue}
    return about if body.request_id is None else about | {"request_id": body.request_id}


def _traced(run: TracedRun, outcome: Outcome) -> Outcome:
    """The same end, after that of its span: the next attempt, and the job's history, name it."""
    failure = outcome.failure
    if failure is None:
        run.ended("cancelled" if outcome.completion is None else "completed", None)
        return outcome
    span = run.ended(failure.outcome, failure.error)
    again = outcome.again
    return msgspec.structs.replace(
        outcome,
        failure=msgspec.structs.replace(failure, span=span),
        again=None if again is None else msgspec.structs.replace(again, trace=run.next(span)),
    )


def stamps(started_ms: int, ended_ms: int) -> tuple[int, int]:
    """When a completed job started and ended, as it is recorded. One shorter than SHORT_MS carries the next multiple of
    it, so that its neighbours share its write: most of a write's cost is in how many different ones there are.
    """
    if ended_ms - started_ms >= SHORT_MS:
        return started_ms, ended_ms
    shared = -(-ended_ms // SHORT_MS) * SHORT_MS
    return shared, shared


async def _contained(function: Callable[..., Any], arguments: dict[str, Any], begun: Callable[[], None]) -> Any:
    """A handler that exits fails its job; it does not end the process with its neighbours."""
    begun()
    try:
        return await function(**arguments)
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(f"the handler called for an exit: {error!r}") from error


def _contained_call(function: Callable[..., Any], arguments: dict[str, Any], begun: Callable[[], None]) -> Any:
    """The same in a thread; a future also refuses StopIteration, and would never be done."""
    begun()
    try:
        return function(**arguments)
    except (SystemExit, KeyboardInterrupt, StopIteration) as error:
        raise RuntimeError(f"the handler called for an exit or raised {error!r}") from error


def describe(error: BaseException) -> dict[str, Any]:
    """An error as it is stored with the job: type, message, and the traceback without our own frames.

    Whatever the error's own methods do, this returns; and its text can be stored.
    """
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(
        ("hegemon.worker", "concurrent.")
    ):
        trace = trace.tb_next
    try:
        message = str(error)
        text = "".join(traceback.format_exception(type(error), error, trace))
    except Exception as fault:  # noqa: BLE001 - raised by the error's own methods
        message, text = f"(an error that cannot be shown: {type(fault).__name__})", ""
    return {
        "type": storable(type(error).__qualname__),
        "message": storable(message[:MESSAGE_MAX]),
        "traceback": storable(text[-TRACEBACK_MAX:]),
    }
