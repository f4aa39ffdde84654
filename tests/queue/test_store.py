"""Writes that move a job: each is a compare-and-set on (attempt, status), and knows its own earlier write again."""

from __future__ import annotations

from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from hegemon.queue import mongo
from hegemon.queue.completions import Completion
from hegemon.queue.errors import OutcomeUnknown, StoreUnavailable
from hegemon.queue.jobs import Document
from hegemon.queue.sealing import Sealed
from hegemon.queue.states import FINAL, Status
from hegemon.queue.store import Failure, JobStore
from tests.engine.parts import NOW_MS, Jobs, document

ERROR = {"type": "RuntimeError", "message": "no"}


class Faulty:
    """A collection whose `call` is carried out `times` times with its reply lost, or not at all."""

    def __init__(self, collection: Any, call: str, *, applied: bool = True, times: int = 1) -> None:
        self._collection = collection
        self._call = call
        self._applied = applied
        self._times = times

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._collection, name)
        if name != self._call or self._times == 0:
            return real
        self._times -= 1

        async def lossy(*args: Any, **kwargs: Any) -> Any:
            if self._applied:
                await real(*args, **kwargs)
            raise AutoReconnect("connection closed")

        return lossy


def faulty(jobs: Jobs, call: str, *, applied: bool = True, find_fails: bool = False) -> None:
    """Put a faulty collection in the place of the store's own."""
    collection: Any = Faulty(jobs.store.jobs, call, applied=applied)
    if find_fails:
        collection.find = _unreachable
    jobs.store.jobs = collection


async def complete(store: JobStore, item: Document, *, attempt: int | None = None, worker: str = "w1") -> set[str]:
    done = Completion(item["_id"], attempt or item["attempt"], Sealed(b"42"), NOW_MS, NOW_MS + 5)
    return await store.complete([done], worker=worker, node="n1")


async def fail(store: JobStore, item: Document, *, due: int | None = None, worker: str = "w1") -> set[str]:
    failure = Failure(item["_id"], item["attempt"], "failed", ERROR, NOW_MS, NOW_MS + 5, due=due, seq=7)
    return await store.fail([failure], worker=worker, node="n1")


async def test_a_completion_is_recorded_once_and_known_again_when_its_reply_was_lost(jobs: Jobs) -> None:
    one = document()
    await jobs.put(one)
    assert await complete(jobs.store, one) == set()
    found = await jobs.get(one)
    assert (found["status"], found["result"]["data"], found["worker"]) == ("completed", b"42", "w1")
    assert await complete(jobs.store, one) == set(), "its own write was taken for another's"
    assert await complete(jobs.store, one, worker="w2") == {one["_id"]}


@pytest.mark.parametrize("attempt", [1, 3])
async def test_a_completion_of_another_attempt_is_refused(jobs: Jobs, attempt: int) -> None:
    one = document(attempt=2)
    await jobs.put(one)
    assert await complete(jobs.store, one, attempt=attempt) == {one["_id"]}
    assert (await jobs.get(one))["status"] == "pending"


@pytest.mark.parametrize("status", sorted(FINAL))
async def test_an_end_is_not_written_over(jobs: Jobs, status: str) -> None:
    one = document(more={"status": status, "worker": "w9"})
    await jobs.put(one)
    assert await complete(jobs.store, one) == {one["_id"]}
    assert await fail(jobs.store, one) == {one["_id"]}
    assert await fail(jobs.store, one, due=NOW_MS + 9) == {one["_id"]}
    assert await jobs.store.cancel(one["_id"], NOW_MS) is None
    assert await jobs.store.change([(one["_id"], 1, {"$inc": {"attempt": 1}})]) == 0
    assert (await jobs.get(one))["status"] == status


async def test_of_a_group_exactly_the_stale_ones_are_refused(jobs: Jobs) -> None:
    items = [document(n) for n in range(6)]
    await jobs.put(*items)
    for stale in items[::3]:
        await jobs.store.change([(stale["_id"], 1, {"$inc": {"attempt": 1}})])
    done = [Completion(item["_id"], 1, None if n % 2 else Sealed(b"1"), NOW_MS, NOW_MS) for n, item in enumerate(items)]
    assert await jobs.store.complete(done, worker="w1", node="n1") == {items[0]["_id"], items[3]["_id"]}
    assert (await jobs.queries.counts())["completed"] == 4


async def test_a_failed_try_waits_for_its_next_under_the_next_attempt(jobs: Jobs) -> None:
    one = document()
    await jobs.put(one)
    assert await fail(jobs.store, one, due=NOW_MS + 100) == set()
    found = await jobs.get(one)
    assert (found["status"], found["attempt"], found["failures"], found["due"]) == ("retrying", 2, 1, NOW_MS + 100)
    assert [record["outcome"] for record in found["history"]] == ["failed"]
    assert await fail(jobs.store, one, due=NOW_MS + 100) == set(), "its own write was taken for another's"
    assert await complete(jobs.store, one) == {one["_id"]}
    assert len((await jobs.get(one))["history"]) == 1


async def test_a_lost_reply_to_a_retry_is_settled_also_when_the_next_attempt_has_ended(jobs: Jobs) -> None:
    one = document()
    await jobs.put(one)
    await fail(jobs.store, one, due=NOW_MS)
    await complete(jobs.store, one, attempt=2, worker="w2")
    # The last word on who wrote is the history: the document's `worker` is that of the next attempt.
    assert await fail(jobs.store, one, due=NOW_MS) == set()


async def test_a_job_given_up_is_a_dead_letter_that_says_why(jobs: Jobs) -> None:
    one = document()
    await jobs.put(one)
    assert await fail(jobs.store, one) == set()
    found = await jobs.get(one)
    assert (found["status"], found["error"], found["attempt"]) == ("failed", ERROR, 1)
    assert await fail(jobs.store, one) == set()


async def test_a_start_mark_never_overtakes_an_end_nor_a_later_attempt(jobs: Jobs) -> None:
    ended, later, plain = document(1), document(2, attempt=2), document(3)
    await jobs.put(ended, later, plain)
    await complete(jobs.store, ended)
    claims = [(item["_id"], 1, NOW_MS) for item in (ended, later, plain)]
    await jobs.store.mark_started(claims, worker="w1", node="n1", now_ms=NOW_MS)
    assert [(await jobs.get(item))["status"] for item in (ended, later, plain)] == ["completed", "pending", "running"]


async def test_a_due_mark_touches_what_waits_for_its_time_and_nothing_else(jobs: Jobs) -> None:
    states = ["scheduled", "retrying", "running", "cancelled"]
    items = [document(n, more={"status": state, "due": 5}) for n, state in enumerate(states)]
    await jobs.put(*items)
    await jobs.store.mark_due([(item["_id"], 1) for item in items], NOW_MS)
    assert [(await jobs.get(item))["status"] for item in items] == ["pending", "pending", "running", "cancelled"]


async def test_progress_and_log_lines_stay_with_the_attempt_that_said_them(jobs: Jobs) -> None:
    one = document(attempt=2)
    await jobs.put(one)
    await jobs.store.note([(one["_id"], 2, {"fraction": 0.5}, [{"line": "a"}]), (one["_id"], 1, None, [{"line": "b"}])])
    await jobs.store.note([(one["_id"], 2, None, [{"line": str(n)} for n in range(250)])])
    found = await jobs.get(one)
    assert found["progress"] == {"fraction": 0.5}
    assert [len(found["logs"]), found["logs"][-1]["line"]] == [200, "249"]


async def test_a_group_with_a_taken_idempotency_key_loses_that_document_alone(jobs: Jobs) -> None:
    key = {"idempotency": {"key": "k", "digest": b"1"}}
    first, second, other, plain = (
        document(more=key),
        document(more=key),
        document(more=key | {"scope": "me"}),
        document(),
    )
    assert await jobs.store.insert([first, second, other, plain]) == [None, "duplicate", None, None]


async def test_inserting_the_same_document_twice_is_one_insert(jobs: Jobs) -> None:
    one = document()
    assert await jobs.store.insert([one]) == [None]
    assert await jobs.store.insert([one]) == [None]


@pytest.mark.parametrize(("applied", "outcome"), [(True, None), (False, "unknown")])
async def test_an_insert_with_a_lost_reply_is_settled_by_reading_back(
    jobs: Jobs, applied: bool, outcome: str | None
) -> None:
    items = [document(1), document(2)]
    faulty(jobs, "insert_many", applied=applied)
    assert await jobs.store.insert(items) == [outcome, outcome]


async def test_an_insert_that_cannot_be_settled_is_unknown(jobs: Jobs) -> None:
    faulty(jobs, "insert_many", find_fails=True)
    assert await jobs.store.insert([document()]) == ["unknown"]


def _unreachable(*_: object) -> None:
    raise AutoReconnect("connection closed")


async def test_a_batch_is_all_or_none(jobs: Jobs) -> None:
    taken = document()
    await jobs.put(taken)
    items = [document(n) for n in range(5)]
    clash = items[3] | {"_id": taken["_id"]}
    with pytest.raises(Exception, match="E11000"):
        await jobs.store.insert_batch([*items[:3], clash, items[4]])
    assert await jobs.store.present([item["_id"] for item in items]) == set()
    await jobs.store.insert_batch(items)
    assert len(await jobs.store.present([item["_id"] for item in items])) == 5


async def test_a_batch_that_did_not_arrive_is_not_called_accepted(jobs: Jobs) -> None:
    faulty(jobs, "insert_many", applied=False)
    with pytest.raises(StoreUnavailable):
        await jobs.store.insert_batch([document()])


async def test_a_batch_whose_commit_was_carried_out_and_not_answered_is_accepted(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mongo.transaction

    def lossy(client: mongo.Client) -> Any:
        return _LosesReply(real(client))

    monkeypatch.setattr(mongo, "transaction", lossy)
    items = [document(1), document(2)]
    await jobs.store.insert_batch(items)
    assert len(await jobs.store.present([item["_id"] for item in items])) == 2


class _LosesReply:
    """A transaction that commits, and whose reply to that is lost."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def __aenter__(self) -> Any:
        return await self._inner.__aenter__()

    async def __aexit__(self, *exc: object) -> bool:
        await self._inner.__aexit__(*exc)
        raise AutoReconnect("connection closed")


async def test_a_batch_that_cannot_be_read_back_is_unknown(jobs: Jobs) -> None:
    faulty(jobs, "insert_many", applied=False, find_fails=True)
    with pytest.raises(OutcomeUnknown):
        await jobs.store.insert_batch([document()])


async def test_a_cancellation_gives_the_document_as_it_made_it_and_is_recorded_once(jobs: Jobs) -> None:
    one = document(more={"status": "running", "worker": "w1"})
    await jobs.put(one)
    cancelled = await jobs.store.cancel(one["_id"], NOW_MS)
    assert cancelled is not None
    assert (cancelled["status"], cancelled["attempt"], cancelled["worker"]) == ("cancelled", 1, "w1")
    assert await jobs.get(one) == cancelled
    assert await jobs.store.cancel(one["_id"], NOW_MS) is None
    assert await complete(jobs.store, one) == {one["_id"]}


async def test_only_dead_letters_and_cancelled_jobs_are_revived_with_fresh_tries(jobs: Jobs) -> None:
    worn = {"failures": 4, "crashes": 2, "error": ERROR, "completed_at": 5}
    items = [document(n, more=worn | {"status": status.value}) for n, status in enumerate(Status)]
    await jobs.put(*items)
    revived = await jobs.store.revive(
        [item["_id"] for item in items], {"node": "n2", "incarnation": "n2~0"}, 90, NOW_MS
    )
    assert revived == 2
    for item in items:
        found = await jobs.get(item)
        if item["status"] in ("failed", "cancelled"):
            assert (found["status"], found["attempt"], found["failures"], found["crashes"]) == ("pending", 2, 0, 0)
            assert "error" not in found
            assert found["origin"]["incarnation"] == "n2~0"
        else:
            assert found == item


async def test_a_recovery_wins_an_attempt_only_once(jobs: Jobs) -> None:
    one = document()
    await jobs.put(one)
    change: Document = {"$inc": {"attempt": 1}}
    assert [await jobs.store.change([(one["_id"], 1, change)]) for _ in range(2)] == [1, 0]
    assert (await jobs.get(one))["attempt"] == 2


async def test_many_completions_at_once_each_keep_their_own_result_and_times(jobs: Jobs) -> None:
    many = [document(attempt=1 + i % 2) for i in range(450)]
    stale = document(attempt=3)
    await jobs.put(*many, stale)
    # A third end alike, the others each in their own way; one speaks for an attempt that is not its own.
    done = [
        Completion(
            one["_id"], one["attempt"], None if i % 3 == 0 else Sealed(b"%d" % i), NOW_MS + i % 7, NOW_MS + 10 + i % 7
        )
        for i, one in enumerate(many)
    ]
    done.append(Completion(stale["_id"], 2, Sealed(b"stale"), NOW_MS, NOW_MS))
    assert await jobs.store.complete(done, worker="w1", node="n1") == {stale["_id"]}
    for i, one in enumerate(many):
        found = await jobs.get(one)
        assert (found["status"], found["worker"], found["node"]) == ("completed", "w1", "n1")
        assert (found["started_at"], found["completed_at"]) == (NOW_MS + i % 7, NOW_MS + 10 + i % 7)
        assert ("result" not in found) if i % 3 == 0 else (found["result"]["data"] == b"%d" % i)
        assert found["payload"] == one["payload"]
    assert (await jobs.get(stale))["status"] == stale["status"]
