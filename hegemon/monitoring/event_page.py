"""Writes docs/events.md from the table of domain events: `python -m hegemon.monitoring.event_page docs/events.md`."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

from msgspec import Meta

from hegemon.events.kind import DomainEvent
from hegemon.events.table import KINDS

_INTRODUCTION: Final = """\
# Events

Written by `python -m hegemon.monitoring.event_page docs/events.md` from the table in `hegemon/events`; do not edit.

What happens to nodes, elections, workers, jobs, stores and credentials is told once, by the part that knows it, as one
of these events. `GET /api/v1/activity` (older clients: `GET /events`) answers them for the whole cluster, also those of
nodes that are gone; `GET /api/v1/activity/stream` tells them as they come, and so do the dashboard and, by asking
twice a second, `hegemon events --follow`. Each has an `id` (NODE:BOOT:SEQ, where SEQ
counts a node's events since its start without gaps), the time of the cluster's clock, its node, kind, severity and
fields.

No field holds a secret, a payload, a result or the words of a handler's error; who did what, and from where, stands in
the audit log, which only admins read. Kinds and fields may be added: clients pass over what they do not know.

| what | bound |
|---|---|
| kept in a node's memory | its last 1,000; of these at most half about jobs once the others need the room |
| kept in MongoDB | the last 1,000 of each node about jobs and 1,000 others; at most 100,000, for about 7 days |
| failed tries told one by one | 10 a second and worker process; the others are counted in `jobs.unlisted` |
| successes | counted, one event for 10 seconds |
| refused credentials | one of a kind in 10 seconds; the next one says how many were left out |
| streams | MAX_ACTIVITY_STREAMS a node; who is 256 events behind, or reads nothing, for 15 seconds is dropped |

A stream is server-sent events: `id` is where to go on (`Last-Event-ID`, or `?after=`), and whoever does misses nothing
and gets nothing twice, on whichever node. Events without a name are those of the tables below; the others are:

| event | data | when |
|---|---|---|
| `state` | `complete`, `missing` | first of all, and when the store that the nodes share goes or comes back |
| `dropped` | `code`, `detail`, `resume` | the last word to a client that reads too slowly |
| `end` | `code`, `detail`, `resume` | the last word otherwise: `token_expired`, `unauthenticated`, `stopping`, … |

While `complete` is false a node tells its own events alone, at once and without an `id` of the stream. Afterwards comes
what was missed; what was told without a place may then come again with one, after a break or on another node: the `id`
in its data is the same. `resume` says whether it is worth coming back.

    curl -N -H "Authorization: Bearer $TOKEN" 'http://127.0.0.1:8080/api/v1/activity/stream?kind=election.'

`warning` deserves a look; `error` an action, or at least an explanation.
"""


def events_page() -> str:
    """The content of docs/events.md."""
    lines = [_INTRODUCTION]
    group = ""
    for name, kind in KINDS.items():
        if (first := name.partition(".")[0]) != group:
            group = first
            lines += [
                f"## {group}",
                "",
                "| kind | severity | what happened | fields | told by |",
                "|---|---|---|---|---|",
            ]
        lines.append(_row(kind))
        if _last_of_group(name):
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def fields_of(kind: type[DomainEvent]) -> dict[str, tuple[str, str]]:
    """Type and meaning of each field, by name."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: _field(hints[name]) for name in kind.__struct_fields__}


def _row(kind: type[DomainEvent]) -> str:
    what = " ".join((kind.__doc__ or "").split())
    fields = "; ".join(f"`{name}` ({type_}): {meaning}" for name, (type_, meaning) in fields_of(kind).items())
    return f"| `{kind.kind}` | {kind.severity} | {what} | {fields} | {kind.by} |"


def _last_of_group(name: str) -> bool:
    names = list(KINDS)
    following = names[names.index(name) + 1 :]
    return not following or following[0].partition(".")[0] != name.partition(".")[0]


def _field(hint: Any) -> tuple[str, str]:
    if get_origin(hint) is not Annotated:
        raise TypeError(f"{hint} says nothing about its meaning")
    type_, *notes = get_args(hint)
    meaning = next((note.description for note in notes if isinstance(note, Meta) and note.description), None)
    if meaning is None:
        raise TypeError(f"{hint} says nothing about its meaning")
    return _type(type_), meaning


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(_type(one) for one in get_args(hint))
    names = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    return names[hint]


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(events_page(), encoding="utf-8")
