"""`./dev bench`: runs the named benchmarks, each on fresh stores, prints tables, keeps the raw figures and a plot."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import machine, plot, report
from benchmarks.cluster import Stores
from benchmarks.plan import Plan
from benchmarks.profile import Profiler
from benchmarks.registry import BENCHMARKS
from hegemon.cluster.settings import load

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".bench"
ROUNDS = 3
QUICK = 0.1
# What differs from the defaults; each node adds its addresses and its names.
SETTINGS = {"WORKER_COUNT": "10"}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="./dev bench", description="Measure a real node on real stores.", epilog=f"NAME: {', '.join(BENCHMARKS)}"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="what to measure; all if none is named")
    parser.add_argument("--rounds", type=int, help=f"of each measurement (default {ROUNDS}; with --quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the sizes, one round: to see that it runs")
    parser.add_argument("--scale", type=float, help="multiply sizes and durations")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the node")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
    parser.add_argument("--publish", action="store_true", help="keep results and plots in docs/measurements, and put "
                        "the newest into docs/benchmarks.md")  # fmt: skip
    parser.add_argument("--page", action="store_true", help="measure nothing: renew docs/benchmarks.md alone")
    parser.add_argument("--profile", action="store_true", help="sample the node's processes, and print where "
                        "their time goes (slower: its figures are not kept)")  # fmt: skip
    parser.add_argument("--list", action="store_true", help="list the names")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in BENCHMARKS]:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    if wrong := [item for item in arguments.set if "=" not in item]:
        parser.error(f"--set {wrong[0]}: write NAME=VALUE")
    return arguments


def _commit() -> str:
    def git(*what: str) -> str:
        done = subprocess.run(["git", *what], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S607
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return commit + ("+changes" if git("status", "--porcelain", "--", "hegemon") else "")


async def _run(name: str, arguments: argparse.Namespace, console: Console) -> report.Result:
    scale = arguments.scale or (QUICK if arguments.quick else 1.0)
    settings = SETTINGS | dict(item.split("=", 1) for item in arguments.set)
    began = time.monotonic()
    described = machine.describe()
    with tempfile.TemporaryDirectory(prefix="hegemon-bench-") as directory:
        async with Stores(Path(directory), settings) as stores:
            stores.profiler = Profiler(Path(directory)) if arguments.profile else None
            plan = Plan(
                stores=stores,
                rounds=arguments.rounds or (1 if arguments.quick else ROUNDS),
                scale=scale,
                cache=CACHE,
                say=lambda words: console.print(f"[dim]{name}[/] {words}", highlight=False),
            )
            findings = await BENCHMARKS[name](plan)
            if stores.profiler is not None:
                report.show_shares(console, name, stores.profiler.shares())
    environment = {"HANDLERS": "benchmarks.handlers", "METRICS_PORT": "0", "LOG_FORMAT": "json"} | settings
    return report.Result(
        name=name,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=_commit(),
        quick=scale < 1,
        seconds=round(time.monotonic() - began, 1),
        figures=findings.figures,
        series=findings.series,
        machine=described,
        settings=load(environment, None).public(),
        raw=findings.raw,
    )


def _keep(result: report.Result, directory: Path) -> None:
    stem = f"{result.name}-{result.date[:10]}"
    report.save(directory / f"{stem}.json", [result])
    title = f"{result.name}, {result.date[:10]}, {result.machine['cores']} cores"
    (directory / f"{stem}.svg").write_text(plot.draw(title, result.figures, result.series))


def main() -> int:
    """Run; the exit code is 0 if everything ran, whatever the figures are: missing a target is a finding."""
    arguments = _arguments()
    # However it ends, servers and directories go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(width=None if os.isatty(1) else 140)
    if arguments.list:
        for name, benchmark in BENCHMARKS.items():
            console.print(f"{name:10} {(benchmark.__doc__ or '').splitlines()[0]}", highlight=False)
        return 0
    results: list[report.Result] = []
    for name in [] if arguments.page else arguments.names or list(BENCHMARKS):
        result = asyncio.run(_run(name, arguments, console))
        if not results:
            report.show_circumstances(console, result.machine, result.settings)
        report.show(console, result)
        results.append(result)
        if arguments.profile:
            continue
        # Only full runs are worth keeping among the documents.
        _keep(result, report.MEASUREMENTS if arguments.publish and not result.quick else CACHE / "results")
    if arguments.json and results:
        report.save(arguments.json, results)
    if arguments.publish or arguments.page:
        report.publish(list(BENCHMARKS))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
