"""How `hegemon top` looks: one frame of lines for a terminal of any size, from 80 columns and 24 lines up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from rich.console import Console, ConsoleOptions
from rich.text import Text

from hegemon.cli.cluster_poll import State
from hegemon.cli.events import details
from hegemon.cli.tables import STATUS_STYLES, Sheet, cell
from hegemon.cli.times import parsed
from hegemon.cli.top_model import PANES, STALE_S, Row, Top

# From so many columns on nodes and queues stand side by side.
WIDE: Final = 150
NARROW: Final = 95
GAP: Final = 3
_BARS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BARS: Final = "_.-=+*%#"
_SEVERITIES: Final = {"warning": "yellow", "error": "red"}


@dataclass(frozen=True)
class Frame:
    """One picture of `top` as of now. `keys`: whether it is told which there are."""

    top: Top
    now_s: float
    wall: datetime
    keys: bool
    height: int | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        height = self.height or options.height or console.height
        for line in lines(self, console, options.max_width, height):
            line.truncate(options.max_width, overflow="crop")
            line.no_wrap, line.overflow = True, "crop"
            yield line


def lines(frame: Frame, console: Console, width: int, height: int) -> list[Text]:
    """At most `height` lines; what has no room is left out from the panes."""
    plain = not (console.encoding or "").lower().startswith("utf")
    top = [*_head(frame, width), Text(), *_figures(frame.top, width, plain=plain), Text()]
    keys = [_keys(frame.top)] if frame.keys else []
    return [*top, *_panes(frame, console, width, max(height - len(top) - len(keys), 0)), *keys][:height]


def _head(frame: Frame, width: int) -> list[Text]:
    top = frame.top
    words = [cell("hegemon top", "bold")]
    if top.state is not None:
        cluster, election, leader = (top.state[name] for name in ("cluster", "election", "leader"))
        members = election.get("members") or ()
        alive = sum(member.get("health") == "alive" for member in members)
        words.append(cell(cluster.get("cluster_id")))
        words.append(cell(f"{election.get('current_algorithm')} {alive}/{len(members)}"))
        if leader.get("leader_id") is not None:
            words.append(cell(leader["leader_id"], "bold green"))
        words.append(cell(f"epoch {leader.get('epoch')} term {election.get('term')}"))
        words.append(cell(f"by {cluster.get('node_id')}", "dim"))
    left = Text("  ").join(words)
    mark = "PAUSED " if top.paused else ""
    right = Text.assemble((mark, "bold yellow"), f"{frame.wall:%H:%M:%S}")
    left.truncate(max(width - right.cell_len - 1, 0), overflow="ellipsis")
    left.append(" " * max(width - left.cell_len - right.cell_len, 1))
    verdicts = top.verdicts(frame.now_s)
    says = Text("; ").join(cell(sentence, style) for style, sentence in verdicts)
    says.truncate(width, overflow="ellipsis")
    return [left.append_text(right), says]


def _figures(top: Top, width: int, *, plain: bool) -> list[Text]:
    figures, stats = top.figures, (top.state or {}).get("stats") or {}
    rates, queue, jobs = figures.get("rates", {}), stats.get("queue", {}), stats.get("jobs", {})
    speed = _row("rate", *((name, per_second(rates.get(key))) for name, key in _RATES))
    room = width - speed.cell_len - 2
    if room > 8 and len(top.done) > 1:
        speed.append("  ").append(sparkline(list(top.done), min(room, 60), plain=plain), "cyan")
    oldest = max((one for one in figures.get("queues", ()) if one.get("oldest_age_s")), key=_age, default=None)
    waits = [("oldest", f"{took(oldest['oldest_age_s'] * 1000)} in {oldest['name']}")] if oldest else [("oldest", "-")]
    late = figures.get("lateness", {})
    held = [("ready", queue.get("ready")), ("held", queue.get("held")), ("delayed", queue.get("delayed"))]
    found = [(name, _count(jobs.get(name)), STATUS_STYLES.get(name, "")) for name in _STATUSES]
    return [
        speed,
        _row("wait", *_percentiles(figures.get("wait", {})), *waits),
        _row("run", *_percentiles(figures.get("processing", {})), ("late p95", took(late.get("p95_ms")))),
        _row("jobs", *((name, _count(value)) for name, value in held), *found),
    ]


_RATES: Final = (("done", "completed"), ("in", "submitted"), ("failed", "failed"), ("retried", "retried"))
_STATUSES: Final = ("retrying", "completed", "failed")


def _age(row: Row) -> float:
    return float(row["oldest_age_s"])


def _row(title: str, *parts: tuple[str, str] | tuple[str, str, str]) -> Text:
    row = Text(f"{title:<5}", style="bold")
    for name, value, *style in parts:
        row.append(f" {name} ", "dim").append_text(cell(value, style[0] if style else "default")).append(" ")
    row.rstrip()
    return row


def _percentiles(found: State) -> list[tuple[str, str]]:
    return [(name, took(found.get(f"{name}_ms"))) for name in ("p50", "p95", "p99")]


def _panes(frame: Frame, console: Console, width: int, room: int) -> list[Text]:
    top = frame.top
    if width < WIDE:
        wants = [max(len(top.rows(pane)), 1) + 1 for pane in PANES]
        heights = shares(wants, room, PANES.index(top.focus))
        drawn = [_pane(frame, console, pane, width, height) for pane, height in zip(PANES, heights, strict=True)]
        return [line for pane in drawn for line in pane]
    half = (width - GAP) // 2
    upper = max(max(len(top.rows(pane)), 1) + 1 for pane in PANES[:2])
    focus = 1 if top.focus == "events" else 0
    heights = shares([upper, len(top.rows("events")) + 1], room, focus)
    left, right = (_pane(frame, console, pane, half, heights[0]) for pane in PANES[:2])
    both = []
    for number in range(heights[0]):
        line = left[number] if number < len(left) else Text()
        line.append(" " * (half + GAP - line.cell_len))
        both.append(line.append_text(right[number]) if number < len(right) else line)
    return [*both, *_pane(frame, console, "events", width, heights[1])]


def shares(wants: Sequence[int], room: int, focus: int) -> list[int]:
    """How many lines each pane gets: at first they grow alike, up to three lines or a third of the room; then the
    focused one has what it wants, and the others the rest."""
    got = [0] * len(wants)
    fair = max(room // 3, 3)
    for panes, limit in ((range(len(wants)), fair), ([focus], room), (range(len(wants)), room)):
        for line in range(limit):
            for pane in panes:
                if room and got[pane] == line and got[pane] < wants[pane]:
                    got[pane] += 1
                    room -= 1
    return got


def _pane(frame: Frame, console: Console, pane: str, width: int, height: int) -> list[Text]:
    """Its heading and as many rows as fit; a word where there are more."""
    if height < 1:
        return []
    top, view = frame.top, frame.top.views[pane]
    rows = top.rows(pane)
    view.first = min(view.first, max(len(rows) - (height - 1), 0))
    sheet = _SHEETS[pane](rows[view.first : view.first + height - 1], frame, width)
    drawn = list(sheet.__rich_console__(console, console.options.update(max_width=width)))
    heading = drawn[0]
    heading.highlight_regex(rf"(?<!\S){re.escape(top.order(pane).heading)}(?!\S)", "underline")
    left = len(rows) - view.first - (height - 1)
    if left > 0 or view.first:
        note = f" {view.first + 1}-{view.first + len(drawn) - 1} of {len(rows)}"
        heading.truncate(width - len(note), overflow="crop")
        heading.append(" " * (width - heading.cell_len - len(note)) + note)
    heading.append(" " * (width - heading.cell_len))
    heading.stylize("reverse" if top.focus == pane else "dim")
    if not rows:
        drawn.append(cell({"nodes": "-", "queues": "no queue has a job", "events": "no events"}[pane], "dim"))
    for line in drawn:
        line.truncate(width, overflow="ellipsis")
    return drawn[:height]


def _nodes(rows: Sequence[Row], frame: Frame, width: int) -> Sheet:
    more = width >= NARROW
    columns = ["NODE", "STATE", "DONE/S", "IN/S", "BUSY", "LAG", "DEATHS", "UP", "VERSION", *["URL"] * more]
    sheet = Sheet(*columns, right={"DONE/S", "IN/S", "BUSY", "LAG", "DEATHS", "UP"}, flexible={"URL", "VERSION"})
    for row in rows:
        lag = row.get("loop_lag_ms")
        cells = [
            cell(row["id"], "bold green" if row["leads"] else ""),
            _standing(row),
            cell(per_second(row.get("rates", {}).get("completed"))),
            cell(per_second(row.get("rates", {}).get("submitted"))),
            cell(f"{row.get('busy', '-')}/{row.get('slots', '-')}"),
            cell(took(lag), "yellow" if lag is not None and lag > 250 else ""),
            cell(row.get("worker_deaths"), "red" if row.get("worker_deaths") else ""),
            cell(took(row["uptime_s"] * 1000) if "uptime_s" in row else None),
            cell(row.get("version")),
        ]
        sheet.add(*cells, *[cell(row.get("url"), "dim")] * more)
    return sheet


def _standing(row: Row) -> Text:
    health = str(row.get("health") or ("alive" if row.get("alive") else "silent"))
    if health != "alive":
        return cell(health, "yellow" if health == "suspect" else "red")
    if row.get("age_s", 0.0) > STALE_S:
        return cell(f"{row['age_s']:.0f} s old", "yellow")
    if row["leads"]:
        return cell("leader" if row.get("active", True) else "paused", "green" if row.get("active", True) else "yellow")
    return cell("alive" if row.get("fit", True) else "no store", "" if row.get("fit", True) else "yellow")


def _queues(rows: Sequence[Row], frame: Frame, width: int) -> Sheet:
    del frame
    more = width >= NARROW
    columns = [
        "QUEUE",
        "READY",
        "DELAYED",
        "HELD",
        "PARKED",
        "OLDEST",
        "DONE/S",
        *["FAILED/S"] * more,
        "WAIT95",
        "RUN95",
    ]
    sheet = Sheet(*columns, right=columns[1:], flexible={"QUEUE"})
    for row in rows:
        rates = row.get("rates", {})
        age_s = row.get("oldest_age_s")
        sheet.add(
            cell(row["name"]),
            *(cell(_count(row.get(name))) for name in ("ready", "delayed", "held")),
            cell(_count(row.get("parked")), "yellow" if row.get("parked") else ""),
            cell(None if age_s is None else took(age_s * 1000)),
            cell(per_second(rates.get("completed"))),
            *[cell(per_second(rates.get("failed")))] * more,
            cell(took(row.get("wait", {}).get("p95_ms"))),
            cell(took(row.get("processing", {}).get("p95_ms"))),
        )
    return sheet


def _events(rows: Sequence[Row], frame: Frame, width: int) -> Sheet:
    del width
    sheet = Sheet("AT", "NODE", "WHAT", "DETAILS", flexible={"DETAILS"})
    for row in rows:
        at = parsed(row.get("at"))
        shown = at.astimezone(frame.wall.tzinfo).strftime("%H:%M:%S") if at else None
        style = _SEVERITIES.get(str(row.get("severity")), "")
        sheet.add(cell(shown), cell(row.get("node")), cell(row.get("kind"), style), cell(details(dict(row)), "dim"))
    return sheet


_SHEETS: Final = {"nodes": _nodes, "queues": _queues, "events": _events}


def _keys(top: Top) -> Text:
    pause = "goes on" if top.paused else "pauses"
    words = [("q", "ends"), ("p", pause), ("tab", top.focus), ("s", f"sorts: {top.order(top.focus).heading}")]
    words += [("r", "turns"), ("\N{UPWARDS ARROW}\N{DOWNWARDS ARROW}", "scrolls")]
    line = Text()
    for key, word in words:
        line.append(f"{key} ", "bold").append(f"{word}   ", "dim")
    line.rstrip()
    return line


def per_second(rate: Any) -> str:
    """A rate over ten seconds: 41.5, 1,234; a dash where it is not known."""
    value = (rate or {}).get("last_10s")
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def took(ms: float | None) -> str:
    """A length of time, as the dashboard writes it: 8.5 ms, 120 ms, 1.24 s, 3 m 12 s, 2 h 5 m, 4 d 3 h."""
    if ms is None:
        return "-"
    if ms < 1000:
        return f"{ms:.1f} ms" if ms < 10 and ms != int(ms) else f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    steps = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))
    size, unit, lesser, lesser_unit = next(step for step in steps if seconds >= step[0])
    rest = int(seconds % size // lesser)
    return f"{int(seconds // size)} {unit}" + (f" {rest} {lesser_unit}" if rest else "")


def _count(value: Any) -> str:
    return "-" if value is None else f"{value:,}"


def sparkline(values: Sequence[float], width: int, *, plain: bool = False) -> str:
    """The last values, a bar each; the tallest is the largest of them, and nothing is the lowest."""
    bars = _ASCII_BARS if plain else _BARS
    shown = list(values)[-width:]
    largest = max(shown, default=0.0)
    if largest <= 0:
        return bars[0] * len(shown)
    return "".join(bars[min(int(max(value, 0.0) / largest * len(bars)), len(bars) - 1)] for value in shown)
