"""`hegemon login` and `hegemon logout`: a session of one's own, kept for the commands after it."""

from __future__ import annotations

import getpass
import os
import sys
from typing import Annotated

import typer

from hegemon.cli.exits import usage
from hegemon.cli.output import emit_line, note
from hegemon.cli.session import connect

PasswordStdin = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input.")]


def login(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The user.")],
    password_stdin: PasswordStdin = False,
) -> None:
    """Log in; commands after this one are the user's, until `hegemon logout`.

    Asks for the password; where there is no terminal to ask at, --password-stdin reads it from standard input.
    """
    password = read_password(f"Password of {name}: ", from_stdin=password_stdin)
    with connect(ctx) as client:
        pair = client.login(name, password)
    emit_line(f"logged in as {name} ({pair.role})")
    for variable in ("HEGEMON_TOKEN", "HEGEMON_API_KEY"):
        if os.environ.get(variable):
            note(f"{variable} is set and goes before this login: unset it to use the login.")


def logout(ctx: typer.Context) -> None:
    """End the session, on all nodes, and forget it."""
    from hegemon.client import ApiError

    with connect(ctx) as client:
        try:
            client.logout()
        except ApiError as error:
            if error.status != 401:
                raise
            emit_line("not logged in")
            return
    emit_line("logged out")


def whoami(ctx: typer.Context) -> None:
    """Show who the commands are sent as."""
    with connect(ctx) as client:
        me = client.me()
    queues = "all queues" if me["queues"] is None else "queues " + ", ".join(me["queues"])
    emit_line(f"{me['id']} ({me['role']}, {queues})")


def read_password(prompt: str, *, from_stdin: bool, twice: bool = False) -> str:
    """A password, never from the command line, where everybody on the machine would see it: a line of standard input,
    or what is typed, `twice` if it is a new one."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
        if not password:
            raise usage("--password-stdin: there is no password on standard input; pipe it in, on a line of its own.")
        return password
    if not sys.stdin.isatty():
        raise usage("There is no terminal to ask for the password at: pipe it in, with --password-stdin.")
    password = getpass.getpass(prompt)
    if twice and getpass.getpass("Once more: ") != password:
        note("The two are different.")
        return read_password(prompt, from_stdin=False, twice=True)
    return password
