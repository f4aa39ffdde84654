"""`hegemon job`: submit jobs, look at them, wait for them, and change their course."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from hegemon.cli.exits import ExitCode, Stop
from hegemon.cli.output import Output, OutputOption, emit, emit_json, emit_line, note
from hegemon.cli.session import connect
from hegemon.queue.states import Status

app = typer.Typer(help="Submit jobs, look at them, wait for them.", no_args_is_help=True, rich_markup_mode=None)

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
TypeFilter = Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this type.")]
QueueFilter = Annotated[str | None, typer.Option("--queue", metavar="QUEUE", help="Only this queue.")]


@app.command()
def submit(
    ctx: typer.Context,
    type_: Annotated[str, typer.Argument(metavar="TYPE", help="Which handler runs it.")],
    payload: Annotated[
        str | None, typer.Argument(metavar="PAYLOAD", help="A JSON object, @FILE that holds one, or - for stdin.")
    ] = None,
    priority: Annotated[
        str | None, typer.Option(metavar="N", help="0 to 10 (10 first), or background, low, normal, high, critical.")
    ] = None,
    queue: Annotated[str | None, typer.Option(metavar="QUEUE", help="A named queue.")] = None,
    delay: Annotated[str | None, typer.Option(metavar="DURATION", help="Run it after 500ms, 10s, 1m30s, 2h.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Run it at 2030-01-31T09:00:00Z; no zone: local time.")
    ] = None,
    max_retries: Annotated[int | None, typer.Option(metavar="N", help="How often to try again.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="DURATION", help="How long one try may run.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="TAG", help="A tag to find it by; may be given again.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Idempotency key: the same key gives the same job. Default: a random one."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended, and show it.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit a job; prints its id."""
    from hegemon.cli import inputs
    from hegemon.client import calls

    options: calls.SubmitOptions = {
        "priority": inputs.priority(priority),
        "queue": queue,
        "delay": inputs.seconds(delay, "--delay"),
        "scheduled_at": inputs.moment(at, "--at"),
        "max_retries": max_retries,
        "timeout": inputs.seconds(timeout, "--timeout"),
        "tags": tag or None,
        "idempotency_key": key,
    }
    body = inputs.payload(payload)
    with connect(ctx) as client:
        accepted = client.send(calls.submit(type_, body, options))
    if accepted.replayed:
        note("This key was used before: it is the same job.")
    if wait:
        if output is Output.TABLE:
            note(f"Waiting for {accepted.id}.")
        _wait(ctx, accepted.id, None, output)
    elif output is Output.JSON:
        emit_json(
            {
                "id": accepted.id,
                "status": accepted.status,
                "replayed": accepted.replayed,
                "request_id": accepted.request_id,
            }
        )
    else:
        emit_line(accepted.id)


@app.command("submit-batch")
def submit_batch(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A JSON array of jobs, or one a line; - for stdin.")],
    output: OutputOption = Output.TABLE,
) -> None:
    """Submit many jobs, all or none; prints their ids in order."""
    from hegemon.cli import inputs

    described = inputs.batch(file)
    with connect(ctx) as client:
        ids = client.submit_batch(described)
    if output is Output.JSON:
        emit_json({"ids": ids})
    else:
        for job_id in ids:
            emit_line(job_id)


@app.command("list")
def list_jobs(
    ctx: typer.Context,
    status: Annotated[Status | None, typer.Option(help="Only this status.")] = None,
    type_: TypeFilter = None,
    queue: QueueFilter = None,
    tag: Annotated[str | None, typer.Option(metavar="TAG", help="Only this tag.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 20,
    all_: Annotated[bool, typer.Option("--all", help="All of them, whatever --limit says.")] = False,
    output: OutputOption = Output.TABLE,
) -> None:
    """List jobs, newest first."""
    from hegemon.client import calls

    wanted = None if all_ else limit
    first = calls.jobs(status=status, type=type_, queue=queue, tag=tag, limit=wanted)
    show_page(ctx, first, output, dead=False)


@app.command()
def get(ctx: typer.Context, job_id: JobId, output: OutputOption = Output.TABLE) -> None:
    """Show one job with its result, error and history."""
    with connect(ctx) as client:
        job = client.get(job_id)
    _show(job, output)


@app.command()
def wait(
    ctx: typer.Context,
    job_id: JobId,
    timeout: Annotated[
        str | None, typer.Option(metavar="DURATION", help="How long to wait; default: for ever.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Wait until a job has ended, and show it. Exits with 1 if it failed or was cancelled, 6 if the time was up."""
    from hegemon.cli import inputs

    _wait(ctx, job_id, inputs.seconds(timeout, "--timeout"), output)


@app.command()
def cancel(ctx: typer.Context, job_id: JobId, output: OutputOption = Output.TABLE) -> None:
    """Cancel a job that has not ended, also a running one."""
    with connect(ctx) as client:
        _show_row(client.cancel(job_id), output)


@app.command()
def retry(ctx: typer.Context, job_id: JobId, output: OutputOption = Output.TABLE) -> None:
    """Put a failed or cancelled job back in its queue, with fresh tries."""
    with connect(ctx) as client:
        _show_row(client.retry(job_id), output)


@app.command()
def delete(ctx: typer.Context, job_id: JobId, output: OutputOption = Output.TABLE) -> None:
    """Remove a job that has ended, for good."""
    with connect(ctx) as client:
        client.delete(job_id)
    if output is Output.JSON:
        emit_json({"id": job_id, "deleted": True})
    else:
        emit_line(f"{job_id} deleted")


@app.command()
def types(
    ctx: typer.Context,
    type_: Annotated[
        str | None, typer.Argument(metavar="[TYPE]", help="Only this type, with all its arguments.")
    ] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Show which types of jobs there are, and what their payloads hold."""
    from hegemon.cli import type_screens

    with connect(ctx) as client:
        found = client.types()
    if type_ is not None:
        found = [one for one in found if one["type"] == type_]
        if not found:
            raise Stop(ExitCode.NOT_FOUND, f"No live worker handles {type_!r}. See `hegemon job types`.")
    if output is Output.JSON:
        emit_json(found[0] if type_ is not None else {"types": found})
    elif type_ is not None:
        emit(*type_screens.detail(found[0]))
    elif found:
        emit(type_screens.table(found))
    else:
        note("No worker is there.")


def show_page(ctx: typer.Context, first: Any, output: Output, *, dead: bool) -> None:
    """Read as many pages as the first call's limit asks for, and show them as one list."""
    from hegemon.cli import job_screens

    found, cursor, call = [], None, first
    with connect(ctx) as client:
        while call is not None:
            page = client.send(call)
            found += page.jobs
            cursor, call = page.next_cursor, page.following
    if output is Output.JSON:
        emit_json({"jobs": [job.source for job in found], "next_cursor": cursor})
        return
    if found:
        emit(job_screens.dead_table(found) if dead else job_screens.job_table(found))
    else:
        note("No dead letters." if dead else "No such jobs.")
    if cursor is not None:
        note("There are more: use --limit or --all.")


def _wait(ctx: typer.Context, job_id: str, timeout_s: float | None, output: Output) -> None:
    from hegemon.client import WaitTimeout

    with connect(ctx) as client:
        try:
            job = client.wait(job_id, timeout_s)
        except WaitTimeout as late:
            _show(late.job, output)
            raise Stop(ExitCode.TIMED_OUT, f"The job is still {late.job.status}; it goes on.") from late
    _show(job, output)
    if job.status != Status.COMPLETED:
        raise typer.Exit(ExitCode.JOB_FAILED)


def _show(job: Any, output: Output) -> None:
    from hegemon.cli import job_screens

    if output is Output.JSON:
        emit_json(job.source)
    else:
        emit(*job_screens.detail(job))


def _show_row(job: Any, output: Output) -> None:
    from hegemon.cli import job_screens

    if output is Output.JSON:
        emit_json(job.source)
    else:
        emit(job_screens.job_table([job]))
