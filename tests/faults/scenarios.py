"""How to get a real process to each failpoint: which load, which earlier life, who dies there.

A scenario's life: `before` (an earlier life of the node, without failpoints), the armed start, `load`, a death by the
failpoint, a start without it, `after`. The judge has the last word; `then` looks at what is this scenario's own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from tests.faults.trial import Trial
from tests.waiting import wait_until

Step = Callable[[Trial], Awaitable[None]]
SINGLES = 12
BATCH = 40


async def nothing(trial: Trial) -> None:
    """No step here."""


@dataclass(frozen=True)
class Scenario:
    """`victim` dies at the `count`th passing; with `at_start` it dies before it is ready."""

    name: str
    victim: Literal["control", "worker"]
    load: Step = nothing
    before: Step = nothing
    after: Step = nothing
    then: Step = nothing
    count: int = 1
    at_start: bool = False
    variant: str = ""

    @property
    def id(self) -> str:
        """Its name among the tests."""
        return f"{self.name}-{self.variant}" if self.variant else self.name


async def singles(trial: Trial) -> None:
    """One after the other, so that each is a group of its own."""
    for _ in range(SINGLES):
        await trial.offer("journaled", {"seconds": 0.01})


async def batches(trial: Trial) -> None:
    """A batch is one transaction."""
    for _ in range(3):
        await trial.offer_many([{"type": "journaled"}] * BATCH)


async def delayed(trial: Trial) -> None:
    """Jobs that become due."""
    await trial.offer_many([{"type": "journaled", "delay": 0.2 + 0.01 * i} for i in range(BATCH)])


async def running_then_a_worker_dies(trial: Trial) -> None:
    """Jobs in every slot, and more behind them. The supervisor reports it; what ran becomes suspect, what was held goes
    on.
    """
    await trial.offer_many([{"type": "journaled", "payload": {"gate": trial.gate}} for _ in range(BATCH // 4)])
    await trial.started(4)
    await trial.kill_worker()


async def life_with_open_jobs(trial: Trial) -> None:
    """An earlier life that ended by SIGKILL among running, waiting and delayed jobs."""
    await trial.node.start()
    await trial.offer_many([{"type": "journaled", "payload": {"gate": trial.gate}} for _ in range(BATCH // 4)])
    await trial.offer_many([{"type": "journaled", "delay": 1.0}] * 3)
    await trial.started(2)
    await trial.node.kill()


async def life_and_loss_of_the_index(trial: Trial) -> None:
    """The same, and Redis has lost everything: a rebuild with live documents to put back."""
    await life_with_open_jobs(trial)
    trial.wipe_index()


async def failing_and_tried_again(trial: Trial) -> None:
    """Each asks to be run again in 0.2 s, once."""
    await trial.offer_many([{"type": "picky", "payload": {"how": "later"}}] * 6)


async def dead_letters(trial: Trial) -> list[str]:
    """Jobs that have failed for good."""
    ids = await trial.offer_many([{"type": "picky", "payload": {"how": "reject"}}] * 5)
    for job_id in ids:
        assert (await trial.node.wait(job_id))["status"] == "failed"
    return ids


async def requeue_one(trial: Trial) -> None:
    """By its id."""
    ids = await dead_letters(trial)
    assert await trial.post(f"/api/v1/jobs/{ids[0]}/retry") is None


async def requeue_all(trial: Trial) -> None:
    """All dead letters."""
    await dead_letters(trial)
    assert await trial.post("/api/v1/dead/requeue", {"all": True}) is None


async def all_ran_again(trial: Trial) -> None:
    """What was revived was run once more; nothing was revived twice."""
    starts = [len(trial.starts(job_id)) for job_id in trial.truth.records()]
    assert sorted(set(starts)) in ([1, 2], [2]), starts


async def cancel_a_waiting_job(trial: Trial) -> None:
    """Due in some seconds: the cancellation finds it in the delayed set."""
    job_id = await trial.offer("journaled", {"result": 7}, delay=6.0)
    assert await trial.post(f"/api/v1/jobs/{job_id}/cancel") is None


async def cancel_a_running_job(trial: Trial) -> None:
    """It runs, so that its worker holds it."""
    job_id = await trial.offer("journaled", {"gate": trial.gate})
    await trial.started()
    assert await trial.post(f"/api/v1/jobs/{job_id}/cancel") is None


async def tombstones_age(trial: Trial) -> None:
    """The leader looks at a tombstone when it is 30 s old: make it so, to save the wait."""
    key = f"hegemon:{{{trial.cluster_id}}}:tombstones"
    with trial.redis() as client:
        for member, score in client.zrange(key, 0, -1, withscores=True):
            client.zadd(key, {member: score - 31_000})


async def is_cancelled(trial: Trial) -> None:
    """The cancellation had been recorded, so it holds; the job ran at most in its first life."""
    (record,) = trial.truth.records().values()
    assert record.status == "cancelled"
    assert len(trial.starts(record.id)) <= 1


async def the_mark_counted(trial: Trial) -> None:
    """The process died under a durable mark: that counts one, for the one job that was marked."""
    assert sum(trial.truth.document(job_id)["crashes"] for job_id in trial.truth.records()) == 1


async def second_death(trial: Trial) -> None:
    """The first was the test's own; the failpoint's is the second."""
    await running_then_a_worker_dies(trial)
    await wait_until(lambda: trial.deaths() >= 2, message="a second worker to die")


SCENARIOS = (
    Scenario("submit.before_insert", "control", singles, count=3, variant="single"),
    Scenario("submit.before_insert", "control", batches, count=2, variant="batch"),
    Scenario("submit.after_insert", "control", singles, count=3, variant="single"),
    Scenario("submit.after_insert", "control", batches, count=2, variant="batch"),
    Scenario("submit.after_index", "control", singles, count=3, variant="single"),
    Scenario("submit.after_index", "control", batches, variant="batch"),
    Scenario("promote.after_move", "control", delayed),
    Scenario("dispatch.after_move", "control", batches, count=3),
    Scenario("take.after_take", "worker", batches, count=2),
    Scenario("run.after_start_mark", "worker", second_death, then=the_mark_counted),
    Scenario("run.before_finish", "worker", batches, count=5),
    Scenario("finish.after_write", "worker", batches, count=2),
    Scenario("finish.after_ack", "worker", batches, count=2),
    Scenario("retry.after_write", "worker", failing_and_tried_again),
    Scenario("cancel.after_tombstone", "control", cancel_a_waiting_job, after=tombstones_age, variant="waiting"),
    Scenario("cancel.after_tombstone", "control", cancel_a_running_job, after=tombstones_age, variant="running"),
    Scenario("cancel.after_write", "control", cancel_a_waiting_job, then=is_cancelled, variant="waiting"),
    Scenario("cancel.after_write", "control", cancel_a_running_job, then=is_cancelled, variant="running"),
    Scenario("requeue.after_write", "control", requeue_one, then=all_ran_again, variant="one"),
    Scenario("requeue.after_write", "control", requeue_all, then=all_ran_again, variant="all"),
    Scenario("recover.after_close", "control", running_then_a_worker_dies),
    Scenario("recover.after_bump", "control", running_then_a_worker_dies),
    Scenario("recover.after_requeue", "control", running_then_a_worker_dies),
    Scenario("office.after_epoch", "control", before=life_with_open_jobs, at_start=True),
    Scenario("rebuild.after_generation", "control", before=life_and_loss_of_the_index, at_start=True),
    Scenario("rebuild.after_bump", "control", before=life_and_loss_of_the_index, at_start=True),
    Scenario("rebuild.before_ready", "control", before=life_and_loss_of_the_index, at_start=True),
)
