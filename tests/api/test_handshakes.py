"""TLS connections whose handshake has not ended: they count, and they do not last."""

import asyncio
import contextlib
import errno
import inspect
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from hegemon.api import connections, handshakes
from hegemon.api.server import ApiServer
from hegemon.cluster.limit_settings import LimitSettings
from tests.api.test_tls import PATIENT, ask, of, serving
from tests.certificates import Authority
from tests.waiting import PATIENCE_S, wait_until

HELLO = b"\x16\x03\x01"  # how a handshake begins
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def on_both_loops(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Nodes run on uvloop, other programs on asyncio; accepted sockets are each loop's own business."""

    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(test(**fixtures))

    wanted = inspect.signature(test)
    own = inspect.Parameter("new_loop", inspect.Parameter.KEYWORD_ONLY)
    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = wanted.replace(parameters=[*wanted.parameters.values(), own], return_annotation=None)  # type: ignore[attr-defined] # what inspect looks at
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    on_each: Callable[..., None] = pytest.mark.parametrize("new_loop", loops.values(), ids=loops.keys())(run)
    return on_each


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certs")


@asynccontextmanager
async def silent(server: ApiServer, count: int) -> AsyncIterator[list[Streams]]:
    """So many peers that begin a handshake and never go on."""
    before = len(server.crowd.handshakes)
    peers = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(count)]
    for _, writer in peers:
        writer.write(HELLO)
    try:
        await wait_until(lambda: len(server.crowd.handshakes) == before + count)
        yield peers
    finally:
        for _, writer in peers:
            writer.close()


async def ended(peer: Streams) -> bytes:
    """What a peer hears before its end, which becomes ours."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            return await peer[0].read()
        except ConnectionError:
            return b""
        finally:
            peer[1].close()


def limited(connections_max: int) -> LimitSettings:
    return PATIENT.model_copy(update={"max_connections": connections_max})


@on_both_loops
async def test_who_never_ends_a_handshake_is_sent_away_after_the_header_timeout(authority: Authority) -> None:
    async with serving(of(authority.write("n1"))) as (server, _), silent(server, 2) as peers:
        server.crowd.pass_time(3000.0)
        assert server.crowd.open == 2
        server.crowd.pass_time(3000.0)
        for peer in peers:
            assert await ended(peer) == b""
        await wait_until(lambda: server.crowd.open == 0)
        assert server.crowd.refused["handshake"] == 2
        assert await ask(server, authority.trusting()) == 200


@on_both_loops
async def test_handshakes_count_as_connections(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SPARE", 1)
    async with serving(of(authority.write("n1")), limits=limited(2)) as (server, _):
        assert await ask(server, authority.trusting()) == 200
        await wait_until(lambda: server.crowd.open == 0)
        async with silent(server, 2):
            # Within the spare: there is a handshake, and an answer that says why there is no other.
            assert await ask(server, authority.trusting()) == 503
            await wait_until(lambda: server.crowd.open == 2)
            async with silent(server, 1):
                assert await ended(await asyncio.open_connection("127.0.0.1", server.port)) == b""
                assert server.crowd.refused["too_many_connections"] == 2
        await wait_until(lambda: server.crowd.open == 0)
        assert await ask(server, authority.trusting()) == 200


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", HELLO, b""], ids=["http", "half", "nothing"])
@on_both_loops
async def test_a_handshake_that_fails_leaves_nothing_behind(authority: Authority, said: bytes) -> None:
    async with serving(of(authority.write("n1"))) as (server, _):
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(said)
            with contextlib.suppress(OSError):
                writer.write_eof()
            await wait_until(lambda: server.crowd.open == 0)
            writer.close()
        assert await ask(server, authority.trusting()) == 200


@on_both_loops
async def test_connections_that_were_made_count_once(authority: Authority) -> None:
    context = authority.trusting()
    async with serving(of(authority.write("n1"))) as (server, _):
        opened = await asyncio.gather(
            *(asyncio.open_connection("127.0.0.1", server.port, ssl=context) for _ in range(20))
        )
        await wait_until(lambda: len(server.crowd.connections) == 20)
        assert server.crowd.open == 20
        for _, writer in opened:
            writer.close()
        await wait_until(lambda: server.crowd.open == 0)


@on_both_loops
async def test_a_stop_does_not_wait_for_handshakes(authority: Authority) -> None:
    async with serving(of(authority.write("n1"))) as (server, _), silent(server, 3) as peers:
        await server.stop(3600.0)
        for peer in peers:
            assert await ended(peer) == b""
        assert server.crowd.open == 0
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await asyncio.open_connection("127.0.0.1", server.port)


class Exhausted:
    """A listening socket of a process that has no file left, for as long as the test says."""

    def __init__(self, inner: socket.socket) -> None:
        self._inner = inner
        self.tried = 0
        self.empty = True

    def accept(self) -> Any:
        self.tried += 1
        if self.empty:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._inner.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@on_both_loops
async def test_a_process_without_a_free_file_pauses_and_goes_on(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handshakes, "PAUSE_S", 0.01)
    made: list[Exhausted] = []
    init: Callable[..., None] = handshakes.TlsListener.__init__

    def exhausted(self: Any, listener: socket.socket, *rest: Any) -> None:
        made.append(Exhausted(listener))
        init(self, made[0], *rest)

    monkeypatch.setattr(handshakes.TlsListener, "__init__", exhausted)
    async with serving(of(authority.write("n1"))) as (server, _):
        asked = asyncio.create_task(ask(server, authority.trusting()))
        await wait_until(lambda: made[0].tried >= 3)
        made[0].empty = False
        assert await asked == 200
