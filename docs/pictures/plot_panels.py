"""Panels of Grafana's as plain SVG, at their places in the grid: near enough to see what an operator will see.

Not Grafana: it knows five kinds of panels, and of their options those that the dashboards here use.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

# Grafana's dark theme, and its palette for series.
PAGE, CARD, EDGE, INK, FAINT = "#111217", "#181b1f", "#2c3037", "#d0d2d8", "#8e929a"
PALETTE: Final = ("#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d",
                  "#fade2a", "#447ebc", "#c15c17")  # fmt: skip
NAMED: Final = {"green": "#73bf69", "yellow": "#fade2a", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2",
                "purple": "#b877d9", "transparent": "#22252b"}  # fmt: skip
COLUMN, UNIT, GAP, TOP = 52, 38, 8, 44
GONE_S: Final = 7.0
Series = tuple[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class Answer:
    """What Prometheus had for a panel: the series of each query by their legend, and what they are now."""

    curves: Sequence[Series]
    now: Sequence[tuple[str, float]]
    rows: Mapping[str, Mapping[str, float]]


def picture(
    page: Mapping[str, Any], answers: Mapping[int, Answer], marks: Iterable[float], span: tuple[float, float]
) -> str:
    """The whole dashboard. `marks`: when somebody took office; `span`: from when to when, in seconds since 1970."""
    panels = page["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * UNIT + TOP + GAP
    width = 24 * COLUMN + GAP
    font = 'font-size="12" font-family="Inter, \'DejaVu Sans\', system-ui, sans-serif"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" {font}>',
        f'<rect width="{width}" height="{height}" fill="{PAGE}"/>',
        text(14, 28, page["title"], size=17, weight=600),
    ]
    for panel in panels:
        place = panel["gridPos"]
        x, y = place["x"] * COLUMN + GAP, place["y"] * UNIT + TOP
        w, h = place["w"] * COLUMN - GAP, place["h"] * UNIT - GAP
        if panel["type"] == "row":
            parts.append(text(x, y + 20, f"▾ {panel['title']}", size=14, weight=600))
            continue
        parts.append(rect(x, y, w, h, CARD, edge=EDGE))
        parts.append(text(x + 8, y + 18, panel["title"], weight=600))
        box = (x + 10, y + 28, w - 20, h - 36)
        parts += _KINDS[panel["type"]](panel, answers[panel["id"]], box, sorted(marks), span)
    return "\n".join([*parts, "</svg>"]) + "\n"


def text(
    x: float, y: float, words: str, *, size: int = 12, weight: int = 400, fill: str = INK, anchor: str = "start"
) -> str:
    """One line."""
    style = f'font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(words)}</text>'


def rect(x: float, y: float, w: float, h: float, fill: str, *, opacity: float = 1.0, edge: str = "") -> str:
    """A box."""
    more = (f' fill-opacity="{opacity}"' if opacity < 1 else "") + (f' stroke="{edge}"' if edge else "")
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}"{more}/>'


def line(x1: float, y1: float, x2: float, y2: float, stroke: str, dashes: str = "") -> str:
    """A straight one."""
    more = f' stroke-dasharray="{dashes}"' if dashes else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{more}/>'


def number(value: float, unit: str, decimals: int | None = None) -> str:
    """A value with its unit, short."""
    if unit == "percentunit":
        return f"{value * 100:.{1 if decimals is None else decimals}f}%"
    if unit == "dtdurations":
        for name, seconds in (("d", 86_400), ("h", 3600), ("m", 60)):
            if value >= seconds:
                return f"{value / seconds:.1f} {name}"
        return f"{value:.0f} s"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{value * 1e6:.0f} µs" if abs(value) < 1e-3 else f"{value * 1e3:.3g} ms"
    tail = {"s": " s", "ops": "/s", "reqps": "/s", "pps": "/s"}.get(unit, "")
    if decimals is not None:
        return f"{value:.{decimals}f}{tail}"
    return f"{value / 1000:.3g} k{tail}" if abs(value) >= 10_000 else f"{value:.4g}{tail}"


def colour_of(panel: Mapping[str, Any], value: float) -> str:
    """By the panel's thresholds."""
    found = "green"
    for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]:
        if step["value"] is None or value >= step["value"]:
            found = step["color"]
    return NAMED.get(found, found)


def _mapped(panel: Mapping[str, Any], value: float) -> tuple[str, str] | None:
    return _word(panel["fieldConfig"]["defaults"]["mappings"], value)


def _word(mappings: Iterable[Mapping[str, Any]], value: float) -> tuple[str, str] | None:
    for mapping in mappings:
        if one := mapping["options"].get(f"{value:g}"):
            return one["text"], NAMED.get(one["color"], one["color"])
    return None


Box = tuple[float, float, float, float]
Drawn = list[str]


def _stat(
    panel: Mapping[str, Any], answer: Answer, box: Box, marks: Sequence[float], span: tuple[float, float]
) -> Drawn:
    del marks, span
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    if not answer.now:
        return [text(x + w / 2, y + h / 2 + 8, defaults["noValue"], size=20, anchor="middle", fill=FAINT)]
    parts: Drawn = []
    share = w / len(answer.now)
    names = panel["options"]["textMode"] == "name"
    for i, (legend, value) in enumerate(answer.now):
        words, colour = _mapped(panel, value) or (
            number(value, defaults["unit"], defaults.get("decimals")), colour_of(panel, value))  # fmt: skip
        middle = x + share * (i + 0.5)
        if names:
            parts.append(rect(x + share * i + 2, y, share - 4, h, colour))
            parts.append(text(middle, y + h / 2 + 9, legend, size=24, weight=600, anchor="middle", fill=PAGE))
            continue
        several = len(answer.now) > 1
        size = 19 if several else 30
        parts.append(
            text(
                middle, y + h / 2 + (12 if several else 10), words, size=size, weight=600, anchor="middle", fill=colour
            )
        )
        if several:
            parts.append(text(middle, y + h / 2 - 14, legend, anchor="middle", fill=FAINT))
    return parts


def _bargauge(
    panel: Mapping[str, Any], answer: Answer, box: Box, marks: Sequence[float], span: tuple[float, float]
) -> Drawn:
    del marks, span
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    parts: Drawn = []
    each = h / max(len(answer.now), 1)
    for i, (legend, value) in enumerate(answer.now):
        top = y + each * i
        margin = 8 + 7 * max(len(name) for name, _ in answer.now)
        left, room = x + margin, w - margin - 70
        colour = colour_of(panel, value)
        long = max(min(value / (defaults.get("max") or max(v for _, v in answer.now) or 1), 1), 0) * room
        parts.append(rect(left, top + 3, room, each - 6, "#22252b"))
        parts.append(rect(left, top + 3, long, each - 6, colour))
        parts.append(text(x, top + each / 2 + 4, legend))
        shown = number(value, defaults["unit"], defaults.get("decimals"))
        parts.append(text(x + w, top + each / 2 + 5, shown, size=14, weight=600, anchor="end", fill=colour))
    return parts


def _timeline(
    panel: Mapping[str, Any], answer: Answer, box: Box, marks: Sequence[float], span: tuple[float, float]
) -> Drawn:
    del marks
    x, y, w, h = box
    left, room = x + 100, w - 100
    start, end = span
    parts: Drawn = []
    each = (h - 22) / max(len(answer.curves), 1)
    for i, (legend, points) in enumerate(answer.curves):
        top = y + each * i
        parts.append(text(left - 6, top + each / 2 + 4, legend, anchor="end"))
        # One box for a run of equal values.
        runs: list[list[float]] = []
        for at, value in points:
            if runs and runs[-1][2] == value and at - runs[-1][1] < GONE_S:
                runs[-1][1] = at
            else:
                if runs and at - runs[-1][1] < GONE_S:
                    runs[-1][1] = at
                runs.append([at, at, value])
        for begin, finish, value in runs:
            _, colour = _mapped(panel, value) or ("", colour_of(panel, value))
            at, long = left + (begin - start) / (end - start) * room, (finish - begin) / (end - start) * room
            parts.append(rect(at, top + each * 0.1, max(long, 1), each * 0.8, colour))
    shown = list(dict.fromkeys(value for _, points in answer.curves for _, value in points))
    for i, (words, colour) in enumerate(filter(None, (_mapped(panel, value) for value in sorted(shown)))):
        parts.append(rect(left + 90 * i, y + h - 12, 10, 10, colour))
        parts.append(text(left + 90 * i + 15, y + h - 3, words, fill=FAINT))
    return parts


def _table(
    panel: Mapping[str, Any], answer: Answer, box: Box, marks: Sequence[float], span: tuple[float, float]
) -> Drawn:
    del marks, span
    x, y, w, _ = box
    columns = list(
        next(t for t in panel["transformations"] if t["id"] == "organize")["options"]["renameByName"].values()
    )[1:]
    units, words = {}, {}
    for override in panel["fieldConfig"]["overrides"]:
        first = override["properties"][0]
        (units if first["id"] == "unit" else words)[override["matcher"]["options"]] = first["value"]
    step = w / (len(columns) + 1)
    parts = [text(x + step * i, y + 16, name, weight=600, fill="#6e9fff") for i, name in enumerate(("Node", *columns))]
    for row, (node, values) in enumerate(sorted(answer.rows.items())):
        at = y + 44 + 30 * row
        parts.append(line(x, at - 19, x + w, at - 19, EDGE))
        parts.append(text(x, at, node))
        for i, name in enumerate(columns, 1):
            if name in values:
                shown, colour = _word(words.get(name, ()), values[name]) or (
                    number(values[name], units.get(name, "short")),
                    INK,
                )
                parts.append(text(x + step * i, at, shown, fill=colour))
    return parts


def _curves(
    panel: Mapping[str, Any], answer: Answer, box: Box, marks: Sequence[float], span: tuple[float, float]
) -> Drawn:
    x, y, w, h = box
    defaults = panel["fieldConfig"]["defaults"]
    custom = defaults["custom"]
    rows = min(len(answer.curves), 4)
    stacked, bars = custom["stacking"]["mode"] == "normal", custom["drawStyle"] == "bars"
    drawn = (
        _stacked(answer.curves)
        if stacked
        else [(legend, [(at, 0.0, v) for at, v in pts]) for legend, pts in answer.curves]
    )
    values = [high for _, points in drawn for _, _, high in points]
    low, top = _bounds(defaults, values)
    left, base, wide, tall = x + 62, y + h - 22 - 17 * rows, w - 66, h - 28 - 17 * rows
    start, end = span

    def across(at: float) -> float:
        return left + (at - start) / (end - start) * wide

    def up(value: float) -> float:
        return base - (min(max(value, low), top) - low) / (top - low) * tall

    parts: Drawn = []
    for i in range(4):
        value = low + (top - low) * i / 3
        parts.append(line(left, up(value), left + wide, up(value), EDGE))
        parts.append(text(left - 6, up(value) + 4, number(value, defaults["unit"]), size=10, anchor="end", fill=FAINT))
    parts.append(text(left + wide, base + 13, f"{end - start:.0f} s", size=10, anchor="end", fill=FAINT))
    parts += [line(across(at), base - tall, across(at), base, "#b877d9", "3 3") for at in marks]
    if custom["thresholdsStyle"]["mode"] == "dashed":
        for limit in defaults["thresholds"]["steps"]:
            if limit["value"] is not None and low <= limit["value"] <= top:
                colour = NAMED.get(limit["color"], limit["color"])
                parts.append(line(left, up(limit["value"]), left + wide, up(limit["value"]), colour, "6 4"))
    fixed = {
        o["matcher"]["options"]: o["properties"][0]["value"]["fixedColor"]
        for o in panel["fieldConfig"]["overrides"]
        if o["properties"][0]["id"] == "color"
    }
    for i, (legend, points) in enumerate(drawn):
        colour = fixed.get(legend, PALETTE[i % len(PALETTE)])
        colour = NAMED.get(colour, colour)
        parts += _line(points, colour, across, up, custom["fillOpacity"] / 100, bars=bars)
        if i < rows:
            foot = base + 28 + 17 * i
            last = answer.curves[i][1][-1][1] if points else math.nan
            most = max((v for _, v in answer.curves[i][1]), default=math.nan)
            parts.append(rect(x, foot - 5, 12, 3, colour))
            more = f"  (and {len(drawn) - rows} more)" if i == rows - 1 and len(drawn) > rows else ""
            parts.append(text(x + 18, foot, legend + more, size=11, fill=INK))
            parts.append(text(x + w - 75, foot, number(last, defaults["unit"]), size=11, anchor="end", fill=FAINT))
            parts.append(text(x + w, foot, number(most, defaults["unit"]), size=11, anchor="end", fill=FAINT))
    return parts


def _line(
    points: Sequence[tuple[float, float, float]],
    colour: str,
    across: Callable[[float], float],
    up: Callable[[float], float],
    opacity: float,
    *,
    bars: bool,
) -> Drawn:
    if not points:
        return []
    if bars:
        wide = max(across(points[-1][0]) - across(points[0][0]), 1) / len(points) * 0.8
        return [
            rect(across(at) - wide / 2, up(high), wide, up(low) - up(high), colour, opacity=opacity)
            for at, low, high in points
            if high > low
        ]
    # Where a node was away, Grafana leaves a gap, too.
    runs: list[list[tuple[float, float, float]]] = [[]]
    for point in points:
        if runs[-1] and point[0] - runs[-1][-1][0] > GONE_S:
            runs.append([])
        runs[-1].append(point)
    parts: Drawn = []
    for run in runs:
        over = " ".join(f"{across(at):.0f},{up(high):.0f}" for at, _, high in run)
        under = " ".join(f"{across(at):.0f},{up(low):.0f}" for at, low, _ in reversed(run))
        if opacity:
            parts.append(f'<polygon points="{over} {under}" fill="{colour}" fill-opacity="{opacity}"/>')
        parts.append(f'<polyline points="{over}" fill="none" stroke="{colour}" stroke-width="1.2"/>')
    return parts


def _stacked(curves: Sequence[Series]) -> list[tuple[str, list[tuple[float, float, float]]]]:
    below: dict[float, float] = {}
    found = []
    for legend, points in curves:
        layer = []
        for at, value in points:
            low = below.get(at, 0.0)
            below[at] = low + value
            layer.append((at, low, low + value))
        found.append((legend, layer))
    return found


def _bounds(defaults: Mapping[str, Any], values: Sequence[float]) -> tuple[float, float]:
    low = defaults["min"] if "min" in defaults else min(values, default=0.0)
    top = defaults["max"] if "max" in defaults else max(values, default=1.0) * 1.05
    return low, top if top > low else low + 1


_KINDS: Final = {
    "stat": _stat,
    "bargauge": _bargauge,
    "state-timeline": _timeline,
    "table": _table,
    "timeseries": _curves,
}
