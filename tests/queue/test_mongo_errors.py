"""What the driver raises, as our own errors: what passes must be told from what does not."""

from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure

from hegemon.cluster.embedded import EmbeddedMongo
from hegemon.queue import mongo
from hegemon.queue.errors import StoreUnavailable
from tests.conftest import MongoServer
from tests.nodes import free_port
from tests.waiting import PATIENCE


class WithoutASet(EmbeddedMongo):
    """A member that does not know its replica set, as each is for a moment when it starts."""

    def _is_writable(self, client: MongoClient[dict[str, Any]]) -> bool:
        try:
            return bool(client.admin.command("ping")["ok"])
        except ConnectionFailure:
            return False


async def test_a_member_that_does_not_know_its_replica_set_yet_may_answer_later(tmp_path: Path) -> None:
    async with WithoutASet(tmp_path, port=free_port(), start_timeout=PATIENCE) as server:
        # Directly and without a set's name: with it the driver asks such a member nothing, unless it has just started.
        with (
            MongoClient[dict[str, Any]](f"mongodb://127.0.0.1:{server.port}/?directConnection=true") as client,
            client.start_session() as session,
            pytest.raises(ConfigurationError) as raised,
        ):
            client["test"]["jobs"].insert_one({}, session=session)
    assert mongo.unavailable(raised.value)
    assert isinstance(mongo.translate(raised.value), StoreUnavailable)
    assert "MONGODB_URI" not in str(mongo.translate(raised.value))


def test_a_user_that_is_not_there_is_named_and_may_be_made_later(mongo_server: MongoServer) -> None:
    uri = mongo_server.uri.replace("mongodb://", "mongodb://nobody:wrong@")
    with MongoClient[dict[str, Any]](uri) as client, pytest.raises(OperationFailure) as raised:
        client["test"]["jobs"].insert_one({})
    assert mongo.unavailable(raised.value)
    said = mongo.translate(raised.value)
    assert isinstance(said, StoreUnavailable)
    assert "the user of MONGODB_URI: Authentication failed" in str(said)


def test_a_wrong_setting_is_named_and_is_not_waited_for() -> None:
    wrong = ConfigurationError("unknown authentication mechanism")
    assert not mongo.unavailable(wrong)
    assert "MONGODB_URI cannot be used" in str(mongo.translate(wrong))
