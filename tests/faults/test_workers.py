"""Worker processes that stop, block, hang, die and poison: only the job that did it pays, and late work is refused."""

import os
import re
import signal
import time

from tests.faults.trial import Trial
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until


def use(trial: Trial, **environment: str) -> None:
    """Settings of this trial's own; before its node starts."""
    trial.environment |= environment
    trial.node.environment |= environment


async def both(trial: Trial) -> list[int]:
    """The ids of two worker processes, once both are open: a node is ready when one is."""

    async def found() -> list[int]:
        pids = sorted(worker["pid"] for worker in await trial.node.workers())
        return pids if len(pids) == 2 else []

    return await wait_until(found, message="two open workers")


async def refused(process: NodeProcess) -> int:
    """The count of refused completions that a node publishes."""
    text = (await process.api.get("/metrics")).text
    found = re.search(r"^hegemon_stale_completions_total\{[^}]*\} ([0-9.e+]+)$", text, re.MULTILINE)
    assert found is not None, text
    return int(float(found[1]))


async def refusals(trial: Trial, pid: int, count: int) -> None:
    """Wait until so many are counted, or that worker process has ended: on a machine that is too busy to let it write
    within its last second its ends stay unsaid, and the judge sees whether that did harm.
    """
    process = str(pid)

    async def counted() -> bool:
        gone = process not in os.listdir("/proc")
        return await refused(trial.node) >= count or gone

    await wait_until(counted, message=f"{count} refusals on /metrics")


async def test_a_worker_stopped_until_its_jobs_were_recovered_completes_and_starts_nothing(trial: Trial) -> None:
    # A lease is renewed by the control process, so both are stopped; a second node of the cluster takes over.
    use(trial, WORKER_COUNT="4", OFFICE_TAKEOVER="300ms")
    async with node(trial.environment, name="n2", start=False) as other:
        await trial.node.start()
        (worker,) = await trial.node.workers()
        job = {"type": "journaled", "payload": {"gate": trial.gate}}
        ids = await trial.offer_many([job] * 40)
        await trial.started(4)
        stopped = (trial.node.pid, worker["pid"])
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        under_way = {mark.id for mark in trial.marks()}
        assert len(under_way) == 4
        trial.open_gate()
        try:
            await other.start()
            async with trial.watching():
                await wait_until(
                    lambda: under_way <= trial.watch.observed.keys(), message="the recovered jobs to complete"
                )
        finally:
            continued_ns = time.monotonic_ns()
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

        await refusals(trial, worker["pid"], len(under_way))
        verdict = await trial.clear_verdict()
        assert verdict.completed == len(ids)
        late = [mark for mark in trial.marks() if mark.pid == worker["pid"] and mark.at_ns > continued_ns]
        assert [mark for mark in late if mark.event == "start"] == []
        assert {mark.id for mark in late} >= under_way, "it came back to nothing: the test shows nothing"


async def test_a_worker_stopped_over_a_rebuild_starts_nothing_and_its_late_ends_are_refused(trial: Trial) -> None:
    use(trial, WORKER_PROCESSES="2", WORKER_COUNT="4")
    await trial.node.start()
    stopped, _ = await both(trial)
    await trial.offer_many([{"type": "journaled", "payload": {"gate": trial.gate}} for _ in range(40)])
    await wait_until(lambda: len({mark.pid for mark in trial.marks()}) == 2, message="both to be at work")
    os.kill(stopped, signal.SIGSTOP)
    under_way = {mark.id for mark in trial.marks() if mark.pid == stopped}
    assert under_way
    trial.open_gate()
    try:
        trial.wipe_index()
        async with trial.watching():
            await wait_until(lambda: under_way <= trial.watch.observed.keys(), message="the other to complete its jobs")
    finally:
        continued_ns = time.monotonic_ns()
        os.kill(stopped, signal.SIGCONT)

    await refusals(trial, stopped, len(under_way))
    await trial.clear_verdict()
    late = [mark for mark in trial.marks() if mark.pid == stopped and mark.at_ns > continued_ns]
    assert [mark for mark in late if mark.event == "start"] == []


async def test_a_handler_that_blocks_its_loop_stops_neither_beats_nor_dispatch_and_runs_once(trial: Trial) -> None:
    # A machine that stands still for a second is not to cost a lease.
    use(trial, WORKER_PROCESSES="2", WORKER_COUNT="4", WORKER_LEASE="4s")
    await trial.node.start()
    pids = await both(trial)
    blocking = await trial.offer("blocking", {"gate": trial.gate})
    assert blocking is not None
    await trial.started()
    await trial.offer_many([{"type": "journaled"} for _ in range(60)])
    # The blocked process has one slot more, and may hold what it would work off in 50 ms; all else goes to the other.
    await wait_until(lambda: len(trial.truth.completed()) >= 55, message="the other process to do the work")
    # For longer than its lease, by what is beaten for it: who waits for a blocked loop in vain would show.
    (blocked,) = [
        worker["id"] for worker in await trial.node.workers() if worker["pid"] == trial.starts(blocking)[0].pid
    ]
    before = trial.beats(blocked)
    await wait_until(lambda: trial.beats(blocked) >= before + 30, message="it to outlive its lease")
    trial.open_gate()
    await trial.clear_verdict()
    assert [mark.attempt for mark in trial.starts(blocking)] == [1]
    assert sorted(worker["pid"] for worker in await trial.node.workers()) == pids
    assert "worker_closed" not in trial.node.log


async def test_a_handler_stuck_beyond_its_hard_timeout_is_killed_and_its_neighbours_do_not_pay(trial: Trial) -> None:
    use(trial, JOB_TIMEOUT_GRACE="300ms", WORKER_COUNT="4", WORKER_LEASE="90s")
    await trial.node.start()
    neighbours = await trial.offer_many([{"type": "journaled-thread", "payload": {"gate": trial.gate}}] * 2)
    await trial.started(2)
    # An hour, if it were left alone.
    stuck = await trial.offer("blocking", {"seconds": 3600.0}, timeout=0.3, max_retries=0)
    assert stuck is not None
    job = await trial.node.wait(stuck)
    trial.open_gate()
    assert (job["status"], job["error"]["type"], job["failures"]) == ("failed", "JobTimeout", 1)
    await trial.clear_verdict()
    for job_id in neighbours:
        neighbour = await trial.node.job(job_id)
        assert (neighbour["status"], neighbour["failures"], neighbour["crashes"]) == ("completed", 0, 0)
        assert [mark.attempt for mark in trial.starts(job_id)] == [1, 2]
    assert len(trial.starts(stuck)) == 1


async def test_a_dead_worker_is_noticed_at_once_and_its_jobs_go_on(trial: Trial) -> None:
    use(trial, WORKER_LEASE="3600s", WORKER_PROCESSES="2", WORKER_COUNT="4")
    await trial.node.start()
    await both(trial)
    await trial.offer_many([{"type": "journaled", "payload": {"seconds": 0.3}} for _ in range(20)])
    await trial.started(4)
    pid = await trial.kill_worker()
    await wait_until(lambda: "worker_closed" in trial.node.log, message="the dead worker's incarnation to be closed")
    # Long before its lease has run out.
    await trial.clear_verdict()
    assert "ended by SIGKILL" in trial.node.log
    assert pid not in {worker["pid"] for worker in await trial.node.workers()}


async def test_poison_is_quarantined_after_max_crashes_and_its_neighbours_complete(trial: Trial) -> None:
    use(trial, MAX_CRASHES="2", WORKER_COUNT="6")
    await trial.node.start()
    neighbours = await trial.offer_many([{"type": "journaled", "payload": {"seconds": 0.4}} for _ in range(12)])
    await trial.started(3)
    poison = [await trial.offer("crash", {"how": how}) for how in ("exit", "kill")]
    verdict = await trial.clear_verdict()
    assert verdict.failed == len(poison)
    for job_id in poison:
        assert job_id is not None
        job = await trial.node.job(job_id)
        assert (job["status"], job["error"]["type"], job["crashes"]) == ("failed", "Quarantined", 2)
        # Uncounted deaths come first: among neighbours it cannot be known who did it.
        assert [entry["outcome"] for entry in job["history"]].count("crashed") == 2
    for job_id in neighbours:
        job = await trial.node.job(job_id)
        assert (job["status"], job["failures"], job["crashes"]) == ("completed", 0, 0)


async def test_a_job_that_crashes_less_often_than_max_crashes_completes(trial: Trial) -> None:
    await trial.node.start()
    job_id = await trial.offer("crash", {"how": "abort", "times": 2})
    verdict = await trial.clear_verdict()
    assert verdict.completed == 1
    assert job_id is not None
    assert (await trial.node.job(job_id))["result"] == "survived"
