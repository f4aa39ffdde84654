"""Clusters of several nodes as a person starts them: `hegemon up --nodes`, `hegemon election demo` and `bench`."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from hegemon.cli import election_demo
from hegemon.cli.exits import Stop
from hegemon.cluster.local_plan import free_run
from hegemon.cluster.trial_load import Verdict
from tests.cli.test_up import Up, bare_environment, until_status
from tests.conftest import MongoServer, RedisServer
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


async def ask(url: str, path: str) -> Any:
    """The answer, or None while there is none."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        try:
            answer = await client.get(f"{url}/api/v1/{path}")
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None


async def leader(*urls: str) -> str:
    """The holder of the office, once there is one."""

    async def holder() -> Any:
        answers = [await ask(url, "leader") for url in urls]
        return next((answer["leader_id"] for answer in answers if answer and answer["leader_id"]), None)

    return str(await wait_until(holder, message="a leader"))


async def test_three_nodes_elect_a_leader_and_one_that_is_killed_is_succeeded_and_started_again(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    stores = {"REDIS_URL": redis_server.url, "MONGODB_URI": mongo_server.uri, "MONGODB_DATABASE": database}
    options = ["--nodes", "3", "--algorithm", "bully", "--handlers", "own_jobs", "--data", "data"]
    up = Up(tmp_path / "up", *options, port=free_run(3), **stores, CLUSTER_ID=cluster_id, METRICS_PORT="0")
    try:
        state = await up.ready()
        assert state["algorithm"] == "bully"
        assert [node["url"] for node in state["nodes"]] == [f"http://127.0.0.1:{up.port + i}" for i in range(3)]
        assert (up.place / "data" / "secret").stat().st_mode & 0o777 == 0o600
        assert [line.split()[-1] for line in up.out.splitlines() if line.startswith("node-")].count("leader") == 1
        urls = {node["id"]: node["url"] for node in state["nodes"]}
        first = await leader(*urls.values())

        async def all_known() -> bool:
            found = await ask(urls[first], "election")
            return found is not None and {member["id"]: member["url"] for member in found["members"]} == urls

        await wait_until(all_known, message="the leader to know where every node is")
        number = list(urls).index(first)
        old = state["nodes"][number]["pid"]
        os.kill(old, signal.SIGKILL)
        survivors = [url for name, url in urls.items() if name != first]
        async with httpx.AsyncClient(base_url=survivors[0], timeout=PATIENCE_S) as client:
            answer = await client.post("/api/v1/jobs", json={"type": "noop"})
        await until_status(up, answer.json()["id"], "completed", at=survivors[0])
        await wait_until(lambda: up.state["nodes"][number]["pid"] != old, message="a new process id in cluster.json")
        assert f"{first} (process {old}) was ended by SIGKILL; starting it again." in up.err
        assert await up.stop() == 0
        assert up.left() == {}
    finally:
        up.close()


def run(place: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    # An .env that would break the trial, were it read.
    (place / ".env").write_text("MONGODB_URI=mongodb://127.0.0.1:1\nELECTION_ALGORITHM=raft\nWORKER_COUNT=many\n")
    return subprocess.run(
        [sys.executable, "-m", "hegemon.cli", "election", *args],
        cwd=place,
        env=bare_environment() | {"TMPDIR": str(place), "WORKER_COUNT": "none"},
        text=True,
        capture_output=True,
        timeout=4 * PATIENCE_S,
        check=False,
    )


def test_a_demo_shows_the_failover_proves_its_promise_and_leaves_nothing(tmp_path: Path) -> None:
    ended = run(tmp_path, "demo", "--algorithm", "bully", "--nodes", "2", "--kills", "1", "--secure")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    steps = [line.partition(" ms  ")[2] for line in ended.stdout.splitlines() if " ms  " in line]
    killed = steps[0].removeprefix("kill -9 ends ").partition(",")[0]
    survivor = {"node-1": "node-2", "node-2": "node-1"}[killed]
    assert "2 nodes, bully, with logins and TLS" in ended.stdout
    assert steps[-1] == f"the first job that it dispatched begins, on {survivor}"
    assert "Every acknowledged job was completed exactly once." in ended.stdout
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_bench_keeps_every_round_in_a_file_and_draws_it(tmp_path: Path) -> None:
    files = ["--json", "rounds.json", "--plot", "rounds.svg"]
    ended = run(tmp_path, "bench", "-a", "gossip", "-n", "2", "-r", "1", "--calm", "500ms", *files)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.splitlines()[1].split()[:3] == ["gossip", "2", "1"]
    told = json.loads((tmp_path / "rounds.json").read_text())
    [case] = told["cases"]
    [done] = case["rounds"]
    assert (done["leader"], done["successor"]) in {("node-1", "node-2"), ("node-2", "node-1")}
    assert done["started_on"] == done["successor"]
    assert done["epoch_after"] > done["epoch_before"]
    assert done["dispatched_s"] > 0
    assert case["calm"]["messages_per_s"] > 0
    assert case["verdict"]["completed"] == case["verdict"]["acknowledged"] > 0
    assert ET.parse(tmp_path / "rounds.svg").getroot().tag.endswith("svg")  # noqa: S314 - our own


@pytest.mark.parametrize("broken", [{"lost": ["job-1"]}, {"again": ["job-1"]}])
async def test_a_demo_fails_if_a_job_was_lost_or_run_again(
    broken: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {"acknowledged": 1, "completed": 1, "lost": [], "again": [], "repeated": 0, "unanswered": 0}

    async def nothing(*_: object) -> None: ...

    async def steady() -> Any:
        return SimpleNamespace(plan=SimpleNamespace(id="node-1"))

    async def verdict() -> Verdict:
        return Verdict(**{**found, **broken})

    @asynccontextmanager
    async def staged(*_: object, secure: bool) -> AsyncIterator[Any]:
        yield SimpleNamespace(steady=steady, load=SimpleNamespace(stop=nothing), verdict=verdict)

    monkeypatch.setattr(election_demo, "trial", staged)
    with pytest.raises(Stop, match="broke its promise") as stopped:
        await election_demo.demo("raft", 3, 0)
    assert stopped.value.code == 1
    assert "job-1" in capsys.readouterr().out
