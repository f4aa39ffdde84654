"""Stderr may take nothing for a while, or ever again: whoever writes a line does not fail for it."""

import json
import subprocess
import sys
from pathlib import Path

# A file that may not grow is a full disk that anybody can have.
PROGRAM = """
import logging, resource, sys
import structlog
from hegemon.monitoring.logs import Shape, configure

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


def test_a_full_disk_costs_lines_and_the_next_one_says_how_many(tmp_path: Path) -> None:
    with (tmp_path / "log").open("ab") as log:
        ended = subprocess.run([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=log, check=True)
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
