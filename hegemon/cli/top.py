"""`hegemon top`: the dashboard's twin in a terminal."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from hegemon.cli import inputs
from hegemon.cli.output import emit_json
from hegemon.cli.session import url_of, wrong_option


def top(
    ctx: typer.Context,
    once: Annotated[
        bool, typer.Option("--once", help="Show it once, and end; so it is where stdout is no terminal.")
    ] = False,
    every: Annotated[str, typer.Option(metavar="DURATION", help="How often to ask.")] = "1s",
    for_: Annotated[
        str | None,
        typer.Option("--for", metavar="DURATION", help="End after 10s, 1m30s ... Default: q or Ctrl-C ends."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Write what it knows as one JSON document, and end.")] = False,
) -> None:
    """Watch the cluster's work live: throughput, latencies, depths, nodes, queues, newest events.

    It goes on when the node asked dies, by asking the others that it has heard of.
    """
    from hegemon.cli import top_live

    pause_s, seconds = inputs.seconds(every, "--every"), inputs.seconds(for_, "--for")
    try:
        url = url_of(ctx)
    except ValueError as error:
        raise wrong_option(error) from error
    if sys.stdout.isatty() and not once and not json:
        top_live.watch(url, pause_s or 0.0, seconds)
        return
    model = top_live.look(url)
    if json:
        emit_json({"asked": model.urls[0], **(model.state or {})})
    else:
        top_live.show(model)
