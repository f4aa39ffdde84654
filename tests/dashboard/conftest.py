"""One browser and one cluster for all tests of a file."""

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import redis
from pymongo import MongoClient

pytest.importorskip("playwright", reason="needs playwright, of the dev group")

from playwright.async_api import Browser

from tests.clusters.cluster import Cluster, on_cluster
from tests.conftest import MongoServer, RedisServer
from tests.dashboard.browser import View, chromium, open_browser, open_view


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """Chromium, for a file's tests."""
    async with open_browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(
    redis_server: RedisServer, mongo_server: MongoServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Cluster]:
    """Three nodes, ready and agreed, with a database and keys of their own."""
    chromium()
    name = uuid.uuid4().hex[:12]
    async with on_cluster(
        tmp_path_factory.mktemp("cluster"),
        algorithm="raft",
        count=3,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=f"test_{name}",
        # No worker is taken for dead, and no leader, because the machine is busy with a browser.
        environment={
            "CLUSTER_ID": f"test-{name}",
            "HANDLERS": "examples.jobs,tests.handlers,tests.shaped_handlers",
            "WORKER_LEASE": "30s",
            "OFFICE_TAKEOVER": "3s",
            "MONGODB_TIMEOUT": "60s",
            "REDIS_TIMEOUT": "10s",
        },
    ) as made:
        yield made
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(match=f"*test-{name}*", count=1000):
            client.unlink(key)
    with MongoClient[dict[str, object]](mongo_server.uri) as mongo:
        mongo.drop_database(f"test_{name}")


@pytest_asyncio.fixture(loop_scope="module")
async def view(browser: Browser, cluster: Cluster) -> AsyncIterator[View]:
    """A page of the first node."""
    async with open_view(browser, cluster.node.url) as opened:
        yield opened
