"""Trials on the stores that the tests share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conftest import MongoServer, RedisServer
from tests.faults.trial import Trial, on_trial


@pytest.fixture
async def trial(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> AsyncIterator[Trial]:
    """A trial whose node is not started yet."""
    async with on_trial(
        tmp_path, redis_url=redis_server.url, mongodb_uri=mongo_server.uri, database=database, CLUSTER_ID=cluster_id
    ) as made:
        yield made
