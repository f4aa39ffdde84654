"""The image follows from the sources and the lock: whoever builds it again gets the same programs, byte for byte."""

import pytest

from tests.compose.engines import NODE_IMAGE, Engine

pytestmark = pytest.mark.compose

AGAIN = "hegemon-lab/again:1"
# Every file by its hash, everything else by what it is, each with its mode. A file's time says only when it was built.
LIST = """
cd /opt/hegemon
find . -type f -exec sha256sum {} + | sort -k 2
find . -printf '%m %y %l %p\\n' | sort -k 4
"""


def listed(engine: Engine, image: str) -> list[str]:
    """What is under /opt/hegemon."""
    return engine.machine.run(engine.tool, "run", "--rm", "--entrypoint", "sh", image, "-c", LIST).splitlines()


def test_an_image_that_is_built_again_holds_the_same_files(engine: Engine) -> None:
    given = ["--build-context", "wheels=/lab/wheels", "--build-arg", "PIP_NO_INDEX=1", "--tag", AGAIN]
    build = ["build", "--quiet", "--no-cache", *given, "--file", "/lab/repo/compose/Dockerfile", "/lab/repo"]
    # Not from the layers that the first one was made of, however long ago.
    engine.machine.run(engine.tool, *build)
    assert engine.inspect(AGAIN)["Id"] != engine.inspect(NODE_IMAGE)["Id"]
    first, again = listed(engine, NODE_IMAGE), listed(engine, AGAIN)
    assert sum(line.endswith(".pyc") for line in first) > 1000
    assert sorted(set(first) ^ set(again)) == []
