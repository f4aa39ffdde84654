"""The memory that a worker process and its supervisor share."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from hegemon.queue.ids import IdSource
from hegemon.worker.board import COUNTERS, Board, Running

IDS = IdSource()


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create(3)
    yield made
    made.close()


def test_what_one_side_writes_the_other_reads(board: Board) -> None:
    worker = Board(os.dup(board.fd), 3)
    first, second = IDS.next(1), IDS.next(2)
    worker.start(0, first, 1, 10.0, 20.0)
    worker.start(2, second, 2**31, 11.0, 21.0)
    worker.begin(2, 12.0)
    assert board.running() == [
        Running(first, 1, 10.0, 20.0, begun=False),
        Running(second, 2**31, 12.0, 21.0, begun=True),
    ]
    worker.end(0)
    assert [item.job_id for item in board.running()] == [second]
    worker.turn(5.5)
    worker.count({"completed": 7, "busy_us": 2**40})
    assert board.loop_beat_s() == 5.5
    assert board.counters() == dict.fromkeys(COUNTERS, 0) | {"completed": 7, "busy_us": 2**40}
    board.set_lease(99.5)
    assert worker.lease_s() == 99.5
    worker.close()


def test_a_new_board_has_nothing_running_and_no_lease(board: Board) -> None:
    assert board.running() == []
    assert board.lease_s() == 0.0


# Python 3.12 warns of forks where there are threads; the child here does nothing but write and die.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_board_outlives_the_sudden_death_of_its_writer(board: Board) -> None:
    job_id = IDS.next(3)
    pid = os.fork()
    if pid == 0:
        Board(board.fd, 3).start(1, job_id, 4, time.monotonic(), 1e9)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert [(item.job_id, item.attempt) for item in board.running()] == [(job_id, 4)]
