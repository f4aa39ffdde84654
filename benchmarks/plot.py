"""Plots without a plotting library: bars with the range of the rounds, and curves over time, as plain SVG."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from benchmarks.figures import Figure, Series
from benchmarks.report import number

WIDTH = 860
LABELS = 330
ROW = 26
CURVE = 180
_MARGIN = 90
# Legible on white and on dark pages alike.
_INK, _BAR, _MET, _MISSED, _RANGE = "#7a8594", "#4c8dd6", "#3a9d5d", "#d0563b", "#2b3a4d"
_CURVES = ("#4c8dd6", "#d0863b", "#3a9d5d")


def draw(title: str, figures: Iterable[Figure], series: Iterable[Series]) -> str:
    """An SVG document: the figures as bars, each unit with a scale of its own, and below them the curves."""
    parts: list[str] = [_text(10, 24, title, size=16, weight="bold")]
    y = 44
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(figure.unit, []).append(figure)
    for unit, members in groups.items():
        y = _bars(parts, y, unit, members)
    drawn = [one for one in series if len(one.points) > 1]
    for unit in dict.fromkeys(one.unit for one in drawn):
        y = _curves(parts, y + 10, [one for one in drawn if one.unit == unit])
    font = 'font-family="system-ui, sans-serif" font-size="13"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 10}" width="{WIDTH}" {font}>'
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{_INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, extra: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" {extra}/>'


def _bars(parts: list[str], y: int, unit: str, members: list[Figure]) -> int:
    top = max([max(each.spread[1], each.target.value if each.target else 0) for each in members] + [1e-9])
    scale = (WIDTH - LABELS - _MARGIN) / top
    parts.append(_text(LABELS, y + 12, unit, size=11))
    y += 18
    for each in members:
        low, high = (max(value, 0.0) * scale for value in each.spread)
        colour = {None: _BAR, True: _MET, False: _MISSED}[each.met]
        length = max(each.median * scale, 1)
        parts.append(_text(LABELS - 8, y + 15, each.name, anchor="end", size=12))
        parts.append(f'<rect x="{LABELS}" y="{y + 4}" width="{length:.1f}" height="14" rx="2" fill="{colour}"/>')
        parts.append(_line(LABELS + low, y + 11, LABELS + high, y + 11, _RANGE, 'stroke-width="2"'))
        if each.target:
            at = LABELS + each.target.value * scale
            parts.append(_line(at, y, at, y + 22, _INK, 'stroke-width="1.5" stroke-dasharray="3 2"'))
        parts.append(_text(LABELS + max(length, high) + 6, y + 15, number(each.median), size=12))
        y += ROW
    return y + 8


def _curves(parts: list[str], y: int, curves: list[Series]) -> int:
    last = max(x for one in curves for x, _ in one.points)
    top = max([value for one in curves for _, value in one.points] + [1.0])
    left, width, base = 70, WIDTH - 90, y + CURVE
    parts.append(_line(left, base, left + width, base, _INK))
    parts.append(_line(left, y, left, base, _INK))
    parts.append(_text(left - 6, y + 10, number(top), anchor="end", size=11))
    parts.append(_text(left - 6, base, "0", anchor="end", size=11))
    parts.append(_text(left + width, base + 15, f"{last:.0f} s", anchor="end", size=11))
    for i, one in enumerate(curves):
        points = " ".join(f"{left + width * x / last:.1f},{base - CURVE * v / top:.1f}" for x, v in one.points)
        colour = _CURVES[i % len(_CURVES)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(f'<rect x="{left + 10 + 230 * i}" y="{base + 8}" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(left + 25 + 230 * i, base + 17, f"{one.name} ({one.unit})", size=11))
    return base + 24
