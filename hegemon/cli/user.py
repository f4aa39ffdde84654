"""`hegemon user`: the people who may log in. For admins."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from hegemon.cli.exits import usage
from hegemon.cli.login import PasswordStdin, read_password
from hegemon.cli.output import Output, OutputOption, emit, emit_json, emit_line
from hegemon.cli.session import connect

app = typer.Typer(help="Users: add, change, list, remove.", no_args_is_help=True, rich_markup_mode=None)

USERS = "/api/v1/users"
ROLES = ("admin", "user", "worker", "viewer")
Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
RoleOption = Annotated[str, typer.Option("--role", metavar="ROLE", help="admin, user, worker or viewer.")]
QueueOption = Annotated[
    list[str] | None,
    typer.Option("--queue", metavar="QUEUE", help="Only jobs of this queue; may be given again. All if not given."),
]


@app.command("list")
def list_users(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """List the users."""
    from hegemon.cli.tables import Sheet, cell
    from hegemon.cli.times import parsed, relative
    from hegemon.client import calls

    with connect(ctx) as client:
        users = client.send(calls.document("GET", USERS))["users"]
    if output is Output.JSON:
        emit_json(users)
        return
    sheet = Sheet("NAME", "ROLE", "QUEUES", "STATE", "CHANGED", flexible=("QUEUES",))
    for user in users:
        queues = "all" if user["queues"] is None else ", ".join(user["queues"])
        state = cell("disabled", "red") if user["disabled"] else cell("enabled", "green")
        changed = cell(relative(parsed(user["changed_at"])))
        sheet.add(cell(user["name"]), cell(user["role"]), cell(queues), state, changed)
    emit(sheet)


@app.command()
def add(
    ctx: typer.Context,
    name: Name,
    role: RoleOption = "user",
    queue: QueueOption = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Add a user.

    Asks for a password, of 12 characters at least; where there is no terminal, --password-stdin reads it from standard
    input.
    """
    from hegemon.client import calls

    role = known_role(role)
    password = read_password(f"New password of {name}: ", from_stdin=password_stdin, twice=True)
    body: dict[str, Any] = {"name": name, "password": password, "role": role}
    with connect(ctx) as client:
        client.send(calls.document("POST", USERS, body | ({"queues": queue} if queue else {})))
    emit_line(f"added {name} ({role})")


@app.command()
def passwd(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The user; without it, you.")] = None,
    password_stdin: PasswordStdin = False,
) -> None:
    """Set a user's password, or without NAME your own; their sessions end.

    Asks for the new password, and for your present one before it when it is your own; --password-stdin reads the same
    from standard input, a line each.
    """
    if name is None:
        _change_own_password(ctx, password_stdin=password_stdin)
        return
    password = read_password(f"New password of {name}: ", from_stdin=password_stdin, twice=True)
    _change(ctx, name, {"password": password})
    emit_line(f"changed the password of {name}")


@app.command()
def change(
    ctx: typer.Context,
    name: Name,
    role: Annotated[str | None, typer.Option("--role", metavar="ROLE", help="The new role.")] = None,
    queue: QueueOption = None,
    all_queues: Annotated[bool, typer.Option("--all-queues", help="Let them use every queue.")] = False,
) -> None:
    """Change a user's role or queues; their sessions end."""
    if queue and all_queues:
        raise usage("Give --queue or --all-queues, not both.")
    body: dict[str, Any] = {} if role is None else {"role": known_role(role)}
    if queue or all_queues:
        body["queues"] = queue or None
    if not body:
        raise usage("Say what to change: --role, --queue or --all-queues.")
    _change(ctx, name, body)
    emit_line(f"changed {name}")


@app.command()
def disable(ctx: typer.Context, name: Name) -> None:
    """Let a user in no more; their sessions end."""
    _change(ctx, name, {"disabled": True})
    emit_line(f"disabled {name}")


@app.command()
def enable(ctx: typer.Context, name: Name) -> None:
    """Let a user in again."""
    _change(ctx, name, {"disabled": False})
    emit_line(f"enabled {name}")


@app.command()
def remove(ctx: typer.Context, name: Name) -> None:
    """Remove a user; their sessions end, API keys that they made stay."""
    from hegemon.client import calls

    path = _path(name)
    with connect(ctx) as client:
        _, etag = client.send(calls.tagged(path))
        client.send(calls.document("DELETE", path, match=etag))
    emit_line(f"removed {name}")


def known_role(role: str) -> str:
    """The role, if there is such a one."""
    if role not in ROLES:
        raise usage(f"--role is one of {', '.join(ROLES)}; got {role!r}.")
    return role


def _change_own_password(ctx: typer.Context, *, password_stdin: bool) -> None:
    """Every session ends by it, so this one begins anew."""
    from hegemon.client import calls

    with connect(ctx) as client:
        kind, _, name = str(client.me()["id"]).partition(":")
        if kind != "user":
            raise usage("Only a user has a password: say whose to set, `hegemon user passwd NAME`.")
        present = read_password(f"Present password of {name}: ", from_stdin=password_stdin)
        new = read_password(f"New password of {name}: ", from_stdin=password_stdin, twice=True)
        client.send(calls.document("POST", "/auth/password", {"password": present, "new_password": new}))
        client.login(name, new)
    emit_line(f"changed the password of {name}; other sessions have ended")


def _change(ctx: typer.Context, name: str, body: dict[str, Any]) -> None:
    """Change what was just read: if somebody else changes it meanwhile, this fails and says so."""
    from hegemon.client import calls

    path = _path(name)
    with connect(ctx) as client:
        _, etag = client.send(calls.tagged(path))
        client.send(calls.document("PATCH", path, body, match=etag))


def _path(name: str) -> str:
    return f"{USERS}/{quote(name, safe='')}"
