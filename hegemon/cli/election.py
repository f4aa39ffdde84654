"""`hegemon election`: what the algorithms are for, a failover before your eyes, its figures, and a step-down."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer

from hegemon.cli import inputs
from hegemon.cli.exits import ExitCode, Stop, usage
from hegemon.cli.output import JsonOption, Output, OutputOption, emit, emit_json, emit_line, note
from hegemon.cli.session import connect, credentials

app = typer.Typer(help="Algorithms, failovers, a step-down.", no_args_is_help=True, rich_markup_mode=None)

_ALGORITHMS = ("bully", "raft", "gossip")
_NAMES = "|".join(_ALGORITHMS)
# With more on one machine, the figures would say more about it than about the algorithm.
NODES_MAX = 10


@app.command()
def guide(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar=_NAMES, help="The algorithm.")],
    nodes: Annotated[
        int | None, typer.Option("--nodes", "-n", metavar="N", min=1, help="For so many; default: as there are.")
    ] = None,
    output: OutputOption = Output.TABLE,
    json: JsonOption = False,
) -> None:
    """Say what an algorithm is good for, and its settings for so many nodes."""
    from hegemon.cli import election_screens

    with connect(ctx) as client:
        advice = client.algorithm(name, nodes)
    if json or output is Output.JSON:
        emit_json(advice)
    else:
        emit(*election_screens.advice(advice))


@app.command("step-down")
def step_down(
    ctx: typer.Context,
    pause: Annotated[
        str, typer.Option("--pause", metavar="DURATION", help="How long it does not stand for election again.")
    ] = "10s",
    output: OutputOption = Output.TABLE,
    json: JsonOption = False,
) -> None:
    """Make the leader hand over to another node, in order. Any node may be asked: the leader is found through it."""
    from hegemon.client import ApiError, Client

    seconds = inputs.seconds(pause, "--pause") or 0.0
    with connect(ctx) as client:
        try:
            state = client.step_down(seconds)
        except ApiError as error:
            url = client.leader().get("url") if error.code == "not_leader" else None
            if url is None:
                raise
            with Client(url, **credentials(url)) as leader:
                state = leader.step_down(seconds)
    if json or output is Output.JSON:
        emit_json(state)
    else:
        emit_line(f"{state['node_id']} has stepped down, and does not stand again for {pause}")


@app.command()
def demo(
    algorithm: Annotated[str, typer.Option("--algorithm", "-a", metavar=_NAMES, help="How they elect.")] = "raft",
    nodes: Annotated[int, typer.Option("--nodes", "-n", metavar="N", min=2, max=NODES_MAX, help="How many nodes.")] = 3,
    kills: Annotated[int, typer.Option("--kills", metavar="K", min=1, help="How many leaders are killed.")] = 3,
    secure: Annotated[bool, typer.Option("--secure", help="A cluster with logins and TLS.")] = False,
) -> None:
    """Kill the leader of a local cluster under load, again and again, and prove that nothing was lost.

    It starts a cluster of its own in a temporary directory, submits 40 jobs a second, kills each leader with kill -9,
    and shows what happens then. At the end every acknowledged job must be completed in MongoDB, exactly once: exit code
    0 says that, and nothing else does.
    """
    from hegemon.cli import election_demo

    if nodes == 2 and algorithm == "raft":
        raise usage("raft needs a majority: of two nodes none may die. Take --nodes 3, or --algorithm bully.")
    _run(election_demo.demo(known(algorithm), nodes, kills, secure=secure))


@app.command()
def bench(
    algorithms: Annotated[
        str, typer.Option("--algorithms", "-a", metavar="A,B", help="Which algorithms.")
    ] = "bully,raft,gossip",
    nodes: Annotated[str, typer.Option("--nodes", "-n", metavar="N,N", help="Which sizes of cluster.")] = "3,5,7",
    rounds: Annotated[
        int, typer.Option("--rounds", "-r", metavar="R", min=1, help="Kills for each algorithm and size.")
    ] = 10,
    calm: Annotated[
        str, typer.Option("--calm", metavar="DURATION", help="How long to watch each cluster undisturbed.")
    ] = "10s",
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every round there, with the machine.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw the figures there, as SVG.")] = None,
) -> None:
    """Measure failovers: kill -9 of the leader to the first dispatch by the next one, seen from outside.

    For each algorithm and size a cluster of its own is started and watched in calm; then its leader is killed R times.
    All of it runs on this machine, so more nodes than cores measure the machine, too.
    """
    from hegemon.cli import election_bench

    wanted = [known(name.strip()) for name in algorithms.split(",") if name.strip()]
    sizes = [_size(text) for text in nodes.split(",") if text.strip()]
    seconds = inputs.seconds(calm, "--calm") or 0.0
    for file in filter(None, (json, plot)):
        if not file.parent.is_dir():
            raise usage(f"{file.parent} is not a directory, so {file.name} cannot be written there.")
    cases = [(name, size) for name in dict.fromkeys(wanted) for size in dict.fromkeys(sizes)]
    if not cases:
        raise usage("Name an algorithm with --algorithms, and a size with --nodes.")
    if ("raft", 2) in cases:
        raise usage("raft needs a majority: of two nodes none may die. Leave 2 out of --nodes, or raft out.")
    _run(election_bench.bench(cases, rounds, seconds, json, plot))


def known(name: str) -> str:
    """The name, if it is one of an algorithm that elects."""
    if name not in _ALGORITHMS:
        raise usage(f"{name!r} is not an algorithm that elects a leader; known are {', '.join(_ALGORITHMS)}.")
    return name


def _size(text: str) -> int:
    if not text.strip().isdecimal() or not 2 <= int(text) <= NODES_MAX:
        raise usage(f"--nodes takes sizes from 2 to {NODES_MAX} separated by commas, such as 3,5,7; got {text!r}.")
    return int(text)


def _run(work: Coroutine[Any, Any, None]) -> None:
    """Carry out a trial; what stops it becomes a sentence and exit code 1."""
    import asyncio

    from hegemon.cluster.election_trial import TrialError
    from hegemon.cluster.embedded import EmbeddedError
    from hegemon.cluster.local_plan import LocalError
    from hegemon.cluster.settings import SettingsError

    try:
        asyncio.run(work)
    except (TrialError, LocalError, EmbeddedError, SettingsError) as error:
        note(f"hegemon: {str(error).splitlines()[0]}")
        for line in str(error).splitlines()[1:]:
            note(line)
        raise Stop(ExitCode.FAILED, "The trial could not be finished.") from error
