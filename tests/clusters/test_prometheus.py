"""A real Prometheus beside a real cluster: every panel has data under load, and a killed leader is an alert that comes
and goes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import pytest_asyncio

from hegemon.monitoring.grafana.dashboard import Dashboard
from hegemon.monitoring.grafana.pages import DASHBOARDS
from hegemon.monitoring.grafana.panel import Panel
from tests.clusters.cluster import Cluster
from tests.monitoring.observers import Prometheus, Webhook, alertmanager, prometheus, webhook
from tests.nodes import NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A minute of the rules is a second here.
SCALE = 1 / 60
LOOK_S = 0.5


@pytest.fixture(scope="module")
def algorithm() -> str:
    # With one of three left nobody leads, which is an alert, too.
    return "raft"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"STORE_DATA_DIR": str(tmp_path_factory.mktemp("stores"))}


@pytest.fixture(scope="module")
def hears() -> Iterator[Webhook]:
    with webhook() as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def observer(
    cluster: Cluster, hears: Webhook, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Prometheus]:
    directory = tmp_path_factory.mktemp("observers")
    async with (
        alertmanager(directory / "alertmanager", hears) as manager,
        prometheus(
            directory / "prometheus",
            [target(node) for node in cluster.nodes],
            cluster=cluster.cluster_id,
            tells=manager.url.removeprefix("http://"),
            scale=SCALE,
        ) as made,
    ):
        yield made


def target(node: NodeProcess) -> str:
    return f"127.0.0.1:{node.port}"


@asynccontextmanager
async def work(cluster: Cluster) -> AsyncIterator[None]:
    """Some of everything: two queues, delayed jobs, some that are tried again, and some that fail for good."""
    over = asyncio.Event()

    async def submit() -> None:
        while not over.is_set():
            for kind in (
                {"type": "journaled", "queue": "mail"},
                {"type": "journaled", "delay": 0.2},
                {"type": "fail", "payload": {"times": 9}, "max_retries": 1},
                {"type": "fail", "payload": {"times": 9}, "max_retries": 0, "queue": "mail"},
            ):
                await cluster.post("/api/v1/jobs", {"payload": {}} | kind)
            await asyncio.sleep(0.05)

    task = asyncio.create_task(submit())
    try:
        yield
    finally:
        over.set()
        await task


def resolved(expr: str, cluster: str) -> str:
    """As Grafana asks it, with everything chosen."""
    found = expr.replace("$cluster", cluster).replace("$node", ".*").replace("$queue", ".*")
    return found.replace("$__rate_interval", "30s").replace("$__range", "5m")


async def has_data(observer: Prometheus, panel: Panel, cluster: str) -> bool:
    answers = [await observer.ask(resolved(query.expr, cluster)) for query in panel.queries]
    # Of names there is one or the other: who leads, or that nobody does.
    return (any if panel.of_names else all)(answers)


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda one: one.name)
async def test_every_panel_has_data_of_a_cluster_that_works(
    cluster: Cluster, observer: Prometheus, dashboard: Dashboard
) -> None:
    silent = list(dashboard.panels())

    async def all_have() -> bool:
        await asyncio.sleep(LOOK_S)
        # Who has had data need not have it at the same moment as all others.
        silent[:] = [panel for panel in silent if not await has_data(observer, panel, cluster.cluster_id)]
        return not silent

    async with work(cluster):
        try:
            await wait_until(all_have, message=f"data for every panel of {dashboard.title}")
        except pytest.fail.Exception:
            pytest.fail("no data: " + "; ".join(f"{one.title}: {[q.expr for q in one.queries]}" for one in silent))


async def test_a_killed_leader_is_an_alert_until_it_is_back(
    cluster: Cluster, observer: Prometheus, hears: Webhook
) -> None:
    await wait_until(lambda: _all_up(observer, len(cluster.nodes)), message="all nodes to be scraped")
    leader = await cluster.leader()
    await leader.kill()
    (alert,) = await wait_until(
        lambda: hears.heard("HegemonNodeDown", "firing", instance=target(leader)), message="the alert"
    )
    assert alert["annotations"]["summary"] == f"{target(leader)} does not answer"
    assert alert["annotations"]["runbook_url"] == "docs/runbooks/HegemonNodeDown.md"
    # Who leads now goes as well: of three, one is no majority.
    second = await cluster.leader(other_than=leader)
    await second.kill()
    (alert,) = await wait_until(
        lambda: hears.heard("HegemonNoActiveLeader", "firing", cluster=cluster.cluster_id), message="the other alert"
    )
    assert alert["labels"]["severity"] == "critical"
    for node in (leader, second):
        node.spawn()
    await cluster.settle()
    for node in (leader, second):
        back = partial(hears.heard, "HegemonNodeDown", "resolved", instance=target(node))
        await wait_until(back, message="the alert's end")
    await wait_until(lambda: hears.heard("HegemonNoActiveLeader", "resolved"), message="the other alert's end")


async def _all_up(observer: Prometheus, count: int) -> bool:
    await asyncio.sleep(LOOK_S)
    return await observer.ask("count(up == 1)") == [({}, float(count))]
