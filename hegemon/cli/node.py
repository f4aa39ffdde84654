"""`hegemon node`: one node from the environment alone. SIGTERM and SIGINT stop it in order, a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from typing import Final

import structlog

from hegemon.api.frontend import HttpFrontend
from hegemon.api.tls import TlsError
from hegemon.cli.exits import ExitCode
from hegemon.cluster.node import Node
from hegemon.cluster.node_ends import StartError
from hegemon.cluster.settings import Settings, SettingsError, load

_BUSY_GC = (50_000, 20, 100)
# Threads end by themselves, but a name server that does not answer keeps one for 10 s a look-up, one after the other.
_CLOSING_S: Final = 3.0


def node() -> None:
    """Run one node, set up by environment variables and .env (see .env.example), until SIGTERM or Ctrl-C."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        code = _run(runner)
        _end_within(_CLOSING_S, code)
    if code:
        raise SystemExit(code)


def _run(runner: asyncio.Runner) -> int:
    try:
        settings = load()
        runner.run(_serve(settings))
    except (SettingsError, StartError, TlsError) as error:
        with contextlib.suppress(OSError):  # a full disk: the code still says what to do
            print(f"hegemon node: {error}", file=sys.stderr)
        later = isinstance(error, StartError) and error.later
        # Whoever starts nodes (systemd) tries the one again, and not the other: scripts/hegemon.service.
        return int(ExitCode.UNAVAILABLE if later else ExitCode.USAGE)
    except Exception:  # noqa: BLE001 - the last door: logged whole, then an exit code
        structlog.get_logger(__name__).exception("node_failed")
        return int(ExitCode.BUG)
    return 0


def _end_within(seconds: float, code: int) -> None:
    """All is done and said: what the loop and the interpreter still wait for at their end must not keep the process."""
    end = threading.Timer(seconds, os._exit, [code])
    end.daemon = True
    end.start()


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    frontend = HttpFrontend(settings)
    if frontend.tls is not None:
        # Renewed certificates are found without it, a few seconds later. Without TLS a hang-up ends the node, as ever.
        loop.add_signal_handler(signal.SIGHUP, frontend.tls.look)
    running = Node(settings, frontend)

    async def tune() -> None:
        await running.started.wait()
        # What lives now lives for long: keep the collector away from it, and let it run less often.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_BUSY_GC)

    tuning = loop.create_task(tune(), name="gc")
    try:
        await running.run(stop)
    finally:
        tuning.cancel()
