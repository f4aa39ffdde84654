"""Soaks last for many minutes: the watchdog that ends a hanging test is wound up again by each round."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MongoServer, RedisServer
from tests.faults.trial import Trial, on_trial

ROUND_S = 180
Say = Callable[[str], None]


class Quiet:
    """Listens to a local cluster, and says what a person should know."""

    def __init__(self, say: Say) -> None:
        self.said = say

    def starting(self, part: str) -> None: ...

    def ready(self, part: str, seconds: float) -> None: ...


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Iterator[Say]:
    """Print a line of a round, past pytest's capture; each line gives the next round its time."""
    # One of our own, since pytest's counts for the whole test.
    stderr = os.dup(2)

    def line(text: str) -> None:
        faulthandler.dump_traceback_later(ROUND_S, exit=True, file=stderr)
        with capsys.disabled():
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    yield line
    faulthandler.cancel_dump_traceback_later()
    os.close(stderr)


@pytest.fixture
def seed() -> int:
    """SOAK_SEED, or one that is printed."""
    return int(os.environ.get("SOAK_SEED", "20261122"))


@pytest.fixture
async def trial(
    tmp_path: Path, redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str
) -> AsyncIterator[Trial]:
    """Two worker processes, so that one dies while the other works; the node is not started."""
    async with on_trial(
        tmp_path,
        redis_url=redis_server.url,
        mongodb_uri=mongo_server.uri,
        database=database,
        CLUSTER_ID=cluster_id,
        WORKER_PROCESSES="2",
        WORKER_COUNT="16",
    ) as made:
        yield made
