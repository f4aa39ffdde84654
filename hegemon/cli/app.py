"""The command tree, and the one place where every way of ending becomes an exit code and a sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, Exit, TyperException
from typer.main import get_command

from hegemon.cli import (
    audit,
    cert,
    cluster,
    dead,
    election,
    events,
    exits,
    jobs,
    key,
    login,
    logs,
    monitoring,
    top,
    user,
)
from hegemon.cli.exits import ExitCode, Stop
from hegemon.cli.output import note
from hegemon.cli.session import DEFAULT_URL, GlobalOptions, asked

_EPILOG = "\b\nExit codes:\n" + exits.table()
# The arguments of these go to the real command untouched, `--help` included: `hegemon --help` need not load a node.
_PASS_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    name="hegemon",
    help="Background jobs on a cluster that elects its own leader.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help is on the screen in a third of the time
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.add_typer(jobs.app, name="job")
app.add_typer(dead.app, name="dead")
app.add_typer(cluster.app, name="cluster")
app.add_typer(election.app, name="election")
app.add_typer(audit.app, name="audit")
app.add_typer(cert.app, name="cert")
app.add_typer(monitoring.app, name="monitoring")
app.add_typer(user.app, name="user")
app.add_typer(key.app, name="key")
app.command()(events.events)
app.command()(top.top)
app.command()(logs.logs)
app.command()(key.token)
app.command()(login.login)
app.command()(login.logout)
app.command()(login.whoami)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hegemon import __version__

        print(f"hegemon {__version__}")
        raise Exit(ExitCode.OK)


@app.callback()
def options(
    ctx: typer.Context,
    url: Annotated[str, typer.Option(metavar="URL", envvar="HEGEMON_URL", help="A node's REST API.")] = DEFAULT_URL,
    ca_file: Annotated[
        str | None,
        typer.Option("--ca-file", metavar="FILE", envvar="HEGEMON_CA_FILE", help="Who signed the nodes' certificates."),
    ] = None,
    client_cert: Annotated[
        str | None,
        typer.Option(
            "--client-cert",
            metavar="FILE",
            envvar="HEGEMON_CLIENT_CERT",
            help="A certificate with its key, if the nodes ask for one.",
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token", metavar="TOKEN", envvar="HEGEMON_TOKEN", help="A token or an API key, in place of a login."
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            "--request-id",
            metavar="ID",
            envvar="HEGEMON_REQUEST_ID",
            help="A name for what is asked, in logs and with jobs. Default: a random one.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Background jobs on a cluster that elects its own leader."""
    # A command may ask several nodes, and where a client is made is far from here: both are the whole process's.
    for name, file in (("HEGEMON_CA_FILE", ca_file), ("HEGEMON_CLIENT_CERT", client_cert)):
        if file is not None:
            os.environ[name] = file
    ctx.obj = asked(GlobalOptions(url, token, request_id))


@app.command(context_settings=_PASS_ON, add_help_option=False, options_metavar="[OPTIONS]")
def up(ctx: typer.Context) -> None:
    """Start a local cluster in the foreground, with its stores."""
    _pass_on("up", ctx.args)


@app.command(context_settings=_PASS_ON, add_help_option=False, options_metavar="[OPTIONS]")
def node(ctx: typer.Context) -> None:
    """Run one node, set up from the environment."""
    _pass_on("node", ctx.args)


@app.command(context_settings=_PASS_ON, add_help_option=False, options_metavar="FILE")
def backup(ctx: typer.Context) -> None:
    """Write all that a cluster keeps into one file, while it runs."""
    _pass_on("backup", ctx.args)


@app.command(context_settings=_PASS_ON, add_help_option=False, options_metavar="FILE")
def restore(ctx: typer.Context) -> None:
    """Fill an empty database from such a file, while no node runs."""
    _pass_on("restore", ctx.args, "backup")


def _pass_on(name: str, args: Sequence[str], place: str | None = None) -> None:
    module = f"hegemon.cli.{place or name}"
    try:
        function: Callable[..., Any] = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise exits.usage(f"This installation cannot run `hegemon {name}`: {module} is missing.") from error
    single = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
    single.command(name)(function)
    code = get_command(single).main(list(args), prog_name=f"hegemon {name}", standalone_mode=False)
    if isinstance(code, int):
        raise Exit(code)


def run(args: Sequence[str]) -> int:
    """Carry out one command line and return its exit code; never raises, never shows a traceback unasked."""
    try:
        code = _run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader had enough, as `head` does: not our failure. What is still buffered must not raise again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    return code


def _run(args: Sequence[str]) -> int:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a letter shows `?`
    try:
        code = get_command(app).main(list(args), prog_name="hegemon", standalone_mode=False)
    except Stop as stop:
        return _say(stop.code, stop.message)
    except TyperException as error:
        return _say(ExitCode.USAGE, _usage_text(error))
    except (KeyboardInterrupt, Abort):
        return _say(ExitCode.INTERRUPTED, "Interrupted.")
    except BrokenPipeError:
        raise
    except Exception as error:  # the last resort: a person gets a sentence, not a traceback
        if os.environ.get("HEGEMON_DEBUG"):
            raise
        kind = type(error).__name__
        return _say(ExitCode.BUG, f"A fault in hegemon itself: {kind}: {error}. HEGEMON_DEBUG=1 shows where.")
    if code == ExitCode.INTERRUPTED:  # the framework turns Ctrl-C inside a command into its code, without a word
        return _say(ExitCode.INTERRUPTED, "Interrupted.")
    return code if isinstance(code, int) else ExitCode.OK


def _usage_text(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    text = error.format_message()
    if context is None or text.startswith("Usage:"):
        return text
    return f"{text.rstrip('.')}. See `{context.command_path} --help`."


def _say(code: ExitCode, message: str) -> int:
    if message.startswith("Usage:"):
        print(message, file=sys.stderr)
    else:
        note(f"hegemon: {message}")
    return code
