"""The shell scripts for people who live in a shell, against the made-up cluster."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import FakeNode, serving
from tests.nodes import free_port
from tests.waiting import PATIENCE_S

SCRIPTS = Path(__file__).parents[2] / "scripts"

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)


@pytest.fixture
def two() -> Iterator[dict[str, FakeNode]]:
    place = FakeCluster()
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name, place)) for name in ("n1", "n2")}


def run(name: str, *args: str) -> "subprocess.CompletedProcess[str]":
    # A node that answers late on a busy machine has answered.
    patient = os.environ | {"HEGEMON_CURL": f"-m {PATIENCE_S:g}"}
    return subprocess.run(
        [SCRIPTS / name, *args], env=patient, text=True, capture_output=True, timeout=4 * PATIENCE_S, check=False
    )


def test_the_monitor_finds_the_other_nodes_and_shows_what_each_says(two: dict[str, FakeNode]) -> None:
    ended = run("monitor.sh", "-c", "1", two["n2"].url)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = [line.split() for line in ended.stdout.splitlines()]
    assert lines[0][1:] == ["n1", "leads", "in", "epoch", "17"]
    assert ["n1", "leader", "true", "5", "17", "n1", two["n1"].url] in lines
    assert ["n2", "follower", "false", "5", "17", "n1", two["n2"].url] in lines


def test_the_monitor_goes_on_when_a_node_is_gone(two: dict[str, FakeNode]) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    ended = run("monitor.sh", "-c", "2", "-n", "0.1", gone, two["n1"].url)
    assert ended.returncode == 0
    assert ended.stdout.count("no answer") == 2
    assert ended.stdout.count("n1 leads in epoch 17") == 2


@pytest.mark.parametrize(
    ("name", "args"), [("monitor.sh", ["-x"]), ("test-algorithms.sh", []), ("test-algorithms.sh", ["raft"])]
)
def test_wrong_use_exits_with_2_and_says_what_is_right(name: str, args: list[str]) -> None:
    ended = run(name, *args)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "URL" in ended.stderr


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="needs shellcheck")
def test_the_scripts_are_clean() -> None:
    ended = subprocess.run(
        ["shellcheck", "--severity=warning", *SCRIPTS.glob("*.sh")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout
