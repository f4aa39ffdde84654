"""`hegemon events`: what happened in the cluster, and with --follow what happens now."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hegemon.cli import inputs
from hegemon.cli.output import JsonOption, Output, OutputOption, emit, note
from hegemon.cli.session import connect

if TYPE_CHECKING:
    from hegemon.client import Client
    from hegemon.client.calls import Reply

_PAGE: Final = 200
EVERY_S: Final = 0.5
SEEN_MAX: Final = 2000


def events(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what happens from now on.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=_PAGE, metavar="N", help="Begin with the last so many.")] = 50,
    kind: Annotated[
        str | None, typer.Option(metavar="PREFIX", help="Only kinds that begin so: job.dead, election., job.")
    ] = None,
    severity: Annotated[
        str | None, typer.Option(metavar="LEVEL", help="info, warning or error: only these and graver ones.")
    ] = None,
    node: Annotated[str | None, typer.Option(metavar="NODE_ID", help="Only what this node said.")] = None,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="With --follow: end after 10s, 1m30s ... Default: Ctrl-C ends."),
    ] = None,
    output: OutputOption = Output.TABLE,
    json: JsonOption = False,
) -> None:
    """Show what happened on all nodes, oldest first: nodes, elections, workers, failed jobs, stores, credentials.

    As JSON it is one event a line.
    """
    params = {"limit": str(limit), "kind": kind, "severity": severity, "node": node}
    asked = {name: value for name, value in params.items() if value is not None}
    seconds = inputs.seconds(for_, "--for")
    until = None if seconds is None else time.monotonic() + seconds
    lines = json or output is Output.JSON
    with connect(ctx) as client:
        said = _ask(client, asked, None)
        _show(said, said["events"], lines=lines, heading=True)
        if not said["events"] and not follow:
            note("No events.")
        if follow:
            for more in _following(client, asked, said, until):
                _show(more, more["events"], lines=lines, heading=False)


def _following(
    client: Client, asked: dict[str, str], said: dict[str, Any], until: float | None
) -> Iterator[dict[str, Any]]:
    """Answers with what is new, each with something in it. A node that does not answer is asked again."""
    from hegemon.client import Unreachable

    seen = deque((event["id"] for event in said["events"]), SEEN_MAX)
    after: str | None = said["next"]
    silent = False
    while until is None or time.monotonic() < until:
        time.sleep(EVERY_S)
        try:
            said = _ask(client, {**asked, "limit": str(_PAGE)}, after)
        except Unreachable as error:
            if not silent:
                note(f"{error}; trying again.")
            silent = True
            continue
        silent = False
        after = said["next"] or after
        # What a node told while the store was away comes again, once it has its place.
        fresh = [event for event in said["events"] if event["id"] not in seen]
        seen.extend(event["id"] for event in fresh)
        if fresh:
            yield {**said, "events": fresh}


def _ask(client: Client, asked: dict[str, str], after: str | None) -> dict[str, Any]:
    from hegemon.client.calls import API, Call

    params = asked if after is None else {**asked, "after": after}
    return client.send(Call("GET", f"{API}/activity", _object, params=params))


def _object(reply: Reply) -> dict[str, Any]:
    import msgspec

    return msgspec.json.decode(reply.body, type=dict[str, Any])


def _show(said: dict[str, Any], found: list[dict[str, Any]], *, lines: bool, heading: bool) -> None:
    if not said["complete"]:
        others = f"; not here: {', '.join(said['missing'])}" if said["missing"] else ""
        note(f"MongoDB does not answer: only what the asked node remembers{others}.")
    if lines:
        _write_lines(found)
    elif found:
        emit(_table(found, heading=heading))


def _write_lines(found: list[dict[str, Any]]) -> None:
    import sys

    import msgspec

    sys.stdout.flush()
    for event in found:
        sys.stdout.buffer.write(msgspec.json.encode(event) + b"\n")
    sys.stdout.buffer.flush()


def _table(found: list[dict[str, Any]], *, heading: bool) -> Any:
    from rich.console import Group

    from hegemon.cli.tables import Sheet, cell

    styles = {"warning": "yellow", "error": "red"}
    if heading:
        sheet = Sheet("AT", "NODE", "WHAT", "DETAILS", flexible={"DETAILS"})
        for event in found:
            style = styles.get(event["severity"], "")
            sheet.add(cell(event["at"]), cell(event["node"]), cell(event["kind"], style), cell(details(event)))
        return sheet
    # One by one as they come: columns would be of another width each time.
    return Group(*(cell(_line(event), styles.get(event["severity"], "")) for event in found))


def _line(event: dict[str, Any]) -> str:
    return f"{event['at']}  {event['node']:<12}  {event['kind']:<28}  {details(event)}"


def details(event: dict[str, Any]) -> str:
    """The fields of an event on one line."""
    return " ".join(f"{name}={'-' if value is None else value}" for name, value in event["fields"].items())
