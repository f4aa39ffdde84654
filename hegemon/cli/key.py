"""`hegemon key` and `hegemon token`: credentials for programs. For admins."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from hegemon.cli import inputs
from hegemon.cli.exits import usage
from hegemon.cli.output import Output, OutputOption, emit, emit_json, emit_line, note
from hegemon.cli.session import connect
from hegemon.cli.user import QueueOption, RoleOption, known_role

app = typer.Typer(help="API keys: add, list, revoke.", no_args_is_help=True, rich_markup_mode=None)

KEYS = "/api/v1/keys"
TTL_MAX_S = 86_400


@app.command("list")
def list_keys(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the API keys, without their secrets."""
    from hegemon.cli.tables import Sheet, cell
    from hegemon.cli.times import parsed, relative
    from hegemon.client import calls

    with connect(ctx) as client:
        keys = client.send(calls.document("GET", KEYS))["keys"]
    if output is Output.JSON:
        emit_json(keys)
        return
    sheet = Sheet("ID", "NAME", "ROLE", "QUEUES", "EXPIRES", "LAST USED", "BY", flexible=("NAME", "QUEUES"))
    for key in keys:
        queues = "all" if key["queues"] is None else ", ".join(key["queues"])
        expires = "never" if key["expires_at"] is None else relative(parsed(key["expires_at"]))
        used = relative(parsed(key["last_used_at"]))
        sheet.add(*map(cell, (key["id"], key["name"], key["role"], queues, expires, used, key["created_by"])))
    emit(sheet)


@app.command()
def add(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    role: RoleOption = "worker",
    queue: QueueOption = None,
    expires_in: Annotated[
        str | None, typer.Option("--expires-in", metavar="DURATION", help="Such as 90d; never if not given.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Make an API key and print it. It cannot be shown again."""
    from hegemon.client import calls

    body: dict[str, Any] = {"name": name, "role": known_role(role)} | ({"queues": queue} if queue else {})
    lifetime_s = inputs.seconds(expires_in, "--expires-in")
    if lifetime_s is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(seconds=lifetime_s)).isoformat()
    with connect(ctx) as client:
        made = client.send(calls.document("POST", KEYS, body))
    if output is Output.JSON:
        emit_json(made)
    else:
        emit_line(made["key"])
        note(f"This is shown once. Its id is {made['id']}: `hegemon key revoke {made['id']}` ends it.")


@app.command()
def revoke(ctx: typer.Context, key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id.")]) -> None:
    """Revoke an API key on all nodes."""
    from hegemon.client import calls

    with connect(ctx) as client:
        client.send(calls.document("DELETE", f"{KEYS}/{quote(key_id, safe='')}"))
    emit_line(f"revoked {key_id}")


def token(
    ctx: typer.Context,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The service that it is for.", show_default=False)
    ] = None,
    role: RoleOption = "worker",
    queue: QueueOption = None,
    ttl: Annotated[str, typer.Option("--ttl", metavar="DURATION", help="For how long: 24h at the most.")] = "1h",
    revoke_id: Annotated[
        str | None, typer.Option("--revoke", metavar="ID", help="Revoke the token with this id, on all nodes.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Print a token for a service, or revoke one."""
    from hegemon.client import calls

    if (name is None) == (revoke_id is None):
        raise usage("Give the NAME of a service, or --revoke with the id of a token.")
    if revoke_id is not None:
        with connect(ctx) as client:
            client.send(calls.document("DELETE", f"/api/v1/tokens/{quote(revoke_id, safe='')}"))
        emit_line(f"revoked {revoke_id}")
        return
    seconds = int(inputs.seconds(ttl, "--ttl") or 0)
    if not 1 <= seconds <= TTL_MAX_S:
        raise usage(f"--ttl is from 1s to 24h; got {ttl!r}. For longer make an API key: `hegemon key add`.")
    body: dict[str, Any] = {"name": name, "role": known_role(role), "ttl": seconds}
    with connect(ctx) as client:
        issued = client.send(calls.document("POST", "/api/v1/tokens", body | ({"queues": queue} if queue else {})))
    if output is Output.JSON:
        emit_json(issued)
    else:
        emit_line(issued["token"])
        note(f"Good for {ttl}. Its id is {issued['id']}: `hegemon token --revoke {issued['id']}` ends it before.")
