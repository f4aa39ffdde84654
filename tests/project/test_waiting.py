"""`wait_until` and the check for stray tasks do what the other tests take for granted."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


async def test_the_first_truthy_value_is_returned_from_sync_and_async_predicates() -> None:
    answers = iter([0, None, "", "now"])

    async def asynchronously() -> int:
        await asyncio.sleep(0)
        return 7

    assert await wait_until(lambda: next(answers)) == "now"
    assert await wait_until(asynchronously) == 7


async def test_a_wait_that_ends_in_vain_says_for_what_and_the_last_value() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"waited 0\.05 s for a leader; the last value was \[\]"):
        await wait_until(list, timeout=0.05, message="a leader")


async def test_a_predicate_that_hangs_does_not_outlast_the_timeout() -> None:
    with pytest.raises(pytest.fail.Exception, match="the last value was None"):
        await wait_until(asyncio.Event().wait, timeout=0.05)


async def test_an_error_of_the_predicate_is_not_waited_away() -> None:
    def broken() -> bool:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await wait_until(broken)


STRAY = """
import asyncio

forgotten = []

async def test_leaves_a_task():
    forgotten.append(asyncio.create_task(asyncio.Event().wait(), name="forgotten"))

async def test_tidies_up():
    asyncio.create_task(asyncio.sleep(600)).cancel()
"""


def test_a_test_that_leaves_a_task_pending_fails(tmp_path: Path) -> None:
    (tmp_path / "test_stray.py").write_text(STRAY)
    (tmp_path / "conftest.py").write_text("from tests.conftest import _stray_tasks, no_stray_tasks\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
        str(tmp_path),
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "2 passed, 1 error" in result.stdout
    assert "left running: <Task pending name='forgotten'" in result.stdout
