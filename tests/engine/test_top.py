"""`hegemon top` at a real terminal, on a real node: what it shows is what the node says."""

from __future__ import annotations

import asyncio

import pytest

from tests.cli.terminal import at_a_terminal
from tests.nodes import NodeProcess

pytestmark = pytest.mark.asyncio(loop_scope="module")
SETTINGS = {"HANDLERS": "tests.handlers", "WORKER_COUNT": "4", "METRICS_PORT": "0"}


async def test_work_shows_as_it_is_done(shared: NodeProcess) -> None:
    with at_a_terminal("--url", shared.url, "top", "--every", "100ms", columns=120) as terminal:
        await asyncio.to_thread(terminal.until, r"^n1 +leader ")
        for job in await shared.submit_many([{"type": "journaled", "queue": "watched"}] * 20):
            await shared.wait(job)
        await asyncio.to_thread(terminal.until, r"completed 20 ")
        # The figures of a queue are there a moment later.
        # On one screen or on several: one that is stale for a moment says so in their place.
        for line in (
            r"^watched +0 +0 +0 ",
            r"All is well: n1 leads 1 node\. Nothing waits\.",
            r"solo 1/1",
            r"node\.started",
        ):
            await asyncio.to_thread(terminal.until, line)
        failed = await shared.submit("picky", {"how": "reject"})
        await shared.wait(failed)
        await asyncio.to_thread(terminal.until, rf"job\.dead +job={failed[:8]}")
        await asyncio.to_thread(terminal.until, r"jobs have failed within the last minute")
        terminal.press("q")
        assert await asyncio.to_thread(terminal.ended) == 0
