"""The compose files, really run: each cluster on a real engine, used and hurt as its operator would.

The tests of a cluster run in this order on the same containers, and each leaves the cluster whole. What stands in for
the images of others, and what that leaves unproven, is said in docs/compose.md.
"""

import asyncio
import os
import re
import shlex
import subprocess
import tarfile
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from shutil import which
from typing import Any

import httpx
import pytest

from tests.compose.cluster import GONE, GRAFANA, LONG_S, PROMETHEUS, Cluster
from tests.compose.dashboards import expressions_of, filled_in, query
from tests.compose.lab import ROOT
from tests.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.compose

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


async def everybody_is_there(cluster: Cluster, more: int = 0) -> None:
    """Every named node is ready and alive to the others, and `more` beside them."""

    async def ready() -> bool:
        for node in cluster.nodes:
            if await cluster.ask(node, "GET", "/readyz") is None:
                return False
        return await cluster.alive() == len(cluster.nodes) + more

    await wait_until(ready, LONG_S, "all nodes to be there")


async def test_the_nodes_form_a_cluster_with_one_leader(cluster: Cluster) -> None:
    await everybody_is_there(cluster)
    leader = await cluster.leader()
    assert leader in cluster.nodes
    answer = await cluster.ask(leader, "GET", "/api/v1/election")
    assert answer is not None
    assert answer.json()["current_algorithm"] == cluster.algorithm
    urls = {member["url"] for member in answer.json()["members"]}
    assert urls == {f"https://localhost:{8080 + number}" for number in range(len(cluster.nodes))}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as scraper:
        for number, node in enumerate(cluster.nodes):
            metrics = await scraper.get(f"http://127.0.0.1:{9090 + number}/metrics")
            assert re.search(rf'^hegemon_build_info{{.*node="{node}"', metrics.text, re.MULTILINE), metrics.text[:500]


async def test_nobody_is_let_in_without_a_credential_or_without_tls(cluster: Cluster) -> None:
    for node in cluster.nodes:
        async with httpx.AsyncClient(verify=cluster.trust(), trust_env=False, timeout=PATIENCE_S) as stranger:
            assert (await stranger.get(cluster.url(node) + "/api/v1/jobs")).status_code == 401
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as plain:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await plain.get(cluster.url(node) + "/readyz")
            with pytest.raises(httpx.TransportError):
                await plain.get(cluster.url(node).replace("https", "http") + "/readyz")


async def test_jobs_run_whichever_node_takes_them(cluster: Cluster) -> None:
    ids = []
    for node in cluster.nodes:
        body = {"type": "echo", "payload": {"n": 1}}
        answer = await cluster.client.post(cluster.url(node) + "/api/v1/jobs", json=body, timeout=PATIENCE_S)
        assert answer.status_code == 201, answer.text
        ids.append(answer.json()["id"])
    await cluster.completed(ids)


async def test_a_container_has_no_rights_and_no_place_to_write(cluster: Cluster) -> None:
    run, tool = cluster.engine.machine.run, cluster.engine.tool
    container = cluster.container("node-1")
    assert run(tool, "exec", container, "id", "-u").strip() == "10001"
    host = cluster.engine.inspect(container)["HostConfig"]
    assert isinstance(host, dict)
    assert host["ReadonlyRootfs"] is True
    status = run(tool, "exec", container, "cat", "/proc/self/status")
    assert re.search(r"^CapBnd:\s*0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
    written = run(
        tool, "exec", container, "sh", "-c", "touch /x /app/x /opt/hegemon/x; true; ls /x /app/x || echo none"
    )
    assert written.strip() == "none"
    # Process 1 reaps the orphans of handlers.
    assert "hegemon" not in run(tool, "exec", container, "cat", "/proc/1/comm")


async def test_the_command_line_works_inside_a_node(cluster: Cluster) -> None:
    login = (
        'printf "%s\\n" "$ADMIN_PASSWORD" | hegemon login admin --password-stdin && hegemon job submit noop {} --wait'
    )
    run = cluster.engine.machine.run
    assert "completed" in run(cluster.engine.tool, "exec", cluster.container("node-1"), "sh", "-c", login)


async def test_prometheus_reaches_each_node_and_reads_the_rules(cluster: Cluster) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:

        async def up() -> bool:
            return len(await query(client, 'up{job="hegemon",cluster="hegemon"} == 1')) == len(cluster.nodes)

        await wait_until(up, LONG_S, "Prometheus to have scraped every node")
        groups = (await client.get(f"{PROMETHEUS}/api/v1/rules")).json()["data"]["groups"]
        assert {group["file"].rpartition("/")[2] for group in groups} == {"rules.yml", "alerts.yml"}


async def test_what_the_dashboards_ask_has_answers(cluster: Cluster) -> None:
    await cluster.completed(await cluster.submit(20, type="echo", payload={"n": 1}))
    login = httpx.BasicAuth("admin", cluster.secrets["GRAFANA_PASSWORD"] or "")
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:
        assert (await client.get(f"{GRAFANA}/api/datasources")).status_code == 401
        [source] = (await client.get(f"{GRAFANA}/api/datasources", auth=login)).json()
        assert source["url"] == "http://prometheus:9090"
        boards = (await client.get(f"{GRAFANA}/api/search?type=dash-db", auth=login)).json()
        assert len(boards) >= 5
        expressions = set()
        for board in boards:
            whole = (await client.get(f"{GRAFANA}/api/dashboards/uid/{board['uid']}", auth=login)).json()
            expressions |= set(expressions_of(whole["dashboard"]))
        assert len(expressions) > 40

        silent = set(expressions)

        async def answered() -> bool:
            for expression in sorted(silent):
                if await query(client, filled_in(expression)):
                    silent.discard(expression)
            # Some panels are empty while nothing is wrong; most have data as soon as two scrapes have been made.
            return len(silent) < len(expressions) / 3

        await wait_until(answered, LONG_S, f"answers to the {len(expressions)} expressions of the dashboards")


@asynccontextmanager
async def load(cluster: Cluster) -> Any:
    """Submissions without a pause to whichever node takes them; yields the ids that were acknowledged."""
    acknowledged: list[str] = []
    stop = asyncio.Event()

    async def submit() -> None:
        while not stop.is_set():
            for node in cluster.nodes:
                with suppress(*GONE):
                    body = {"type": "sleep", "payload": {"seconds": 0.05}}
                    answer = await cluster.client.post(cluster.url(node) + "/api/v1/jobs", json=body)
                    if answer.status_code == 401:
                        await cluster.log_in()
                    answer.raise_for_status()
                    acknowledged.append(answer.json()["id"])
            await asyncio.sleep(0.02)  # a load, no flood

    task = asyncio.create_task(submit())
    try:
        yield acknowledged
    finally:
        stop.set()
        await task


async def test_a_killed_leader_is_succeeded_and_comes_back(cluster: Cluster) -> None:
    leader, epoch = await cluster.leader(), await cluster.epoch()
    async with load(cluster) as ids:
        await wait_until(lambda: len(ids) > 20, LONG_S, "some load")
        await cluster.in_thread("kill", leader)
        assert await cluster.leader(other_than=leader) != leader
        # Its majority may depose a dead leader; the others wait until it has been silent for long enough.
        reason = (await cluster.taken_after(epoch))["reason"]
        assert reason == ("outvoted" if cluster.algorithm == "raft" else "silent")
        reached = len(ids)
        await wait_until(lambda: len(ids) > reached + 20, LONG_S, "submissions to go on")
        await cluster.in_thread("start", leader)
        await everybody_is_there(cluster)
    assert await cluster.epoch() > epoch
    await cluster.completed(ids)


async def test_a_stopped_leader_hands_its_office_over_and_nobody_waits_for_its_silence(cluster: Cluster) -> None:
    leader = await cluster.leader()
    async with load(cluster) as ids:
        await wait_until(lambda: len(ids) > 20, LONG_S, "some load")
        stopped = asyncio.create_task(cluster.in_thread("stop", leader))
        try:
            # Before its container has ended: it still finishes its jobs.
            assert await cluster.leader(other_than=leader) != leader
        finally:
            await stopped
        vacated = (await cluster.log(leader, "office_vacated"))[-1]
        assert (await cluster.taken_after(vacated["epoch"]))["reason"] in {"vacant", "outvoted"}
        await cluster.in_thread("start", leader)
        await everybody_is_there(cluster)
    await cluster.completed(ids)


async def test_a_paused_leader_is_succeeded_and_does_no_harm_when_it_wakes(cluster: Cluster) -> None:
    leader, epoch = await cluster.leader(), await cluster.epoch()
    async with load(cluster) as ids:
        await wait_until(lambda: len(ids) > 20, LONG_S, "some load")
        await cluster.in_thread("pause", leader)
        # Its port still takes connections that nobody answers: what is under way to it waits until it wakes.
        assert await cluster.leader(other_than=leader) != leader
        await cluster.in_thread("unpause", leader)
        await everybody_is_there(cluster)
    assert await cluster.epoch() > epoch
    await cluster.completed(ids)


async def test_a_leader_cut_off_from_the_network_is_succeeded_and_joins_again(cluster: Cluster) -> None:
    leader, epoch = await cluster.leader(), await cluster.epoch()
    container = cluster.container(leader)
    await asyncio.to_thread(cluster.engine.disconnect, cluster.algorithm, container)
    assert await cluster.leader(other_than=leader) != leader
    ids = await cluster.submit(20)
    await asyncio.to_thread(cluster.engine.connect, cluster.algorithm, leader, container)

    async def back() -> bool:
        return await cluster.alive() == len(cluster.nodes)

    await wait_until(back, LONG_S, f"{leader} to be back")
    assert await cluster.epoch() > epoch
    await cluster.completed(ids)
    # Engines differ in whether a published port survives this; a new start brings it back on each. No `restart`: podman
    # refuses it to a container that depends on one that ended in order.
    await cluster.in_thread("stop", leader)
    await cluster.in_thread("start", leader)
    await everybody_is_there(cluster)


@pytest.mark.parametrize("extra", [4, 10])
async def test_gossip_scales_by_a_service_without_names(cluster: Cluster, extra: int) -> None:
    if cluster.algorithm != "gossip":
        pytest.skip("only the cluster of Gossip has the service extra")
    await asyncio.to_thread(cluster.engine.scale, cluster.algorithm, extra)
    await everybody_is_there(cluster, extra)
    assert len(cluster.engine.containers(cluster.algorithm, "extra")) == extra
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S) as client:

        async def scraped() -> bool:
            return len(await query(client, 'up{job="hegemon"} == 1')) == len(cluster.nodes) + extra

        await wait_until(scraped, LONG_S, "Prometheus to find the extra nodes by DNS")
    # More than the named nodes have room for at once, so that the extra ones work too.
    ids = await cluster.submit(20 * (len(cluster.nodes) + extra), type="sleep", payload={"seconds": 1})
    await cluster.completed(ids)
    await asyncio.to_thread(cluster.engine.scale, cluster.algorithm, 0)
    await everybody_is_there(cluster)


async def test_a_rolling_restart_under_load_loses_no_job(cluster: Cluster) -> None:
    async with load(cluster) as ids:
        for node in cluster.nodes:
            before = len(ids)
            await wait_until(lambda before=before: len(ids) > before + 20, LONG_S, "some load")  # type: ignore[misc]
            await cluster.in_thread("stop", node)
            state = cluster.engine.inspect(cluster.container(node))["State"]
            assert isinstance(state, dict)
            # In order: within its grace, and not by SIGKILL.
            assert state["ExitCode"] == 0
            await cluster.in_thread("start", node)
            await everybody_is_there(cluster)
    await cluster.completed(ids)


async def test_a_node_is_replaced_by_a_new_container_under_load(cluster: Cluster) -> None:
    leader = await cluster.leader()
    before = cluster.engine.inspect(cluster.container(leader))["Id"]
    async with load(cluster) as ids:
        await asyncio.to_thread(cluster.engine.replace, cluster.algorithm, leader)
        await everybody_is_there(cluster)
    assert cluster.engine.inspect(cluster.container(leader))["Id"] != before
    await cluster.completed(ids)


async def test_a_cluster_that_was_stopped_has_its_data_when_it_starts(cluster: Cluster) -> None:
    done = await cluster.submit(5)
    await cluster.completed(done)
    later = await cluster.submit(5, delay=7200)
    await asyncio.to_thread(cluster.engine.compose, cluster.algorithm, "down")
    await asyncio.to_thread(cluster.engine.up, cluster.algorithm)
    await cluster.log_in()
    await everybody_is_there(cluster)
    await cluster.completed([*done, *await cluster.submit(5)])
    await still_scheduled(cluster, later)


async def test_secrets_that_are_changed_in_the_env_file_take_effect_and_jobs_stay(cluster: Cluster) -> None:
    done, later = await cluster.submit(5), await cluster.submit(5, delay=7200)
    await cluster.completed(done)
    before = dict(cluster.client.headers)
    cluster.change_secrets("JWT_SECRET", "REDIS_PASSWORD", "MONGODB_PASSWORD")
    await asyncio.to_thread(cluster.engine.up_with_new_secrets, cluster.algorithm, cluster.nodes)
    await cluster.log_in()
    await everybody_is_there(cluster)
    old = await cluster.client.get(cluster.url("node-1") + "/api/v1/jobs", headers=before)
    assert old.status_code == 401
    await cluster.completed([*done, *await cluster.submit(5)])
    await still_scheduled(cluster, later)


async def still_scheduled(cluster: Cluster, ids: list[str]) -> None:
    for job in ids:
        answer = await cluster.answer("GET", f"/api/v1/jobs/{job}")
        assert answer.json()["status"] == "scheduled"


async def test_a_backup_made_in_a_container_fills_a_new_volume(cluster: Cluster) -> None:
    """With the commands of docs/operations.md and docs/compose.md."""
    engine, algorithm = cluster.engine, cluster.algorithm
    engine.machine.run("sh", "-c", "rm -rf /lab/backup; mkdir /lab/backup")
    done, waiting = await cluster.submit(5), await cluster.submit(5, delay=7200)
    await cluster.completed(done)
    await asyncio.to_thread(engine.once, algorithm, "backup", "/backup/once")
    # The manual's own.
    (inside,) = re.findall(r"^    sh -ec '(.*?)' >", OPERATIONS, re.MULTILINE)
    backup = shlex.join([engine.tool, "exec", cluster.container("node-1"), "sh", "-ec", inside])
    await asyncio.to_thread(engine.machine.run, "sh", "-ec", f"{backup} > /lab/backup/{algorithm}")
    assert not engine.machine.run(engine.tool, "exec", cluster.container("node-1"), "find", "/tmp", "-name", "backup")
    [later] = await cluster.submit(1)
    await asyncio.to_thread(engine.down, algorithm, cluster.nodes)
    volume = f"hegemon-{algorithm}_mongodb"
    engine.machine.run(engine.tool, "volume", "rm", volume, f"{volume}-config")
    await asyncio.to_thread(partial(engine.once, algorithm, "restore", f"/backup/{algorithm}", stores=True))
    await asyncio.to_thread(engine.up, algorithm)
    await cluster.log_in()
    await everybody_is_there(cluster)
    await cluster.completed([*done, *await cluster.submit(5)])
    await still_scheduled(cluster, waiting)
    # Theirs, so that `down --volumes` removes them.
    project = f"label=com.docker.compose.project=hegemon-{algorithm}"
    assert volume in engine.machine.run(engine.tool, "volume", "ls", "--quiet", "--filter", project).split()
    assert await cluster.any("GET", f"/api/v1/jobs/{later}") is None


@pytest.mark.skipif(not (which("curl") and which("jq")), reason="needs curl and jq: apt-get install curl jq")
async def test_the_scripts_for_people_find_every_node_by_tls(cluster: Cluster, tmp_path: Path) -> None:
    token = cluster.client.headers["Authorization"].removeprefix("Bearer ")
    trusting = {"HEGEMON_TOKEN": token, "HEGEMON_CA_FILE": str(cluster.tls / "ca.pem")}

    async def said(script: str, *args: str, **more: str) -> str:
        command = [ROOT / "scripts" / script, *args, "https://localhost:8080"]
        run = partial(subprocess.run, command, env={"PATH": os.environ["PATH"], **more}, text=True, check=False)
        return str((await asyncio.to_thread(partial(run, capture_output=True))).stdout)

    async def watched() -> bool:
        shown = await said("monitor.sh", "-c", "1", **trusting)
        rows = {line.split()[0]: line.split()[1] for line in shown.splitlines() if "https://" in line}
        return rows.keys() == set(cluster.nodes) and "leader" in rows.values()

    # It gives each node one second, which a busy machine may take.
    await wait_until(watched, LONG_S, "the monitor to show every node")

    async def mistrusted() -> bool:
        return "untrusted" in await said("monitor.sh", "-c", "1", HEGEMON_TOKEN=token)

    await wait_until(mistrusted, LONG_S, "the monitor to say whom it does not trust")
    archive = tmp_path / "report.tar.gz"

    async def packed() -> bool:
        return f"{len(cluster.nodes)} answered" in await said("debug.sh", "-o", str(archive), **trusting)

    await wait_until(packed, LONG_S, "a report of every node")
    files = unpacked(archive)
    assert sum(name.endswith("/config.json") for name in files) == len(cluster.nodes)
    for secret in (token, *filter(None, cluster.secrets.values())):
        assert not [name for name, text in files.items() if secret in text]


def unpacked(archive: Path) -> dict[str, str]:
    """The texts of its files by their paths."""
    with tarfile.open(archive) as opened:
        found = {one.name: opened.extractfile(one) for one in opened.getmembers()}
        return {name: file.read().decode() for name, file in found.items() if file is not None}
