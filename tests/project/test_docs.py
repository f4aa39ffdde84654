"""The documents say what is so: links lead somewhere, commands and settings exist, tables match, snippets run."""

import importlib.util
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.main import get_command

from benchmarks import report
from benchmarks.registry import BENCHMARKS
from hegemon.cli.app import app
from hegemon.failpoints import NAMES
from hegemon.queue.states import FINAL, INITIAL, TRANSITIONS, Event
from tests.conftest import MongoServer, RedisServer
from tests.nodes import node

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")])

LINK = re.compile(r"(?:\]\(|src=\"|srcset=\")([^)\"\s]+)")
CODE = re.compile(r"```.*?```|``[^`]+``|`[^`]+`", re.DOTALL)
# A command's name, perhaps with where it lies and options before its verbs; not `from hegemon import …`.
COMMAND = re.compile(r"(?<!from )(?<![\w.])hegemon((?: --url \S+)?)((?: [a-z][a-z-]*){1,2})")
# Known to terminals, not to our code.
# Of others: a terminal's convention, and what OpenTelemetry reads by itself.
FOREIGN = {"NO_COLOR"} | {
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_SDK_DISABLED", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"),
}
VARIABLE = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code_of(text: str) -> Iterator[str]:
    """Everything that is set as code."""
    return (match[0] for match in CODE.finditer(text))


def anchors_of(text: str) -> set[str]:
    """The fragments by which a page's headings are reached, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def subcommands(command: object) -> Mapping[str, object]:
    """What may follow the command on the command line."""
    found: Mapping[str, object] = getattr(command, "commands", {})
    return found


def state_diagram() -> str:
    """The transition table as a mermaid diagram, without the events that leave a status as it is."""
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    [*] --> {status} : submit" for status in sorted(INITIAL)]
    lines += [f"    {status} --> {to} : {event}" for (status, event), to in TRANSITIONS.items() if status != to]
    lines += [f"    {status} --> [*]" for status in sorted(FINAL)]
    return "\n".join([*lines, "```"])


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_relative_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in LINK.findall(re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (document.parent / path).resolve() if path else document
        assert found.exists(), f"{relative(document)}: {target}"
        if anchor:
            assert anchor in anchors_of(found.read_text(encoding="utf-8")), f"{relative(document)}: {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_verb_of_dev_that_is_named_exists(document: Path) -> None:
    usage = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=True).stdout
    verbs = set(re.findall(r"^  ([a-z-]+) ", usage, re.MULTILINE))
    for code in code_of(document.read_text(encoding="utf-8")):
        for verb in re.findall(r"(?:^|[\s`])\./dev ([a-z-]+)", code):
            assert verb in verbs, f"{relative(document)}: ./dev {verb}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_command_of_hegemon_that_is_named_exists(document: Path) -> None:
    verbs = subcommands(get_command(app))
    assert verbs
    for code in code_of(document.read_text(encoding="utf-8")):
        for match in COMMAND.finditer(code):
            words = match[2].split()
            assert words[0] in verbs, f"{relative(document)}: {match[0]}"
            deeper = subcommands(verbs[words[0]])
            assert not deeper or len(words) == 1 or words[1] in deeper, f"{relative(document)}: {match[0]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_module_that_is_to_be_run_exists(document: Path) -> None:
    for module in re.findall(r"python -m ([a-z_][\w.]*)", document.read_text(encoding="utf-8")):
        assert importlib.util.find_spec(module) is not None, f"{relative(document)}: {module}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_setting_and_constant_that_is_named_is_one_of_the_code(document: Path) -> None:
    sources = [ROOT / ".env.example", ROOT / "dev", *(ROOT / "examples").glob("*.py"), ROOT / "tests" / "conftest.py"]
    sources += [ROOT / "compose" / name for name in ("services.yml", "compose.gossip.yml", "Dockerfile", "init")]
    sources += [path for suffix in ("*.py", "*.lua") for path in (ROOT / "hegemon").rglob(suffix)]
    known = set(VARIABLE.findall("\n".join(source.read_text(encoding="utf-8") for source in sources)))
    unknown = set(VARIABLE.findall(document.read_text(encoding="utf-8"))) - known - FOREIGN
    assert not unknown, f"{relative(document)}: {sorted(unknown)}"


def test_the_diagram_of_a_jobs_life_is_drawn_from_the_transition_table() -> None:
    diagrams = re.findall(r"```mermaid\n.*?```", ARCHITECTURE.read_text(encoding="utf-8"), re.DOTALL)
    assert diagrams == [state_diagram()]


def test_the_events_that_leave_a_status_as_it_is_are_named_below_the_diagram() -> None:
    loops = sorted((event, status) for (status, event), to in TRANSITIONS.items() if status == to)
    assert {event for event, _ in loops} == {Event.RECOVER}
    named = " and ".join(f"`{status}`" for _, status in loops).replace(" and ", ", ", len(loops) - 2)
    text = " ".join(ARCHITECTURE.read_text(encoding="utf-8").split())
    assert f"`recover` leaves {named} as they are" in text


def test_the_table_of_crash_points_has_each_failpoint_exactly_once() -> None:
    section = ARCHITECTURE.read_text(encoding="utf-8").partition("\n## Crash points\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE)
    assert sorted(rows) == sorted(NAMES)


def test_the_crash_points_in_the_code_are_the_named_ones() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "hegemon").rglob("*.py"))
    assert set(re.findall(r"\bfailpoint\(\"([a-z_.]+)\"\)", code)) == NAMES


def handler_of_the_readme() -> str:
    """The Python block under the README's heading on handlers of one's own."""
    section = README.read_text(encoding="utf-8").partition("\n## A handler of your own\n")[2].partition("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


async def test_the_readmes_handler_runs_and_refuses_what_does_not_fit(
    redis_server: RedisServer, mongo_server: MongoServer, cluster_id: str, database: str, tmp_path: Path
) -> None:
    code = handler_of_the_readme()
    assert len([line for line in code.splitlines() if line.strip()]) <= 12
    (tmp_path / "greetings.py").write_text(code, encoding="utf-8")
    environment = {
        "REDIS_URL": redis_server.url,
        "MONGODB_URI": mongo_server.uri,
        "MONGODB_DATABASE": database,
        "CLUSTER_ID": cluster_id,
        "HANDLERS": "greetings",
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
    }
    async with node(environment) as one:
        greeted = await one.wait(await one.submit("greet", {"name": "Ada"}))
        assert (greeted["status"], greeted["result"]) == ("completed", "Hello, Ada")
        rejected = await one.wait(await one.submit("greet", {"name": " "}))
        assert (rejected["status"], rejected["failures"]) == ("failed", 1)
        assert rejected["error"]["message"] == "nobody to greet"
        misspelt = await one.wait(await one.submit("greet", {"nmae": "Ada"}))
        assert (misspelt["status"], misspelt["attempt"]) == ("failed", 1)
        assert "`nmae`" in misspelt["error"]["message"]


def test_the_page_of_benchmarks_shows_the_newest_kept_measurements() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    assert report.renewed(page, list(BENCHMARKS)) == page
