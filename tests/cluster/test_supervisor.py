"""Real worker processes under supervision: started, seen to die at once, killed when stuck, drained."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from hegemon.cluster.supervisor import Supervisor, Worker, WorkerStartError
from tests.conftest import MongoServer
from tests.engine.journal import Journal
from tests.engine.parts import Index, Jobs, document
from tests.waiting import wait_until

Options = dict[str, Any]


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setenv("JOURNAL", str(tmp_path / "journal"))
    return Journal(tmp_path / "journal")


@pytest.fixture
def options(index: Index, jobs: Jobs, mongo_server: MongoServer, database: str, journal: Journal) -> Options:
    return {
        "node": "n1",
        "node_incarnation": "n1~0",
        "cluster_id": index.cluster_id,
        "mongodb_uri": mongo_server.uri,
        "mongodb_database": database,
        "mongodb_timeout_s": 60.0,
        "redis_url": index.url,
        "redis_timeout_s": 60.0,
        "handlers": ["tests.handlers"],
        "retry": {},
        "grace_ms": 200,
        "result_bytes_max": 1 << 20,
        "max_retries": 0,
        "timeout_ms": 3_600_000,
    }


def build(index: Index, options: Options, *, slots: int = 4, processes: int = 1, lease_s: float = 600.0) -> Supervisor:
    return Supervisor(
        node="n1",
        options=options,
        slots=slots,
        processes=processes,
        suspect_processes=1,
        lease_s=lease_s,
        index=index.member,
        opened=lambda: None,
    )


@pytest.fixture
async def supervisor(index: Index, options: Options, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Supervisor]:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    made = build(index, options)
    running = asyncio.create_task(made.run())
    yield made
    if not made.stopping():
        await made.stop(0.0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def opened(supervisor: Supervisor) -> Worker:
    """The ordinary worker, open, with a lease."""

    def is_open() -> Worker | None:
        return next((w for w in supervisor.workers.values() if w.open.is_set() and not w.solo), None)

    worker = await wait_until(is_open)
    assert isinstance(worker, Worker)
    supervisor.renew({worker.id: True}, time.monotonic())
    return worker


async def run(index: Index, jobs: Jobs, worker: Worker, **fields: Any) -> str:
    """Give a job to the worker, as the leader does; its id."""
    item = document(**fields)
    await jobs.put(item)
    await index.add(item)
    await index.give(worker.id, item)
    return str(item["_id"])


async def test_a_worker_starts_loads_its_handlers_and_runs_what_it_is_given(
    supervisor: Supervisor, index: Index, jobs: Jobs, journal: Journal
) -> None:
    worker = await opened(supervisor)
    assert "journaled" in worker.types
    job_id = await run(index, jobs, worker, type_="journaled")
    await wait_until(lambda: journal.ends(job_id))
    assert journal.ends(job_id)[0].pid == worker.pid != os.getpid()
    await wait_until(lambda: supervisor.counters()["completed"] == 1)


async def test_a_worker_without_a_lease_starts_nothing(
    supervisor: Supervisor, index: Index, jobs: Jobs, journal: Journal
) -> None:
    worker = await opened(supervisor)
    supervisor.renew({worker.id: False}, time.monotonic())
    job_id = await run(index, jobs, worker, type_="journaled")
    await wait_until(lambda: supervisor.counters()["taken"] == 1)
    assert journal.starts(job_id) == []
    supervisor.renew({worker.id: True}, time.monotonic())
    await wait_until(lambda: journal.ends(job_id))


async def test_a_death_is_reported_at_once_with_what_ran_and_another_process_takes_its_place(
    supervisor: Supervisor, index: Index, jobs: Jobs, journal: Journal
) -> None:
    worker = await opened(supervisor)
    job_id = await run(index, jobs, worker, type_="journaled", payload={"seconds": 3600})
    await wait_until(lambda: journal.starts(job_id))
    os.kill(worker.pid, signal.SIGKILL)

    async def reported() -> dict[str, Any] | None:
        return (await index.leader.round(0)).dead.get(worker.id)

    report = await wait_until(reported)
    assert report["running"] == [job_id]
    assert "SIGKILL" in report["why"]
    await wait_until(lambda: worker.id not in supervisor.workers)
    other = await opened(supervisor)
    assert other.id.split("~")[0] == worker.id.split("~")[0]
    assert other.id != worker.id, "a dead incarnation never comes back"


async def test_a_handler_stuck_beyond_its_hard_timeout_costs_its_process_and_is_named(
    supervisor: Supervisor, index: Index, jobs: Jobs, journal: Journal
) -> None:
    worker = await opened(supervisor)
    neighbour = await run(index, jobs, worker, type_="journaled", payload={"seconds": 3600})
    await wait_until(lambda: journal.starts(neighbour))
    stuck = await run(index, jobs, worker, type_="blocking", payload={"seconds": 3600}, timeout=0.3)

    async def reported() -> dict[str, Any] | None:
        return (await index.leader.round(0)).dead.get(worker.id)

    report = await wait_until(reported)
    assert report["culprit"] == stuck
    assert set(report["running"]) == {stuck, neighbour}


async def test_a_stop_waits_for_what_runs_and_leaves_no_process(
    supervisor: Supervisor, index: Index, jobs: Jobs, journal: Journal
) -> None:
    worker = await opened(supervisor)
    job_id = await run(index, jobs, worker, type_="journaled", payload={"seconds": 0.5})
    await wait_until(lambda: journal.starts(job_id))
    await supervisor.stop(60.0)
    assert len(journal.ends(job_id)) == 1
    found = await jobs.queries.get(job_id)
    assert found is not None
    assert found["status"] == "completed"
    assert supervisor.workers == {}
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)


def idle(supervisor: Supervisor, turned_s: float) -> Worker:
    """An open worker without a process, whose loop turned then for the last time."""
    worker = Worker("n1.w0~1", 4, solo=False)
    worker.open.set()
    worker.board.turn(turned_s)
    supervisor.workers[worker.id] = worker
    return worker


def test_a_loop_that_stands_without_a_job_costs_its_process(
    index: Index, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, killed = build(index, options, lease_s=1.0), list[str]()
    monkeypatch.setattr(made, "_kill", lambda worker: killed.append(worker.id))
    worker = idle(made, 1000.0)
    for tenths in range(69):
        made.look(1000.0 + tenths / 10)
    assert killed == []
    made.look(1007.1)
    assert killed == [worker.id]


def test_after_a_pause_of_its_own_a_supervisor_gives_its_workers_time_to_turn_or_to_be_seen_ended(
    index: Index, options: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, killed = build(index, options, lease_s=1.0), list[str]()
    monkeypatch.setattr(made, "_kill", lambda worker: killed.append(worker.id))
    worker = idle(made, 1000.0)
    made.look(1000.0)
    for tenths in range(50):
        made.look(1030.0 + tenths / 10)
    assert killed == []
    made.look(1035.1)
    assert killed == [worker.id]


async def test_handlers_that_cannot_be_loaded_end_the_start(index: Index, options: Options) -> None:
    made = build(index, options | {"handlers": ["no.such.module"]})
    with pytest.raises(BaseExceptionGroup) as ended:
        await made.run()
    assert ended.group_contains(WorkerStartError, match="no.such.module")


def test_slots_are_shared_out_among_the_processes(index: Index, options: Options) -> None:
    assert build(index, options, slots=10, processes=4)._shares == [3, 3, 2, 2]
