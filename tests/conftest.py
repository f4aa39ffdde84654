"""Real stores for every test, names that no two tests share, and a check that no test leaves work behind.

Each test process, every one of pytest-xdist's too, moves into a network of its own where it may (`own_network.py`).
"""

import asyncio
import inspect
import os
import signal
import threading
import uuid
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import hypothesis
import pytest
import redis
from pymongo import MongoClient

from hegemon.cluster.embedded import EmbeddedMongo, EmbeddedRedis
from tests.hangs import standard_error, watched
from tests.nodes import free_port
from tests.own_network import keep_outer_network, move_into_own_network
from tests.waiting import PATIENCE

T = TypeVar("T")

# A run in the background of a shell ignores Ctrl-C, and what the tests start would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# On a shared machine an example may be slow without being wrong. The same examples in every run, so that a red one is
# about the change that it tests; HYPOTHESIS_PROFILE=random looks further.
for _name, _same in (("same", True), ("random", False)):
    hypothesis.settings.register_profile(
        _name, deadline=None, derandomize=_same, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


_stays = pytest.StashKey[str]()
_errors = pytest.StashKey[int]()


def pytest_configure(config: pytest.Config) -> None:
    """Before any fixture has started a thread: those would stay behind."""
    keep_outer_network()
    config.stash[_stays] = move_into_own_network()
    config.stash[_errors] = standard_error()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that hangs says where, before the watchdog ends its process. A soak is long, and says how it goes."""
    if item.get_closest_marker("soak") is not None:
        return (yield)
    ends_after_s = float(item.config.getini("faulthandler_timeout"))
    with watched(item.nodeid, item.config.stash[_errors], after_s=ends_after_s * 2 / 3):
        return (yield)


def pytest_report_header(config: pytest.Config) -> str:
    """Which of the two it was, for whoever reads a red run."""
    stays = config.stash[_stays]
    return f"network: the machine's ({stays})" if stays else "network: one of its own for each process"


@dataclass(frozen=True)
class RedisServer:
    """A Redis that the tests share: `url` for clients, `pid` None when it is not ours."""

    url: str
    pid: int | None


@dataclass(frozen=True)
class MongoServer:
    """A MongoDB that the tests share: `uri` for clients, `pid` None when it is not ours."""

    uri: str
    pid: int | None


@contextmanager
def _background_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Run an event loop on a thread of its own.

    pytest-asyncio gives each test a loop of its own, which a server of the whole session must not be tied to; and the
    thread lives until the servers are stopped, since on Linux a child dies with the thread that started it.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="servers")
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


@pytest.fixture(scope="session")
def server_loop() -> Iterator[asyncio.AbstractEventLoop]:
    with _background_loop() as loop:
        yield loop


def _run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result()


@pytest.fixture(scope="session")
def redis_server(
    server_loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """One Redis for each test process: REDIS_URL, or a server of our own.

    A test that flushes, stalls or kills its Redis takes `own_redis`.
    """
    if url := os.environ.get("REDIS_URL"):
        yield RedisServer(url, None)
        return
    server = _run(
        server_loop, EmbeddedRedis(tmp_path_factory.mktemp("redis"), port=free_port(), start_timeout=PATIENCE).start()
    )
    yield RedisServer(server.url, server.pid)
    _run(server_loop, server.stop())


@pytest.fixture(scope="session")
def mongo_server(
    server_loop: asyncio.AbstractEventLoop, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MongoServer]:
    """One MongoDB for each test process: MONGODB_URI, or a server of our own.

    A test that stalls or kills its MongoDB takes `own_mongo`.
    """
    if uri := os.environ.get("MONGODB_URI"):
        yield MongoServer(uri, None)
        return
    server = _run(
        server_loop, EmbeddedMongo(tmp_path_factory.mktemp("mongo"), port=free_port(), start_timeout=PATIENCE).start()
    )
    yield MongoServer(server.uri, server.pid)
    # Its directory is thrown away, so the orderly end, which takes a second, would be for nothing.
    _run(server_loop, server.kill())


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    """A Redis for this test alone, to flush, kill and restart; starts in 0.1 s."""
    async with EmbeddedRedis(tmp_path / "own-redis", port=free_port(), start_timeout=PATIENCE) as server:
        yield server


@pytest.fixture
async def own_mongo(tmp_path: Path) -> AsyncIterator[EmbeddedMongo]:
    """A MongoDB for this test alone, to kill and restart; starts in 1 s."""
    server = EmbeddedMongo(tmp_path / "own-mongo", port=free_port(), start_timeout=PATIENCE)
    try:
        yield await server.start()
    finally:
        await server.kill()


@pytest.fixture
def cluster_id(request: pytest.FixtureRequest) -> Iterator[str]:
    """A cluster id that no other test has; its keys in the shared Redis are removed afterwards."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    server: RedisServer | None = (
        request.getfixturevalue("redis_server") if "redis_server" in request.fixturenames else None
    )
    yield name
    if server is not None:
        with redis.Redis.from_url(server.url) as client:
            for key in client.scan_iter(match=f"*{name}*", count=1000):
                client.unlink(key)


@pytest.fixture
def database(mongo_server: MongoServer) -> Iterator[str]:
    """The name of a MongoDB database that no other test has; it is dropped afterwards."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    yield name
    with MongoClient[dict[str, Any]](mongo_server.uri) as client:
        client.drop_database(name)


@pytest.fixture
async def _stray_tasks() -> AsyncIterator[None]:
    yield
    # A task that was cancelled but not awaited needs a moment to end; one that goes on after that was forgotten.
    for _ in range(3):
        await asyncio.sleep(0)
    stray = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if stray:
        pytest.fail("left running: " + "; ".join(repr(task) for task in stray))


@pytest.fixture(autouse=True)
def no_stray_tasks(request: pytest.FixtureRequest) -> None:
    """Fail an async test that leaves a task pending.

    An autouse fixture is set up first and torn down last, so what the test's own fixtures forget is found as well.
    """
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("_stray_tasks")
