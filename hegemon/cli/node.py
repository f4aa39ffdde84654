"""`hegemon node`: one node from the environment alone. SIGTERM and SIGINT stop it in order, a second one at once."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys

import structlog

from hegemon.api.frontend import HttpFrontend
from hegemon.api.tls import TlsError
from hegemon.cli.exits import ExitCode
from hegemon.cluster.node import Node, StartError
from hegemon.cluster.settings import Settings, SettingsError, load

_BUSY_GC = (50_000, 20, 100)


def node() -> None:
    """Run one node, set up by environment variables and .env (see .env.example), until SIGTERM or Ctrl-C."""
    try:
        settings = load()
        _run(settings)
    except (SettingsError, StartError, TlsError) as error:
        with contextlib.suppress(OSError):  # a full disk: the code still says what to do
            print(f"hegemon node: {error}", file=sys.stderr)
        later = isinstance(error, StartError) and error.later
        # Whoever starts nodes (systemd) tries the one again, and not the other: scripts/hegemon.service.
        raise SystemExit(int(ExitCode.UNAVAILABLE if later else ExitCode.USAGE)) from None
    except Exception:  # noqa: BLE001 - the last door: logged whole, then an exit code
        structlog.get_logger(__name__).exception("node_failed")
        raise SystemExit(int(ExitCode.BUG)) from None


def _run(settings: Settings) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


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
