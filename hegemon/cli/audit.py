"""`hegemon audit`: who did what, and whether the log that says so is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.output import Output, OutputOption, emit, emit_json, emit_line, note
from hegemon.cli.session import connect

if TYPE_CHECKING:
    from hegemon.client import Client
    from hegemon.client.calls import Reply

app = typer.Typer(help="Who did what; is the log whole?", no_args_is_help=True, rich_markup_mode=None)

_PAGE: Final = 200
_FAULTS_SHOWN: Final = 20


@app.command("list")
def list_audit(
    ctx: typer.Context,
    principal: Annotated[str | None, typer.Option(metavar="ID", help="Only what this caller did: user:ana.")] = None,
    action: Annotated[str | None, typer.Option(metavar="NAME", help="Only this operation: cancelJob.")] = None,
    outcome: Annotated[
        str | None, typer.Option(metavar="CODE", help="ok, a problem's code, or failed for all but ok.")
    ] = None,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="At this time (RFC 3339) or later.")] = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 50,
    output: OutputOption = Output.TABLE,
) -> None:
    """List entries, newest first."""
    filters = {"principal": principal, "action": action, "outcome": outcome, "since": since, "until": until}
    params = {name: value for name, value in filters.items() if value is not None}
    with connect(ctx) as client:
        entries = _entries(client, params, limit)
    if output is Output.JSON:
        emit_json({"entries": entries})
    elif not entries:
        note("No entries.")
    else:
        _show(entries)


@app.command()
def verify(
    ctx: typer.Context,
    first: Annotated[int, typer.Option("--from", min=1, metavar="N", help="Begin with this entry.")] = 1,
    expect: Annotated[
        str | None,
        typer.Option(metavar="N:HASH", help="An entry that must still be there: what an earlier run wrote down."),
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Check that no entry was altered, removed or cut off. Exit code 1 if one was.

    Keep its last line elsewhere, for --expect the next time: so a whole older log that was put back is found, too.
    """
    from hegemon.client.calls import API, Call

    checked, faults, state, at = 0, [], {}, first
    with connect(ctx) as client:
        while True:
            params = {"from": str(at), **({"expect": expect} if expect and at == first else {})}
            state = client.send(Call("GET", f"{API}/audit/verification", _object, params=params, patience_s=30.0))
            checked += state["checked"]
            faults += state["faults"]
            if state["next"] is None:
                break
            if state["next"] <= at:
                raise usage(f"The log has no entry {at}.")
            at = state["next"]
    _report(checked, faults, state, output)


def _report(checked: int, faults: list[dict[str, Any]], state: dict[str, Any], output: Output) -> None:
    head = state["head"]
    if output is Output.JSON:
        removed = state["removed_through"]
        emit_json({"ok": not faults, "checked": checked, "removed_through": removed, "head": head, "faults": faults})
    else:
        for fault in faults[:_FAULTS_SHOWN]:
            emit_line(f"{fault['kind']}: {fault['says']}")
        if state["removed_through"]:
            note(f"Entries up to {state['removed_through']} were removed by AUDIT_RETENTION.")
        if not faults:
            emit_line(f"{checked} entries, all as they were written")
        if head is not None:
            emit_line(f"{head['seq']}:{head['hash']}")
    if faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        more = f", {len(faults) - _FAULTS_SHOWN} more not shown" if len(faults) > _FAULTS_SHOWN else ""
        next_step = "Keep a copy of the collection `audit` as it is, and compare it with a backup."
        raise Stop(ExitCode.FAILED, f"The audit log is not whole: {count}{more}. {next_step}")


def _entries(client: Client, params: dict[str, str], limit: int) -> list[dict[str, Any]]:
    from hegemon.client.calls import API, Call

    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        page = {**params, "limit": str(min(_PAGE, limit - len(found))), **({"cursor": cursor} if cursor else {})}
        said = client.send(Call("GET", f"{API}/audit", _object, params=page))
        found += said["entries"]
        cursor = said["next_cursor"]
        if cursor is None:
            break
    return found


def _object(reply: Reply) -> dict[str, Any]:
    import msgspec

    return msgspec.json.decode(reply.body, type=dict[str, Any])


def _show(entries: list[dict[str, Any]]) -> None:
    from hegemon.cli.tables import Sheet, cell

    sheet = Sheet("SEQ", "AT", "WHO", "FROM", "ACTION", "TARGET", "OUTCOME", right={"SEQ"}, flexible={"TARGET"})
    for entry in entries:
        sheet.add(
            cell(entry["seq"]),
            cell(entry["at"]),
            cell(entry["principal"]),
            cell(entry["address"]),
            cell(entry["action"]),
            cell(entry["target"]),
            cell(entry["outcome"], "" if entry["outcome"] == "ok" else "red"),
        )
    emit(sheet)
