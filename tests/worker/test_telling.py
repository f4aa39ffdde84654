"""A worker tells its supervisor of failed tries: bounded, together, and without ever waiting for it."""

import socket
from typing import Any

import msgspec
import pytest

from hegemon.queue.completions import Completion
from hegemon.queue.entries import Body, entry_text, parse_entry
from hegemon.queue.store import Failure
from hegemon.worker.execution import Outcome, Taken
from hegemon.worker.process import Control
from hegemon.worker.telling import TELL_EVERY_S, TOLD_MAX, Teller
from tests.engine.parts import document

BODY = Body("email", b'{"password": "1234"}', "mail", 5, 1, 0, 0, None, None, 0)
JOB = Taken(parse_entry(entry_text(document(type_="email"))), BODY)


def failed(*, due: int | None = None, error: str = "OSError") -> Outcome:
    """A try that failed; with `due` there is another."""
    told = {"type": error, "message": "the password is 1234", "traceback": "password = '1234'"}
    return Outcome(JOB, failure=Failure(JOB.entry.id, 2, "failed", told, 0, 0, due=due))


class Supervisor:
    """Hears, while it listens."""

    def __init__(self) -> None:
        self.heard: list[dict[str, Any]] = []
        self.listens = True

    def tell(self, what: dict[str, Any]) -> bool:
        if self.listens:
            self.heard.append(what)
        return self.listens


def test_a_failed_try_is_told_with_its_place_and_the_kind_of_its_error_and_nothing_of_its_words() -> None:
    supervisor = Supervisor()
    teller = Teller(supervisor.tell)
    teller.ended(failed(due=7))
    teller.ended(failed(error="X" * 1000))
    teller.flush(TELL_EVERY_S)
    (message,) = supervisor.heard
    job_id = JOB.entry.id
    assert message == {
        "is": "ends",
        "jobs": [
            (job_id, "email", "mail", 2, "failed", "OSError", True),
            (job_id, "email", "mail", 2, "failed", "X" * 100, False),
        ],
        "dead": 0,
        "retried": 0,
    }
    assert b"1234" not in msgspec.json.encode(message)


def test_a_success_and_a_cancellation_are_not_told() -> None:
    supervisor = Supervisor()
    teller = Teller(supervisor.tell)
    teller.ended(Outcome(JOB, completion=Completion(JOB.entry.id, 1, None, 0, 0)))
    teller.ended(Outcome(JOB))
    teller.flush(TELL_EVERY_S)
    assert supervisor.heard == []


def test_more_than_a_few_a_second_are_only_counted() -> None:
    supervisor = Supervisor()
    teller = Teller(supervisor.tell)
    for _ in range(TOLD_MAX + 3):
        teller.ended(failed())
    teller.ended(failed(due=7))
    teller.flush(TELL_EVERY_S)
    teller.ended(failed())
    teller.flush(1.5 * TELL_EVERY_S)
    assert [(len(one["jobs"]), one["dead"], one["retried"]) for one in supervisor.heard] == [(TOLD_MAX, 3, 1)]
    teller.flush(2 * TELL_EVERY_S)
    assert [(len(one["jobs"]), one["dead"], one["retried"]) for one in supervisor.heard[1:]] == [(1, 0, 0)]


def test_what_the_supervisor_could_not_take_is_told_later_once() -> None:
    supervisor = Supervisor()
    teller = Teller(supervisor.tell)
    teller.ended(failed())
    supervisor.listens = False
    teller.flush(TELL_EVERY_S)
    supervisor.listens = True
    for second in (2, 3):
        teller.flush(second * TELL_EVERY_S)
    assert [len(one["jobs"]) for one in supervisor.heard] == [1]


# Some lines go out whole or not at all, some are longer than the room that there is.
@pytest.mark.parametrize("size", [5_000, 3_000_000])
def test_telling_never_waits_and_leaves_each_line_whole(size: int) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        control = Control(theirs.detach())
        told = 0
        # Nobody reads: it says so once there is no room, whatever part of a line went out.
        while control.tell({"is": "ends", "number": told, "jobs": ["x" * size]}):
            told += 1
            assert told < 10_000
        assert not control.tell({"is": "ends", "number": -1})
        read = b""
        while not read.endswith(b"\n") or read.count(b"\n") < told:
            read += ours.recv(1 << 20)
            # The rest of the line that was begun goes out with the next word.
            control.tell({"is": "later"})
        numbers = [msgspec.json.decode(line).get("number") for line in read.splitlines()]
        assert numbers[:told] == list(range(told))
        control._file.close()
        control._socket.close()
