"""Clusters on the stores that the tests share: one for all tests of a file, since three nodes take seconds to start."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis
from pymongo import MongoClient

from tests.clusters.cluster import Cluster, Peers, all_of_them, on_cluster
from tests.conftest import MongoServer, RedisServer


@pytest.fixture(scope="module")
def algorithm() -> str:
    """Which election; a file that tries several overrides it."""
    return "bully"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What all nodes of a file's cluster get besides."""
    return {}


@pytest.fixture(scope="module")
def peers() -> Peers:
    """What each node's CLUSTER_PEERS are."""
    return all_of_them


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    algorithm: str,
    environment: dict[str, str],
    peers: Peers,
    redis_server: RedisServer,
    mongo_server: MongoServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Cluster]:
    """Three nodes, ready and agreed, with a database and keys of their own."""
    name = uuid.uuid4().hex[:12]
    async with on_cluster(
        tmp_path_factory.mktemp(algorithm),
        algorithm=algorithm,
        count=3,
        peers=peers,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=f"test_{name}",
        environment={"CLUSTER_ID": f"test-{name}", **environment},
    ) as made:
        yield made
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(match=f"*test-{name}*", count=1000):
            client.unlink(key)
    with MongoClient[dict[str, object]](mongo_server.uri) as mongo:
        mongo.drop_database(f"test_{name}")
