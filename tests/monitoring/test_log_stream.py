"""Stderr may take nothing for a while, or ever again: whoever writes a line does not fail for it."""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from hegemon.monitoring.log_stream import LogStream, Losses

# A file that may not grow is a full disk that anybody can have.
PROGRAM = """
import logging, resource, sys
import structlog
from hegemon.monitoring.logs import Shape, adopt, configure

def room(bytes):
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes, resource.RLIM_INFINITY))

configure(Shape(level="info", form="json"))
log = structlog.get_logger()
log.info("before")
room(200)
log.info("torn", filling="x" * 1000)
log.info("lost")
logging.getLogger("theirs").warning("lost too")
room(resource.RLIM_INFINITY)
log.info("after")
logging.getLogger("theirs").warning("at the end")
print("lived on")
"""


# As a node does, and as a worker does, where handlers have a say in logging.
SET_UP = 'configure(Shape(level="info", form="json"))'
SET_UP_IN_PARTS = "shape = Shape(level='info', form='json'); configure(shape, ours_alone=True); adopt(shape)"


@pytest.mark.parametrize("set_up", [SET_UP, SET_UP_IN_PARTS])
def test_a_full_disk_costs_lines_and_the_next_one_says_how_many(tmp_path: Path, set_up: str) -> None:
    program = PROGRAM.replace(SET_UP, set_up)
    with (tmp_path / "log").open("ab") as log:
        ended = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=log, check=True)
    assert ended.stdout == b"lived on\n"
    before, torn, after, last = (tmp_path / "log").read_text().splitlines()
    assert json.loads(before)["event"] == "before"
    assert len(before) + 1 + len(torn) == 200
    assert json.loads(after).items() >= {"event": "after", "lines_lost": 3}.items()
    assert "lines_lost" not in json.loads(last)


def test_a_reader_that_is_gone_is_no_reason_to_end() -> None:
    program = PROGRAM.replace("room(200)", "").replace("room(resource.RLIM_INFINITY)", "")
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        process.stderr.close()
        assert process.stdout.read() == b"lived on\n"
    assert process.returncode == 0


class Narrow(io.RawIOBase):
    """A descriptor that takes four bytes at a time. Between the first and the next, another thread writes."""

    def __init__(self) -> None:
        self.taken = b""
        self.meanwhile: threading.Thread | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.taken += bytes(data[:4])
        if self.meanwhile is not None and not self.meanwhile.ident:
            self.meanwhile.start()
            # It is held up; if it were not, this is time enough for its line.
            self.meanwhile.join(0.2)
        return len(data[:4])


def test_a_line_of_one_stream_is_never_in_the_middle_of_anothers_over_the_same_descriptor() -> None:
    narrow: Any = Narrow()
    below, losses = io.TextIOWrapper(io.BufferedWriter(narrow)), Losses()
    ours, theirs = LogStream(below, losses), LogStream(below, losses)

    def write(stream: LogStream, line: str) -> None:
        stream.write(line)
        stream.flush()

    narrow.meanwhile = threading.Thread(target=write, args=(theirs, "another line\n"))
    write(ours, "the first line\n")
    narrow.meanwhile.join()
    assert narrow.taken == b"the first line\nanother line\n"
