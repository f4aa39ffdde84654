"""What becomes of an error that ends a node: a sentence and a word on another start, or a trace."""

from __future__ import annotations

import errno
import os

import pytest

from hegemon.cluster.electors import ElectionBroken, ElectionFault
from hegemon.cluster.node_ends import StartError, raise_foreseen
from hegemon.cluster.twins import TwinError, TwinGone
from hegemon.queue.errors import WrongStore


def ended(error: Exception, *, started: bool) -> StartError | None:
    """By a failed task within a group of another."""
    try:
        raise_foreseen(ExceptionGroup("tasks", [ExceptionGroup("tasks", [error])]), started=started)
    except StartError as end:
        return end
    return None


def refused(number: int, name: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), name)


@pytest.mark.parametrize(
    ("error", "words", "later"),
    [
        (refused(errno.EADDRINUSE), "Address already in use", True),
        (refused(errno.EACCES), "Permission denied", False),
        (refused(errno.EIO, "/data/election.json"), "/data/election.json: Input/output error", True),
        (TimeoutError(), "TimeoutError()", True),
    ],
)
def test_what_the_system_refuses_at_a_start_is_a_sentence(error: OSError, words: str, later: bool) -> None:
    end = ended(error, started=False)
    assert end is not None
    assert (str(end), end.later) == (words, later)


@pytest.mark.parametrize("error", [refused(errno.EMFILE), refused(errno.EACCES), TimeoutError()])
def test_what_the_system_refuses_a_node_that_runs_is_a_fault(error: OSError) -> None:
    assert ended(error, started=True) is None


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(
    ("error", "later"),
    [
        (WrongStore("not ours"), False),
        (ElectionFault("no disk"), False),
        (ElectionBroken("a fault"), True),
        (TwinError("it lives"), False),
        (TwinGone("it is gone"), True),
    ],
)
def test_what_keeps_a_node_from_going_on_is_a_sentence_at_any_time(
    error: Exception, later: bool, started: bool
) -> None:
    end = ended(error, started=started)
    assert end is not None
    assert (str(end), end.later) == (str(error), later)


@pytest.mark.parametrize("started", [True, False])
def test_a_fault_is_no_sentence(started: bool) -> None:
    assert ended(KeyError("ours"), started=started) is None
