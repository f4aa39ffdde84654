"""PAYLOAD_ENCRYPTION_KEYS on a whole node: what lies in MongoDB and Redis, in memory and on disk, tells nothing."""

import base64
import json
import os
import random
import uuid
from pathlib import Path
from typing import Any

import pytest
import redis
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.nodes import Gate, NodeProcess, node

Place = str
PATIENCE_S = 170.0


def key() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def in_documents(server: EmbeddedMongo, canary: bytes) -> set[Place]:
    """The collections of all databases, the operation log among them, in which a document holds the canary."""
    found = set()
    with MongoClient[RawBSONDocument](server.uri, document_class=RawBSONDocument) as client:
        for database in client.list_database_names():
            for name in client[database].list_collection_names():
                if any(canary in document.raw for document in client[database][name].find()):
                    found.add(f"mongo {database}.{name}")
        client.admin.command("fsync")
    return found


def in_values(server: EmbeddedRedis, canary: bytes) -> set[Place]:
    """The keys in Redis that hold the canary."""
    with redis.Redis.from_url(server.url) as client:
        return {"redis value" for each in client.scan_iter() if canary in (client.dump(each) or b"")}


def in_files(directory: Path, name: str, canary: bytes) -> set[Place]:
    """Whether a file under the directory holds the canary."""
    return {f"{name} files" for path in directory.rglob("*") if path.is_file() and canary in path.read_bytes()}


async def drive(started: NodeProcess, canary: str, gate: Gate) -> list[dict[str, Any]]:
    """Jobs whose payloads, and some results, hold the canary: waiting, large, repeated, and done. As they are read."""
    one = await started.submit("echo", {"canary": canary})
    large = await started.submit("echo", {"canary": canary, "rest": "x" * 20_000})
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"type": "echo", "payload": {"canary": canary, "keyed": True}}
    keyed = [(await started.api.post("/api/v1/jobs", json=body, headers=headers)).json()["id"] for _ in range(2)]
    assert keyed[0] == keyed[1]
    await started.submit("journaled", {"gate": gate.path})
    later = await started.submit("echo", {"canary": canary}, delay=3600)
    done = [await started.wait(job_id) for job_id in (one, large, keyed[0])]
    return [*done, await started.job(later)]


@pytest.mark.parametrize("encrypted", [True, False])
async def test_no_store_holds_a_payload_or_a_result_in_the_clear(
    own_redis: EmbeddedRedis, own_mongo: EmbeddedMongo, gate: Gate, encrypted: bool
) -> None:
    # No sign twice, and none that stands in names or ids: what compresses a file leaves such a text in one piece.
    canary = "".join(random.sample("!#$%()*+;<=>?@^_{|}~", 20))
    environment = {"REDIS_URL": own_redis.url, "MONGODB_URI": own_mongo.uri, "MONGODB_DATABASE": "canary"}
    if encrypted:
        environment["PAYLOAD_ENCRYPTION_KEYS"] = f"k1:{key()}"
    async with node(environment, start=False) as started:
        await started.start(PATIENCE_S)
        *done, later = await drive(started, canary, gate)
        places = in_documents(own_mongo, canary.encode()) | in_values(own_redis, canary.encode())
        gate.open()
        log = started.log
    for job in done:
        assert (job["status"], job["payload"]["canary"], job["result"]) == ("completed", canary, job["payload"])
    assert (later["status"], later["payload"]) == ("scheduled", {"canary": canary})
    for server in (own_redis, own_mongo):
        await server.stop()
        places |= in_files(server.data_dir, server.name, canary.encode())
    # The search finds all of it where nothing is encrypted: it would find what was forgotten.
    plain = {"mongo canary.jobs", "mongo local.oplog.rs", "redis value", "redis files", "mongod files"}
    assert places == (set() if encrypted else plain)
    if encrypted:
        assert canary not in log
        assert environment["PAYLOAD_ENCRYPTION_KEYS"][3:] not in log


async def test_keys_are_rotated_node_by_node_and_what_the_old_one_sealed_is_still_run_and_read(
    environment: dict[str, str],
) -> None:
    old, new = f"old:{key()}", f"new:{key()}"
    async with node(environment, start=False) as started:
        await started.start(PATIENCE_S, PAYLOAD_ENCRYPTION_KEYS=old)
        done = (await started.wait(await started.submit("echo", {"n": 1})))["id"]
        waiting = await started.submit("echo", {"n": 2}, delay=1)
        await started.stop()
        await started.start(PATIENCE_S, PAYLOAD_ENCRYPTION_KEYS=f"{new},{old}")
        assert (await started.job(done))["result"] == {"n": 1}
        assert (await started.wait(waiting))["result"] == {"n": 2}
        fresh = (await started.wait(await started.submit("echo", {"n": 3})))["id"]
        await started.stop()
        # The old key is gone: what it sealed is not shown, and nothing else suffers.
        await started.start(PATIENCE_S, PAYLOAD_ENCRYPTION_KEYS=new)
        lost = await started.job(done)
        assert "'old', which this node does not have" in lost["payload"]["$unreadable"]
        assert (await started.job(fresh))["result"] == {"n": 3}
        page = (await started.api.get("/api/v1/jobs")).json()
        assert {job["id"] for job in page["jobs"]} == {done, waiting, fresh}


async def test_wrong_keys_are_refused_at_start_without_being_shown(environment: dict[str, str]) -> None:
    wrong = json.dumps("no-key-at-all")
    async with node(environment, start=False) as started:
        started.spawn(PAYLOAD_ENCRYPTION_KEYS=wrong)
        assert await started.ended() == 2
        assert "PAYLOAD_ENCRYPTION_KEYS=********: must be ID:KEY separated by commas" in started.log
        assert "no-key-at-all" not in started.log
