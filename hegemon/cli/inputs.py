"""What people type, made into values: JSON from an argument, a file or a pipe; durations; moments."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from hegemon.cli.exits import usage
from hegemon.cluster.durations import parse_duration


def payload(text: str | None) -> msgspec.Raw:
    """The payload of TEXT, `@file` or `-`, byte for byte (numbers keep their digits); `{}` when there is none."""
    if text is None:
        return msgspec.Raw(b"{}")
    if text == "-" or text.startswith("@"):
        source = "stdin" if text == "-" else text[1:]
        data = _read("-" if text == "-" else text[1:])
    else:
        source, data = "PAYLOAD", text.encode(errors="surrogateescape").strip()
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise usage(
            f'{source} is not JSON: {error}. Put it in single quotes, as in \'{{"to": "a@b.c"}}\', or use @file or -.'
        ) from error
    if not isinstance(value, dict):
        raise usage(f"{source} must be a JSON object, whose fields are the handler's arguments.")
    return msgspec.Raw(data)


def batch(source: str) -> list[dict[str, Any]]:
    """The jobs in a file or, for `-`, on stdin: a JSON array of objects, or one object a line."""
    name = "stdin" if source == "-" else source
    data = _read(source)
    if data.startswith(b"["):
        try:
            return msgspec.json.decode(data, type=list[dict[str, msgspec.Raw]])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise usage(f"{name} is not a JSON array of jobs: {error}.") from error
    jobs = []
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            jobs.append(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise usage(
                f"{name}, line {number}, is not a JSON object: {error}. Give a JSON array, or one job a line."
            ) from error
    if not jobs:
        raise usage(f"{name} holds no jobs. Give a JSON array, or one job a line.")
    return jobs


def priority(text: str | None) -> int | str | None:
    """A number, or a name that the node knows."""
    if text is None:
        return None
    return int(text) if text.lstrip("-").isdecimal() and text.isascii() else text


def seconds(text: str | None, option: str) -> float | None:
    """Seconds of a duration such as 500ms, 10s, 1m30s."""
    if text is None:
        return None
    try:
        return parse_duration(text).total_seconds()
    except ValueError as error:
        raise usage(f"{option} {error}; got {text!r}.") from error


def moment(text: str | None, option: str) -> datetime | None:
    """A time in ISO 8601; without a zone it is this machine's local time."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise usage(
            f"{option} must be a time such as 2030-01-31T09:00:00Z or 2030-01-31T09:00 (local time); got {text!r}."
        ) from error


def _read(source: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise usage(f"Cannot read {source}: {error.strerror or error}.") from error
    return data.removeprefix(b"\xef\xbb\xbf").strip()
