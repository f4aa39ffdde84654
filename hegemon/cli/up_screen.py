"""What `hegemon up` shows: how the start goes and what happens on stderr, the table of addresses on stdout."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hegemon.cli.output import clean
from hegemon.cli.tables import Sheet, cell

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.status import Status
    from rich.text import Text

    from hegemon.cluster.local import LocalCluster
    from hegemon.cluster.local_plan import NodePlan

DEFAULT_PORT_URL = "http://127.0.0.1:8080"


class Screen:
    """On a terminal a line with a spinner shows what is being waited for; elsewhere there are plain lines only.

    A terminal that hung up, or a reader that left, ends nothing here: what cannot be shown is dropped.
    """

    def __init__(self, *, spinner: bool) -> None:
        self._status: Status | None = None
        self._waiting: list[str] = []
        if spinner and sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True, highlight=False, markup=False, emoji=False).status("")

    def starting(self, part: str) -> None:
        """A part is being started."""
        self._waiting.append(part)
        self._spin()

    def ready(self, part: str, seconds: float) -> None:
        """A part is ready, so many seconds after its start."""
        self._waiting.remove(part)
        self.said(f"{part} is ready ({seconds:.1f} s)")
        self._spin()

    def said(self, sentence: str) -> None:
        """Something that a person should know; more than one line if need be."""
        self._show(partial(self._print, sentence))

    def logged(self, node: str) -> Callable[[str], None]:
        """What shows a line of that node's log."""
        return lambda line: self.said(f"{node} | {line}")

    def wait_for(self, what: str) -> None:
        """Something is going on from now on until `quiet`."""
        self._waiting = [what]
        self._spin()

    def quiet(self) -> None:
        """Nothing is being waited for any more."""
        self._waiting = []
        self._spin()

    def table(self, *parts: RenderableType) -> None:
        """The result. No line of it is broken or cut, since some are there to be copied."""
        from rich.console import Console

        self.quiet()
        console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
        for part in parts:
            self._show(partial(console.print, part, soft_wrap=True))
        self._show(sys.stdout.flush)

    def _print(self, sentence: str) -> None:
        for line in sentence.splitlines():
            if self._status is not None:
                self._status.console.print(clean(line), soft_wrap=True)
            else:
                print(clean(line), file=sys.stderr, flush=True)

    def _spin(self) -> None:
        if (status := self._status) is None:
            return
        if self._waiting:
            self._show(partial(status.update, f"{', '.join(self._waiting)} …"))
            self._show(status.start)
        else:
            self._show(status.stop)

    def _show(self, show: Callable[[], object]) -> None:
        try:
            show()
        except OSError:
            _drop_output()


def _drop_output() -> None:
    """Whatever is still buffered must not fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
            continue
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def overview(
    cluster: LocalCluster, types: Sequence[str], leader: str | None, data: Path, *, kept: bool
) -> list[RenderableType]:
    """Where everything is, who leads, what to try, and how to stop it."""
    from hegemon.cluster.setting_forms import mask_url

    nodes = Sheet("NODE", "API", "METRICS", "ROLE")
    for node in cluster.nodes:
        leads = node.plan.id == leader
        role = cell("leader", "bold green") if leads else cell("member")
        nodes.add(cell(node.plan.id, "bold"), cell(node.plan.url), cell(node.plan.metrics_url), role)
    first = cluster.nodes[0].plan
    return [
        "",
        nodes,
        "",
        _line("election", cluster.algorithm),
        _line("health", f"{first.url}/health"),
        _line("Redis", mask_url(cluster.redis_url)),
        _line("MongoDB", mask_url(cluster.mongodb_uri)),
        _line("data", str(data) if kept else f"{data} (removed at the end; --data DIR keeps it)"),
        _line("jobs", ", ".join(types) or "no handlers are loaded, so jobs would wait: --handlers MODULE loads yours"),
        "",
        _line("Try:"),
        *(_line("", command) for command in _trial(first, types)),
        *([_line("", f"{_program_at(first)} cluster watch")] if len(cluster.nodes) > 1 else []),
        "",
        _line("Ctrl-C stops everything."),
    ]


def _line(name: str, text: str = "") -> Text:
    return cell(f"{name:<9}", "bold") + cell(text) if text else cell(name)


def _trial(node: NodePlan, types: Sequence[str]) -> list[str]:
    program = _program_at(node)
    if not types:
        return [f"{program} cluster status"]
    lines = []
    if "noop" in types:
        lines.append(f"{program} job submit noop --wait")
    if "email" in types:
        mail = '{"to": "user@example.com", "subject": "Hello"}'
        post = f"curl -X POST {node.url}/api/v1/jobs -H 'Content-Type: application/json' -d"
        lines += [f"{program} job submit email '{mail}'", f"""{post} '{{"type": "email", "payload": {mail}}}'"""]
    return lines or [f"{program} job submit {types[0]} '{{…}}'"]


def _program_at(node: NodePlan) -> str:
    return _program() if node.url == DEFAULT_PORT_URL else f"{_program()} --url {node.url}"


def _program() -> str:
    """`hegemon` as it can be typed here: ./dev runs the one in .venv without putting it on PATH."""
    path = Path(sys.argv[0])
    if path.name != "hegemon" or shutil.which("hegemon"):
        return "hegemon"
    with contextlib.suppress(ValueError):
        return str(path.absolute().relative_to(Path.cwd()))
    return str(path)
