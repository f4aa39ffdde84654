"""What nodes say to each other, as a listener on the wire sees it: nothing of it can be read (ADR 0012)."""

import asyncio

import pytest

from hegemon.cluster import streams
from tests.cluster.transports import Node, acquaint, exchange, running, tapped

SECRET = b"the-canary-that-nobody-may-read"
NAMES = ("a-node-with-a-name", "another-with-a-name")


async def test_neither_what_nodes_say_nor_who_they_are_crosses_in_the_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[bytes] = []
    original = streams._write

    async def record(writer: asyncio.StreamWriter, frame: bytes) -> None:
        written.append(frame)
        await original(writer, frame)

    monkeypatch.setattr(streams, "_write", record)
    one, other = (Node(name) for name in NAMES)
    async with running(one, other), tapped(one) as said, tapped(other) as answered:
        await acquaint(one, other)
        await exchange(one, other, SECRET)
    assert written
    assert said
    assert answered
    for frame in (*written, *said, *answered):
        for secret in (SECRET, *(name.encode() for name in NAMES)):
            assert secret not in frame
