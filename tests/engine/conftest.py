"""Nodes for whole tests. A module that only submits jobs shares one node, since starting it takes the longest."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import redis
from pymongo import MongoClient

from tests.conftest import MongoServer, RedisServer
from tests.engine.journal import Journal
from tests.nodes import Gate, NodeProcess, node

Environment = dict[str, str]


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Where this test's handlers write."""
    return Journal(tmp_path / "journal")


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """A gate for handlers. Open in the end, so that nobody waits at it for ever."""
    made = Gate(str(tmp_path / "gate"))
    yield made
    made.open()


@pytest.fixture
def environment(
    redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str, journal: Journal
) -> Environment:
    """What a node of this test's own cluster is started with."""
    return {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": database,
        "CLUSTER_ID": cluster_id,
        "JOURNAL": str(journal.path),
    }


@pytest.fixture(scope="module")
def shared_environment(
    redis_server: RedisServer, mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Environment]:
    """The same for a module's shared node; its traces in the shared stores are removed afterwards."""
    name = f"shared-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    yield {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": name,
        "CLUSTER_ID": name,
        "JOURNAL": str(tmp_path_factory.mktemp("journal") / "journal"),
    }
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(match=f"*{name}*", count=1000):
            client.unlink(key)
    with MongoClient[dict[str, Any]](mongo_server.uri) as mongo:
        mongo.drop_database(name)


@pytest.fixture(scope="module")
def shared_journal(shared_environment: Environment) -> Journal:
    """What the shared node's handlers write."""
    return Journal(Path(shared_environment["JOURNAL"]))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(shared_environment: Environment, request: pytest.FixtureRequest) -> AsyncIterator[NodeProcess]:
    """The module's node; `SETTINGS` of the module are added to its environment."""
    settings: Environment = getattr(request.module, "SETTINGS", {})
    async with node(shared_environment | settings) as started:
        yield started
