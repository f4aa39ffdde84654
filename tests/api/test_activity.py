"""The activity over HTTP: filters, going on from a place, and what callers may see of it."""

from typing import Any

import httpx
import pytest

from hegemon.auth.roles import Role
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode
from tests.api.secured import TTL, caller, open_secured
from tests.conftest import MongoServer

STARTED = "2025-10-09T08:53:20.000Z"


@pytest.fixture
def busy(node: MemoryNode) -> MemoryNode:
    """A node of a cluster in which some things happened."""
    node.happen("node.started", url="http://n1", version="1")
    node.happen("office.taken", node="n2", epoch=8, term=5)
    node.happen("job.dead", "error", job="a", type="email", queue="mail", attempt=3, outcome="failed", error="OSError")
    node.happen("job.retried", "warning", node="n2", job="b", type="resize", queue="pictures", attempt=1)
    return node


def activity(http: httpx.Client, **params: Any) -> dict[str, Any]:
    answer = http.get("/api/v1/activity", params=params)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def kinds(told: dict[str, Any]) -> list[str]:
    return [event["kind"] for event in told["events"]]


def test_events_are_told_oldest_first_with_all_that_is_known_of_them(http: httpx.Client, busy: MemoryNode) -> None:
    told = activity(http)
    assert kinds(told) == ["node.started", "office.taken", "job.dead", "job.retried"]
    assert told["events"][1] == {
        "id": "n2:1:2",
        "cursor": "2",
        "at": STARTED,
        "node": "n2",
        "kind": "office.taken",
        "severity": "info",
        "fields": {"epoch": 8, "term": 5},
    }
    assert (told["next"], told["complete"], told["missing"]) == ("4", True, [])


def test_whoever_goes_on_with_next_misses_nothing_and_gets_nothing_twice(http: httpx.Client, busy: MemoryNode) -> None:
    seen, after = [], "0"
    while (told := activity(http, limit=1, after=after))["events"]:
        seen += kinds(told)
        after = told["next"]
    assert seen == ["node.started", "office.taken", "job.dead", "job.retried"]
    busy.happen("node.stopping", reason="it was told to")
    assert kinds(activity(http, after=after)) == ["node.stopping"]


def test_an_events_cursor_is_as_good_as_next(http: httpx.Client, busy: MemoryNode) -> None:
    first = activity(http)["events"][0]
    assert kinds(activity(http, after=first["cursor"], limit=1)) == ["office.taken"]


@pytest.mark.parametrize(
    ("params", "wanted"),
    [
        ({"kind": "job"}, ["job.dead", "job.retried"]),
        ({"kind": "office.taken"}, ["office.taken"]),
        ({"severity": "warning"}, ["job.dead", "job.retried"]),
        ({"severity": "error"}, ["job.dead"]),
        ({"severity": "info", "node": "n2"}, ["office.taken", "job.retried"]),
        ({"limit": 1}, ["job.retried"]),
    ],
)
def test_events_are_filtered(http: httpx.Client, busy: MemoryNode, params: dict[str, Any], wanted: list[str]) -> None:
    assert kinds(activity(http, **params)) == wanted


@pytest.mark.parametrize(
    "params",
    [
        {"after": "x"},
        {"after": "-1"},
        {"after": "9" * 16},
        {"kind": ""},
        {"kind": "Job"},
        {"kind": "job*"},
        {"severity": "loud"},
        {"node": "n 1"},
        {"limit": "0"},
        {"since": "yesterday"},
    ],
)
def test_what_cannot_be_a_parameter_is_refused(http: httpx.Client, node: MemoryNode, params: dict[str, str]) -> None:
    assert_problem(http.get("/api/v1/activity", params=params), 422, "invalid_parameter", next(iter(params)))


def test_an_answer_that_lacks_nodes_names_them(http: httpx.Client, busy: MemoryNode) -> None:
    busy.missing = ["n2", "n3"]
    told = activity(http, after="2")
    assert (told["complete"], told["missing"], told["next"]) == (False, ["n2", "n3"], "2")


def test_older_clients_ask_for_events(http: httpx.Client, busy: MemoryNode) -> None:
    assert http.get("/events", params={"kind": "job"}).json() == activity(http, kind="job")


async def test_who_may_use_some_queues_sees_nothing_of_the_jobs_of_others(
    mongo_server: MongoServer, database: str
) -> None:
    async with open_secured(mongo_server.uri, database) as secured:
        for queue in ("mail", "secret"):
            secured.jobs.happen("job.cancelled", job="a", type="email", queue=queue, worker=None)
        secured.jobs.happen("jobs.completed", count=7, seconds=10.0)
        issued = secured.identity.logins.service_token("some", Role.USER, ttl=TTL, queues=("mail",))
        async with caller(secured) as client:
            told = (await client.get("/api/v1/activity", headers={"authorization": f"Bearer {issued.token}"})).json()
        assert [event["fields"].get("queue") for event in told["events"]] == ["mail", None]
        async with caller(secured, "viewer") as viewer:
            assert len((await viewer.get("/api/v1/activity")).json()["events"]) == 3
        async with caller(secured, "worker") as worker:
            assert_problem(await worker.get("/events"), 403, "forbidden")
