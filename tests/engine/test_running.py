"""What becomes of a job: results, retries, refusals, timeouts, what its handler is told and says. One shared node."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.engine.journal import Journal, documents
from tests.nodes import Gate, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"HANDLERS": "examples.jobs,tests.handlers,tests.engine.more_handlers", "MAX_RETRIES": "2"}
# How far apart two processes' readings of the cluster's clock may be, on a busy machine.
READINGS = timedelta(milliseconds=250)


def outcomes(job: dict[str, Any]) -> list[str]:
    return [attempt["outcome"] for attempt in job["history"]]


async def test_a_job_runs_and_its_result_can_be_read(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("echo", {"a": [1, "ü", None]}))
    assert (job["status"], job["result"], job["attempt"], job["node"]) == ("completed", {"a": [1, "ü", None]}, 1, "n1")
    assert outcomes(job) == ["completed"]
    assert job["created_at"] <= job["started_at"] <= job["completed_at"]


@pytest.mark.parametrize("how", ["delay", "scheduled_at"])
async def test_a_job_for_later_does_not_start_early(shared: NodeProcess, shared_journal: Journal, how: str) -> None:
    def after(seconds: float) -> dict[str, Any]:
        moment = datetime.now(UTC) + timedelta(seconds=seconds)
        return {"delay": seconds} if how == "delay" else {"scheduled_at": moment.isoformat()}

    soon, later = await shared.submit("journaled", **after(5.0)), await shared.submit("journaled", **after(3600))
    done = await shared.wait(soon)
    assert done["status"] == "completed"
    due, started = (datetime.fromisoformat(done[key]) for key in ("scheduled_at", "started_at"))
    # How late is a matter of the machine, and measured by the benchmarks.
    # Two processes read the cluster's clock, each by its own round trip; tests/queue/test_leader_index.py holds the
    # due time to the millisecond.
    assert started >= due - READINGS
    assert (await shared.job(later))["status"] == "scheduled"
    assert shared_journal.starts(later) == []
    await shared.api.post(f"/api/v1/jobs/{later}/cancel")


async def test_a_time_that_has_passed_means_now(shared: NodeProcess) -> None:
    past = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    job_id = await shared.submit("noop", scheduled_at=past)
    assert (await shared.wait(job_id))["status"] == "completed"


async def test_a_job_that_fails_is_retried_until_it_succeeds(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("fail", {"times": 2, "message": "not yet"}))
    assert (job["status"], job["failures"], job["attempt"], job["result"]) == ("completed", 2, 3, {"failures": 2})
    assert outcomes(job) == ["failed", "failed", "completed"]
    assert job["history"][0]["error"] == "RuntimeError: not yet"


async def test_a_job_without_tries_left_is_a_dead_letter_that_says_why(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("fail", {"times": 9, "message": "never"}))
    assert (job["status"], job["failures"], outcomes(job)) == ("failed", 3, ["failed"] * 3)
    assert (job["error"]["type"], job["error"]["message"]) == ("RuntimeError", "never")
    assert "raise RuntimeError" in job["error"]["traceback"]
    assert "hegemon/worker" not in job["error"]["traceback"]


async def test_a_jobs_own_number_of_retries_holds(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("fail", {"times": 9}, max_retries=0))
    assert (job["status"], job["attempt"]) == ("failed", 1)


@pytest.mark.parametrize(
    ("policy", "gaps_ms"),
    [
        ({"kind": "fixed", "base_ms": 600, "max_ms": 600, "jitter": 0}, [600, 600]),
        ({"kind": "exponential", "base_ms": 400, "max_ms": 750, "multiplier": 3.0, "jitter": 0}, [400, 750]),
    ],
)
async def test_a_retry_waits_as_long_as_its_policy_says(
    shared: NodeProcess, policy: dict[str, Any], gaps_ms: list[int]
) -> None:
    job = await shared.wait(await shared.submit("fail", {"times": 2}, retry=policy))
    assert job["status"] == "completed"
    history = job["history"]
    for before, after, gap_ms in zip(history, history[1:], gaps_ms, strict=False):
        waited = datetime.fromisoformat(after["started_at"]) - datetime.fromisoformat(before["ended_at"])
        # How late is a matter of the machine; tests/queue/test_retry.py holds the delays to the millisecond.
        assert timedelta(milliseconds=gap_ms) - READINGS <= waited


async def test_a_handler_can_say_do_not_retry(shared: NodeProcess, shared_journal: Journal) -> None:
    job_id = await shared.submit("picky", {"how": "reject"})
    job = await shared.wait(job_id)
    assert (job["status"], outcomes(job), job["error"]["message"]) == ("failed", ["rejected"], "not this one")
    assert len(shared_journal.starts(job_id)) == 1


async def test_a_handler_can_say_when_to_come_again(shared: NodeProcess, shared_journal: Journal) -> None:
    job_id = await shared.submit("picky", {"how": "later"})
    job = await shared.wait(job_id)
    assert (job["status"], job["result"], outcomes(job)) == ("completed", "fine", ["failed", "completed"])
    first, second = shared_journal.starts(job_id)
    # 0.2 s, read twice; its policy alone would give less.
    assert second.at_ns - first.at_ns >= 0.12e9


async def test_a_handler_that_exits_fails_its_job_and_not_its_process(shared: NodeProcess) -> None:
    before = await shared.workers()
    job = await shared.wait(await shared.submit("picky", {"how": "exit"}, max_retries=0))
    assert job["status"] == "failed"
    assert "SystemExit(3)" in job["error"]["message"]
    assert [worker["pid"] for worker in await shared.workers()] == [worker["pid"] for worker in before]


@pytest.mark.parametrize(
    ("how", "outcome", "words"),
    [("unwritable", "invalid_result", "cannot be written as JSON"), ("huge", "result_too_large", "MAX_RESULT_SIZE")],
)
async def test_a_result_that_cannot_be_kept_fails_the_job_without_retries(
    shared: NodeProcess, how: str, outcome: str, words: str
) -> None:
    job = await shared.wait(await shared.submit("picky", {"how": how}))
    assert (job["status"], outcomes(job)) == ("failed", [outcome])
    assert words in job["error"]["message"]


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"name": 5}, "name"),
        ({"name": "x", "count": "many"}, "count"),
        ({"name": "x", "tags": [1]}, "tags"),
        ({}, "name"),
        ({"name": "x", "colour": "red"}, "colour"),
    ],
)
async def test_a_payload_that_does_not_fit_fails_at_once_and_names_the_field(
    shared: NodeProcess, payload: dict[str, Any], field: str
) -> None:
    job = await shared.wait(await shared.submit("typed", payload, max_retries=5))
    assert (job["status"], outcomes(job)) == ("failed", ["invalid_payload"])
    assert f"`{field}" in job["error"]["message"]


async def test_arguments_come_by_name_with_their_defaults(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("typed", {"name": "x"}))
    assert job["result"] == {"name": "x", "count": 1, "tags": None}


@pytest.mark.parametrize("type_", ["journaled", "patient-thread"])
async def test_a_handler_beyond_its_soft_timeout_is_stopped_and_its_try_has_failed(
    shared: NodeProcess, shared_journal: Journal, gate: Gate, type_: str
) -> None:
    job_id = await shared.submit(type_, {"gate": gate.path}, timeout=0.2, max_retries=0)
    job = await shared.wait(job_id)
    assert (job["status"], outcomes(job)) == ("failed", ["timeout"])
    assert shared_journal.ends(job_id) == []


async def test_a_timed_out_try_is_retried_like_any_other(shared: NodeProcess) -> None:
    job = await shared.wait(await shared.submit("journaled", {"seconds": 3600}, timeout=0.1, max_retries=1))
    assert (job["status"], outcomes(job)) == ("failed", ["timeout", "timeout"])
    assert "0.1 s" in job["error"]["message"]


async def test_a_job_whose_time_has_passed_is_not_started(
    shared: NodeProcess, shared_journal: Journal, gate: Gate
) -> None:
    # Ten slots: these hold them all, so that the eleventh job waits beyond its time.
    busy = await shared.submit_many([{"type": "journaled", "payload": {"gate": gate.path}, "priority": 10}] * 10)
    await wait_until(lambda: {line.job_id for line in shared_journal.starts()} >= set(busy))
    soon = datetime.now(UTC) + timedelta(seconds=5.0)
    job_id = await shared.submit("journaled", expires_at=soon.isoformat())
    await wait_until(lambda: datetime.now(UTC) > soon + timedelta(seconds=1.0))
    gate.open()
    job = await shared.wait(job_id)
    assert (job["status"], outcomes(job), job["error"]["type"]) == ("failed", ["expired"], "Expired")
    assert shared_journal.starts(job_id) == []


async def test_progress_and_log_lines_show_while_the_job_runs(shared: NodeProcess, gate: Gate) -> None:
    job_id = await shared.submit("talkative", {"lines": 3, "gate": gate.path})

    async def seen() -> dict[str, Any] | None:
        job = await shared.job(job_id)
        return job if job["progress"] and job["logs"] and job["status"] == "running" else None

    job = await wait_until(seen)
    assert job["progress"]["message"].startswith("step ")
    assert job["logs"][0]["line"] == "line 1"
    assert job["started_at"]
    gate.open()
    done = await shared.wait(job_id)
    assert done["progress"]["fraction"] == 1.0
    assert [line["line"] for line in done["logs"]] == ["line 1", "line 2", "line 3"]


async def test_what_a_short_handler_says_is_not_lost(shared: NodeProcess) -> None:
    """Most handlers end within one tick of the worker, and log right before they return."""
    job = await shared.wait(await shared.submit("talkative", {"lines": 3}))
    assert [line["line"] for line in job["logs"]] == ["line 1", "line 2", "line 3"]
    assert job["progress"]["fraction"] == 1.0


async def test_a_handler_knows_its_job(shared: NodeProcess) -> None:
    job_id = await shared.submit("curious", {"fail": 1}, queue="people", tags=["a", "b"], priority="high")
    job = await shared.wait(job_id)
    assert job["result"] == {
        "job_id": job_id,
        "type": "curious",
        "queue": "people",
        "attempt": 2,
        "failures": 1,
        "tags": ["a", "b"],
        "cancelled": False,
    }


async def test_a_large_payload_and_result_go_through_whole(shared: NodeProcess) -> None:
    text = "ä" * 300_000
    job = await shared.wait(await shared.submit("echo", {"text": text}))
    assert job["result"] == {"text": text}


async def test_a_large_payload_survives_a_retry(shared: NodeProcess) -> None:
    text = "x" * 50_000
    job = await shared.wait(await shared.submit("curious-echo", {"text": text, "fail": 1}))
    assert (job["status"], job["result"], job["attempt"]) == ("completed", len(text), 2)


async def test_tags_and_queues_and_types_filter_the_list(shared: NodeProcess) -> None:
    ids = [await shared.submit("noop", {"n": n}, queue="filters", tags=[f"t{n % 2}"]) for n in range(4)]
    for job_id in ids:
        await shared.wait(job_id)

    async def listed(**query: str) -> list[str]:
        reply = await shared.api.get("/api/v1/jobs", params=query | {"queue": "filters"})
        return [job["id"] for job in reply.raise_for_status().json()["jobs"]]

    assert await listed() == ids[::-1]
    assert await listed(tag="t1") == [ids[3], ids[1]]
    assert await listed(type="echo") == []
    assert await listed(status="completed") == ids[::-1]


async def test_a_batch_is_all_or_nothing(shared: NodeProcess, shared_environment: dict[str, str]) -> None:
    good = {"type": "noop", "queue": "batch"}
    reply = await shared.api.post("/api/v1/jobs/batch", json={"jobs": [good, good, good | {"priority": 11}]})
    assert (reply.status_code, reply.json()["field"]) == (422, "jobs[2].priority")
    assert documents(shared_environment, {"queue": "batch"}) == []
    ids = await shared.submit_many([good] * 3)
    assert [found["_id"] for found in documents(shared_environment, {"queue": "batch"})] == ids


async def test_an_idempotency_key_gives_the_same_job_back_and_refuses_another_body(shared: NodeProcess) -> None:
    headers = {"Idempotency-Key": "order-17"}
    replies = [
        await shared.api.post("/api/v1/jobs", json={"type": "echo", "payload": {"n": n}}, headers=headers)
        for n in (1, 1, 2)
    ]
    assert [reply.status_code for reply in replies] == [201, 200, 422]
    assert replies[0].json()["id"] == replies[1].json()["id"]
    assert replies[2].json()["code"] == "idempotency_key_reused"


async def test_waiting_ends_with_the_job_or_with_the_time(shared: NodeProcess, gate: Gate) -> None:
    job_id = await shared.submit("journaled", {"gate": gate.path})
    reply = await shared.api.get(f"/api/v1/jobs/{job_id}/wait", params={"timeout": "0.1"})
    assert reply.json()["status"] in ("pending", "running")
    gate.open()
    assert (await shared.wait(job_id))["status"] == "completed"
