"""What a log line shows of an error: where it came from, and nothing that the code held at the time."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import structlog
from hegemon.monitoring.logs import Shape, configure

def fail(held):
    raise ValueError("it broke")

configure(Shape(level="info", form=sys.argv[1], secrets=["canary-" * 40]))
try:
    fail("canary-" * 40)
except ValueError:
    structlog.get_logger().exception("failed")
"""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_local_variables_not_even_half_of_one(form: str) -> None:
    # Cut to what fits on a line, a secret is not that secret any more, and no mask would know it.
    ended = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)
    assert "ValueError: it broke" in ended.stderr
    assert "in fail" in ended.stderr
    assert "canary" not in ended.stderr


OURS_ALONE = """
import logging, sys
import structlog
from hegemon.monitoring.logs import Shape, configure

configure(Shape(level="warning", form="json", secrets=["hunter2-hunter2"]), ours_alone=True)
logging.basicConfig(format="theirs %(message)s", level="INFO")
logging.info("as they like it")
structlog.get_logger().info("too little for this level")
structlog.get_logger().warning("ours", said="hunter2-hunter2")
"""


def test_where_user_code_has_a_say_only_our_own_lines_have_our_form() -> None:
    ended = subprocess.run([sys.executable, "-c", OURS_ALONE], capture_output=True, text=True, check=True)
    theirs, ours = ended.stderr.splitlines()
    assert theirs == "theirs as they like it"
    assert '"event": "ours"' in ours
    assert "hunter2" not in ours
