"""Draws architecture-light.svg and architecture-dark.svg: `python docs/pictures/draw_architecture.py`.

One drawing in two palettes, since a picture on a page cannot see the page's theme. MongoDB lies above the node and
Redis below it, so that every arrow is straight and none crosses another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1160, 706
PALETTES: Final = {
    "light": {
        "paper": "#ffffff", "ink": "#1f2328", "soft": "#59636e", "line": "#818b98", "node": "#f6f8fa", "box": "#ffffff",
        "edge": "#d1d9e0", "truth": "#dafbe1", "truth_edge": "#1a7f37", "index": "#fff1e5", "index_edge": "#bc4c00",
        "leader": "#ddf4ff", "leader_edge": "#0969da", "user": "#fbefff", "user_edge": "#8250df",
    },
    "dark": {
        "paper": "#0d1117", "ink": "#f0f6fc", "soft": "#9198a1", "line": "#9198a1", "node": "#151b23", "box": "#212830",
        "edge": "#3d444d", "truth": "#12261e", "truth_edge": "#3fb950", "index": "#2b1d10", "index_edge": "#db6d28",
        "leader": "#121d2f", "leader_edge": "#4493f8", "user": "#211832", "user_edge": "#ab7df8",
    },
}  # fmt: skip
FONT: Final = "-apple-system, 'Segoe UI', 'Noto Sans', 'DejaVu Sans', Helvetica, Arial, sans-serif"


class Drawing:
    """Shapes in the order in which they were drawn."""

    def __init__(self, palette: dict[str, str]) -> None:
        self._colour = palette
        self._parts: list[str] = []

    def box(self, x: int, y: int, w: int, h: int, fill: str, edge: str, *, dashed: bool = False) -> None:
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        self._parts.append(
            f'<rect x="{x}" y="{y}" width="{w}" height="{h}" rx="8" fill="{self._colour[fill]}" '
            f'stroke="{self._colour[edge]}" stroke-width="1.5"{dash}/>'
        )

    def text(self, x: int, y: int, words: str, *, size: int = 13, bold: bool = False, soft: bool = False) -> None:
        weight = ' font-weight="600"' if bold else ""
        colour = self._colour["soft" if soft else "ink"]
        self._parts.append(f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}"{weight}>{escape(words)}</text>')

    def lines(self, x: int, y: int, *words: str, soft: bool = True, step: int = 18) -> None:
        for i, line in enumerate(words):
            self.text(x, y + i * step, line, size=12, soft=soft)

    def arrow(self, x1: int, y1: int, x2: int, y2: int, *, both: bool = False) -> None:
        start = ' marker-start="url(#tip)"' if both else ""
        self._parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{self._colour["line"]}" stroke-width="1.6" '
            f'marker-end="url(#tip)"{start}/>'
        )

    def step(self, x: int, y: int, mark: str) -> None:
        self._parts.append(
            f'<circle cx="{x}" cy="{y}" r="10" fill="{self._colour["leader_edge"]}"/>'
            f'<text x="{x}" y="{y + 4}" font-size="12" font-weight="700" text-anchor="middle" '
            f'fill="{self._colour["paper"]}">{mark}</text>'
        )

    def svg(self) -> str:
        tip = (
            '<marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" '
            f'orient="auto-start-reverse"><path d="M0 0 10 5 0 10z" fill="{self._colour["line"]}"/></marker>'
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{FONT}" role="img">\n'
            "<title>A Hegemon node between its two stores</title>\n"
            f'<defs>{tip}</defs>\n<rect width="100%" height="100%" rx="10" fill="{self._colour["paper"]}"/>\n'
            + "\n".join(self._parts)
            + "\n</svg>\n"
        )


def _stores(d: Drawing) -> None:
    d.box(210, 20, 930, 96, "truth", "truth_edge")
    d.text(230, 46, "MongoDB: the truth", size=16, bold=True)
    d.lines(230, 70, "jobs: one document a job, its status, attempt, result, history",
            "Each write is a compare-and-set, by w:majority, j:true")  # fmt: skip
    d.lines(700, 70, "office: who leads, in which epoch and generation",
            "incarnations: nodes to sweep for, should they die")  # fmt: skip

    d.box(210, 566, 930, 120, "index", "index_edge")
    d.text(230, 592, "Redis or Valkey: an index that can be thrown away", size=16, bold=True)
    d.lines(230, 616, "marker: epoch, generation, run id, clock", "ready lists by queue and priority; delayed set",
            "bodies: what a worker needs to run a job")  # fmt: skip
    d.lines(700, 616, "per worker: inbox, held, window, beat", "recovering, check, tombstones: what the leader still",
            "has to settle")  # fmt: skip


def _node(d: Drawing) -> None:
    d.box(210, 196, 930, 290, "node", "edge", dashed=True)
    d.text(230, 221, "Node", size=16, bold=True)

    d.box(230, 236, 450, 232, "box", "edge")
    d.text(246, 259, "Control process", bold=True)
    d.text(366, 259, "(no user code)", size=12, soft=True)
    d.box(246, 274, 196, 84, "box", "edge")
    d.text(258, 296, "REST API", bold=True)
    d.lines(258, 316, "submissions in groups,", "bounded; queries; health")
    d.box(246, 372, 196, 82, "box", "edge")
    d.text(258, 394, "Supervisor, beat", bold=True)
    d.lines(258, 414, "starts workers, sees them", "die, kills what is stuck")
    d.box(458, 274, 206, 180, "leader", "leader_edge")
    d.text(470, 296, "Office and duties", bold=True)
    d.lines(470, 318, "only on the elected node,", "only in the newest epoch:", "promote, dispatch,",
            "recover the dead, sweep,", "audit, rebuild, prune")  # fmt: skip
    d.text(470, 440, "elector: Solo", size=12, soft=True)

    d.box(800, 236, 320, 232, "user", "user_edge")
    d.text(816, 259, "Worker processes", bold=True)
    d.text(958, 259, "(user code)", size=12, soft=True)
    d.lines(816, 284, "One process is one incarnation. It takes", "from its own inbox and records its ends.")
    d.box(816, 320, 288, 62, "box", "edge")
    d.text(828, 342, "w0, w1, …", bold=True)
    d.lines(828, 364, "run handlers in WORKER_COUNT slots")
    d.box(816, 394, 288, 60, "box", "edge")
    d.text(828, 415, "s0: a suspect, alone", bold=True)
    d.lines(828, 437, "a job under which a worker has died")


def _flows(d: Drawing) -> None:
    d.box(20, 262, 130, 108, "box", "edge")
    d.text(34, 286, "Callers", bold=True)
    d.lines(34, 308, "curl, hegemon,", "Client, your", "service")
    d.arrow(150, 316, 246, 316, both=True)

    d.arrow(300, 236, 300, 116)
    d.step(300, 176, "1")
    d.lines(316, 148, "insert; then the", "caller is answered", soft=False)
    d.arrow(560, 236, 560, 116, both=True)
    d.lines(574, 148, "epoch; recoveries win", "the next attempt", soft=False)
    d.arrow(900, 236, 900, 116)
    d.step(900, 176, "6")
    d.lines(916, 148, "record the end: compare-and-set", "on the attempt", soft=False)

    d.arrow(300, 468, 300, 566)
    d.step(300, 516, "2")
    d.lines(316, 520, "index the group, once", soft=False)
    d.arrow(560, 468, 560, 566)
    d.step(560, 516, "3")
    d.lines(576, 511, "promote, dispatch: fenced", "by epoch and generation", soft=False)
    d.arrow(840, 566, 840, 468)
    d.step(840, 516, "4")
    d.lines(856, 520, "take, bodies along", soft=False)
    d.arrow(1000, 468, 1000, 566)
    d.step(1000, 516, "7")
    d.lines(1016, 511, "acknowledge; one", "round trip with 4", soft=False)
    d.step(1084, 351, "5")

    d.arrow(680, 352, 800, 352, both=True)
    d.lines(690, 330, "shared memory:", soft=False)
    d.lines(690, 376, "what runs, lease;", "a control socket", soft=False)


def main() -> None:
    """Write both files beside this one."""
    for name, palette in PALETTES.items():
        drawing = Drawing(palette)
        _stores(drawing)
        _node(drawing)
        _flows(drawing)
        Path(__file__).with_name(f"architecture-{name}.svg").write_text(drawing.svg(), encoding="utf-8")


if __name__ == "__main__":
    main()
