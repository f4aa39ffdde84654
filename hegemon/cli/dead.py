"""`hegemon dead`: the dead letters, jobs that failed for good. Look at them, put them back, or remove them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.jobs import QueueFilter, TypeFilter, show_page
from hegemon.cli.output import Output, OutputOption, emit_json, emit_line
from hegemon.cli.session import connect

app = typer.Typer(help="Jobs that failed for good: look, requeue, purge.", no_args_is_help=True, rich_markup_mode=None)

Ids = Annotated[list[str] | None, typer.Option("--id", metavar="ID", help="This one; may be given again.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def list_dead(
    ctx: typer.Context,
    type_: TypeFilter = None,
    queue: QueueFilter = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List dead letters, with why they failed."""
    from hegemon.client import calls

    show_page(ctx, calls.dead(type=type_, queue=queue, limit=None if all_ else limit), output, dead=True)


@app.command()
def requeue(
    ctx: typer.Context,
    ids: Ids = None,
    type_: TypeFilter = None,
    queue: QueueFilter = None,
    all_: All = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Put dead letters back in their queues, with fresh tries: by --id, by --type and/or --queue, or --all."""
    _described(ids, type_, queue, all_)
    with connect(ctx) as client:
        count = client.requeue_dead(ids or None, type=type_, queue=queue, all=all_)
    _report(count, ids, "requeued", output)


@app.command()
def purge(
    ctx: typer.Context,
    ids: Ids = None,
    type_: TypeFilter = None,
    queue: QueueFilter = None,
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Remove dead letters for good: by --id, by --type and/or --queue, or --all. Asks first."""
    which = _described(ids, type_, queue, all_)
    if not yes:
        _confirm(which)
    with connect(ctx) as client:
        count = client.purge_dead(ids or None, type=type_, queue=queue, all=all_)
    _report(count, ids, "purged", output)


def _described(ids: list[str] | None, type_: str | None, queue: str | None, all_: bool) -> str:
    """The choice in words; exactly one kind of choice must be made, so that no slip can mean `everything`."""
    by_filter = type_ is not None or queue is not None
    if bool(ids) + by_filter + all_ != 1:
        raise usage("Say which dead letters: --id (more than one if need be), or --type and/or --queue, or --all.")
    if ids:
        return f"{len(ids)} dead letter{'s' if len(ids) > 1 else ''}"
    if all_:
        return "ALL dead letters"
    parts = [f"{name} {value!r}" for name, value in (("type", type_), ("queue", queue)) if value is not None]
    return f"all dead letters of {' and '.join(parts)}"


def _confirm(which: str) -> None:
    if not sys.stdin.isatty():
        raise usage(
            f"This would remove {which} for good, and there is no terminal to ask at. Add --yes if you mean it."
        )
    # Asked on stderr: stdout is for the result alone.
    print(f"Remove {which} for good? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise Stop(ExitCode.INTERRUPTED, "Nothing was removed.")


def _report(count: int, ids: list[str] | None, done: str, output: Output) -> None:
    if output is Output.JSON:
        emit_json({"count": count})
    else:
        emit_line(f"{count} {done}")
    if ids and count < len(set(ids)):
        raise Stop(ExitCode.NOT_FOUND, f"{len(set(ids)) - count} of the ids are not among the dead letters.")
