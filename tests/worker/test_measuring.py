"""What a worker counted lies on its board: whole, in place, and there when the worker is not."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hegemon.measures import ENDED, GROUP, LATENESS, MICRO, PROCESSING, SUBMITTED, WAIT, Meters
from hegemon.queue.entries import encode_body, entry_text, parse_entry
from hegemon.worker.board import Board
from hegemon.worker.execution import Taken
from hegemon.worker.measuring import Measured
from tests.engine.parts import document

ROOT = Path(__file__).resolve().parents[2]
NOW_MS = 1_700_000_000_000


@pytest.fixture
def board() -> Board:
    """A board of two slots."""
    return Board.create(2)


def ran(measured: Measured, *, waited_ms: int, due: int | None = None, attempt: int = 1) -> None:
    """A try that waited so long, and ended."""
    item = document(queue="mail") | {"attempt": attempt, "created_at": NOW_MS, "seq": (due or NOW_MS) * 1000}
    entry = parse_entry(entry_text(item))
    body: Any = SimpleNamespace(created_at=NOW_MS)
    run: Any = SimpleNamespace(job=Taken(entry, body), started_ms=entry.seq // 1000 + waited_ms, started_s=0.0)
    assert encode_body(item)
    measured.ran(run)


def test_what_is_counted_on_a_board_is_read_from_another_view_of_it(board: Board) -> None:
    meters, other = Meters(board.series.allot), Board(os.dup(board.fd), board.slots)
    meters.at(SUBMITTED, "a").add(3)
    meters.at(WAIT, "größer/…").observe(0.5)
    meters.at(SUBMITTED, "a").add(4)
    found = dict(other.series.read())
    assert found["submitted", "a"] == (7,)
    assert sum(found["wait", "größer/…"][:-1]) == 1
    assert found["wait", "größer/…"][-1] == 500_000
    other.close()


def test_a_killed_process_leaves_what_it_counted_to_the_last_addition(board: Board) -> None:
    counts = f"""
import signal
from hegemon.measures import SUBMITTED, Meters
from hegemon.worker.board import Board
meter = Meters(Board({board.fd}, {board.slots}).series.allot).at(SUBMITTED, "q")
for _ in range(1000):
    meter.add()
print("done", flush=True)
signal.pause()
"""
    command = [sys.executable, "-c", counts]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[board.fd], cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"done\n"
        child.kill()
    assert dict(board.series.read())["submitted", "q"] == (1000,)


def test_beyond_the_room_of_a_board_counting_goes_on_and_harms_nobody(board: Board) -> None:
    rows = [board.series.allot(("wait", f"{i:0100}"), 20) for i in range(2000)]
    for row in rows:
        row[0] += 1
    found = list(board.series.read())
    assert 500 < len(found) < 2000
    assert all(row[0] == 1 for _, row in found)
    assert board.running() == []


def test_a_hundred_and_one_queues_of_the_longest_names_have_room(board: Board) -> None:
    measured = Measured(board)
    for i in range(300):
        queue = f"{i:0100}"
        measured.settled([(queue, "completed"), (queue, "failed"), (queue, "retried")], 3)
        for measure in (WAIT, LATENESS, PROCESSING):
            measured.meters.at(measure, queue).observe(1.0)
    found = dict(board.series.read())
    assert len({key[1] for key in found if key[0] == "ended"}) == 101
    assert sum(row[0] for key, row in found.items() if key[0] == "ended") == 900
    assert sum(sum(row[:-1]) for key, row in found.items() if key[0] == "processing") == 300


def test_a_wait_begins_when_a_job_could_run_and_only_what_was_due_later_can_be_late(board: Board) -> None:
    measured = Measured(board)
    ran(measured, waited_ms=40)
    ran(measured, waited_ms=70, due=NOW_MS + 60_000)
    ran(measured, waited_ms=5, due=NOW_MS + 90_000, attempt=2)
    assert not dict(board.series.read()), "worked out for all together"
    measured.publish()
    found = dict(board.series.read())
    assert found["wait", "mail"][-1] == 115_000
    assert found["lateness", "mail"][-1] == 70_000, "the second try of a job is no scheduled one"
    assert sum(found["processing", "mail"][:-1]) == 3
    measured.publish()
    assert dict(board.series.read()) == found


def test_a_sum_beyond_what_64_bits_hold_stays_there(board: Board) -> None:
    meter = Meters(board.series.allot).at(WAIT, "q")
    meter.observe(1e15)
    meter.observe_all([1e15, 1.0])
    found = dict(board.series.read())["wait", "q"]
    assert (sum(found[:-1]), found[-1]) == (3, (1 << 63) - 1)


def test_ends_are_counted_by_queue_and_refusals_by_no_queue(board: Board) -> None:
    measured = Measured(board)
    measured.settled([("a", "completed"), ("a", "completed"), ("b", "refused")], 4)
    measured.publish()
    assert (board.counters()["completed"], board.counters()["refused"]) == (2, 1)
    found = dict(board.series.read())
    assert found[ENDED.name, "a", "completed"] == (2,)
    assert not [key for key in found if "refused" in key]
    assert found[GROUP.name, "finish"][-1] == 4 * MICRO
