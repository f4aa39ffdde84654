"""Clusters of 3, 5 and 7 nodes through everything that networks, processes, clocks and stores do to them; each scene is
judged for safety, and what it took is printed.

`./dev soak tests/soak/test_clusters.py` prints tables. CLUSTER_REPEAT=3 plays all scenes so often, CLUSTER_NODES=3,5
and CLUSTER_SCENES=Redis,partial choose; CLUSTER_ROUNDS=30 is how often followers are cut off and leaders told to stop.
CLUSTER_RAW=docs/measurements/clusters.json keeps all figures; tests/soak/cluster_report.py makes tables of them.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Final

import msgspec
import pytest

from hegemon.cluster.election_trial import trial
from tests.clusters.cluster import Cluster, on_cluster
from tests.clusters.network import on_network, unavailable
from tests.conftest import MongoServer, RedisServer
from tests.faults.replica_set import ReplicaSet
from tests.nodes import ROOT
from tests.soak.cluster_report import record
from tests.soak.cluster_rounds import followers_cut_off, jobs_of_killed_nodes, leaders_told_to_stop
from tests.soak.cluster_scenes import Row, Scene, network_scenes, play, primary_scenes, process_scenes, store_scenes
from tests.soak.conftest import Quiet, Say

pytestmark = pytest.mark.soak

REPEAT = int(os.environ.get("CLUSTER_REPEAT", "1"))
ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "30"))
NODES = [int(count) for count in os.environ.get("CLUSTER_NODES", "3,5,7").split(",")]
SCENES = [part for part in os.environ.get("CLUSTER_SCENES", "").split(",") if part]
RAW = os.environ.get("CLUSTER_RAW")
STOPS_S: Final = (0.2, 1.0, 5.0, 30.0)
# How often nodes are killed with jobs in flight: each round waits for a lease to run out, twice.
KILLS: Final = max(ROUNDS // 5, 2)
# What a node has by default, where trials make it shorter.
DEFAULTS = {"WORKER_LEASE": "3s", "WORKER_BEAT": "500ms", "MONGODB_TIMEOUT": "5s", "REDIS_TIMEOUT": "2s"}
FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)

Keep = Callable[[str, msgspec.Struct], None]
Play = Callable[[Cluster, Iterable[Scene]], Awaitable[None]]
algorithms = pytest.mark.parametrize("algorithm", ["bully", "raft", "gossip"])
counts = pytest.mark.parametrize("count", NODES)
on_hosts = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "namespaces can be made here")


@pytest.fixture
def keep(say: Say) -> Keep:
    """Print a row, and keep it if a file was named."""

    def kept(kind: str, row: msgspec.Struct) -> None:
        say(str(row))
        if RAW:
            record(ROOT / RAW, kind, row)

    return kept


@pytest.fixture
def plays(say: Say, keep: Keep) -> Play:
    """Play the chosen scenes, each one so often; print as they end."""

    async def run(cluster: Cluster, scenes: Iterable[Scene]) -> None:
        chosen = [scene for scene in scenes if not SCENES or any(part in scene.name for part in SCENES)]
        cluster.witnesses.every_s = 0.05
        say(Row.heading())
        for scene in chosen * REPEAT:
            keep("scenes", await play(cluster, scene))

    return run


@on_hosts
@algorithms
@counts
async def test_partitions_stops_and_restarts(tmp_path: Path, algorithm: str, count: int, plays: Play) -> None:
    async with on_network(tmp_path, algorithm=algorithm, count=count, **DEFAULTS) as (cluster, redis, mongo):
        await plays(
            cluster,
            [*network_scenes(cluster), *process_scenes(cluster, STOPS_S), *store_scenes(cluster, redis, mongo)],
        )


@on_hosts
@algorithms
async def test_a_follower_that_comes_back_leaves_the_leader_alone(
    tmp_path: Path, algorithm: str, seed: int, say: Say, keep: Keep
) -> None:
    async with on_network(tmp_path, algorithm=algorithm, count=3, **DEFAULTS) as (cluster, _, _):
        found = await followers_cut_off(cluster, ROUNDS, seed, say)
    keep("rounds", found)
    assert found.kept >= 0.99 * found.count, found


@on_hosts
@algorithms
@counts
async def test_jobs_of_a_killed_node_run_again_elsewhere(
    tmp_path: Path, algorithm: str, count: int, say: Say, keep: Keep
) -> None:
    async with on_network(tmp_path, algorithm=algorithm, count=count, **DEFAULTS) as (cluster, _, _):
        keep("rounds", await jobs_of_killed_nodes(cluster, tmp_path, KILLS, say))


@algorithms
@counts
async def test_leaders_that_are_told_to_stop_hand_over_at_once(
    algorithm: str, count: int, say: Say, keep: Keep
) -> None:
    async with trial(algorithm, count, Quiet(say)) as running:
        keep("rounds", await leaders_told_to_stop(running, ROUNDS, say))


@algorithms
@counts
async def test_a_node_whose_clock_is_an_hour_off(
    tmp_path: Path,
    redis_server: RedisServer,
    mongo_server: MongoServer,
    cluster_id: str,
    database: str,
    algorithm: str,
    count: int,
    plays: Play,
) -> None:
    if FAKETIME is None:
        pytest.skip("a clock that is off needs libfaketime (Debian: faketime)")
    async with on_cluster(
        tmp_path,
        algorithm=algorithm,
        count=count,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        environment={"CLUSTER_ID": cluster_id, **DEFAULTS},
        # One behind, and one ahead: the last, which Bully prefers.
        odd={
            "n1": {"LD_PRELOAD": FAKETIME, "FAKETIME": "-1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            f"n{count}": {"LD_PRELOAD": FAKETIME, "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        },
    ) as cluster:
        await plays(cluster, process_scenes(cluster, (1.0, 5.0)))


@algorithms
@counts
async def test_changes_of_mongodbs_primary_during_elections(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, algorithm: str, count: int, plays: Play
) -> None:
    async with (
        ReplicaSet(tmp_path / "replicas") as replicas,
        on_cluster(
            tmp_path,
            algorithm=algorithm,
            count=count,
            redis_url=redis_server.url,
            mongodb_uri=replicas.uri,
            database="clusters",
            environment={"CLUSTER_ID": cluster_id, **DEFAULTS},
        ) as cluster,
    ):

        async def kill_primary() -> Callable[[], Awaitable[object]]:
            primary = await replicas.primary()
            await primary.kill()
            return primary.start

        await plays(cluster, primary_scenes(cluster, kill_primary))
