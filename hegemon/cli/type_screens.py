"""Types of jobs in a terminal: what there is to submit, and what its payload holds, read from the JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from hegemon.cli.output import clean
from hegemon.cli.tables import Sheet, cell

Schema = Mapping[str, Any]
DEPTH_MAX = 3
_REF = "#/$defs/"


def table(types: Sequence[Mapping[str, Any]]) -> Sheet:
    """One line a type. Arguments in brackets may be left out."""
    sheet = Sheet("TYPE", "ARGUMENTS", "NODES", "WHAT", flexible={"ARGUMENTS", "WHAT"})
    for one in types:
        nodes = ", ".join(one.get("nodes") or ())
        first = next(iter(str(one.get("description") or "").splitlines()), None)
        sheet.add(cell(one["type"], "bold"), cell(_arguments(one.get("schema"))), cell(nodes), cell(first))
    return sheet


def detail(one: Mapping[str, Any]) -> list[RenderableType]:
    """Everything about one type."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("type", cell(one["type"]))
    grid.add_row("nodes", cell(", ".join(one.get("nodes") or ())))
    if one.get("differing"):
        grid.add_row("differing", cell(f"{', '.join(one['differing'])}: another version of the handler", "yellow"))
    retries, timeout = one.get("max_retries"), one.get("timeout")
    grid.add_row("retries", cell("the cluster's" if retries is None else retries))
    grid.add_row("timeout", cell("the cluster's" if timeout is None else f"{timeout:g} s"))
    parts: list[RenderableType] = [grid]
    if one.get("description"):
        parts += ["", Text("\n".join(clean(line) for line in str(one["description"]).splitlines()))]
    schema = one.get("schema")
    if schema is None:
        return [*parts, "", cell("Its node has not told what it takes.")]
    if properties := schema.get("properties"):
        sheet = Sheet("ARGUMENT", "TAKES", "DEFAULT", "WHAT", flexible={"TAKES", "DEFAULT", "WHAT"})
        for name, about in properties.items():
            default = json.dumps(about["default"], ensure_ascii=False) if "default" in about else None
            required = name in schema.get("required", ())
            shown = cell("(required)", "dim") if required else cell(default)
            sheet.add(cell(name, "bold"), cell(words(about, schema)), shown, cell(about.get("description")))
        parts += ["", sheet]
    if schema.get("additionalProperties", True) is not False:
        parts += ["", cell("It takes any further arguments." if properties else "It takes any arguments.")]
    return parts


def _arguments(schema: Schema | None) -> str:
    if schema is None:
        return "?"
    required = schema.get("required", ())
    names = [name if name in required else f"[{name}]" for name in schema.get("properties", {})]
    more = ["…"] if schema.get("additionalProperties", True) is not False else []
    return " ".join(names + more)


def words(about: Schema, root: Schema, depth: int = 0) -> str:
    """A schema as few words: `integer`, `"a" | "b"`, `list of {sku, n}`."""
    ref = str(about.get("$ref", ""))
    if ref.startswith(_REF):
        about = root.get("$defs", {}).get(ref.removeprefix(_REF), {})
    if depth > DEPTH_MAX:
        return "…"
    if "enum" in about:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in about["enum"])
    if "const" in about:
        return json.dumps(about["const"], ensure_ascii=False)
    if either := about.get("anyOf") or about.get("oneOf"):
        return " | ".join(words(one, root, depth + 1) for one in either)
    kind = about.get("type")
    if kind == "array":
        return f"list of {words(about['items'], root, depth + 1)}" if isinstance(about.get("items"), dict) else "list"
    if kind == "object" and about.get("properties"):
        return "{" + ", ".join(about["properties"]) + "}"
    if isinstance(kind, list):
        return " | ".join(map(str, kind))
    return f"{kind or 'any JSON'}{_bounds(about)}"


def _bounds(about: Schema) -> str:
    low, high = about.get("minimum", about.get("exclusiveMinimum")), about.get("maximum", about.get("exclusiveMaximum"))
    if low is not None and high is not None:
        return f" {low} to {high}"
    if low is not None:
        return f" {'≥' if 'minimum' in about else '>'} {low}"
    if high is not None:
        return f" {'≤' if 'maximum' in about else '<'} {high}"
    return f", {about['format']}" if "format" in about else ""
