"""The leader's parts on a real index, without a node around them."""

from collections.abc import AsyncIterator

import pytest

from hegemon.cluster import sessions, streams, transport
from tests.conftest import MongoServer, RedisServer
from tests.engine.parts import Index, Jobs, open_index, open_jobs


@pytest.fixture
async def index(redis_server: RedisServer, cluster_id: str) -> AsyncIterator[Index]:
    """An index that is whole, under epoch 1 and generation 1."""
    async with open_index(redis_server.url, cluster_id) as opened:
        yield opened


@pytest.fixture
async def jobs(mongo_server: MongoServer, database: str, cluster_id: str) -> AsyncIterator[Jobs]:
    """A prepared database."""
    async with open_jobs(mongo_server.uri, database, cluster_id) as opened:
        yield opened


@pytest.fixture
def patient_transports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transports for which nothing is too late. Nor does silence or age make them ask: only what a test does."""
    for module, names in (
        (sessions, ("SILENT_S", "RENEW_S")),
        (streams, ("CONNECT_S", "WRITE_S", "IDLE_S", "STALE_S")),
        (transport, ("STALE_S",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, 600.0)
