"""Each strategy's shares over a real node: three worker processes with equal slots and 3,000 jobs.

The jobs outlast the test, and the slots of the three together are twice the jobs: so no job's end makes room, and what
each process starts is what dispatch alone decided. Then the definitions give exact shares, which are counted outside of
Hegemon: in the journal by process, and in MongoDB by the worker that marked the job as running.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.engine.journal import Journal, documents
from tests.nodes import NodeProcess, node
from tests.waiting import wait_until

SLOTS, JOBS = 2000, 3000
TRIES = 5


async def started(node_: NodeProcess, journal: Journal) -> list[int]:
    """Starts by process, in the order of the processes' names."""

    async def all_open() -> list[dict[str, Any]] | None:
        workers = await node_.workers()
        return workers if len(workers) == 3 else None

    workers = await wait_until(all_open)
    assert [worker["slots"] for worker in workers] == [SLOTS] * 3
    job = {"type": "journaled", "payload": {"seconds": 3600}}
    for _ in range(3):
        await node_.submit_many([job] * (JOBS // 3))
    await wait_until(lambda: len(journal.starts()) >= JOBS, message="all jobs to start")
    starts = journal.starts()
    assert len({line.job_id for line in starts}) == len(starts) == JOBS
    by_pid = Counter(line.pid for line in starts)
    return [by_pid[worker["pid"]] for worker in workers]


async def recorded(environment: dict[str, str]) -> list[int]:
    """Running jobs by worker as MongoDB has them."""

    def marked() -> bool:
        return len(documents(environment, {"status": "running"})) == JOBS

    await wait_until(marked)
    by_worker = Counter(found["worker"].split("~")[0] for found in documents(environment, {"status": "running"}))
    return [by_worker[f"n1.w{i}"] for i in range(3)]


async def shared_out(environment: dict[str, str], journal: Journal, strategy: str) -> list[int] | None:
    """The shares of one run; None if a process stood still for so long that the others were given what it had."""
    more = {
        "LOAD_BALANCER_STRATEGY": strategy,
        "WORKER_PROCESSES": "3",
        "WORKER_COUNT": str(3 * SLOTS),
        "HANDLERS": "tests.handlers",
        "WORKER_LEASE": "1h",
        "JOURNAL": str(journal.path),
    }
    async with node(environment | more) as running:
        shares = await started(running, journal)
        if "hoard_reclaimed" in running.log:
            return None
        assert shares == await recorded(environment)
        assert (await running.api.get("/api/v1/stats")).json()["node"]["strategy"] == strategy
        return shares


@pytest.mark.parametrize("strategy", ["round_robin", "least_loaded", "random", "priority"])
async def test_each_strategys_shares_are_what_its_definition_says(
    environment: dict[str, str], tmp_path: Path, strategy: str
) -> None:
    for number in range(TRIES):
        own = {name: f"{environment[name]}-{number}" for name in ("CLUSTER_ID", "MONGODB_DATABASE")}
        shares = await shared_out(environment | own, Journal(tmp_path / f"journal-{number}"), strategy)
        # One random draw in 4,000 is equal.
        if shares is None or (strategy == "random" and len(set(shares)) == 1):
            continue
        if strategy == "priority":
            # All of one node's processes have its NODE_PRIORITY: the first by name is filled before the next gets any.
            assert shares == [SLOTS, JOBS - SLOTS, 0]
        elif strategy == "random":
            # Binomial: mean 1,000, standard deviation 25.8. Six of them are one run in 500 million.
            assert all(abs(share - 1000) < 155 for share in shares), shares
        else:
            assert shares == [1000, 1000, 1000]
        return
    pytest.fail("in each run a process stood still, or chance was none")
