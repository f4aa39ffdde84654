"""The simulated stores pass the tests of the real ones: the same functions, on other fixtures.

What only a real server shows is left out: a test that takes down a server, or looks at the driver below the stores.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from hegemon.queue.index import MemberIndex
from hegemon.queue.leader_index import LeaderIndex
from hegemon.queue.office_store import OfficeStore
from hegemon.queue.queries import JobQueries
from hegemon.queue.store import JobStore
from tests.engine.parts import Index, Jobs
from tests.queue import (
    test_leader_index,
    test_member_index,
    test_office_store,
    test_queries,
    test_store,
    test_worker_index,
)
from tests.simulation.mongo_client import Client
from tests.simulation.mongo_store import SimulatedMongo
from tests.simulation.paths import Path
from tests.simulation.redis_data import Scripts
from tests.simulation.redis_store import SimulatedRedis, client

TIMEOUT = timedelta(seconds=60)
# Opens connections to a real server by its address.
LEFT_OUT = {"test_a_server_that_the_generation_was_not_confirmed_for_is_refused"}

for module in (
    test_leader_index,
    test_member_index,
    test_office_store,
    test_queries,
    test_store,
    test_worker_index,
):
    globals().update({name: test for name, test in vars(module).items() if name.startswith("test_")})
for name in LEFT_OUT:
    del globals()[name]


@pytest.fixture(scope="session")
def scripts() -> Scripts:
    return Scripts()


@pytest.fixture
def cluster_id() -> str:
    return "simulated"


@pytest.fixture
async def index(scripts: Scripts, cluster_id: str) -> AsyncIterator[Index]:
    """As the fixture of `tests/queue`, on a simulated server."""
    server = SimulatedRedis(scripts, random.Random(1))
    redis = client(server, Path(None, random.Random(2)), cluster_id, timeout=TIMEOUT)
    await redis.command("PING")
    member = MemberIndex(redis)
    member.generation = 1
    made = Index(redis, member, LeaderIndex(redis, epoch=1, generation=1), redis.run_id, cluster_id, "simulated")
    await made.mark("rebuilding")
    await made.mark("ready")
    yield made
    await redis.close()


@pytest.fixture(params=[0.0, 0.001])
async def jobs(cluster_id: str, request: pytest.FixtureRequest) -> Jobs:
    """The same for MongoDB, with a majority that has a write at once, and one that has it later."""
    server = SimulatedMongo(random.Random(1), commit_s=request.param)
    motor: Any = Client(server, Path(None, random.Random(2)))
    database = motor["simulated"]
    made = Jobs(motor, JobStore(motor, database), JobQueries(motor, database), OfficeStore(database))
    await made.queries.prepare(cluster_id, "solo")
    return made
