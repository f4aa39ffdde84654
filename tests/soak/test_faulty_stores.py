"""Faulty stores, and in the middle of it a death, a flush or a step back in time; primaries that take back what only
they had. Many seeds, each judged.

`SOAK_ROUNDS=20 SOAK_SEED=7 ./dev soak -k faulty_stores`: seeds 7 to 26.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

from hegemon.cluster.embedded import EmbeddedRedis
from tests.conftest import MongoServer, RedisServer
from tests.faults.callers import Callers
from tests.faults.ordeal import Ordeal, on_ordeal
from tests.faults.past import go_back
from tests.faults.replica_set import ReplicaSet
from tests.faults.trial import on_trial
from tests.soak.conftest import Say

pytestmark = pytest.mark.soak

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "50"))
SECONDS = 8.0


async def besides(ordeal: Ordeal, redis: EmbeddedRedis, what: str, chance: random.Random) -> None:
    """One more fault while the stores misbehave."""
    trial = ordeal.trial
    if what == "flush":
        with trial.redis() as client:
            client.flushall()
    elif what == "back":
        await go_back(redis, chance.uniform(0.2, 2.0))
    elif what == "control":
        await trial.node.kill()
        await trial.start()
    elif what == "worker":
        # The API may have no answer now, or name a process that has just died.
        with contextlib.suppress(ProcessLookupError, OSError, IndexError):
            reply = await trial.node.api.get("/api/v1/workers")
            if reply.status_code == 200:
                os.kill(reply.json()["workers"][0]["pid"], signal.SIGKILL)


async def test_nothing_is_lost_between_faulty_stores_while_processes_die(
    tmp_path: Path,
    own_redis: EmbeddedRedis,
    mongo_server: MongoServer,
    cluster_id: str,
    database: str,
    seed: int,
    say: Say,
) -> None:
    say(f"\nSOAK_SEED={seed} SOAK_ROUNDS={ROUNDS}: faulty stores")
    async with on_ordeal(
        tmp_path,
        redis_url=own_redis.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        cluster_id=cluster_id,
        WORKER_PROCESSES="2",
    ) as ordeal:
        await ordeal.trial.start()
        for number in range(seed, seed + ROUNDS):
            chance = random.Random(number)
            what = chance.choice(("flush", "back", "back", "control", "worker", "nothing"))
            began = time.monotonic()

            async def then(what: str = what, chance: random.Random = chance) -> None:
                await besides(ordeal, own_redis, what, chance)

            await ordeal.run(number, SECONDS, then)
            verdict = await ordeal.verdict_of(f"SOAK_SEED={number} SOAK_ROUNDS=1 ./dev soak -k faulty_stores; {what}")
            books = str(verdict).replace("\n", "; ")
            say(f"seed {number}: {what}; {time.monotonic() - began:.1f} s; {books}")


async def test_nothing_acknowledged_is_rolled_back_with_a_primary_that_wrote_alone(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, seed: int, say: Say
) -> None:
    rounds = max(ROUNDS // 2, 1)
    say(f"\nSOAK_SEED={seed} SOAK_ROUNDS={ROUNDS}: {rounds} rollbacks")
    async with (
        ReplicaSet(tmp_path / "replicas") as replicas,
        on_trial(
            tmp_path,
            redis_url=redis_server.url,
            mongodb_uri=replicas.uri,
            database="trial",
            CLUSTER_ID=cluster_id,
            MONGODB_TIMEOUT="1s",
            WORKER_COUNT="16",
        ) as trial,
    ):
        await trial.start()
        callers = Callers(trial)
        for number in range(seed, seed + rounds):
            alone_s = random.Random(number).uniform(0.3, 4.0)
            began = time.monotonic()
            async with trial.watching(), callers.calling():
                await callers.until_accepted(50)
                await replicas.roll_back(alone_s, callers.until_accepted)
            verdict = await trial.clear_verdict()
            callers.answered_well()
            books = str(verdict).replace("\n", "; ")
            say(f"seed {number}: {alone_s:.1f} s alone; {time.monotonic() - began:.1f} s; {books}")
