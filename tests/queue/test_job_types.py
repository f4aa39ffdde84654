"""What nodes tell of their handlers, in a real MongoDB: who is believed, what is forgotten."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from hegemon.queue import mongo
from hegemon.queue.job_types import KEPT_MS, JobType, JobTypeStore
from tests.conftest import MongoServer
from tests.waiting import PATIENCE_S

NOW = 1_760_000_000_000
OLD = JobType(type="mail", description="old")
NEW = JobType(
    type="mail", description="new", schema='{"type":"object","$defs":{"a.b":{}}}', max_retries=3, timeout_ms=5
)
OTHER = JobType(type="other")


@pytest.fixture
async def store(mongo_server: MongoServer, database: str) -> AsyncIterator[JobTypeStore]:
    client = mongo.connect(mongo_server.uri, timeout=timedelta(seconds=PATIENCE_S))
    yield JobTypeStore(client[database])
    client.close()


async def test_what_is_told_is_known_of_the_nodes_that_are_asked_for(store: JobTypeStore) -> None:
    await store.tell("n1", [NEW, OTHER], since_ms=NOW, now_ms=NOW)
    await store.tell("n2", [NEW], since_ms=NOW, now_ms=NOW)
    known = await store.known(["n1", "n2", "n3"])
    assert known.keys() == {"mail", "other"}
    assert (known["mail"].newest, known["mail"].nodes, known["mail"].differing) == (NEW, ["n1", "n2"], [])
    assert known["other"].nodes == ["n1"]
    assert (await store.known(["n2"])).keys() == {"mail"}
    assert await store.known([]) == {}


async def test_of_two_versions_the_one_whose_node_began_last_is_believed(store: JobTypeStore) -> None:
    await store.tell("n1", [NEW], since_ms=NOW, now_ms=NOW)
    await store.tell("n2", [OLD], since_ms=NOW - 1, now_ms=NOW + 5)
    known = (await store.known(["n1", "n2"]))["mail"]
    assert (known.newest, known.nodes, known.differing) == (NEW, ["n1", "n2"], ["n2"])
    # Back again: the older version is the newer news.
    await store.tell("n2", [OLD], since_ms=NOW + 10, now_ms=NOW + 10)
    known = (await store.known(["n1", "n2"]))["mail"]
    assert (known.newest, known.differing) == (OLD, ["n1"])
    assert (await store.known(["n1"]))["mail"].newest == NEW


async def test_a_node_that_tells_anew_takes_back_what_it_told(store: JobTypeStore) -> None:
    await store.tell("n1", [NEW, OTHER], since_ms=NOW, now_ms=NOW)
    await store.tell("n1", [OLD], since_ms=NOW + 1, now_ms=NOW + 1)
    known = await store.known(["n1"])
    assert known.keys() == {"mail"}
    assert (known["mail"].newest, known["mail"].nodes, known["mail"].differing) == (OLD, ["n1"], [])
    await store.tell("n1", [], since_ms=NOW + 2, now_ms=NOW + 2)
    assert await store.known(["n1"]) == {}


async def test_what_nobody_says_any_more_is_forgotten_after_a_day(store: JobTypeStore) -> None:
    await store.tell("gone", [OLD], since_ms=NOW, now_ms=NOW)
    await store.tell("n1", [NEW], since_ms=NOW, now_ms=NOW)
    await store.tell("n1", [NEW], since_ms=NOW, now_ms=NOW + KEPT_MS)
    assert (await store.known(["gone"]))["mail"].newest == OLD
    await store.tell("n1", [NEW], since_ms=NOW, now_ms=NOW + KEPT_MS + 1)
    assert await store.known(["gone"]) == {}
    assert (await store.known(["n1"]))["mail"].newest == NEW
