"""Asking, keys and drawing of `hegemon top`: one node is asked a second, and another when that one is gone.

asking ──> Top.saw ───┬──> Frame      a node dies: the next one that has been heard of is asked
keys ────> Top.press ─┤               nobody answers: the last answer stays, with its age
a second, a new size ─┘               paused: nobody is asked
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.live import Live

from hegemon.cli.cluster_poll import state_from, why_silent
from hegemon.cli.exits import for_refusal
from hegemon.cli.keys import pressed
from hegemon.cli.top_model import Top
from hegemon.cli.top_screen import Frame
from hegemon.client import ApiError
from hegemon.client.calls import API, Call

EVENTS: Final = 100
# Whoever begins waits rather than be told that nobody is there; later there is another node to ask.
FIRST_PATIENCE_S: Final = 30.0
PATIENCE_S: Final = 3.0
EVERY_S_MIN: Final = 0.1
# Lines of a frame that are no rows.
HEADINGS: Final = 14
TICK_S: Final = 1.0
WIDTH_PIPE: Final = 160
EVENTS_PIPE: Final = 20
_ACTIVITY: Final[Call[dict[str, Any]]] = Call(
    "GET",
    f"{API}/activity",
    lambda reply: msgspec.json.decode(reply.body, type=dict[str, Any]),
    params={"limit": str(EVENTS)},
)


def look(url: str) -> Top:
    """One look. `Stop` if nobody answers, or they do not let us look."""
    model = Top([url])
    _run(model, lambda: _ask(model, FIRST_PATIENCE_S))
    return model


def watch(url: str, every_s: float, seconds: float | None) -> None:
    """Until q, Ctrl-C, or the time is up. `Stop` if no node ever answered, or they do not let us look any more."""
    model = Top([url])
    until = None if seconds is None else time.monotonic() + seconds
    _run(model, lambda: _watch(model, max(every_s, EVERY_S_MIN), until))


def _run(model: Top, work: Callable[[], Any]) -> None:
    url = model.urls[0]
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(work())
    except ApiError as error:
        raise for_refusal(error) from error
    if model.state is None:
        raise why_silent(url)


async def _ask(model: Top, patience_s: float = PATIENCE_S) -> None:
    model.saw(await state_from(model.urls, patience_s, {"activity": _ACTIVITY}), time.monotonic())


async def _watch(model: Top, every_s: float, until: float | None) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    with Live(console=_console(), screen=True, auto_refresh=False) as live:

        def draw() -> None:
            live.update(_frame(model, keys=sys.stdin.isatty()), refresh=True)

        def key(name: str) -> None:
            if model.press(name):
                ended.set()
            draw()

        loop.add_signal_handler(signal.SIGWINCH, draw)
        with pressed(key):
            asking = loop.create_task(_asking(model, every_s, draw))
            ending = loop.create_task(ended.wait())
            waits: set[asyncio.Task[Any]] = {asking, ending}
            try:
                # However short the time, there is a first look.
                while model.state is None or until is None or time.monotonic() < until:
                    # What is shown grows old also while nobody answers.
                    over, _ = await asyncio.wait(waits, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED)
                    if over:
                        break
                    draw()
                if asking.done():
                    asking.result()
            finally:
                for task in waits:
                    task.cancel()
                await asyncio.gather(*waits, return_exceptions=True)


async def _asking(model: Top, every_s: float, draw: Callable[[], None]) -> None:
    """For ever; it ends if nobody answers the first time. ApiError when we may not look."""
    await _ask(model, FIRST_PATIENCE_S)
    while model.state is not None:
        draw()
        began = time.monotonic()
        if not model.paused:
            await _ask(model)
        await asyncio.sleep(max(every_s - (time.monotonic() - began), EVERY_S_MIN / 2))


def show(model: Top) -> None:
    """One frame; into a pipe it is as long as it needs to be."""
    console = _console()
    if console.is_terminal:
        console.print(_frame(model, keys=False, height=max(console.height - 1, 1)))
        return
    with console.capture() as captured:
        rows = sum(len(model.rows(pane)) for pane in ("nodes", "queues"))
        console.print(_frame(model, keys=False, height=rows + EVENTS_PIPE + HEADINGS))
    for line in captured.get().rstrip("\n").splitlines():
        print(line.rstrip())


def _frame(model: Top, *, keys: bool, height: int | None = None) -> Frame:
    return Frame(model, time.monotonic(), datetime.now().astimezone(), keys, height)


def _console() -> Console:
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not sys.stdout.isatty():
        console.width = WIDTH_PIPE
    return console
