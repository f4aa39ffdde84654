"""The real application under the real server on a loopback port, over the in-memory ports of `tests.api.memory`."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer
from tests.api.documented import check
from tests.api.memory import MemoryNode, metrics_of
from tests.waiting import PATIENCE_S

VERSION = "9.8.7"
REQUEST_BYTES_MAX = 100_000
METRICS = b"# TYPE hegemon_up gauge\nhegemon_up 1.0\n"


@pytest.fixture(scope="session")
def _served(server_loop: asyncio.AbstractEventLoop) -> Iterator[tuple[ApiServer, MemoryNode]]:
    node = MemoryNode()
    app = create_app(node, node, version=VERSION, request_bytes_max=REQUEST_BYTES_MAX, metrics=metrics_of(METRICS))
    server = ApiServer(app, host="127.0.0.1", port=0)

    def run(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, server_loop).result()

    run(server.start())
    yield server, node
    run(server.stop(1.0))


@pytest.fixture
def server(_served: tuple[ApiServer, MemoryNode]) -> ApiServer:
    return _served[0]


@pytest.fixture
def node(_served: tuple[ApiServer, MemoryNode]) -> MemoryNode:
    _served[1].reset()
    return _served[1]


@pytest.fixture(scope="session")
def _client(_served: tuple[ApiServer, MemoryNode]) -> Iterator[httpx.Client]:
    with httpx.Client(
        base_url=_served[0].url, timeout=PATIENCE_S, event_hooks={"response": [check]}, trust_env=False
    ) as client:
        yield client


@pytest.fixture
def http(_client: httpx.Client, node: MemoryNode) -> httpx.Client:
    """A client whose every answer is held against the OpenAPI description."""
    return _client


@pytest.fixture
def job_id(http: httpx.Client) -> str:
    """A pending job."""
    accepted = http.post("/api/v1/jobs", json={"type": "echo", "payload": {"n": 1}})
    return str(accepted.json()["id"])
