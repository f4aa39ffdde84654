"""A backup of a running cluster, and what is there after it was restored into empty stores."""

from __future__ import annotations

import asyncio
import os
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from hegemon.cluster.backup import EPOCH_STEP, BackupError, back_up, check, restore
from hegemon.queue import mongo
from hegemon.queue.redis import Redis
from tests.conftest import MongoServer, RedisServer
from tests.nodes import Gate, node
from tests.waiting import PATIENCE_S, wait_until

PATIENCE = timedelta(seconds=PATIENCE_S)


async def hegemon(environment: Mapping[str, str], *args: str) -> subprocess.CompletedProcess[str]:
    """A command of the kind that asks the stores."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "hegemon.cli", *args],
        env=kept | dict(environment),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
async def database_of(mongo_server: MongoServer, database: str) -> AsyncIterator[mongo.Database]:
    client = mongo.connect(mongo_server.uri, timeout=PATIENCE)
    yield client[database]
    client.close()


@pytest.fixture
async def redis(redis_server: RedisServer, cluster_id: str) -> AsyncIterator[Redis]:
    made = Redis(redis_server.url, cluster_id, timeout=PATIENCE, confirm=False)
    yield made
    await made.close()


async def test_what_was_acknowledged_before_the_backup_is_there_after_a_restore_with_an_empty_redis(
    environment: dict[str, str], mongo_server: MongoServer, redis: Redis, gate: Gate, tmp_path: Path
) -> None:
    environment = environment | {"HANDLERS": "tests.handlers"}
    file = tmp_path / "cluster.backup"
    async with node(environment) as before:
        done = await before.submit("journaled", {"result": 42})
        assert (await before.wait(done))["result"] == 42
        running = await before.submit("journaled", {"gate": gate.path})
        later = await before.submit("journaled", {"result": 1}, delay=3600)
        key = {"Idempotency-Key": "once"}
        body = {"type": "journaled", "payload": {"gate": gate.path, "result": 2}}
        keyed = (await before.api.post("/api/v1/jobs", json=body, headers=key)).json()["id"]
        ended = await hegemon(environment, "backup", str(file))
        assert ended.returncode == 0, ended.stderr
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        epoch = (await before.api.get("/api/v1/leader")).json()["epoch"]
        after = await before.submit("journaled")
        refused = await hegemon(environment, "restore", str(file))
        assert refused.returncode == 2
        assert "is not empty" in refused.stderr
        await before.kill()
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        client.drop_database(environment["MONGODB_DATABASE"])
    ended = await hegemon(environment, "restore", str(file))
    assert ended.returncode == 0, ended.stderr
    assert await redis.command("EXISTS", f"{redis.prefix}marker") == 0, "Redis has nothing of the cluster"
    gate.open()
    async with node(environment) as again:
        assert (await again.job(done))["result"] == 42
        assert (await again.wait(running))["status"] == "completed", "it ran again"
        assert (await again.job(later))["status"] == "scheduled"
        reply = await again.api.post("/api/v1/jobs", json=body, headers=key)
        assert (reply.json()["id"], reply.headers["idempotency-replayed"]) == (keyed, "true")
        assert (await again.wait(keyed))["result"] == 2
        assert (await again.api.get(f"/api/v1/jobs/{after}")).status_code == 404, "accepted after the backup"
        assert (await again.wait(await again.submit("journaled", {"result": 3})))["result"] == 3

        async def leads() -> bool:
            return bool((await again.api.get("/api/v1/leader")).json()["epoch"] > epoch + EPOCH_STEP - 1)

        await wait_until(leads)


async def test_it_is_as_of_one_moment_whatever_is_written_meanwhile(
    database_of: mongo.Database, mongo_server: MongoServer, redis: Redis, tmp_path: Path
) -> None:
    await database_of["first"].insert_one({"_id": "stays"})
    await database_of["second"].insert_one({"_id": "moves"})
    await database_of["second"].create_index([("a", 1), ("b", -1)], unique=True, name="by_a", sparse=True)
    moved = []

    def move(name: str, count: int) -> None:
        """While `second` is still to be read its document goes to `first`, which was read."""
        if name == "first":
            with MongoClient[dict[str, Any]](mongo_server.uri) as client:
                client[database_of.name]["second"].delete_one({"_id": "moves"})
                client[database_of.name]["first"].insert_one({"_id": "moves"})
        moved.append((name, count))

    file = tmp_path / "backup"
    assert await back_up(database_of, "c", file, move) == 2
    assert moved == [("first", 1), ("second", 1)]
    assert check(file, "c")["documents"] == 2
    with pytest.raises(BackupError, match="is not empty"):
        await restore(database_of, redis, file)
    await database_of.client.drop_database(database_of.name)
    assert await restore(database_of, redis, file) == 2
    assert await database_of["first"].distinct("_id") == ["stays"]
    assert await database_of["second"].distinct("_id") == ["moves"]
    index = (await database_of["second"].index_information())["by_a"]
    assert (index["key"], index["unique"], index["sparse"]) == ([("a", 1), ("b", -1)], True, True)


async def test_a_file_that_is_not_whole_or_not_of_this_cluster_restores_nothing(
    database_of: mongo.Database, redis: Redis, tmp_path: Path
) -> None:
    await database_of["jobs"].insert_many([{"_id": number, "text": os.urandom(50).hex()} for number in range(50)])
    file = tmp_path / "backup"
    await back_up(database_of, "c", file)
    with pytest.raises(FileExistsError):
        await back_up(database_of, "c", file)
    with pytest.raises(BackupError, match="of the cluster 'c'"):
        check(file, "another")
    cut = tmp_path / "cut"
    for length in (0, 1, 100, file.stat().st_size // 2, file.stat().st_size - 1):
        cut.write_bytes(file.read_bytes()[:length])
        with pytest.raises(BackupError):
            check(cut, "c")
    cut.write_bytes(b"not a backup")
    with pytest.raises(BackupError):
        check(cut, "c")


async def test_a_backup_that_fails_leaves_no_file(tmp_path: Path) -> None:
    environment = {"MONGODB_URI": "mongodb://127.0.0.1:9/?directConnection=true", "MONGODB_TIMEOUT": "200ms"}
    ended = await hegemon(environment, "backup", str(tmp_path / "backup"))
    assert (ended.returncode, ended.stdout) == (5, "")
    assert "MongoDB does not answer" in ended.stderr
    assert os.listdir(tmp_path) == []
