"""`hegemon up`: a local cluster in the foreground. Ctrl-C, SIGTERM or the terminal's end stop it in order, and leave
nothing running; a second one stops it at once."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hegemon.cli.exits import ExitCode
from hegemon.cli.up_screen import Entrance, Screen, overview
from hegemon.cluster.embedded import EmbeddedError
from hegemon.cluster.local import LocalCluster
from hegemon.cluster.local_directory import LocalDirectory
from hegemon.cluster.local_node import NodeProcess
from hegemon.cluster.local_plan import ALGORITHMS, NODES_MAX, LocalError, Plan, make_plan
from hegemon.cluster.local_security import secured
from hegemon.cluster.settings import SettingsError

FAILED: Final = 1
OVERVIEW_WITHIN_S: Final = 30.0
_ASK_AGAIN_S: Final = 0.05


def up(
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Keep all state there, for the next start.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="P", min=1, max=65535, help="The first API port. Default: SERVER_PORT, else 8080."
        ),
    ] = None,
    handlers: Annotated[
        str | None,
        typer.Option("--handlers", metavar="MODULE[,MODULE]", help="Python modules with your jobs. Default: HANDLERS."),
    ] = None,
    nodes: Annotated[
        int, typer.Option("--nodes", "-n", metavar="N", min=1, max=NODES_MAX, help="How many nodes; ports P, P+1, ...")
    ] = 1,
    algorithm: Annotated[
        str | None,
        typer.Option(
            "--algorithm",
            metavar="|".join(ALGORITHMS),
            help="How they elect their leader. Default: ELECTION_ALGORITHM, else solo for 1, bully for 2, raft from 3.",
        ),
    ] = None,
    secure: Annotated[
        bool, typer.Option("--secure", help="With logins and TLS; shows the admin's password once.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the nodes' logs here, too.")] = False,
) -> int:
    """Start a local cluster in the foreground: MongoDB and Valkey, unless MONGODB_URI and REDIS_URL name yours, and
    one node or several. Without --data all of it is gone at the end. Exit codes: 0 stopped, 1 failed, 130 stopped at
    once."""

    def planned(directory: LocalDirectory) -> tuple[Plan, Entrance | None]:
        home = directory.home()
        environ, ca_file = secured(os.environ, home) if secure else (dict(os.environ), None)
        plan = make_plan(environ, home, port=port, handlers=handlers, verbose=verbose, nodes=nodes, algorithm=algorithm)
        password = directory.admin_password() if plan.admin_unset else None
        if password is not None:
            plan = plan.telling({"ADMIN_PASSWORD": password})
        return plan, Entrance(password, ca_file) if plan.guarded else None

    return asyncio.run(_up(data, planned, verbose=verbose))


async def _up(
    data: Path | None, planned: Callable[[LocalDirectory], tuple[Plan, Entrance | None]], *, verbose: bool
) -> int:
    stop, hurry = _listen_to_signals()
    screen = Screen(spinner=not verbose)
    try:
        with LocalDirectory.open(data) as directory:
            plan, entrance = planned(directory)
            directory.remember(plan.ports)
            for note in plan.notes:
                screen.said(note)
            cluster = LocalCluster(plan, directory, screen)
            living = _live(cluster, directory, screen, entrance)
            code = await _run(cluster, living, screen, stop, hurry, verbose=verbose)
    except (LocalError, SettingsError) as error:
        screen.said(f"hegemon up: {error}")
        if isinstance(error, SettingsError) and "AUTH_ENABLED" in str(error):
            screen.said("`hegemon up --secure` sets all of that.")
        code = FAILED
    return code


def _listen_to_signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first signal, and by any after it."""
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Under nohup the terminal's end is meant to be survived.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            loop.add_signal_handler(number, asked)
    return stop, hurry


async def _run(
    cluster: LocalCluster,
    living: Coroutine[Any, Any, None],
    screen: Screen,
    stop: asyncio.Event,
    hurry: asyncio.Event,
    *,
    verbose: bool,
) -> int:
    shown = cluster.nodes if verbose else []
    following = [asyncio.create_task(node.follow(screen.logged(node.plan.id)), name="follow") for node in shown]
    life = asyncio.create_task(living, name="life")
    asked = asyncio.create_task(stop.wait(), name="asked")
    failure: Exception | None = None
    try:
        await asyncio.wait({life, asked}, return_when=asyncio.FIRST_COMPLETED)
        life.cancel()
        asked.cancel()
        try:
            await life
        except asyncio.CancelledError:
            pass
        except (LocalError, EmbeddedError) as error:
            failure = error
        if failure is not None and not stop.is_set():
            screen.quiet()
            screen.said(f"hegemon up: {failure}")
        else:
            screen.said("Stopping; once more stops at once.")
        screen.wait_for("stopping")
    finally:
        await cluster.stop(hurry)
        for task in following:
            task.cancel()
        await asyncio.gather(asked, *following, return_exceptions=True)
        screen.quiet()
    if hurry.is_set():
        return ExitCode.INTERRUPTED
    if failure is not None and not stop.is_set():
        return FAILED
    screen.said("Stopped.")
    return ExitCode.OK


async def _known(node: NodeProcess) -> tuple[list[str], str | None]:
    """The job types and the leader. Between two leaders nobody leads for a moment, and a busy node is slow to answer:
    it is asked again for some seconds, since people see the table once.
    """
    deadline = time.monotonic() + OVERVIEW_WITHIN_S
    while True:
        types, leader = await asyncio.gather(node.types(), node.leader())
        if (types is not None and leader is not None) or time.monotonic() > deadline:
            return types or [], leader
        await asyncio.sleep(_ASK_AGAIN_S)


async def _live(cluster: LocalCluster, directory: LocalDirectory, screen: Screen, entrance: Entrance | None) -> None:
    await cluster.start()
    types, leader = await _known(cluster.nodes[0])
    screen.table(*overview(cluster, types, leader, entrance, directory.path, kept=directory.kept))
    if entrance is not None and entrance.password is not None:
        directory.admin_shown()
    await cluster.watch()
