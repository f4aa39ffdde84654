"""`hegemon logs`: what the nodes of a cluster and their workers write, and with --follow what they write now."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hegemon.cli import inputs
from hegemon.cli.exits import Stop, for_refusal, for_silence, usage
from hegemon.cli.output import JsonOption, Output, OutputOption, clean, emit, note
from hegemon.cli.session import url_of, wrong_option

if TYPE_CHECKING:
    from hegemon.cli.log_nodes import Line

EVERY_S: Final = 0.5
LIMIT_MAX: Final = 1000
LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_STYLES: Final = {"debug": "dim", "warning": "yellow", "error": "red", "critical": "bold red"}
# They stand first, or below.
_APART: Final = ("timestamp", "level", "node", "event", "exception", "stack")


def logs(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=LIMIT_MAX, metavar="N", help="Begin with the last so many.")] = 100,
    node: Annotated[
        list[str] | None, typer.Option(metavar="NODE_ID", help="Only this node; may be given again.")
    ] = None,
    level: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="debug, info, warning, error: only these and graver ones.")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="ID", help="Only lines about this job, its handler's too.")] = None,
    request: Annotated[
        str | None, typer.Option(metavar="ID", help="Only lines of this request, and of the jobs that it submitted.")
    ] = None,
    grep: Annotated[str | None, typer.Option(metavar="TEXT", help="Only lines that hold this text.")] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="Only lines of the last 10m, 1h30m ... or from a time on.")
    ] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="With --follow: end after 10s, 1m30s ... Default: Ctrl-C ends."),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Read what `hegemon up --data DIR` left there; no node needs to live."),
    ] = None,
    output: OutputOption = Output.TABLE,
    json: JsonOption = False,
) -> None:
    """Show the log of all nodes and their workers, oldest first, each node asked for its own. Takes an admin.

    As JSON it is one line for each, as it was written.
    """
    import asyncio

    if level is not None and level not in LEVELS:
        raise usage(f"--level must be one of {', '.join(LEVELS)}; got {level!r}.")
    params = {"level": level, "job": job, "request": request, "grep": grep, "since": _since(since)}
    asked = {name: value for name, value in params.items() if value is not None}
    seconds = inputs.seconds(for_, "--for")
    show = _writer(lines=json or output is Output.JSON)
    work = _follow_files if files is not None else _follow_nodes
    begun = time.monotonic()
    until = None if not follow else float("inf") if seconds is None else begun + seconds
    asyncio.run(work(files or _url(ctx), asked, node or [], limit, show, until))


def _url(ctx: typer.Context) -> str:
    """What `--url` says; a `Stop` when it cannot be used."""
    try:
        return url_of(ctx)
    except ValueError as error:
        raise wrong_option(error) from error


async def _follow_nodes(
    url: Any, asked: dict[str, str], only: list[str], limit: int, show: Show, until: float | None
) -> None:
    from hegemon.cli.log_nodes import ClusterLog
    from hegemon.client import ApiError, Unreachable

    try:
        async with ClusterLog(url, asked, only) as log:
            found = await log.begin(limit)
            await _going_on(found, log.more, show, until)
    except ApiError as error:
        raise for_refusal(error) from error
    except Unreachable as error:
        raise for_silence(error) from error
    except ValueError as error:
        raise usage(f"{str(error).capitalize()}.") from error


async def _follow_files(
    directory: Any, asked: dict[str, str], only: list[str], limit: int, show: Show, until: float | None
) -> None:
    from hegemon.cli.log_files import FileLog
    from hegemon.cluster.log_ports import LogFilter

    log = FileLog(directory, LogFilter(**asked), only)

    async def more() -> list[Line]:
        return log.more()

    try:
        found = log.begin(limit)
    except ValueError as error:
        raise usage(f"{str(error).capitalize()}.") from error
    await _going_on(found, more, show, until)


async def _going_on(
    found: list[Line], more: Callable[[], Awaitable[list[Line]]], show: Show, until: float | None
) -> None:
    import asyncio

    if not found and until is None:
        note("No lines.")
    show(found)
    while until is not None and time.monotonic() < until:
        await asyncio.sleep(EVERY_S)
        show(await more())


Show = Callable[["list[Line]"], None]


def _writer(*, lines: bool) -> Show:
    if not lines:
        return _show

    def write(found: list[Line]) -> None:
        import msgspec

        sys.stdout.flush()
        for line in found:
            sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
        sys.stdout.buffer.flush()

    return write


def _show(found: list[Line]) -> None:
    if not found:
        return
    from rich.console import Group
    from rich.text import Text

    shown: list[Text] = []
    for line in found:
        style = _STYLES.get(str(line.get("level")), "")
        head = Text(f"{_time(line)}  ", "dim")
        head.append(f"{line.get('level', '')!s:<8}", style)
        head.append(f"{clean(str(line.get('node', ''))):<10}  ", "cyan")
        head.append(clean(str(line.get("event", ""))), style or "bold")
        for name, value in line.items():
            if name not in _APART and value != "":
                head.append(f"  {clean(name)}=", "dim")
                head.append(clean(_text(value)))
        shown.append(head)
        for name in ("exception", "stack"):
            # A traceback is read line by line.
            shown += [Text(f"    {clean(row)}", "dim") for row in str(line.get(name) or "").splitlines()]
    emit(Group(*shown))


def _time(line: Line) -> str:
    """To the millisecond, in UTC as it was written."""
    stamp = str(line.get("timestamp", ""))
    return clean(f"{stamp[:23]}Z" if len(stamp) > 23 else stamp)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    import msgspec

    return "-" if value is None else msgspec.json.encode(value).decode()


def _since(text: str | None) -> str | None:
    """A time, or how long ago, as nodes want it."""
    if text is None:
        return None
    from hegemon.cluster.durations import parse_duration

    try:
        moment: datetime | None = datetime.now(UTC) - parse_duration(text)
    except (ValueError, OverflowError):
        try:
            moment = inputs.moment(text, "--since")
        except Stop as error:
            raise usage(
                f"--since must be a duration such as 10m, or a time such as 2030-01-31T09:00:00Z; got {text!r}."
            ) from error
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
