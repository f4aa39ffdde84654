"""The figures of `hegemon election bench` as a plain SVG: for each case every round as a dot on one scale of time, with
p50 and p99 and when the others missed the leader, and its messages and needless elections beside it."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from hegemon.cluster.trial_figures import Case, Figures

WIDTH: Final = 900
_LEFT, _RIGHT, _TOP, _ROW = 130, 270, 70, 34
# Legible on white and on dark pages alike.
_INK, _DOT, _P50, _P99, _RULE = "#7a8594", "#4c8dd6", "#3a9d5d", "#d0863b", "#9aa5b2"
_DETECTED = "#a86bc4"
_LEGEND: Final = "every round a dot, p50 green, p99 orange; violet: p50 of when the others missed the leader; seconds"
_TICKS: Final = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)


def draw(cases: Sequence[Case]) -> str:
    """An SVG document."""
    longest = max([each.dispatched_s for case in cases for each in case.rounds] + [0.1])
    tick = next((step for step in _TICKS if longest / step <= 8), _TICKS[-1])
    scale = (WIDTH - _LEFT - _RIGHT) / (longest * 1.05)
    height = _TOP + _ROW * len(cases) + 40
    parts = [
        _text(10, 24, "kill -9 of the leader to the first dispatch by the next", size=16, weight="bold"),
        _text(10, 44, _LEGEND, size=12),
    ]
    for i in range(int(longest * 1.05 / tick) + 1):
        x = _LEFT + i * tick * scale
        parts.append(f'<path d="M{x:.1f} {_TOP - 8}V{height - 30}" stroke="{_RULE}" stroke-opacity="0.3"/>')
        parts.append(_text(x, height - 14, f"{i * tick:g}", anchor="middle", size=11))
    for row, case in enumerate(cases):
        parts += _row(case, _TOP + row * _ROW, scale)
    font = 'font-family="system-ui, sans-serif"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" {font}>'
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _row(case: Case, y: int, scale: float) -> list[str]:
    found = Figures.of(case.rounds)
    parts = [_text(_LEFT - 10, y + 15, f"{case.algorithm}, {case.nodes}", anchor="end")]
    for i, each in enumerate(case.rounds):
        # Spread by a fixed pattern, so that equal times stay apart and the picture is the same every time.
        x, spread = _LEFT + each.dispatched_s * scale, 3 + (i * 7) % 17
        parts.append(f'<circle cx="{x:.1f}" cy="{y + spread}" r="2.2" fill="{_DOT}" fill-opacity="0.55"/>')
    marks = ((found.detected_p50, _DETECTED), (found.dispatched_p50, _P50), (found.dispatched_p99, _P99))
    for value, colour in marks:
        if value is not None:
            x = _LEFT + value * scale
            parts.append(f'<path d="M{x:.1f} {y - 1}V{y + 24}" stroke="{colour}" stroke-width="2.5"/>')
    told = [f"p50 {found.dispatched_p50:.2f} s"] if found.dispatched_p50 is not None else []
    if case.calm.messages_per_s is not None:
        told.append(f"{case.calm.messages_per_s:,.0f} messages/s")
    told.append(f"{case.calm.changes} needless")
    parts.append(_text(WIDTH - _RIGHT + 12, y + 15, ", ".join(told), size=12))
    return parts


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 13, weight: str = "normal") -> str:
    style = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{_INK}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}>{escape(text)}</text>'
