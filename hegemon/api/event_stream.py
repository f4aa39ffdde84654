"""The words of a stream of server-sent events (WHATWG HTML, 9.2): how entries of a feed become frames.

    id: 4711                                         where to go on: Last-Event-ID, or `after`
    data: {"id": "node-2:7:41", "cursor": "4711", …} an event, as GET /api/v1/activity has it

    event: state    data: {"complete": …, "missing": […]}   at the beginning, and when the store goes or comes back
    event: dropped  data: {"code": "too_slow", …}           the last word to a client that reads too slowly
    event: end      data: {"code": "token_expired", …}      the last word for any other reason
    : comment                                        every 15 s, so that whoever waits knows that somebody is there

A frame without data moves the place on and is no event for the receiver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from hegemon.api.reply import encode
from hegemon.api.views import event_view
from hegemon.cluster.ports import ActivityEvent, ActivityFilter, Told

MEDIA_TYPE: Final = b"text/event-stream"
KEEP_ALIVE: Final = b": here\n\n"


class Last(msgspec.Struct, frozen=True):
    """Why a stream ended, and what to do: the data of `end` and `dropped`. `resume`: it is worth connecting again with
    the same credential."""

    code: str
    detail: str
    resume: bool


def opening(retry_ms: int) -> bytes:
    """How long a browser waits before it connects again."""
    return b"retry: %d\n\n" % retry_ms


def at(place: int | None) -> bytes:
    """The line that says where to go on."""
    return b"" if place is None else b"id: %d\n" % place


def moved(place: int | None) -> bytes:
    """A frame that is no event: only the place is another one."""
    return b"" if place is None else b"id: %d\n\n" % place


def happened(event: ActivityEvent, place: int | None) -> bytes:
    """An event."""
    return b"%bdata: %b\n\n" % (at(place), encode(event_view(event)))


def state(*, complete: bool, missing: Sequence[str], place: int | None) -> bytes:
    """Whether all nodes' events come now; else the node's own alone, without those of the nodes in `missing`."""
    said: dict[str, Any] = {"complete": complete, "missing": [] if complete else list(missing)}
    return b"event: state\n%bdata: %b\n\n" % (at(place), encode(said))


def last(name: str, word: Last) -> bytes:
    """The last frame: `name` is end or dropped."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(word))


def frame(told: Told, which: ActivityFilter, *, joined: int, missing: Sequence[str]) -> bytes:
    """What an entry is to a stream of this filter that hears all entries from number `joined` on; nothing, perhaps."""
    event = told.event
    if event is None:
        return state(complete=bool(told.complete), missing=missing, place=told.place)
    if not which.shows(event):
        return b""
    if told.early is not None and joined <= told.early:
        return moved(told.place)
    return happened(event, told.place)
