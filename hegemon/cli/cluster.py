"""`hegemon cluster`: who is there, who leads, how much there is to do."""

from __future__ import annotations

import typer

from hegemon.cli.output import Output, OutputOption, emit, emit_json
from hegemon.cli.session import connect

app = typer.Typer(help="The nodes, the leader, the work.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def group() -> None:
    """The nodes, the leader, the work."""  # a callback keeps `status` a sub-command while it is the only one


@app.command()
def status(ctx: typer.Context, output: OutputOption = Output.TABLE) -> None:
    """Show nodes, leader, epoch, workers, jobs by status and queue depth on one screen."""
    from hegemon.cli import cluster_screen

    with connect(ctx) as client:
        state = {
            "cluster": client.cluster(),
            "leader": client.leader(),
            "election": client.election(),
            "nodes": client.nodes(),
            "workers": client.workers(),
            "stats": client.stats(),
        }
    if output is Output.JSON:
        emit_json(state)
    else:
        emit(*cluster_screen.screen(state))
