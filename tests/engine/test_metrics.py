"""What a real node serves to Prometheus: every family, clean, and in accord with what was seen from outside."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import pytest_asyncio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from hegemon.measures import SERIES_MAX
from hegemon.monitoring.metric_table import COMMON, FAMILIES, Family, Kind
from tests.engine.journal import Journal
from tests.nodes import Gate, NodeProcess, free_port
from tests.waiting import output_of, wait_until

METRICS_PORT = free_port()
SETTINGS = {
    "ELECTION_ALGORITHM": "gossip",
    "CLUSTER_PORT": str(free_port()),
    "METRICS_PORT": str(METRICS_PORT),
    "STORE_DATA_DIR": "/",
    "WORKER_COUNT": "4",
}
# Only with TLS; tests/engine/test_https.py has it.
ELSEWHERE = {"hegemon_tls_certificate_expiry_timestamp_seconds"}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def scraped(node: NodeProcess) -> str:
    return (await node.api.get("/metrics")).raise_for_status().text


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        for sample in family.samples
    }


def total(text: str, name: str, **labels: str) -> float:
    """The sum of all series of this name with these labels."""
    wanted = labels.items()
    return sum(value for (found, own), value in samples(text).items() if found == name and wanted <= own)


async def until(node: NodeProcess, holds: Callable[[str], bool], what: str) -> str:
    """The first scrape of which this is true."""
    last = ""

    async def true() -> bool:
        nonlocal last
        last = await scraped(node)
        return holds(last)

    await wait_until(true, message=what)
    return last


def counters(text: str) -> Samples:
    """What may never fall: counters, and buckets, counts and sums of histograms."""
    kinds = {name.removesuffix("_total"): family.kind for name, family in FAMILIES.items()}
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parsed(text)
        if kinds[family.name] is not Kind.GAUGE
        for sample in family.samples
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def worked(shared: NodeProcess) -> str:
    """A scrape of a node that has completed, failed, retried and cancelled jobs, some of them scheduled ones. Before
    all tests: they name their queues, and a node has series of its own only for the first hundred that it meets."""
    done = [await shared.submit("journaled", queue=queue) for queue in (*["mail"] * 5, "measured", "slow")]
    done += [await shared.submit("picky"), await shared.submit("picky", {"how": "later"})]
    done += await shared.submit_many([{"type": "journaled", "delay": 0.05} for _ in range(3)])
    later = await shared.submit("journaled", delay=3600)
    assert (await shared.api.post(f"/api/v1/jobs/{later}/cancel")).status_code == 200
    for job_id in done:
        await shared.wait(job_id)

    def all_there(text: str) -> bool:
        depths = total(text, "hegemon_queue_depth", queue="mail") == 0 and "hegemon_queue_depth{" in text
        # Ends are there at once, what else a worker measured with its next tick.
        tries = ("jobs_taken_total", "job_processing_duration_seconds_count", "job_wait_duration_seconds_count")
        ticked = all(total(text, f"hegemon_{name}") == 13 for name in tries)
        ticked = ticked and total(text, "hegemon_job_lateness_seconds_count") >= 3
        return depths and ticked and total(text, "hegemon_jobs_total", outcome="completed") == 11

    return await until(shared, all_there, "all of them to be counted, and the leader to have looked")


def of(family: Family, text: str) -> list[dict[str, str]]:
    """The labels of a family's samples."""
    name = family.name.removesuffix("_total")
    return [sample.labels for found in parsed(text) if found.name == name for sample in found.samples]


async def test_every_family_of_the_table_is_there_with_its_labels_and_no_other_is(worked: str) -> None:
    assert {found.name for found in parsed(worked)} == {name.removesuffix("_total") for name in FAMILIES}
    for name, family in FAMILIES.items():
        found = of(family, worked)
        assert found or name in ELSEWHERE, name
        for labels in found:
            assert set(labels) - {"le"} == {*COMMON, *family.labels}, name
            assert labels["node"] == "n1"


async def test_what_was_counted_is_what_was_done(worked: str) -> None:
    assert total(worked, "hegemon_jobs_submitted_total") == 13
    assert total(worked, "hegemon_jobs_total", outcome="completed", queue="mail") == 5
    assert total(worked, "hegemon_jobs_total", outcome="failed") == 1
    assert total(worked, "hegemon_jobs_total", outcome="retried") == 1
    assert total(worked, "hegemon_jobs_total", outcome="cancelled", queue="default") == 1
    assert total(worked, "hegemon_jobs_taken_total") == 13
    assert total(worked, "hegemon_dispatched_jobs_total") == 13
    assert total(worked, "hegemon_job_processing_duration_seconds_count") == 13
    assert total(worked, "hegemon_job_wait_duration_seconds_count") == 13
    assert total(worked, "hegemon_job_lateness_seconds_count") == 3
    assert total(worked, "hegemon_worker_slots") == 4
    assert total(worked, "hegemon_cluster_members", state="alive") == 1
    assert total(worked, "hegemon_store_up") == 2
    assert total(worked, "hegemon_disk_size_bytes") > total(worked, "hegemon_disk_free_bytes") > 0


async def test_promtool_finds_nothing_to_complain_of(worked: str) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    assert await output_of(promtool, "check", "metrics", given=worked.encode()) == (0, b"")


async def test_a_scraper_that_asks_for_openmetrics_gets_it_on_both_ports(shared: NodeProcess, worked: str) -> None:
    wanted = {"accept": "application/openmetrics-text; version=1.0.0, text/plain; q=0.5"}
    async with httpx.AsyncClient() as client:
        for url in (shared.url, f"http://127.0.0.1:{METRICS_PORT}"):
            answer = await client.get(f"{url}/metrics", headers=wanted)
            assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
            # The client leaves this parser of its own untyped.
            families = list(openmetrics(answer.text))  # type: ignore[no-untyped-call]
            assert {found.name for found in families} == {found.name for found in parsed(worked)}
            plain = await client.get(f"{url}/metrics")
            assert plain.headers["content-type"].startswith("text/plain; version=")
            assert samples(plain.text).keys() >= samples(worked).keys()


async def test_histograms_agree_with_what_a_client_and_the_handlers_measured(
    shared: NodeProcess, shared_journal: Journal, worked: str
) -> None:
    name = "hegemon_job_processing_duration_seconds"

    def more(text: str, what: str, **labels: str) -> float:
        found, before = (total(one, f"{name}_{what}", queue="measured", **labels) for one in (text, worked))
        return found - before

    outside_s = inside_s = 0.0
    for _ in range(3):
        began = time.monotonic()
        job_id = await shared.submit("journaled", {"seconds": 0.3}, queue="measured")
        await shared.wait(job_id)
        outside_s += time.monotonic() - began
        (start,), (end,) = shared_journal.starts(job_id), shared_journal.ends(job_id)
        inside_s += (end.at_ns - start.at_ns) / 1e9
    text = await until(shared, lambda text: more(text, "count") == 3, "three durations")
    assert inside_s <= more(text, "sum") + 1e-5
    assert more(text, "sum") <= outside_s
    assert more(text, "bucket", le="0.25") == 0
    assert more(text, "bucket", le="+Inf") == 3


async def test_a_queue_that_waits_has_a_depth_and_an_age_until_it_runs(
    shared: NodeProcess, gate: Gate, worked: str
) -> None:
    held = [await shared.submit("journaled", {"gate": gate.path}, queue="slow") for _ in range(4)]
    behind = [await shared.submit("journaled", queue="slow") for _ in range(30)]

    def waits(text: str) -> bool:
        return total(text, "hegemon_queue_oldest_age_seconds", queue="slow") >= 1.0

    def all_seen(text: str) -> bool:
        # The leader may have looked while they were still submitted, or before they were begun.
        depth, busy = total(text, "hegemon_queue_depth", queue="slow"), total(text, "hegemon_worker_slots_busy")
        return waits(text) and (depth, busy) == (len(held) + len(behind), 4)

    text = await until(shared, all_seen, "all to be seen by the leader, and to have waited for a second")
    assert total(text, "hegemon_queue_depth", queue="slow", state="held") >= 4
    gate.open()
    for job_id in (*held, *behind):
        await shared.wait(job_id)
    name = "hegemon_job_wait_duration_seconds"
    text = await until(shared, lambda text: total(text, f"{name}_count", queue="slow") == 35, "all to be counted")
    # By the cluster's clock, which two processes read: half of what was seen is surely there.
    assert total(text, f"{name}_sum", queue="slow") - total(worked, f"{name}_sum", queue="slow") >= 0.5
    await until(shared, lambda text: not waits(text), "the age to be gone")


async def test_a_client_that_follows_the_activity_is_counted_while_it_does(shared: NodeProcess) -> None:
    name = "hegemon_activity_streams"
    async with shared.api.stream("GET", "/api/v1/activity/stream") as answer:
        assert answer.status_code == 200
        await until(shared, lambda text: total(text, name) == 1, "a stream to be counted")
    await until(shared, lambda text: total(text, name) == 0, "no stream to be left")


async def test_queues_beyond_a_hundred_share_one_value(shared: NodeProcess) -> None:
    jobs = [{"type": "journaled", "queue": f"many-{i}"} for i in range(SERIES_MAX + 30)]
    for job_id in await shared.submit_many(jobs):
        await shared.wait(job_id)
    completed = "hegemon_jobs_total"
    seen = set(samples(await scraped(shared)))
    queues = {dict(labels)["queue"] for name, labels in seen if name == completed}
    text = await until(shared, lambda text: total(text, completed, queue="other") > 0, "the others to be counted")
    for name, family in FAMILIES.items():
        values = {labels["queue"] for labels in of(family, text)} if "queue" in family.labels else set()
        assert len(values) <= SERIES_MAX + 1, name
    assert queues <= {dict(labels)["queue"] for name, labels in samples(text) if name == completed}


async def test_no_counter_falls_when_a_worker_process_is_killed(shared: NodeProcess) -> None:
    for job_id in await shared.submit_many([{"type": "journaled", "queue": "mail"} for _ in range(50)]):
        await shared.wait(job_id)
    text = await scraped(shared)
    before, name = counters(text), "hegemon_worker_deaths_total"
    deaths = total(text, name)
    (worker,) = await shared.workers()
    os.kill(worker["pid"], signal.SIGKILL)

    def died(text: str) -> bool:
        now = counters(text)
        fallen = {key: (before[key], now.get(key)) for key in before if now.get(key, -1.0) < before[key]}
        assert not fallen
        return total(text, name) == deaths + 1

    await until(shared, died, "the death to be counted")

    async def another() -> bool:
        return any(found["pid"] != worker["pid"] for found in await shared.workers())

    await wait_until(another)
    await shared.wait(await shared.submit("journaled", queue="mail"))
    await until(shared, died, "the counters of both")


async def test_a_step_down_is_another_leadership_and_is_counted(shared: NodeProcess) -> None:
    name = "hegemon_election_leader_changes_total"
    before = total(await scraped(shared), name)
    assert before >= 1
    assert (await shared.api.post("/api/v1/election/step-down", json={"pause": 0.1})).status_code < 300
    await until(shared, lambda text: total(text, name) > before, "the next leadership")
    await until(shared, lambda text: total(text, "hegemon_leader_active") == 1, "the leader to be active again")


async def test_statistics_and_metrics_tell_the_same(shared: NodeProcess) -> None:
    found: dict[str, Any] = {}

    async def agree() -> bool:
        # Percentiles are those of the last minute, however long it takes to look.
        await shared.wait(await shared.submit("journaled", queue="mail"))
        found.update((await shared.api.get("/api/v1/stats")).raise_for_status().json()["figures"])
        text = await scraped(shared)
        recent = found["processing"]["count"] and found["rates"]["completed"]["last_60s"] and found["depth_age_s"]
        return bool(recent and found["counters"]["completed"] == total(text, "hegemon_jobs_total", outcome="completed"))

    await wait_until(agree)
    (node,) = found["nodes"]
    assert (node["id"], node["slots"]) == ("n1", 4)
    assert found["processing"]["p50_ms"] <= found["processing"]["p99_ms"]
    assert found["missing"] == []
