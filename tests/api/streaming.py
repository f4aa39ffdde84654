"""A client of the stream of events, and its frames as WHATWG HTML 9.2.6 reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from tests.waiting import PATIENCE_S, wait_until

STREAM: Final = "/api/v1/activity/stream"


@dataclass(frozen=True)
class Frame:
    """One event of the stream: its name ("message" if it has none), its data, and the last id as of then."""

    name: str
    data: Any
    last_id: str


@dataclass
class Reading:
    """What was read from a stream so far."""

    frames: list[Frame] = field(default_factory=list)
    last_id: str = ""
    comments: int = 0
    retry_ms: int | None = None
    ended: bool = False
    status: int = 0
    _lines: list[str] = field(default_factory=list)

    def line(self, text: str) -> None:
        """The next line."""
        if text:
            self.comments += text.startswith(":")
            self._lines.append(text)
            return
        fields: dict[str, str] = {}
        for line in self._lines:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        self._lines.clear()
        self.last_id = fields.get("id", self.last_id)
        if "retry" in fields:
            self.retry_ms = int(fields["retry"])
        if "data" in fields:
            self.frames.append(Frame(fields.get("event", "message"), json.loads(fields["data"]), self.last_id))

    def named(self, name: str) -> list[Any]:
        """The data of frames of this name."""
        return [frame.data for frame in self.frames if frame.name == name]

    @property
    def events(self) -> list[str]:
        """The ids of events."""
        return [data["id"] for data in self.named("message")]

    @property
    def last_word(self) -> Any:
        """The data of the last frame, which must be a last word."""
        assert self.frames[-1].name in ("end", "dropped"), self.frames[-1]
        return self.frames[-1].data

    async def until(self, holds: Callable[[], Any], message: str = "frames") -> None:
        """Wait until it has read so much."""
        await wait_until(holds, message=message)

    async def told(self, count: int) -> None:
        """Wait until so many events have come."""
        await wait_until(lambda: len(self.events) >= count, message=f"{count} events")

    async def until_over(self) -> None:
        """Wait until the server has ended it."""
        await wait_until(lambda: self.ended, message="the end of the stream")


@asynccontextmanager
async def listening(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    after: str | None = None,
    params: Mapping[str, str] | None = None,
) -> AsyncIterator[Reading]:
    """A client that reads for the length of the block; it has its first word when the block begins."""
    reading = Reading()
    sent = {**(headers or {}), **({} if after is None else {"last-event-id": after})}

    async def read() -> None:
        timeout = httpx.Timeout(PATIENCE_S, read=None)
        async with (
            httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False) as client,
            client.stream("GET", STREAM, params=dict(params or {}), headers=sent) as answer,
        ):
            reading.status = answer.status_code
            assert answer.headers["content-type"] == "text/event-stream"
            async for line in answer.aiter_lines():
                reading.line(line)
        reading.ended = True

    task = asyncio.create_task(read())
    try:
        await wait_until(lambda: reading.frames or task.done(), message="the first frame")
        if task.done():
            task.result()
        yield reading
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
