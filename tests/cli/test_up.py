"""`hegemon up` as a person meets it: real processes, found afterwards in /proc by where they work."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hegemon.cluster import local
from hegemon.cluster.local import LocalCluster
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_plan import LocalError, make_plan
from tests.conftest import MongoServer, RedisServer
from tests.nodes import free_port
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

HANDLERS = """
import asyncio
from hegemon import job

@job("noop")
async def noop() -> None: ...

@job("sleep")
async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)
"""
OWN_SETTINGS = (
    "REDIS_", "MONGODB_", "SERVER_", "METRICS_", "HANDLERS", "NODE_ID", "CLUSTER_", "ELECTION_", "DATA_DIR", "HEGEMON_",
)  # fmt: skip


def bare_environment() -> dict[str, str]:
    return {name: text for name, text in os.environ.items() if not name.startswith(OWN_SETTINGS)}


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


class Up:
    """One `hegemon up` in a directory of its own with handlers beside it. It is no child of a terminal."""

    def __init__(self, place: Path, *args: str, port: int | None = None, **environment: str) -> None:
        self.place = place
        self.port = port or free_port()
        place.mkdir(parents=True, exist_ok=True)
        (place / "own_jobs.py").write_text(HANDLERS)
        own = {"METRICS_PORT": str(free_port()), "TMPDIR": str(place)}
        self._out = (place / "out").open("w")
        self._err = (place / "err").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hegemon.cli", "up", "--port", str(self.port), *args],
            cwd=place,
            env=bare_environment() | own | environment,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    @property
    def out(self) -> str:
        return (self.place / "out").read_text()

    @property
    def err(self) -> str:
        return (self.place / "err").read_text()

    @property
    def state(self) -> Any:
        """cluster.json, or None while there is none."""
        found = [*self.place.glob("*/cluster.json")]
        return json.loads(found[0].read_text()) if found else None

    async def ready(self) -> Any:
        await wait_until(
            lambda: "Ctrl-C" in self.out or self.process.poll() is not None, message="the table of addresses"
        )
        assert self.process.poll() is None, self.err
        return self.state

    async def ended(self) -> int:
        await wait_until(lambda: self.process.poll() is not None, message="hegemon up to end")
        return int(self.process.returncode)

    async def stop(self) -> int:
        self.process.terminate()
        return await self.ended()

    def left(self) -> dict[int, str]:
        """Command lines by process id of all that runs in the directory: `up`, its nodes, workers and stores."""
        left = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink().is_relative_to(self.place):
                    left[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return left

    def close(self) -> None:
        while left := self.left():
            for pid in left:
                # What is killed takes others with it, also between the look and the kill.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
        self.process.wait()
        self._out.close()
        self._err.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    ups: list[Up] = []

    def start_one(*args: str, at: str = "up", **options: Any) -> Up:
        ups.append(Up(tmp_path / at, *args, **options))
        return ups[-1]

    yield start_one
    for one in ups:
        one.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """One that many tests look at; each leaves it running."""
    one = Up(tmp_path_factory.mktemp("shared") / "up", "--data", "data", "--handlers", "own_jobs")
    try:
        asyncio.run(one.ready())
        yield one
    finally:
        one.close()


@pytest.fixture
def given(redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str) -> dict[str, str]:
    """The environment that names the tests' shared stores: a start with them takes half the time."""
    return {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "CLUSTER_ID": cluster_id,
        "MONGODB_DATABASE": database,
    }


async def submit(up: Up, type_: str, **payload: Any) -> str:
    async with httpx.AsyncClient(base_url=up.state["nodes"][0]["url"], timeout=PATIENCE_S) as client:
        answer = await client.post("/api/v1/jobs", json={"type": type_, "payload": payload})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])


async def until_status(up: Up, job_id: str, status: str, *, at: str | None = None) -> None:
    async with httpx.AsyncClient(base_url=at or up.state["nodes"][0]["url"], timeout=PATIENCE_S) as client:

        async def reached() -> bool:
            try:
                answer = await client.get(f"/api/v1/jobs/{job_id}")
            except httpx.TransportError:
                return False
            return bool(answer.status_code == 200 and answer.json()["status"] == status)

        await wait_until(reached, message=f"job {job_id} to be {status}")


async def is_ready(url: str) -> bool:
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        try:
            return (await client.get(f"{url}/readyz")).status_code == 200
        except httpx.TransportError:
            return False


# -- what runs ---------------------------------------------------------------------------------------------------------


async def test_the_state_file_names_the_real_processes_and_addresses(running: Up) -> None:
    state = running.state
    [node] = state["nodes"]
    assert state["algorithm"] == "solo"
    assert set(node) == {"id", "pid", "url", "metrics_url"}
    assert node["id"] == "node-1"
    assert node["url"] == f"http://127.0.0.1:{running.port}"
    processes = running.left()
    assert processes[node["pid"]].rstrip().endswith("hegemon.cli node")
    assert "valkey" in processes[state["redis"]["pid"]]
    assert "mongod" in processes[state["mongodb"]["pid"]]
    async with httpx.AsyncClient(timeout=PATIENCE_S) as client:
        assert (await client.get(f"{node['url']}/readyz")).status_code == 200
        assert "hegemon" in (await client.get(node["metrics_url"])).text
        workers = (await client.get(f"{node['url']}/api/v1/workers")).json()["workers"]
    assert [parent_of(worker["pid"]) for worker in workers] == [node["pid"]]


async def test_nothing_that_is_started_shares_the_terminal(running: Up) -> None:
    # The supervisor's workers are in their node's session; of the rest each has one of its own.
    for pid in running.left():
        if pid != running.process.pid:
            assert os.getsid(pid) != os.getsid(running.process.pid)
            assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull


async def test_a_job_is_completed_and_the_table_says_how_to_submit_it(running: Up) -> None:
    await until_status(running, await submit(running, "noop"), "completed")
    url = running.state["nodes"][0]["url"]
    assert f"--url {url} job submit noop" in running.out
    assert f"{url}/health" in running.out
    assert str(running.place / "data") in running.out


async def test_a_second_up_on_the_same_directory_is_refused(
    running: Up, start: Callable[..., Up], tmp_path: Path
) -> None:
    second = start("--data", str(running.place / "data"))
    assert await second.ended() == 1
    assert f"another `hegemon up` (process {running.process.pid}) runs on" in second.err
    assert running.state is not None


async def test_a_taken_port_is_refused_by_its_number(running: Up, start: Callable[..., Up]) -> None:
    second = start(port=running.port)
    assert await second.ended() == 1
    assert f"port {running.port} is taken" in second.err
    assert "--port" in second.err
    assert "Valkey" not in second.err


async def test_a_killed_node_is_started_again_and_its_jobs_go_on(running: Up) -> None:
    old = running.state["nodes"][0]["pid"]
    job_id = await submit(running, "sleep", seconds=0.5)
    os.kill(old, signal.SIGKILL)
    await wait_until(lambda: running.state["nodes"][0]["pid"] != old, message="a new process id in cluster.json")
    await until_status(running, job_id, "completed")
    assert f"node-1 (process {old}) was ended by SIGKILL" in running.err
    assert running.left()[running.state["nodes"][0]["pid"]].rstrip().endswith("hegemon.cli node")


@pytest.mark.parametrize("store", ["redis", "mongodb"])
async def test_a_killed_store_is_started_again_on_its_data(running: Up, store: str) -> None:
    job_id = await submit(running, "noop")
    before = running.state[store]
    os.kill(before["pid"], signal.SIGKILL)
    await wait_until(lambda: running.state[store]["pid"] not in {None, before["pid"]}, message="a new process id")
    assert {**running.state[store], "pid": None} == {**before, "pid": None}
    await wait_until(lambda: is_ready(running.state["nodes"][0]["url"]), message="the node to be ready again")
    await until_status(running, job_id, "completed")
    await until_status(running, await submit(running, "noop"), "completed")


# -- the end -----------------------------------------------------------------------------------------------------------


async def test_sigterm_leaves_no_process_and_no_temporary_directory(start: Callable[..., Up]) -> None:
    up = start("--handlers", "own_jobs", SHUTDOWN_TIMEOUT="2s")
    await up.ready()
    assert len(up.left()) >= 5
    job_id = await submit(up, "sleep", seconds=3600)
    await until_status(up, job_id, "running")
    assert await up.stop() == 0
    assert up.left() == {}
    assert [*up.place.glob("hegemon-up-*")] == []


async def test_a_killed_up_leaves_no_process(start: Callable[..., Up], given: dict[str, str]) -> None:
    # One store given, one not: a store, a node and a worker are there to be left behind.
    up = start("--handlers", "own_jobs", **{name: given[name] for name in ("MONGODB_URI", "MONGODB_DATABASE")})
    await up.ready()
    await until_status(up, await submit(up, "sleep", seconds=3600), "running")
    assert len(up.left()) >= 4
    up.process.kill()
    await up.ended()
    await wait_until(lambda: up.left() == {}, message="all processes to end")


async def test_jobs_and_addresses_of_the_stores_are_kept_over_a_restart(start: Callable[..., Up]) -> None:
    first = start("--data", "data", "--handlers", "own_jobs")
    before = await first.ready()
    job_id = await submit(first, "noop")
    await until_status(first, job_id, "completed")
    assert await first.stop() == 0
    assert first.left() == {}
    assert first.state is None
    again = start("--data", "data", "--handlers", "own_jobs", port=first.port)
    after = await again.ready()
    assert (after["redis"]["url"], after["mongodb"]["uri"]) == (before["redis"]["url"], before["mongodb"]["uri"])
    await until_status(again, job_id, "completed")
    await until_status(again, await submit(again, "noop"), "completed")


async def test_an_interrupted_start_leaves_nothing(start: Callable[..., Up], tmp_path: Path) -> None:
    # The second store is still starting when the word to stop comes, however late that is.
    never_ready = tmp_path / "mongod"
    never_ready.write_text("#!/bin/sh\nexec sleep 600\n")
    never_ready.chmod(0o755)
    up = start(MONGOD_BINARY=str(never_ready))
    await wait_until(lambda: "Valkey is ready" in up.err, message="the first store")
    assert await up.stop() == 0
    assert up.left() == {}
    assert up.out == ""


async def test_an_impatient_second_ctrl_c_ends_all_at_once(start: Callable[..., Up], given: dict[str, str]) -> None:
    up = start("--handlers", "own_jobs", SHUTDOWN_TIMEOUT="3600s", **given)
    await up.ready()
    await until_status(up, await submit(up, "sleep", seconds=3600), "running")
    os.killpg(up.process.pid, signal.SIGINT)
    await wait_until(lambda: "Stopping" in up.err, message="the orderly stop to begin")
    assert up.process.poll() is None
    os.killpg(up.process.pid, signal.SIGINT)
    # Long before the hour that it has for an orderly end.
    assert await up.ended() == 130
    # What is killed is not waited for.
    await wait_until(lambda: up.left() == {}, message="what was killed to be gone")


async def test_given_stores_are_used_and_left_alone(
    start: Callable[..., Up], given: dict[str, str], redis_server: RedisServer
) -> None:
    up = start("--handlers", "own_jobs", **given)
    state = await up.ready()
    assert state["redis"] == {"url": given["REDIS_URL"], "pid": None}
    assert state["mongodb"] == {"uri": given["MONGODB_URI"], "pid": None}
    assert not [line for line in up.left().values() if "valkey" in line or "mongod" in line]
    assert await up.stop() == 0
    if redis_server.pid is not None:
        os.kill(redis_server.pid, 0)


# -- refusals ----------------------------------------------------------------------------------------------------------


async def test_handlers_that_cannot_be_imported_end_the_start_with_the_nodes_own_words(
    start: Callable[..., Up], given: dict[str, str]
) -> None:
    up = start("--handlers", "own_jobs,no.such.jobs", **given)
    assert await up.ended() == 1
    assert "hegemon up: node-1 cannot start: HANDLERS: cannot import 'no.such.jobs'" in up.err
    assert "Traceback" not in up.err
    assert up.left() == {}


async def test_a_wrong_setting_is_refused_before_anything_starts(start: Callable[..., Up]) -> None:
    up = start(WORKER_COUNT="many")
    assert await up.ended() == 1
    assert "WORKER_COUNT=many: must be a whole number" in up.err
    assert "is ready" not in up.err


async def test_a_node_that_keeps_dying_is_given_up_with_its_own_words(
    tmp_path: Path, given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "RESTART_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(local, "STEADY_S", 10 * PATIENCE_S)  # however late it is looked at
    port = free_port()
    environ = bare_environment() | given | {"METRICS_ENABLED": "false"}
    said: list[str] = []

    class Listener:
        def starting(self, part: str) -> None: ...
        def ready(self, part: str, seconds: float) -> None: ...
        def said(self, sentence: str) -> None:
            said.append(sentence)

    with LocalDirectory.open(tmp_path / "data") as directory:
        cluster = LocalCluster(make_plan(environ, directory.home(), port=port), directory, Listener())
        try:
            await cluster.start()
            pid = cluster.nodes[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await cluster.nodes[0].wait()
            with socket.socket() as squatter:
                squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                squatter.bind(("127.0.0.1", port))
                squatter.listen()
                with pytest.raises(
                    LocalError, match=rf"node-1 keeps dying: .*cannot listen on 127.0.0.1:{port}: [^\n]*$"
                ):
                    await cluster.watch()
        finally:
            await cluster.stop(asyncio.Event())
    assert said == [f"node-1 (process {pid}) was ended by SIGKILL; starting it again."]
