"""A scrape asks where the stores keep their data, and a file system that hangs holds up nothing else."""

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hegemon.monitoring import metrics
from hegemon.monitoring.metrics import NodeMetrics
from tests.waiting import wait_until


async def test_a_file_system_that_hangs_takes_one_thread_however_often_it_is_scraped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answering, asked = threading.Event(), []

    def usage(place: Path) -> Any:
        asked.append(place)
        answering.wait()
        return SimpleNamespace(free=1, total=2)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(metrics, "PLACES_S", 0.01)
    sources: Any = SimpleNamespace(data=Path("/data"), certificate_ends_s=lambda: None)
    one = NodeMetrics(sources)
    try:
        for _ in range(5):
            assert (await one._places())["hegemon_disk_free_bytes"] == []
        await wait_until(lambda: asked, message="the thread to ask")
        assert (await one._places())["hegemon_disk_free_bytes"] == []
        assert len(asked) == 1
    finally:
        answering.set()
    await wait_until(lambda: one._asking is not None and one._asking.done())
    monkeypatch.setattr(metrics, "PLACES_S", 30.0)
    assert (await one._places())["hegemon_disk_free_bytes"] == [(("stores",), 1.0)]
