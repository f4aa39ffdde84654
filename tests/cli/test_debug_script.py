"""`scripts/debug.sh`: what it packs for a bug report, and what it leaves out."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from hegemon.client import Client
from tests.cli.fake_cluster import FakeCluster
from tests.cli.fake_node_api import FakeNode, serving
from tests.cli.test_terminal import environment
from tests.nodes import ROOT, free_port
from tests.waiting import PATIENCE_S

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)

LOG = """\
{"event": "node_started", "url": "http://n1:8080"}
connecting to mongodb://root:canary-1@mongo:27017/?tls=true and redis://:canary-2@redis:6379
Authorization: Bearer canary-3.x CLUSTER_SECRET=canary-4 {"password": "canary-5", "node": "n1"}
"""


@pytest.fixture
def two() -> Iterator[dict[str, FakeNode]]:
    place = FakeCluster()
    with ExitStack() as stack:
        yield {name: stack.enter_context(serving(name, place)) for name in ("n1", "n2")}


def run(directory: Path, *args: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts" / "debug.sh"), "-o", "report.tar.gz", *args],
        cwd=directory,
        env=environment("http://127.0.0.1:1", **({"HEGEMON_CURL": f"-m {PATIENCE_S:g}"} | more)),
        text=True,
        capture_output=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )


def packed(directory: Path) -> Mapping[str, str]:
    """What is in it, by name without the first part."""
    with tarfile.open(directory / "report.tar.gz") as archive:
        found = {}
        for member in archive.getmembers():
            file = archive.extractfile(member)
            if file is not None:
                found[member.name.partition("/")[2]] = file.read().decode()
        return found


def test_every_node_that_is_heard_of_is_in_it_with_what_it_says(two: dict[str, FakeNode], tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "n1.log").write_text(LOG)
    ended = run(tmp_path, "-l", "logs", two["n2"].url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "2 answered" in ended.stdout
    assert "n1: leader, active true, leader n1, term 5, epoch 17" in ended.stdout
    found = packed(tmp_path)
    for node in two.values():
        place = f"nodes/{node.url.removeprefix('http://').replace(':', '_')}"
        assert json.loads(found[f"{place}/election.json"])["node_id"] == node.name
        for name in ("cluster", "nodes", "stats", "types", "activity"):
            assert json.loads(found[f"{place}/{name}.json"])
    assert "/api/v1/config" in found["answers.txt"], "what was not answered is told"
    assert "Linux" in found["machine.txt"] or "Darwin" in found["machine.txt"]


def test_no_credential_of_a_log_or_of_the_caller_is_in_it(two: dict[str, FakeNode], tmp_path: Path) -> None:
    (tmp_path / "n1.log").write_text(LOG)
    ended = run(tmp_path, "-l", "n1.log", two["n1"].url, HEGEMON_TOKEN="canary-of-the-caller")
    assert ended.returncode == 0
    assert "Bearer canary-of-the-caller" in two["n1"].shown
    found = packed(tmp_path)
    assert "canary" not in "".join(found.values())
    assert "node_started" in found["logs/n1.log"]
    assert "mongodb://root:********@mongo:27017/?tls=true" in found["logs/n1.log"]


def test_a_job_is_in_it_without_what_it_holds(two: dict[str, FakeNode], tmp_path: Path) -> None:
    with Client(two["n1"].url) as client:
        job = client.submit("echo", {"of": "a customer"})
    ended = run(tmp_path, "-j", job, two["n1"].url)
    assert ended.returncode == 0, ended.stderr
    found = packed(tmp_path)
    told = json.loads(found[f"job-{job}.json"])
    assert (told["type"], told["payload"], told["result"]) == ("echo", "left out", "left out")
    assert "a customer" not in "".join(found.values())


def test_when_no_node_answers_it_says_so_and_packs_the_logs(tmp_path: Path) -> None:
    (tmp_path / "n1.log").write_text(LOG)
    ended = run(tmp_path, "-l", "n1.log", f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 1
    assert "0 answered" in ended.stdout
    found = packed(tmp_path)
    assert "node_started" in found["logs/n1.log"]
    assert "none  http://127.0.0.1:" in found["answers.txt"]


@pytest.mark.parametrize("args", [["-x"], ["-l", "/none/at/all"], ["-j", "a;b"], ["n1:8080"]])
def test_wrong_use_exits_with_2_and_packs_nothing(tmp_path: Path, args: list[str]) -> None:
    assert run(tmp_path, *args).returncode == 2
    assert not (tmp_path / "report.tar.gz").exists()
