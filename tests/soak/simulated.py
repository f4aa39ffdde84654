"""Simulated runs by the thousand: seeds shared out over cases, each chunk in a process of its own, the reports kept in
a file so that a soak goes on where it was stopped, and the table that comes of them.

`python -m tests.soak.simulated REPORTS.jsonl... > docs/measurements/simulation-DATE.json` writes the table.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

import msgspec

from tests.simulation.scenarios import Report

WORKERS: Final = int(os.environ.get("SOAK_WORKERS", str(os.cpu_count() or 1)))
ROOT: Final = Path(__file__).resolve().parents[2]
CHUNK: Final = 10
CHUNK_S_MAX: Final = 3600.0


class Case(msgspec.Struct, frozen=True, order=True):
    """What is simulated; `long` as in `scenarios.simulate`."""

    algorithm: str
    scenario: str
    nodes: int = 3
    long: bool = False

    def __str__(self) -> str:
        return f"{self.algorithm} {self.scenario} {self.nodes} nodes{' long' if self.long else ''}"


class Chunk(msgspec.Struct, frozen=True):
    """Some seeds of a case."""

    case: Case
    seeds: tuple[int, ...]

    def run(self) -> list[Report]:
        """Simulate them in a process of their own."""
        case, step = self.case, self.seeds[1] - self.seeds[0] if len(self.seeds) > 1 else 1
        which = ["--algorithm", case.algorithm, "--scenario", case.scenario, "--nodes", str(case.nodes)]
        seeds = ["--seed", str(self.seeds[0]), "--seeds", str(len(self.seeds)), "--step", str(step)]
        found = subprocess.run(
            [sys.executable, "-m", "tests.simulation", *which, *seeds, "--json", "--live"]
            + (["--long"] if case.long else []),
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            capture_output=True,
            check=False,
            timeout=CHUNK_S_MAX,
        )
        assert found.returncode in (0, 1), found.stderr.decode()[-3000:]
        return list(_read(found.stdout))


def shared_out(
    cases: Sequence[Case], seeds: Iterable[int], done: Iterable[Report] = (), *, most: int = CHUNK
) -> list[Chunk]:
    """Each seed goes to one case, in turn, so that any range of seeds is spread over all of them; those that are done
    already are left out. All cases get their first chunk, of `most` seeds, before any gets its second."""
    there = {(case_of(report), report.seed) for report in done}
    mine: dict[Case, list[int]] = {case: [] for case in cases}
    for seed in seeds:
        case = cases[seed % len(cases)]
        if (case, seed) not in there:
            mine[case].append(seed)
    rounds: list[tuple[int, Chunk]] = []
    for case, numbers in mine.items():
        for part, run in enumerate(_evenly(numbers, most)):
            rounds.append((part, Chunk(case, run)))
    return [chunk for _, chunk in sorted(rounds, key=lambda item: item[0])]


def _evenly(numbers: Sequence[int], most: int) -> Iterator[tuple[int, ...]]:
    """Runs of equal steps, of `most` numbers at most: what was done before may have left holes."""
    run: list[int] = []
    for number in numbers:
        if len(run) == most or (len(run) > 1 and number - run[-1] != run[1] - run[0]):
            yield tuple(run)
            run = []
        run.append(number)
    if run:
        yield tuple(run)


def run_all(chunks: Sequence[Chunk], path: Path | None, say: Callable[[str], None]) -> list[Report]:
    """Run the chunks in WORKERS processes at a time, keep their reports, and tell of each once it is there."""
    reports: list[Report] = []
    with ThreadPoolExecutor(WORKERS) as pool:
        waiting: set[Future[list[Report]]] = {pool.submit(chunk.run) for chunk in chunks}
        while waiting:
            # Told at least so often, or the watchdog would take a long chunk for one that hangs.
            done, waiting = wait(waiting, timeout=60.0, return_when=FIRST_COMPLETED)
            found = [report for future in done for report in future.result()]
            keep(path, found)
            reports += found
            say(f"{len(chunks) - len(waiting)} of {len(chunks)} chunks")
            for report in found:
                if report.violations:
                    say(f"    {report.violations[0].kind}: {report.violations[0].detail}\n    {report.command}")
    return reports


def case_of(report: Report) -> Case:
    """What it was a run of."""
    return Case(report.algorithm, report.scenario, report.nodes, "--long" in report.options)


def kept(path: Path | None) -> list[Report]:
    """What a file of reports holds; a last line that was cut off is not one."""
    return list(_read(path.read_bytes())) if path is not None and path.exists() else []


def keep(path: Path | None, reports: Iterable[Report]) -> None:
    """Add to the file at once: several processes may write into one."""
    if path is not None:
        with path.open("ab") as file:
            file.write(b"".join(msgspec.json.encode(report) + b"\n" for report in reports))


def _read(lines: bytes) -> Iterator[Report]:
    for line in lines.splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield msgspec.json.decode(line, type=Report)


class Row(msgspec.Struct, frozen=True):
    """A case in the table. `changes`: changes of the office after the first. `converged_s_*`: from the end of all
    faults to one leader, agreed on by all and active; `unconverged`: not within the scenario's patience. `figures`:
    what a scene measured, each as [p50, p99, max]."""

    scenario: str
    algorithm: str
    nodes: int
    long: bool
    seeds: int
    virtual_h: float
    jobs: int
    violations: dict[str, int]
    changes: int
    converged_s_p50: float | None
    converged_s_p99: float | None
    converged_s_max: float | None
    unconverged: int
    figures: dict[str, list[float]] = {}

    def __str__(self) -> str:
        found = ", ".join(f"{kind} {n}" for kind, n in self.violations.items()) or "none"
        converged = " | ".join(str(v) for v in (self.converged_s_p50, self.converged_s_p99, self.converged_s_max))
        name = Case(self.algorithm, self.scenario, self.nodes, self.long)
        figures = "".join(f"; {key} {' / '.join(map(str, value))}" for key, value in self.figures.items())
        return (
            f"| {name} | {self.seeds} | {self.virtual_h:.2f} | {self.jobs} | {self.changes} | {converged} "
            f"| {self.unconverged} | {found}{figures} |"
        )


HEADING: Final = (
    "| case | seeds | virtual hours | jobs | changes | one leader p50 s | p99 s | max s | late | violations |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def percentiles(values: Iterable[float]) -> list[float]:
    """p50, p99 (the least value that 99% do not exceed) and the greatest."""
    order = sorted(values)
    return [order[min(len(order) - 1, -(-len(order) * share // 100) - 1)] for share in (50, 99, 100)]


def row(reports: Sequence[Report]) -> Row:
    """One case's reports as a line of the table."""
    case = case_of(reports[0])
    converged = [report.converged_s for report in reports if report.converged_s is not None]
    middle, most, worst = percentiles(converged) if converged else (None, None, None)
    names = sorted({name for report in reports for name in report.figures})
    return Row(
        scenario=case.scenario,
        algorithm=case.algorithm,
        nodes=case.nodes,
        long=case.long,
        seeds=len(reports),
        virtual_h=round(sum(report.virtual_s for report in reports) / 3600, 3),
        jobs=sum(report.counts.get("acknowledged", 0) for report in reports),
        violations=dict(sorted(Counter(kind for report in reports for kind in report.kinds).items())),
        changes=sum(max(report.counts.get("offices", 0) - 1, 0) for report in reports),
        converged_s_p50=middle,
        converged_s_p99=most,
        converged_s_max=worst,
        unconverged=len(reports) - len(converged),
        figures={n: percentiles(r.figures[n] for r in reports if n in r.figures) for n in names},
    )


def table(reports: Iterable[Report]) -> list[Row]:
    """All cases that there are, in order; a seed that was run twice counts once."""
    found: dict[Case, dict[int, Report]] = {}
    for report in reports:
        found.setdefault(case_of(report), {})[report.seed] = report
    return [row([*found[case].values()]) for case in sorted(found)]


def main() -> None:
    """The table of the files named, as JSON."""
    rows = table(report for path in sys.argv[1:] for report in kept(Path(path)))
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode({"cases": rows}), indent=1) + b"\n")


if __name__ == "__main__":
    main()
