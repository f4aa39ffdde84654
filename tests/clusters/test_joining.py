"""How nodes find each other, who is refused, and what a cluster does that a lone node cannot."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from hegemon.cluster.frames import DATAGRAM_FRAME_MAX, NOBODY, Keys, Kind, Sealer
from tests.clusters.cluster import SECRET, Cluster, Peers, alive, election, name_of
from tests.nodes import ROOT, Gate, NodeProcess
from tests.waiting import output_of, wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# So long that whatever waits for it to run out is seen to wait.
LEASE_S = 120.0
USAGE = 2
UNAVAILABLE = 5


@pytest.fixture(scope="module")
def algorithm() -> str:
    return "gossip"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    # A leader that the machine holds up for some seconds is not to be missed: here nobody but a test may unseat one.
    return {"WORKER_LEASE": f"{LEASE_S:g}s", "ELECTION_HEARTBEAT": "1s", "OFFICE_TAKEOVER": "6s"}


@pytest.fixture(scope="module")
def peers() -> Peers:
    def few(name: str, addresses: Mapping[str, str]) -> str:
        """n2 knows n1, by its address alone; n1 and n3 know nobody."""
        return addresses["n1"] if name == "n2" else ""

    return few


@asynccontextmanager
async def joining(cluster: Cluster, name: str, **settings: str) -> AsyncIterator[NodeProcess]:
    """One more node for the length of the block; it is spawned, not waited for, and goes in order."""
    node = cluster.add(name, **settings)
    node.spawn()
    try:
        yield node
        if node.process is not None and node.process.poll() is None:
            await node.stop()
    finally:
        await cluster.remove(node)


async def refusal(node: NodeProcess, code: int = USAGE) -> str:
    """Its last line, once it has ended: as one that was set up wrongly, or with another code."""
    assert await node.ended() == code, node.log[-3000:]
    return node.log.strip().splitlines()[-1]


async def test_nodes_find_each_other_by_one_peer_or_by_the_registry_alone(cluster: Cluster) -> None:
    # `settle` has seen it; here is who knows whom, and that n4 gets to know all by n3, which nobody named to anybody.
    async def all_known() -> bool:
        views = await cluster.views()
        return len(views) == 3 and all(alive(view) == {"n1", "n2", "n3"} for view in views.values())

    await wait_until(all_known, message="each of the three to know all")
    async with joining(cluster, "n4", CLUSTER_PEERS=cluster.addresses["n3"]) as newcomer:
        await newcomer.until_ready()
        await cluster.settle()

    await wait_until(all_known, message="all to know that n4 has left")
    cluster.lawful()


@pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq: apt-get install curl jq"
)
async def test_the_monitor_that_is_told_of_one_node_shows_what_each_says_of_the_election(cluster: Cluster) -> None:
    leader = await cluster.settle()

    async def rows() -> list[list[str]]:
        return [
            [
                *(view["node_id"], view["role"], str(view["active"]).lower(), str(view["term"]), str(view["epoch"])),
                *(view["leader_id"], cluster.named(name).url),
            ]
            for name, view in sorted((await cluster.views()).items())
        ]

    async def shown() -> list[str]:
        """The first line, once the others are what the nodes say before and after: a busy one may answer too late."""
        before = await rows()
        code, said = await output_of(str(ROOT / "scripts" / "monitor.sh"), "-c", "1", cluster.named("n2").url)
        assert code == 0, said
        head, titles, *lines = [line.split() for line in said.decode().splitlines()]
        assert titles == ["NODE", "ROLE", "ACTIVE", "TERM", "EPOCH", "LEADER", "URL"]
        whole = len(before) == 3 and sorted(lines) == before == await rows() and "true" in {row[2] for row in before}
        return head if whole else []

    head = await wait_until(shown, message="the monitor to show what all three say")
    assert head[1:] == [name_of(leader), "leads", "in", "epoch", str(cluster.witnesses.epochs()[-1])]


async def test_what_strangers_send_is_dropped_and_counted_in_the_metrics_by_why(cluster: Cluster) -> None:
    node = cluster.nodes[0]
    host, port = node.environment["CLUSTER_HOST"], int(node.environment["CLUSTER_PORT"])
    ours, theirs = (Keys.from_secrets(cluster.cluster_id, secret).sending for secret in (SECRET, "x" * 32))
    sealed = Sealer(ours, os.urandom(16)).seal(Kind.HELLO, NOBODY, b"whoever it may be")
    bad = {
        "garbage": b"no frame",
        "oversize": bytes(DATAGRAM_FRAME_MAX + 1),
        "foreign_cluster": Sealer(theirs, os.urandom(16)).seal(Kind.HELLO, NOBODY, b""),
        "forged": sealed[:-1] + bytes([sealed[-1] ^ 1]),
    }
    before = await dropped(node)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for frame in bad.values():
            stranger.sendto(frame, (host, port))

    async def counted() -> dict[str, float]:
        after = await dropped(node)
        more = {reason: after[reason] - before[reason] for reason in bad}
        return more if all(more.values()) else {}

    assert await wait_until(counted, message="each to be counted") == dict.fromkeys(bad, 1.0)
    # What was carried, or asked, was not dropped.
    others = {"replayed", "stale_boot", "unknown_peer", "queue_full", "send_failed"}
    streams = {f"stream_{why}" for why in ("failed", "refused", "timeout", "idle")}
    assert before.keys() == {*bad, *others, *streams}


async def dropped(node: NodeProcess) -> dict[str, float]:
    """Frames that it dropped so far, by why, as a scrape has them."""
    text = (await node.api.get("/metrics")).raise_for_status().text
    name = "hegemon_transport_frames_dropped_total"
    samples = [sample for family in parsed(text) for sample in family.samples if sample.name == name]
    return {sample.labels["reason"]: sample.value for sample in samples}


async def test_a_second_node_with_the_leaders_name_is_refused_and_harms_nobody(cluster: Cluster) -> None:
    leader = await cluster.settle()
    epochs = cluster.witnesses.epochs()
    # It looks for two and a half of its own beats whether the leader lives, which the machine may hold up for one.
    async with cluster.load(), joining(cluster, name_of(leader), WORKER_BEAT="2s") as twin:
        said = await refusal(twin)
        assert f"another node with NODE_ID={name_of(leader)} is alive" in said
    assert await cluster.settle() is leader
    assert cluster.witnesses.epochs() == epochs
    await cluster.clear_verdict()


async def test_a_node_with_another_algorithm_is_refused_with_a_sentence(cluster: Cluster) -> None:
    async with joining(cluster, "n5", ELECTION_ALGORITHM="bully") as stranger:
        said = await refusal(stranger)
    assert "this cluster runs with ELECTION_ALGORITHM=gossip, this node has bully" in said


async def test_a_node_with_another_secret_stays_out_of_the_election_and_works(cluster: Cluster) -> None:
    leader = await cluster.settle()
    epochs = cluster.witnesses.epochs()
    async with joining(cluster, "n9", CLUSTER_SECRET="x" * 32, CLUSTER_PEERS=cluster.addresses["n1"]) as stranger:
        await stranger.until_ready()
        before = len(cluster.marks())
        # All slots of all four: some must be the stranger's.
        waiting = [{"type": "journaled", "payload": {"gate": cluster.gate}}] * 16
        await wait_until(lambda: cluster.offer_many(waiting), message="the jobs to be accepted")
        await wait_until(lambda: len(cluster.marks()) >= before + 16, message="all slots to be at work")
        at_work = {mark.pid for mark in cluster.marks()[before:]}
        assert at_work == {worker["pid"] for worker in await stranger.workers()}
        view = await wait_until(lambda: election(stranger), message="its own view")
        assert not view["is_leader"]
        others = await cluster.views([node for node in cluster.nodes if node is not stranger])
        assert all("n9" not in alive(view) for view in others.values()), others
        cluster.open_gate()
        await cluster.clear_verdict()
    assert await cluster.settle() is leader
    assert cluster.witnesses.epochs() == epochs


async def test_after_a_loss_of_redis_all_nodes_declare_and_nobody_waits_for_a_lease(cluster: Cluster) -> None:
    leader = await cluster.settle()
    generation = cluster.witnesses.offices[-1].generation
    async with cluster.load(), asyncio.timeout(LEASE_S / 2):
        await cluster.progress()
        cluster.wipe_index()
        await wait_until(lambda: cluster.witnesses.markers[-1].generation > generation, message="a new generation")
        await cluster.progress()
        await cluster.settle()
    await cluster.clear_verdict()
    assert '"index_rebuilt"' in leader.log


async def test_jobs_that_a_stopped_process_of_one_node_was_given_run_on_the_others(cluster: Cluster) -> None:
    leader = await cluster.settle()
    async with cluster.watching():
        worker = next(worker for worker in await leader.workers() if worker["node"] != name_of(leader))
        os.kill(worker["pid"], signal.SIGSTOP)
        try:
            jobs = [{"type": "journaled", "payload": {"seconds": 0.05}}] * 60
            ids = await wait_until(lambda: cluster.offer_many(jobs), message="the jobs to be accepted")
            await wait_until(lambda: set(ids) <= cluster.watch.observed.keys(), LEASE_S / 2, "the others to run all")
        finally:
            os.kill(worker["pid"], signal.SIGCONT)
    await cluster.clear_verdict()
    assert worker["pid"] not in {mark.pid for mark in cluster.marks() if mark.id in ids}


async def test_a_node_whose_place_a_twin_took_while_it_stood_still_ends_too_and_starts_anew(
    cluster: Cluster, tmp_path: Path
) -> None:
    leader = await cluster.settle()
    first = next(node for node in cluster.nodes if node is not leader)
    # Half of all slots: some are on the one that ends.
    gate = Gate(str(tmp_path / "gate"))
    jobs = [{"type": "journaled", "payload": {"gate": gate.path}}] * 6
    ids = await wait_until(lambda: cluster.offer_many(jobs), message="the jobs to be accepted")
    await wait_until(lambda: {mark.id for mark in cluster.marks()} >= set(ids), message="all to be begun")
    first.signal(signal.SIGSTOP)
    try:
        async with joining(cluster, name_of(first)) as twin:
            # It could not see that the first lives.
            await twin.until_ready()
            first.signal(signal.SIGCONT)
            assert f"another node with NODE_ID={name_of(first)} is alive" in await refusal(twin)
    finally:
        first.signal(signal.SIGCONT)
    # The others have heard its successor, and take its words for those of a past life.
    await wait_until(lambda: '"node_stopping"' in first.log, message="the first to end")
    gate.open()
    assert "took this node's place" in await refusal(first, UNAVAILABLE), "another start gets the place back"
    # It ends as one that was told to stop: its jobs are done, and its workers wait for no lease to run out.
    assert name_of(first) not in {worker["node"] for worker in await leader.workers()}
    assert await cluster.settled()
    assert all(len(cluster.starts(job_id)) == 1 for job_id in ids)
    first.spawn()
    await cluster.settle()
    await cluster.clear_verdict()
