"""Results as a table for the terminal, as JSON to keep, and as the newest table within docs/benchmarks.md."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure, Series

DOCS = Path(__file__).resolve().parent.parent / "docs"
MEASUREMENTS = DOCS / "measurements"
_BEGIN, _END = "<!-- measured: begin -->", "<!-- measured: end -->"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One benchmark's run, whole. `settings` are all settings of the node; `commit` may say that files had changed."""

    name: str
    date: str
    commit: str
    quick: bool
    seconds: float
    figures: list[Figure]
    series: list[Series]
    machine: dict[str, Any]
    settings: dict[str, str]
    raw: dict[str, Any]


def number(value: float) -> str:
    """As many digits as anybody reads."""
    if math.isnan(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _cells(figure: Figure) -> tuple[str, str, str, str, str]:
    low, high = figure.spread
    target = f"{figure.target.bound} {number(figure.target.value)}" if figure.target else ""
    verdict = {None: "", True: "met", False: "missed"}[figure.met]
    spread = f"{number(low)} to {number(high)}" if len(figure.rounds) > 1 else ""
    return f"{number(figure.median)} {figure.unit}", spread, target, verdict, figure.detail


def show(console: Console, result: Result) -> None:
    """Print a result's table."""
    rounds = max((len(figure.rounds) for figure in result.figures), default=0)
    quick = "; quick sizes: not for comparing" if result.quick else ""
    table = Table(title=f"{result.name}: medians of {rounds}{quick}", title_justify="left", header_style="bold")
    table.add_column("figure")
    for column in ("median", "range"):
        table.add_column(column, justify="right")
    for column in ("target", "", "remark"):
        table.add_column(column)
    for figure in result.figures:
        median, spread, target, verdict, detail = _cells(figure)
        style = {"met": "green", "missed": "bold red"}.get(verdict, "")
        table.add_row(figure.name, median, spread, target, f"[{style}]{verdict}[/]" if style else "", detail)
    console.print(table)


def show_circumstances(console: Console, machine: dict[str, Any], settings: dict[str, str]) -> None:
    """Print the machine and every setting."""
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    console.print(
        f"[bold]machine[/] {machine['cores']} cores, {machine['cpu']}, {machine['memory_gib']} GiB, "
        f"{machine['system']}, load {machine['load_1m']}\n[bold]stores[/] {machine['redis']}; {machine['mongodb']}\n"
        f"[bold]python[/] {machine['python']}; {packages}",
        highlight=False,
    )
    console.print("[bold]settings[/] " + " ".join(f"{k}={v}" for k, v in settings.items()), highlight=False)


def save(path: Path, results: list[Result]) -> None:
    """Write one result, or several as a list."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results[0] if len(results) == 1 else results), indent=1))


def newest(names: list[str]) -> list[Result]:
    """Of each of these benchmarks the newest result in docs/measurements, where other measurements lie too."""
    kept = {name: sorted(MEASUREMENTS.glob(f"{name}-[0-9][0-9][0-9][0-9]-*.json")) for name in names}
    return [msgspec.json.decode(paths[-1].read_bytes(), type=Result) for paths in kept.values() if paths]


def publish(names: list[str]) -> None:
    """Put the newest results of these benchmarks, in this order, into docs/benchmarks.md, between its two marks."""
    page = DOCS / "benchmarks.md"
    page.write_text(renewed(page.read_text(), names))


def renewed(page: str, names: list[str]) -> str:
    """The page with what is between its two marks written anew."""
    head, _, rest = page.partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    text = "\n\n".join(_markdown(result) for result in newest(names)) or "Nothing has been measured yet."
    return f"{head}{_BEGIN}\n{text}\n{_END}{tail}"


def _markdown(result: Result) -> str:
    machine = result.machine
    workers = result.settings.get("WORKER_COUNT", "?")
    circumstances = (
        f"{result.date[:10]}, {machine['cores']} cores ({machine['cpu']}), {machine['python']}, "
        f"WORKER_COUNT={workers}, commit {result.commit}; medians of "
        f"{max(len(figure.rounds) for figure in result.figures)} rounds."
    )
    lines = [
        f"### {result.name}",
        "",
        circumstances,
        "",
        "| figure | median | range | target | |",
        "|---|---:|---:|---|---|",
    ]
    for figure in result.figures:
        median, spread, target, verdict, _ = _cells(figure)
        lines.append(f"| {figure.name} | {median} | {spread} | {target} | {verdict} |")
    plot = f"{result.name}-{result.date[:10]}.svg"
    if (MEASUREMENTS / plot).exists():
        lines += ["", f"![{result.name}](measurements/{plot})"]
    return "\n".join(lines)


def show_shares(console: Console, name: str, shares: Mapping[str, Counter[str]]) -> None:
    """Where each process's time went."""
    for process, owners in shares.items():
        table = Table(title=f"{name}: {process}, {owners.total():,} samples", title_justify="left")
        table.add_column("where")
        table.add_column("share", justify="right")
        for owner, samples in owners.most_common():
            table.add_row(owner, f"{100 * samples / owners.total():.0f}%")
        console.print(table)
