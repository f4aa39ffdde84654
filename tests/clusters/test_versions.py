"""Two versions side by side: a cluster that is changed node by node under load, forwards and back, loses no job.

The older one is a commit of this repository, before nodes told each other figures and what their handlers take.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from hegemon.version import VERSION
from tests.clusters.cluster import Cluster, name_of
from tests.nodes import ROOT, NodeProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.asyncio(loop_scope="module")
OLDER = "a7f376fc8f360e203e7e4b98dba99f762f32aed4"
OLDER_VERSION = "0.0.9"


@pytest.fixture(scope="module")
def algorithm() -> str:
    return "raft"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the older version lies, under a number of its own."""
    packed = subprocess.run(["git", "archive", OLDER, "hegemon"], cwd=ROOT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip("needs git and the whole history of this repository")
    directory = tmp_path_factory.mktemp("older")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(directory, filter="data")
    version = directory / "hegemon" / "version.py"
    version.write_text(version.read_text().replace(f'"{VERSION}"', f'"{OLDER_VERSION}"'))
    return directory


@pytest.fixture(scope="module")
def environment(older: Path) -> dict[str, str]:
    """All begin with the older one."""
    return {"PYTHONPATH": path_of(older)}


def path_of(version: Path) -> str:
    return f"{version}:{ROOT}"


async def change(cluster: Cluster, node: NodeProcess, version: Path) -> None:
    """Stop it in order, and start it with another version; wait until all agree and work goes on."""
    assert await node.stop() == 0, node.log[-3000:]
    node.environment["PYTHONPATH"] = path_of(version)
    await node.start()
    await cluster.settle()
    await cluster.progress()


async def versions(node: NodeProcess) -> dict[str, str]:
    """By node, as this one sees them."""
    found: list[dict[str, Any]] = (await node.api.get("/api/v1/nodes")).raise_for_status().json()["nodes"]
    return {one["id"]: one["version"] for one in found if one["alive"]}


async def shows(node: NodeProcess, wanted: dict[str, str]) -> None:
    """Wait until it sees these versions: a beat is looked at once a second, and is good for one."""

    async def seen() -> bool:
        return await versions(node) == wanted

    await wait_until(seen, message=f"{name_of(node)} to see {wanted}")


async def test_a_rolling_change_of_version_forwards_and_back_loses_no_job(cluster: Cluster, older: Path) -> None:
    first, second, third = cluster.nodes
    await shows(first, {name_of(node): OLDER_VERSION for node in cluster.nodes})
    async with cluster.load():
        await cluster.progress()
        await change(cluster, first, ROOT)
        mixed = {name_of(first): VERSION, name_of(second): OLDER_VERSION, name_of(third): OLDER_VERSION}
        await shows(first, mixed)
        await shows(third, mixed)
        # What only one of them tells is missing, and no fault.
        stats = (await first.api.get("/api/v1/stats")).raise_for_status().json()
        assert name_of(first) in {node["id"] for node in stats["figures"]["nodes"]}

        async def handled() -> bool:
            types = {one["type"]: one for one in (await first.api.get("/api/v1/types")).json()["types"]}
            return "journaled" in types and set(types["journaled"]["nodes"]) == set(mixed)

        await wait_until(handled, message="the workers of all nodes to be known by what they handle")
        await change(cluster, second, ROOT)
        await change(cluster, third, ROOT)
        await shows(first, {name_of(node): VERSION for node in cluster.nodes})
        await change(cluster, first, older)
    await shows(second, {name_of(node): VERSION for node in cluster.nodes} | {name_of(first): OLDER_VERSION})
    cluster.all_run()
    verdict = await cluster.clear_verdict()
    assert verdict.ok
