import asyncio
import signal
import socket
from typing import Any

import httpx
import pytest

from hegemon.api.app import create_app
from hegemon.api.server import ApiServer, PortUnavailable, metrics_app
from tests.api.documented import assert_problem
from tests.api.memory import MemoryNode, metrics_of
from tests.waiting import PATIENCE_S, wait_until


def _app(node: MemoryNode) -> Any:
    return create_app(node, node, version="1", request_bytes_max=1000, metrics=None)


async def _get(url: str, **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S, **options) as client:
        return await client.get(url)


async def test_a_taken_port_is_an_os_error_that_names_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            await ApiServer(_app(MemoryNode()), host="127.0.0.1", port=port).start()


async def test_a_host_that_is_not_ours_is_an_os_error_that_names_it() -> None:
    with pytest.raises(PortUnavailable, match=r"cannot listen on 192\.0\.2\.1"):
        await ApiServer(_app(MemoryNode()), host="192.0.2.1", port=0).start()


async def test_two_servers_run_in_one_loop_and_a_port_is_free_after_its_stop() -> None:
    node = MemoryNode()
    api = ApiServer(_app(node), host="127.0.0.1", port=0)
    metrics = ApiServer(metrics_app(metrics_of(b"up 1\n")), host="127.0.0.1", port=0)
    await api.start()
    await metrics.start()
    assert (await _get(f"{api.url}/livez")).status_code == 200
    scraped = await _get(f"{metrics.url}/metrics")
    assert (scraped.status_code, scraped.content) == (200, b"up 1\n")
    assert (await _get(f"{metrics.url}/livez")).status_code == 404
    await api.stop(1.0)
    await metrics.stop(1.0)
    again = ApiServer(_app(node), host="127.0.0.1", port=api.port)
    await again.start()
    assert (await _get(f"{again.url}/livez")).status_code == 200
    await again.stop(1.0)


async def test_the_servers_leave_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    server = ApiServer(_app(MemoryNode()), host="127.0.0.1", port=0)
    await server.start()
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    await server.stop(1.0)


async def test_a_stop_lets_a_running_request_end() -> None:
    node = MemoryNode()
    server = ApiServer(_app(node), host="127.0.0.1", port=0)
    await server.start()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as client:
        job_id = (await client.post("/api/v1/jobs", json={"type": "echo"})).json()["id"]
        waiting = asyncio.ensure_future(client.get(f"/api/v1/jobs/{job_id}/wait"))
        await wait_until(lambda: node.waiting == 1)
        stopping = asyncio.ensure_future(server.stop(PATIENCE_S))
        node.finish(job_id, 1)
        assert (await waiting).json()["status"] == "completed"
    await stopping


async def test_a_stop_cuts_off_what_outlasts_its_grace() -> None:
    node = MemoryNode()
    server = ApiServer(_app(node), host="127.0.0.1", port=0)
    await server.start()
    async with httpx.AsyncClient(base_url=server.url, trust_env=False, timeout=PATIENCE_S) as client:
        job_id = (await client.post("/api/v1/jobs", json={"type": "echo"})).json()["id"]
        waiting = asyncio.ensure_future(client.get(f"/api/v1/jobs/{job_id}/wait?timeout=60"))
        await wait_until(lambda: node.waiting == 1)
        await asyncio.wait_for(server.stop(0.2), PATIENCE_S)
        await wait_until(lambda: node.waiting == 0)
        assert_problem(await waiting, 503, "stopping")
