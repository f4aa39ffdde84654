"""`hegemon cluster`: who is there, who leads, how much there is to do."""

from __future__ import annotations

from typing import Annotated

import typer

from hegemon.cli import inputs
from hegemon.cli.output import JsonOption, Output, OutputOption, emit, emit_json
from hegemon.cli.session import connect, url_of, wrong_option

app = typer.Typer(help="The nodes, the leader, the work.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def status(ctx: typer.Context, output: OutputOption = Output.TABLE, json: JsonOption = False) -> None:
    """Show nodes, leader, epoch, workers, jobs by status and queue depth on one screen.

    Each node is asked for its own role, term and epoch, so that a disagreement shows.
    """
    from hegemon.cli import cluster_poll, cluster_screen

    with connect(ctx) as client:
        state = {
            "cluster": client.cluster(),
            "leader": client.leader(),
            "election": client.election(),
            "nodes": client.nodes(),
            "workers": client.workers(),
            "stats": client.stats(),
        }
    if json or output is Output.JSON:
        emit_json(state)
    else:
        emit(*cluster_screen.screen(state, cluster_poll.views_now(cluster_poll.urls_in(state))))


@app.command()
def watch(
    ctx: typer.Context,
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="End after 10s, 1m30s ... Default: q or Ctrl-C ends."),
    ] = None,
) -> None:
    """Watch the cluster live: nodes, leader, work, and every change of leadership as it happens.

    It goes on when the node asked dies, by asking the others that it has heard of. Piped, it writes one line a change.
    """
    from hegemon.cli import cluster_watch

    seconds = inputs.seconds(for_, "--for")
    try:
        url = url_of(ctx)
    except ValueError as error:
        raise wrong_option(error) from error
    cluster_watch.run(url, seconds)
