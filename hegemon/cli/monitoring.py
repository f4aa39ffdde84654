"""`hegemon monitoring`: the files that Prometheus, Alertmanager and Grafana want, for people who run their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.output import emit_line, note

app = typer.Typer(help="Files for Prometheus and Grafana.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def monitoring() -> None:
    """Files for Prometheus and Grafana."""


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where they go; it is made if need be.")],
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            metavar="HOST:PORT",
            help="A node's METRICS_PORT, as Prometheus reaches it; may be repeated. Default: three made-up ones.",
        ),
    ] = None,
    cluster: Annotated[str, typer.Option("--cluster", metavar="ID", help="The cluster's CLUSTER_ID.")] = "hegemon",
    runbooks: Annotated[
        str | None,
        typer.Option(
            "--runbooks",
            metavar="URL",
            help="Where you serve docs/runbooks, so that an alert's link leads there. Default: the path in the source.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> None:
    """Write dashboards, rules, alerts, and configurations to begin with, into DIR."""
    from hegemon.monitoring.export import RUNBOOKS, exported

    for one in target or ():
        host, _, port = one.rpartition(":")
        if not host or not port.isdigit() or "/" in one:
            raise usage(f"{one!r} is no HOST:PORT, such as node-1:9090.")
    base = RUNBOOKS if runbooks is None else runbooks.rstrip("/") + "/"
    files = exported(target, cluster, base)
    there = [name for name in files if (directory / name).exists()]
    if there and not force:
        raise Stop(ExitCode.REFUSED, f"{directory / there[0]} is there already; --force overwrites.")
    try:
        for name, text in files.items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(ExitCode.FAILED, f"Cannot write into {directory}: {error.strerror or error}.") from None
    for name in files:
        emit_line(str(directory / name))
    if not target:
        note(f"Put your nodes into {directory / 'prometheus' / 'prometheus.yml'}, or name them with --target.")
