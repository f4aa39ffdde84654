"""What a caller who is bound to queues sees of the cluster: no name and no figure of another queue."""

import pytest

from hegemon.auth.roles import Role
from hegemon.cluster.ports import Stats
from hegemon.cluster.stat_shapes import ClusterFigures, QueueFigures, Rate, Rates
from tests.api.documented import assert_problem
from tests.api.memory import MemoryObserver
from tests.api.secured import TTL, Secured, caller, open_secured
from tests.conftest import MongoServer


def bound(secured: Secured, *queues: str) -> dict[str, str]:
    """The headers of a viewer of these queues alone."""
    issued = secured.identity.logins.service_token("some", Role.VIEWER, ttl=TTL, queues=queues)
    return {"authorization": f"Bearer {issued.token}"}


async def test_metrics_are_for_those_who_may_see_all_queues(mongo_server: MongoServer, database: str) -> None:
    async with open_secured(mongo_server.uri, database) as secured:
        async with caller(secured) as client:
            refused = await client.get("/metrics", headers=bound(secured, "mail"))
            assert_problem(refused, 403, "forbidden")
            assert "all queues" in refused.json()["detail"]
            assert (await client.head("/metrics", headers=bound(secured, "mail"))).status_code == 403
        async with caller(secured, "viewer") as viewer:
            assert (await viewer.get("/metrics")).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/stats", "/stats"])
async def test_stats_tell_of_no_queue_but_the_callers(
    mongo_server: MongoServer, database: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = MemoryObserver.stats
    rates = Rates(submitted=Rate(3.0, 2.0))
    queues = [QueueFigures(name=name, ready=5, rates=rates) for name in ("mail", "secret", "other")]

    async def stats(self: MemoryObserver) -> Stats:
        found = await counted(self)
        return Stats(found.jobs, found.queue, found.node, ClusterFigures(rates=rates, queues=queues))

    monkeypatch.setattr(MemoryObserver, "stats", stats)
    async with open_secured(mongo_server.uri, database) as secured:
        async with caller(secured) as client:
            answer = await client.get(path, headers=bound(secured, "mail", "empty"))
            assert [queue["name"] for queue in answer.json()["figures"]["queues"]] == ["mail"]
            assert "secret" not in answer.text
            # The totals are the cluster's, as docs/security.md says.
            assert answer.json()["figures"]["rates"]["submitted"] == {"last_10s": 3.0, "last_60s": 2.0}
        async with caller(secured, "viewer") as viewer:
            told = (await viewer.get(path)).json()["figures"]["queues"]
            assert [queue["name"] for queue in told] == ["mail", "secret", "other"]
