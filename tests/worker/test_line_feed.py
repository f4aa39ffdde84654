"""Log lines of a worker on their way to its node: at once, bounded, and never at the cost of who writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from hegemon.log_context import RUN
from hegemon.worker.telling import LINE_BYTES_MAX, LINES_PER_S, LINES_PER_S_AND_JOB, MESSAGE_BYTES_MAX, LineFeed


class Rig:
    """A feed whose supervisor listens, or not."""

    def __init__(self) -> None:
        self.now = 10.0
        self.listens = True
        self.heard: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.feed = LineFeed(self.tell, lambda line: b'{"cut":true}', clock=lambda: self.now)

    def tell(self, what: dict[str, Any]) -> bool:
        if self.listens:
            encoded = msgspec.json.encode(what)
            self.sizes.append(len(encoded))
            self.heard.append(msgspec.json.decode(encoded))
        return self.listens

    def lines(self) -> list[Any]:
        return [line for message in self.heard for _, line in message["lines"]]

    def left_out(self) -> int:
        return sum(message["left_out"] for message in self.heard)


def test_a_line_is_passed_on_at_once() -> None:
    rig = Rig()
    rig.feed.keep("warning", '{"event":"it"}')
    assert rig.heard == [{"is": "logs", "lines": [["warning", {"event": "it"}]], "left_out": 0}]


def test_lines_wait_for_a_supervisor_that_does_not_listen_and_keep_their_order() -> None:
    rig = Rig()
    rig.listens = False
    for number in range(5):
        rig.feed.keep("info", f"{number}")
    rig.listens = True
    rig.feed.flush()
    assert rig.lines() == [0, 1, 2, 3, 4]


def test_what_comes_too_fast_is_left_out_and_counted() -> None:
    rig = Rig()
    for _ in range(LINES_PER_S + 30):
        rig.feed.keep("info", "1")
    rig.feed.flush()
    assert (len(rig.lines()), rig.left_out()) == (LINES_PER_S, 30)
    rig.now += 1.0
    rig.feed.keep("info", "2")
    assert rig.lines()[-1] == 2


def test_a_job_that_talks_too_much_does_not_silence_its_neighbours() -> None:
    rig = Rig()
    for job, count in (("loud", 1000), ("quiet", 3)):
        token = RUN.set((job, 1, None))
        for _ in range(count):
            rig.feed.keep("info", f'"{job}"')
        RUN.reset(token)
    assert (rig.lines().count("loud"), rig.lines().count("quiet")) == (LINES_PER_S_AND_JOB, 3)


def test_no_message_is_longer_than_a_supervisor_reads_and_a_long_line_is_cut() -> None:
    rig = Rig()
    rig.listens = False
    for _ in range(50):
        rig.feed.keep("info", '"' + "x" * (LINE_BYTES_MAX - 2) + '"')
    rig.feed.keep("info", '"' + "x" * LINE_BYTES_MAX + '"')
    rig.listens = True
    rig.feed.flush()
    assert len(rig.lines()) == 51
    assert rig.lines()[-1] == {"cut": True}
    assert max(rig.sizes) < MESSAGE_BYTES_MAX + 2_000 < 1 << 16


def test_a_line_that_is_written_while_lines_are_passed_on_waits_its_turn() -> None:
    rig = Rig()

    def tell(what: dict[str, Any]) -> bool:
        if len(rig.heard) == 0:
            rig.heard.append(what)
            # As a finalizer does it, that runs in the middle of this.
            rig.feed.keep("info", '"within"')
            rig.heard.clear()
        return rig.tell(what)

    rig.feed = LineFeed(tell, lambda line: line, clock=lambda: rig.now)
    rig.feed.keep("info", '"first"')
    assert rig.lines() == ["first", "within"]
