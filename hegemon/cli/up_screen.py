"""What `hegemon up` shows: how the start goes and what happens on stderr, the table of addresses on stdout."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
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
_MAIL = '{"to": "user@example.com", "subject": "Hello"}'


@dataclass(frozen=True)
class Entrance:
    """How callers come into a cluster that wants credentials: the first admin's `password`, None where it is known
    already; `ca_file`, who signed the nodes' certificates, None where that is not ours to say."""

    password: str | None = field(repr=False)
    ca_file: Path | None


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
    cluster: LocalCluster,
    types: Sequence[str],
    leader: str | None,
    entrance: Entrance | None,
    data: Path,
    *,
    kept: bool,
) -> list[RenderableType]:
    """Where everything is, who leads, how to come in, what to try, and how to stop it. `entrance` None: no credentials
    are wanted."""
    from hegemon.cluster.setting_forms import mask_url

    nodes = Sheet("NODE", "API", "METRICS", "ROLE")
    for node in cluster.nodes:
        leads = node.plan.id == leader
        role = cell("leader", "bold green") if leads else cell("member")
        nodes.add(cell(node.plan.id, "bold"), cell(node.plan.url), cell(node.plan.metrics_url), role)
    first = cluster.nodes[0].plan
    tries = _trial(first, types, several=len(cluster.nodes) > 1)
    if entrance is not None:
        tries = _guarded_trial(first, types, entrance, several=len(cluster.nodes) > 1)
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
        *_admin(entrance, new=cluster.mongodb_is_ours),
        "",
        _line("Try, in a second terminal:"),
        *(_line("", command) for command in tries),
        "",
        _line("Ctrl-C stops everything."),
    ]


def _line(name: str, text: str = "") -> Text:
    return cell(f"{name:<9}", "bold") + cell(text) if text else cell(name)


def _admin(entrance: Entrance | None, *, new: bool) -> list[Text]:
    if entrance is None or entrance.password is None:
        return []
    unless = "" if new else ", unless the database has users already"
    return [_line("admin", f"{entrance.password}  (the password of the user admin; shown this once{unless})")]


def _trial(node: NodePlan, types: Sequence[str], *, several: bool) -> list[str]:
    """Commands that work as they stand."""
    program = _program_at(node)
    lines = _submissions(program, types)
    if mail := _mail(types):
        lines.append(f"curl -X POST {node.url}/api/v1/jobs -H 'Content-Type: application/json' -d {mail}")
    return [*lines, *([f"{program} cluster watch"] if several else [])]


def _guarded_trial(node: NodePlan, types: Sequence[str], entrance: Entrance, *, several: bool) -> list[str]:
    """The same where one must log in, and where the certificates are signed by nobody whom the system knows."""
    program = _program()
    exported = {
        **({"HEGEMON_URL": node.url} if node.url != DEFAULT_PORT_URL else {}),
        **({"HEGEMON_CA_FILE": str(entrance.ca_file)} if entrance.ca_file else {}),
    }
    lines = [f"{program} login admin", *_submissions(program, types)]
    if exported:
        lines.insert(0, "export " + " ".join(f"{name}={shlex.quote(text)}" for name, text in exported.items()))
    if several:
        lines.append(f"{program} cluster watch")
    lines.append(f"TOKEN=$({program} token curl --role user)")
    trust = '--cacert "$HEGEMON_CA_FILE" ' if entrance.ca_file else ""
    known = f'curl {trust}-H "Authorization: Bearer $TOKEN" {node.url}/api/v1'
    mail = _mail(types)
    return [*lines, f"{known}/jobs -H 'Content-Type: application/json' -d {mail}" if mail else f"{known}/cluster"]


def _submissions(program: str, types: Sequence[str]) -> list[str]:
    if not types:
        return [f"{program} cluster status"]
    lines = [f"{program} job submit noop --wait"] if "noop" in types else []
    if "email" in types:
        lines.append(f"{program} job submit email '{_MAIL}'")
    return lines or [f"{program} job submit {types[0]} '{{…}}'"]


def _mail(types: Sequence[str]) -> str | None:
    return f"""'{{"type": "email", "payload": {_MAIL}}}'""" if "email" in types else None


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
