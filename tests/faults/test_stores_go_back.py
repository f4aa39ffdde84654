"""Stores that take back what they said: a Redis of a second ago, a MongoDB that rolls back what no majority had.

Between faulty stores Redis also loses, delays and cuts replies. FAULT_SEED replays; tests/soak has many seeds of both.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from hegemon.cluster.embedded import EmbeddedRedis
from tests.conftest import MongoServer, RedisServer
from tests.faults.callers import Callers, through
from tests.faults.ordeal import on_ordeal
from tests.faults.past import go_back
from tests.faults.replica_set import ReplicaSet
from tests.faults.trial import on_trial
from tests.nodes import ROOT

SEED = int(os.environ.get("FAULT_SEED", "1"))
STARTUP = Path(__file__).parent / "startup_more"


# In the soak, since a node between stores with time-outs this short cannot even start on a machine that is busy enough.
# What it found is held by tests/queue/test_late_commands.py and the two on probing in tests/queue/test_submit.py.
@pytest.mark.soak
async def test_a_redis_that_goes_back_a_second_between_faulty_stores_costs_no_job(
    tmp_path: Path, own_redis: EmbeddedRedis, mongo_server: MongoServer, cluster_id: str, database: str
) -> None:
    chance = random.Random(SEED)

    async def back() -> None:
        await go_back(own_redis, chance.uniform(0.3, 1.5))

    async with on_ordeal(
        tmp_path,
        redis_url=own_redis.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        cluster_id=cluster_id,
    ) as ordeal:
        await ordeal.trial.start()
        await ordeal.run(SEED, 2.0, back, until=ordeal.met_all)
        await ordeal.verdict_of(f"FAULT_SEED={SEED} ./dev test -k goes_back_a_second")
        assert ordeal.trial.generation > 1, "the index of the past was trusted"


@pytest.mark.parametrize("sabotage", ["", "majority-unasked"])
async def test_what_was_acknowledged_is_in_no_rollback(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, sabotage: str
) -> None:
    alone_s = random.Random(SEED).uniform(1.2, 2.0)
    async with (
        ReplicaSet(tmp_path / "replicas") as replicas,
        on_trial(
            tmp_path,
            redis_url=redis_server.url,
            mongodb_uri=replicas.uri,
            database="trial",
            CLUSTER_ID=cluster_id,
            MONGODB_TIMEOUT="1s",
        ) as trial,
    ):

        async def take_back(callers: Callers) -> None:
            await replicas.roll_back(alone_s, callers.until_accepted)

        if not sabotage:
            await through(trial, take_back)
            return
        trial.node.environment |= {"PYTHONPATH": f"{STARTUP}:{ROOT}", "SABOTAGE": sabotage}
        await trial.node.start()
        callers = Callers(trial)
        async with callers.calling():
            await callers.until_accepted(100)
            await take_back(callers)
        assert "missing" in trial.verdict(settled=False).kinds
