"""Handlers that harm the process they run in: the culprit is found by name, its neighbours and the node do not pay."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.faults.poison_handlers import EATEN_BYTES
from tests.faults.trial import Trial
from tests.nodes import NodeProcess
from tests.waiting import wait_until

MAX_CRASHES = 2
SETTINGS = {
    "HANDLERS": "tests.handlers,tests.faults.poison_handlers",
    "MAX_CRASHES": str(MAX_CRASHES),
    "WORKER_COUNT": "6",
    "JOB_TIMEOUT_GRACE": "300ms",
    # Deaths are reported; a machine that stands still for a second is not to be taken for one.
    "WORKER_LEASE": "1h",
}


@pytest.fixture
def harmed(trial: Trial) -> Trial:
    """A trial whose workers know the handlers that do harm; not started."""
    trial.environment |= SETTINGS
    trial.node.environment |= SETTINGS
    return trial


async def neighbours(trial: Trial) -> list[str]:
    """Jobs that are under way, and more of them behind."""
    ids = await trial.offer_many([{"type": "journaled", "payload": {"seconds": 0.3}} for _ in range(12)])
    await trial.started(3)
    return ids


async def unharmed(trial: Trial, ids: list[str], pid: int) -> None:
    """The neighbours completed and paid with nothing that counts; the node is the same, ready, and works on."""
    for job_id in ids:
        job = await trial.node.job(job_id)
        assert (job["status"], job["failures"], job["crashes"]) == ("completed", 0, 0), job
    assert trial.node.pid == pid
    assert trial.node.process is not None
    assert trial.node.process.poll() is None, "the control process has ended"
    await trial.node.until_ready()
    again = await trial.offer("journaled")
    assert again is not None
    assert (await trial.node.wait(again))["status"] == "completed"


def quarantined(job: dict[str, Any]) -> None:
    assert (job["status"], job["error"]["type"], job["crashes"]) == ("failed", "Quarantined", MAX_CRASHES), job
    outcomes = [entry["outcome"] for entry in job["history"]]
    # The first death is nobody's: among neighbours it cannot be known who did it.
    assert outcomes == ["worker_died"] + ["crashed"] * MAX_CRASHES


@contextmanager
def oom_killer(control: int, limit_bytes: int) -> Iterator[list[int]]:
    """What the kernel does when memory runs out, without running out of it: SIGKILL to a child that is too large."""
    killed: list[int] = []
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.02):
            for pid in Path(f"/proc/{control}/task/{control}/children").read_text().split():
                try:
                    resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
                    if resident > limit_bytes:
                        os.kill(int(pid), signal.SIGKILL)
                        killed.append(int(pid))
                except (OSError, IndexError):
                    continue  # It has ended meanwhile.

    thread = threading.Thread(target=look, name="oom-killer")
    thread.start()
    try:
        yield killed
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("type_", ["segfault", "exit-in-a-thread"])
async def test_a_handler_that_ends_its_process_is_quarantined(harmed: Trial, type_: str) -> None:
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    poison = await harmed.offer(type_)
    assert poison is not None
    await harmed.clear_verdict()
    quarantined(await harmed.node.job(poison))
    assert len(harmed.starts(poison)) == 1 + MAX_CRASHES
    await unharmed(harmed, ids, pid)


async def test_a_handler_that_is_killed_for_its_memory_is_quarantined(harmed: Trial) -> None:
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    with oom_killer(pid, EATEN_BYTES * 3 // 4) as killed:
        poison = await harmed.offer("eats-memory")
        assert poison is not None
        await harmed.clear_verdict()
    assert len(set(killed)) == 1 + MAX_CRASHES
    quarantined(await harmed.node.job(poison))
    await unharmed(harmed, ids, pid)


async def test_a_handler_that_meets_a_memory_limit_fails_like_any_other(harmed: Trial) -> None:
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    poison = await harmed.offer("allocates-too-much")
    assert poison is not None
    await harmed.clear_verdict()
    job = await harmed.node.job(poison)
    assert (job["status"], job["error"]["type"], job["failures"], job["crashes"]) == ("failed", "MemoryError", 2, 0)
    assert "worker_died" not in harmed.node.log
    await unharmed(harmed, ids, pid)


async def test_handlers_that_never_return_fail_by_their_timeouts_each_time(harmed: Trial) -> None:
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    # One blocks its loop, the other only itself; each one's kill is the other's loss, which does not count.
    poison = [await harmed.offer(type_, timeout=0.3, max_retries=1) for type_ in ("never-returns", "clings")]
    await harmed.clear_verdict()
    for job_id in poison:
        assert job_id is not None
        job = await harmed.node.job(job_id)
        assert (job["status"], job["error"]["type"], job["failures"], job["crashes"]) == ("failed", "JobTimeout", 2, 0)
        assert len(harmed.starts(job_id)) >= 2
    await unharmed(harmed, ids, pid)


@pytest.fixture
def orphans(tmp_path: Path) -> Iterator[Path]:
    """A file for the ids of processes that handlers leave behind; they are ended afterwards."""
    path = tmp_path / "orphans"
    yield path
    if path.exists():
        for pid in left_behind(path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def left_behind(orphans: Path) -> list[int]:
    """The process ids in that file."""
    return [int(text) for text in orphans.read_text().split()]


def lives(node: NodeProcess, pid: int) -> bool:
    """Whether a process that is not a child of ours or of the node is there."""
    return Path(f"/proc/{pid}").exists() and pid != node.pid


async def test_a_child_that_holds_a_dead_workers_sockets_does_not_hold_up_its_recovery(
    harmed: Trial, orphans: Path
) -> None:
    # Only what the supervisor sees counts here: an hour would pass before a silent worker is given up.
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    poison = await harmed.offer("forks", {"orphans": str(orphans)})
    assert poison is not None
    await harmed.clear_verdict()
    quarantined(await harmed.node.job(poison))
    left = left_behind(orphans)
    assert len(left) == 1 + MAX_CRASHES
    assert all(lives(harmed.node, child) for child in left), "the test shows nothing"
    await unharmed(harmed, ids, pid)


async def test_a_child_that_outlives_its_handler_does_no_harm(harmed: Trial, orphans: Path) -> None:
    await harmed.node.start()
    pid, ids = harmed.node.pid, await neighbours(harmed)
    parent = await harmed.offer("forks", {"orphans": str(orphans), "dies": False})
    assert parent is not None
    await harmed.clear_verdict()
    assert (await harmed.node.job(parent))["result"] == "left a child behind"
    await unharmed(harmed, ids, pid)
    # An orderly end does not wait for it either.
    assert await harmed.node.stop() == 0
    (child,) = left_behind(orphans)
    assert lives(harmed.node, child)
    await wait_until(lambda: "node_stopped" in harmed.node.log, message="the node's last line")
