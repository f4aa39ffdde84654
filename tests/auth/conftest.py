"""Identities of one node and of two, on the MongoDB that the tests share."""

from collections.abc import AsyncIterator

import pytest

from hegemon.auth.identity import Identity
from tests.auth.parts import Clock, open_identity
from tests.conftest import MongoServer


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def identity(mongo_server: MongoServer, database: str, clock: Clock) -> AsyncIterator[Identity]:
    """The identities of a node whose clock the test has in its hand."""
    async with open_identity(mongo_server.uri, database, clock=clock) as opened:
        yield opened


@pytest.fixture
async def other_node(
    mongo_server: MongoServer, database: str, clock: Clock, identity: Identity
) -> AsyncIterator[Identity]:
    """Those of another node of the same cluster."""
    async with open_identity(mongo_server.uri, database, clock=clock) as opened:
        yield opened
