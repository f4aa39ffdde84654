"""The executor alone: slots, leases, timeouts, and what each way to end means. No store and no process."""

from __future__ import annotations

import asyncio
import base64
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from hegemon.queue.clock import ClusterClock
from hegemon.queue.entries import Body, decode_body, encode_body, entry_text, parse_entry
from hegemon.queue.retry import Reject, RetryAfter, RetryPolicy
from hegemon.queue.sealing import Sealed, Sealer
from hegemon.worker import registry
from hegemon.worker.board import Board
from hegemon.worker.context import Context
from hegemon.worker.execution import Executor, Outcome, Taken
from hegemon.worker.options import WorkerOptions
from tests.engine.parts import document
from tests.waiting import wait_until

FIXED = RetryPolicy(kind="fixed", base_ms=1000, max_ms=1000, jitter=0)
OPTIONS = WorkerOptions(
    worker="w1",
    node="n1",
    node_incarnation="n1~0",
    cluster_id="test",
    mongodb_uri="",
    mongodb_database="",
    mongodb_timeout_s=1,
    redis_url="",
    redis_timeout_s=1,
    slots=2,
    solo=False,
    handlers=[],
    retry=FIXED.to_dict(),
    grace_ms=500,
    result_bytes_max=100,
    max_retries=2,
    timeout_ms=60_000,
)


class Rig:
    """An executor with two slots, a lease and one handler; `outcomes` is what it reported."""

    def __init__(self) -> None:
        self.board = Board.create(2)
        self.board.set_lease(time.monotonic() + 60)
        self.outcomes: list[Outcome] = []
        self.clock = ClusterClock()
        self.options = OPTIONS
        self.executor = self.with_handlers()

    def with_handlers(self) -> Executor:
        return Executor(
            board=self.board,
            clock=self.clock,
            handlers=dict(registry.handlers()),
            options=self.options,
            ended=self.outcomes.append,
            rng=random.Random(1),
        )

    def handles(self, function: Callable[..., Any], **options: Any) -> None:
        registry.job("t", **options)(function)
        self.executor = self.with_handlers()

    def holds(self, keys: str) -> None:
        """PAYLOAD_ENCRYPTION_KEYS of this worker."""
        self.options = msgspec.structs.replace(OPTIONS, payload_encryption_keys=keys)

    def start(self, **more: Any) -> bool:
        of_body = ("failures", "expires_at", "max_retries")
        body_changes: dict[str, Any] = {key: more.pop(key) for key in of_body if key in more}
        item = document(type_="t", more=body_changes, **more)
        _, body = decode_body(encode_body(item))
        return self.executor.start(Taken(parse_entry(entry_text(item)), body))

    async def outcome(self) -> Outcome:
        await wait_until(lambda: self.outcomes)
        assert len(self.outcomes) == 1
        return self.outcomes[0]


@pytest.fixture
def rig(monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(registry, "_handlers", {})
    made = Rig()
    yield made
    made.executor.close()
    made.board.close()


async def test_a_job_that_returns_is_a_completion_and_frees_its_slot(rig: Rig) -> None:
    async def handler(x: int) -> int:
        return x + 1

    rig.handles(handler)
    assert rig.start(payload={"x": 1})
    assert (rig.executor.free, len(rig.board.running())) == (1, 1)
    outcome = await rig.outcome()
    assert outcome.completion is not None
    assert outcome.completion.result == Sealed(b"2")
    assert (rig.executor.free, rig.board.running(), rig.executor.running) == (2, [], {})


async def test_nothing_starts_once_the_lease_has_run_out(rig: Rig) -> None:
    ran = []

    async def handler() -> None:
        ran.append(1)

    rig.handles(handler)
    rig.board.set_lease(time.monotonic() - 0.001)
    assert rig.start() is False
    await asyncio.sleep(0)
    assert (ran, rig.outcomes, rig.executor.free) == ([], [], 2)


async def test_what_expired_is_given_up_before_it_starts(rig: Rig) -> None:
    rig.handles(lambda: None)
    assert rig.start(expires_at=rig.clock.now_ms() - 1)
    outcome = await rig.outcome()
    assert outcome.failure is not None
    assert (outcome.failure.outcome, outcome.failure.due, outcome.failure.counts) == ("expired", None, False)


async def test_a_type_without_a_handler_here_is_given_up_and_says_so(rig: Rig) -> None:
    assert rig.start()
    outcome = await rig.outcome()
    assert outcome.failure is not None
    assert outcome.failure.outcome == "no_handler"


@pytest.mark.parametrize(
    ("failures", "error", "outcome", "again"),
    [
        (0, ValueError("x"), "failed", True),
        (1, ValueError("x"), "failed", True),
        (2, ValueError("x"), "failed", False),
        (0, Reject("x"), "rejected", False),
        (0, RetryAfter(5, "x"), "failed", True),
        (2, RetryAfter(5, "x"), "failed", False),
    ],
)
async def test_what_follows_a_failure(rig: Rig, failures: int, error: Exception, outcome: str, again: bool) -> None:
    async def handler() -> None:
        raise error

    rig.handles(handler)
    before = rig.clock.now_ms()
    rig.start(failures=failures)
    found = await rig.outcome()
    after = rig.clock.now_ms()
    assert found.failure is not None
    assert (found.failure.outcome, found.failure.due is not None) == (outcome, again)
    assert found.failure.error["message"].endswith("x")
    if found.failure.due is not None:
        wanted = 5000 if isinstance(error, RetryAfter) else 1000
        assert before + wanted <= found.failure.due <= after + wanted
        assert isinstance(found.again, Body)
        assert found.again.failures == failures + 1


@pytest.mark.parametrize(("of_job", "of_type", "tries"), [(None, None, 3), (None, 0, 1), (1, 0, 2)])
async def test_retries_are_the_jobs_else_the_types_else_the_clusters(
    rig: Rig, of_job: int | None, of_type: int | None, tries: int
) -> None:
    async def handler() -> None:
        raise ValueError

    rig.handles(handler, max_retries=of_type)
    rig.start(failures=tries - 1, **({} if of_job is None else {"max_retries": of_job}))
    found = await rig.outcome()
    assert found.failure is not None
    assert found.failure.due is None


async def test_a_soft_timeout_cancels_an_async_handler(rig: Rig) -> None:
    async def handler() -> None:
        await asyncio.Event().wait()

    rig.handles(handler, timeout=5)
    rig.start()
    (run,) = rig.executor.running.values()
    rig.executor.expire(run.started_s + 4.9)
    await asyncio.sleep(0)
    assert rig.outcomes == []
    rig.executor.expire(run.started_s + 5.1)
    found = await rig.outcome()
    assert found.failure is not None
    assert (found.failure.outcome, found.failure.error["type"]) == ("timeout", "JobTimeout")
    assert "5 s" in found.failure.error["message"]


async def test_the_hard_deadline_on_the_board_is_the_soft_one_and_the_grace(rig: Rig) -> None:
    async def handler() -> None:
        await asyncio.Event().wait()

    rig.handles(handler, timeout=5)
    rig.start()
    (item,) = rig.board.running()
    assert item.deadline_s - item.started_s == pytest.approx(5.5)
    rig.executor.cancel(item.job_id)
    assert await rig.outcome() == Outcome(rig.outcomes[0].job), "a cancellation is recorded by who asked for it"


async def test_a_thread_is_asked_to_stop(rig: Rig) -> None:
    asked = threading.Event()

    def handler(ctx: Context) -> None:
        while not ctx.cancelled:
            time.sleep(0.001)
        asked.set()

    rig.handles(handler)
    rig.start()
    (job_id,) = rig.executor.running
    rig.executor.cancel(job_id)
    await rig.outcome()
    assert asked.is_set()


async def test_a_job_interrupted_by_a_shutdown_is_handed_back_without_a_failure(rig: Rig) -> None:
    async def handler() -> None:
        await asyncio.Event().wait()

    rig.handles(handler, max_retries=0)
    rig.start(seq=77)
    (job_id,) = rig.executor.running
    rig.executor.cancel(job_id, "shutdown")
    found = await rig.outcome()
    assert found.failure is not None
    assert (found.failure.outcome, found.failure.counts, found.failure.seq) == ("handed_back", False, 77)
    assert found.failure.due is not None


async def test_what_a_handler_said_last_goes_with_its_end(rig: Rig) -> None:
    async def handler(ctx: Context) -> None:
        ctx.progress(2.0, "done")
        ctx.log("the last words")

    rig.handles(handler)
    rig.start()
    found = await rig.outcome()
    assert found.said is not None
    progress, lines = found.said
    assert progress is not None
    assert (progress["fraction"], progress["message"]) == (1.0, "done")
    assert [line["line"] for line in lines] == ["the last words"]


async def test_a_traceback_begins_in_the_handler(rig: Rig) -> None:
    async def handler() -> None:
        raise ValueError("here")

    rig.handles(handler)
    rig.start()
    found = await rig.outcome()
    assert found.failure is not None
    text = found.failure.error["traceback"]
    assert "in handler" in text
    assert "hegemon/worker" not in text


# ---- encrypted payloads

KEYS = {
    name: f"{name}:{base64.b64encode(bytes(range(first, first + 32))).decode()}" for name, first in (("k", 0), ("l", 9))
}


async def test_a_sealed_payload_is_opened_for_the_handler_alone_and_its_result_is_sealed(rig: Rig) -> None:
    got: list[int] = []

    def once_more(n: int) -> int:
        got.append(n)
        if len(got) == 1:
            raise RetryAfter(1)
        return n

    sealer = Sealer.of(KEYS["k"])
    rig.holds(KEYS["k"])
    rig.handles(once_more)
    assert rig.start(payload={"n": 7}, sealer=sealer)
    first = await rig.outcome()
    assert first.again is not None
    assert (first.again.payload, first.again.kid) == (first.job.body.payload, "k")
    assert b"7" not in (first.again.payload or b"")[12:-16]
    rig.outcomes.clear()
    assert rig.executor.start(Taken(first.job.entry, first.again))
    done = (await rig.outcome()).completion
    assert got == [7, 7]
    assert done is not None
    assert done.result is not None
    assert done.result.kid == "k"
    assert sealer.open(done.id, "result", done.result) == b"7"


async def test_a_payload_whose_key_is_not_here_fails_its_job_without_a_run(rig: Rig) -> None:
    def never(n: int) -> None:
        raise AssertionError(n)

    rig.holds(KEYS["l"])
    rig.handles(never)
    assert rig.start(payload={"n": 7}, sealer=Sealer.of(KEYS["k"]))
    failure = (await rig.outcome()).failure
    assert failure is not None
    assert (failure.outcome, failure.due, failure.counts, failure.started_at) == (
        "unreadable_payload",
        None,
        False,
        None,
    )
    assert "the key 'k', which this node does not have" in failure.error["message"]
