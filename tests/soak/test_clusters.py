"""Clusters of 3, 5 and 7 nodes through everything that networks, processes, clocks and stores do to them; each scene is
judged for safety, and what it took is printed.

`./dev soak tests/soak/test_clusters.py` prints tables. CLUSTER_ROUNDS=3 plays all scenes so often, CLUSTER_NODES=3,5
and CLUSTER_SCENES=Redis,partial choose, CLUSTER_RAW=docs/measurements/clusters.jsonl appends a JSON line for each.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import pytest

from tests.clusters.cluster import Cluster, on_cluster
from tests.clusters.network import on_network, unavailable
from tests.conftest import MongoServer, RedisServer
from tests.faults.replica_set import ReplicaSet
from tests.soak.cluster_scenes import (
    Row,
    Scene,
    append,
    network_scenes,
    play,
    primary_scenes,
    process_scenes,
    store_scenes,
)
from tests.soak.conftest import Say

pytestmark = pytest.mark.soak

ROUNDS = int(os.environ.get("CLUSTER_ROUNDS", "1"))
NODES = [int(count) for count in os.environ.get("CLUSTER_NODES", "3,5,7").split(",")]
SCENES = [part for part in os.environ.get("CLUSTER_SCENES", "").split(",") if part]
RAW = os.environ.get("CLUSTER_RAW")
STOPS_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
# What a node has by default, where trials make it shorter.
DEFAULTS = {"WORKER_LEASE": "3s", "WORKER_BEAT": "500ms", "MONGODB_TIMEOUT": "5s", "REDIS_TIMEOUT": "2s"}
FAKETIME = next((str(path) for path in Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)

Play = Callable[[Cluster, Iterable[Scene]], Awaitable[None]]
algorithms = pytest.mark.parametrize("algorithm", ["bully", "gossip", "raft"])
on_hosts = pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "namespaces can be made here")


@pytest.fixture
def plays(say: Say) -> Play:
    """Play the chosen scenes, each one so often; print as they end."""

    async def run(cluster: Cluster, scenes: Iterable[Scene]) -> None:
        chosen = [scene for scene in scenes if not SCENES or any(part in scene.name for part in SCENES)]
        cluster.witnesses.every_s = 0.05
        say(Row.heading())
        for scene in chosen * ROUNDS:
            row = await play(cluster, scene)
            say(str(row))
            if RAW:
                append(Path(RAW), row)

    return run


@on_hosts
@algorithms
@pytest.mark.parametrize("count", NODES)
async def test_partitions_stops_and_restarts(tmp_path: Path, algorithm: str, count: int, plays: Play) -> None:
    async with on_network(tmp_path, algorithm=algorithm, count=count, **DEFAULTS) as (cluster, redis, mongo):
        await plays(
            cluster,
            [*network_scenes(cluster), *process_scenes(cluster, STOPS_S), *store_scenes(cluster, redis, mongo)],
        )


@algorithms
async def test_a_node_whose_clock_is_an_hour_off(
    tmp_path: Path,
    redis_server: RedisServer,
    mongo_server: MongoServer,
    cluster_id: str,
    database: str,
    algorithm: str,
    plays: Play,
) -> None:
    if FAKETIME is None:
        pytest.skip("a clock that is off needs libfaketime (Debian: faketime)")
    async with on_cluster(
        tmp_path,
        algorithm=algorithm,
        count=3,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        environment={"CLUSTER_ID": cluster_id, **DEFAULTS},
        odd={
            "n1": {"LD_PRELOAD": FAKETIME, "FAKETIME": "-1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
            "n3": {"LD_PRELOAD": FAKETIME, "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        },
    ) as cluster:
        await plays(cluster, process_scenes(cluster, (1.0, 5.0)))


@algorithms
async def test_changes_of_mongodbs_primary_during_elections(
    tmp_path: Path, redis_server: RedisServer, cluster_id: str, algorithm: str, plays: Play
) -> None:
    async with (
        ReplicaSet(tmp_path / "replicas") as replicas,
        on_cluster(
            tmp_path,
            algorithm=algorithm,
            count=3,
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
