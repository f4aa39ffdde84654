"""`hegemon election bench`: one cluster for each algorithm and size, watched in calm and then robbed of its leaders."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from hegemon.cli import election_plot, election_screens
from hegemon.cli.exits import ExitCode, Stop
from hegemon.cli.output import emit, note
from hegemon.cluster.election_trial import trial
from hegemon.cluster.trial_figures import Case, report


class Quiet:
    """A cluster's listener that says only what a person should know."""

    def starting(self, part: str) -> None: ...

    def ready(self, part: str, seconds: float) -> None: ...

    def said(self, sentence: str) -> None:
        note(sentence)


class Steps:
    """How far it is: a bar at a terminal, else a line now and then on stderr."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.at_a_terminal = sys.stderr.isatty()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True, disable=not self.at_a_terminal)
        self._task = self.bar.add_task("", total=total)

    def now(self, what: str) -> None:
        """What is going on."""
        self.bar.update(self._task, description=what)
        if not self.at_a_terminal:
            note(what)

    def done(self) -> None:
        """One more kill."""
        self.bar.advance(self._task)


@contextlib.contextmanager
def _steps(total: int) -> Iterator[Steps]:
    steps = Steps(total)
    with steps.bar:
        yield steps


async def bench(
    cases: Sequence[tuple[str, int]], rounds: int, calm_s: float, json: Path | None, plot: Path | None
) -> None:
    """Measure, show the table, write the files: after each case, so that an interrupted run leaves what it has.

    Stop(FAILED) if a job was lost or run again; what `trial` raises.
    """
    found: list[Case] = []
    with _steps(len(cases) * rounds) as steps:
        for algorithm, nodes in cases:
            found.append(await _case(algorithm, nodes, rounds, calm_s, steps))
            _write(found, json, plot)
    emit(election_screens.figures(found))
    for file in filter(None, (json, plot)):
        note(f"{file} is written.")
    if not all(case.verdict.holds for case in found):
        raise Stop(ExitCode.FAILED, "Hegemon broke its promise: a job was lost, or run again after it was recorded.")


async def _case(algorithm: str, nodes: int, rounds: int, calm_s: float, steps: Steps) -> Case:
    steps.now(f"{algorithm}, {nodes} nodes: starting")
    async with trial(algorithm, nodes, Quiet()) as running:
        await running.steady()
        steps.now(f"{algorithm}, {nodes} nodes: calm")
        calm = await running.calm(calm_s)
        steps.now(f"{algorithm}, {nodes} nodes: killing leaders")
        for number in range(1, rounds + 1):
            await running.end_leader(number)
            await running.revive()
            await running.steady()
            steps.done()
        await running.load.stop()
        verdict = await running.verdict()
        return Case(algorithm=algorithm, nodes=nodes, calm=calm, rounds=running.rounds, verdict=verdict)


def _write(found: Sequence[Case], json: Path | None, plot: Path | None) -> None:
    if json is not None:
        json.write_bytes(msgspec.json.format(msgspec.json.encode(report(found)), indent=1) + b"\n")
    if plot is not None:
        plot.write_text(election_plot.draw(found), encoding="utf-8")
