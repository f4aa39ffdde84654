"""10,000 connections that do nothing: the node keeps its memory, answers others, and lets go of them in one sweep."""

import asyncio
import os
import resource
import sys

import pytest

from benchmarks.processes import rss_mib
from tests.api.raw_http import raw_server
from tests.soak.conftest import Say
from tests.waiting import wait_until

CONNECTIONS = 10_000
MEMORY_MIB = 300

pytestmark = pytest.mark.soak


async def test_10_000_idle_connections_are_held_in_bounded_memory(say: Say) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 1000:
        pytest.skip(f"{CONNECTIONS + 1000} open files are needed, and {hard} are allowed")
    async with raw_server(max_connections=CONNECTIONS + 10) as raw:
        before = rss_mib(os.getpid())
        peers = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.soak.idle_peers", str(raw.server.port), str(CONNECTIONS)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert peers.stdout is not None
            assert await asyncio.wait_for(peers.stdout.readline(), 170) == b"ready\n"
            assert len(raw.connections) == CONNECTIONS
            grown = rss_mib(os.getpid()) - before
            say(f"{CONNECTIONS} idle connections: {grown:.0f} MiB, {1024 * grown / CONNECTIONS:.1f} KiB each")
            assert grown < MEMORY_MIB
            assert (await (await raw.connect()).ask()).status == 200
            raw.pass_time(1.1)
            await wait_until(lambda: not raw.connections, timeout=120)
        finally:
            peers.kill()
            await peers.wait()
