"""What the driver raises, as our own errors: what passes must be told from what does not."""

from pathlib import Path
from typing import Any

import pytest
from dns.resolver import LifetimeTimeout, NoNameservers
from pymongo import MongoClient
from pymongo.errors import ConfigurationError, ConnectionFailure, OperationFailure

from hegemon.cluster import node_stores
from hegemon.cluster.embedded import EmbeddedMongo
from hegemon.cluster.node_stores import NodeStores
from hegemon.cluster.settings import load
from hegemon.measures import Meters
from hegemon.queue import mongo
from hegemon.queue.clock import ClusterClock
from hegemon.queue.errors import StoreUnavailable, WrongStore
from tests.conftest import MongoServer
from tests.nodes import free_port
from tests.waiting import PATIENCE, PATIENCE_S


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
    assert said.refuses


async def started(uri: str) -> None:
    """What a node asks of its stores when it starts."""
    stores = NodeStores(load({"MONGODB_URI": uri, "MONGODB_TIMEOUT": f"{PATIENCE_S:g}s"}, None), Meters())
    try:
        await stores.join("n1~1", ClusterClock(), None)
    finally:
        await stores.close()


async def test_a_start_with_a_setting_that_can_never_work_names_it_and_does_not_wait(mongo_server: MongoServer) -> None:
    # The driver finds out only when it is to log in.
    uri = mongo_server.uri.replace("mongodb://", "mongodb://somebody@") + "&authMechanism=GSSAPI"
    with pytest.raises(WrongStore, match='MONGODB_URI cannot be used: The "kerberos" module must be installed'):
        await started(uri)


async def test_a_node_that_runs_outlives_a_setting_that_can_never_work() -> None:
    with pytest.raises(StoreUnavailable, match=r"MONGODB_URI cannot be used: .* reports wire version 6"):
        async with mongo.translated():
            raise ConfigurationError("Server at 127.0.0.1:27017 reports wire version 6, but this needs at least 8")


@pytest.mark.parametrize("away", [NoNameservers, LifetimeTimeout, OSError])
async def test_a_start_waits_for_a_name_server_that_is_away(
    away: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def unanswered(*args: Any, **kwargs: Any) -> None:
        raise away

    monkeypatch.setattr("dns.resolver.resolve", unanswered)
    monkeypatch.setattr(node_stores, "STORE_PATIENCE_S", -1.0)
    with pytest.raises(StoreUnavailable, match="MongoDB does not answer"):
        await started("mongodb+srv://mongodb.example.net/")
