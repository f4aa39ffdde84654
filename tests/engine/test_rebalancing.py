"""A worker that takes nothing keeps nothing from the others: what lies in its inbox is dispatched anew."""

import os
import signal
from typing import Any

from tests.engine.journal import Journal
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until


async def both(node_: NodeProcess) -> list[int]:
    """The pids of the two worker processes."""

    async def open_workers() -> list[dict[str, Any]] | None:
        workers = await node_.workers()
        return workers if len(workers) == 2 else None

    return [worker["pid"] for worker in await wait_until(open_workers)]


async def test_what_a_stopped_worker_was_given_and_has_not_taken_runs_on_the_other(
    environment: dict[str, str], journal: Journal
) -> None:
    more = {"WORKER_PROCESSES": "2", "WORKER_COUNT": "20", "LOAD_BALANCER_STRATEGY": "round_robin"}
    async with node(environment | more) as running:
        stopped, alive = await both(running)
        os.kill(stopped, signal.SIGSTOP)
        try:
            ids = await running.submit_many([{"type": "journaled"}] * 10)
            for job_id in ids:
                assert (await running.wait(job_id))["status"] == "completed"
            lines = [line for job_id in ids for line in journal.starts(job_id)]
            assert [line.pid for line in lines] == [alive] * 10, "nothing ran on the stopped one, and nothing twice"
            assert "hoard_reclaimed" in running.log, "the stopped one was given nothing: the test shows nothing"
        finally:
            os.kill(stopped, signal.SIGCONT)
        again = await running.submit_many([{"type": "journaled"}] * 10)
        for job_id in again:
            assert (await running.wait(job_id))["attempt"] == 1
