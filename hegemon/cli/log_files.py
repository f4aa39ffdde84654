"""The log files of a local cluster, as `hegemon up --data DIR` leaves them: also of nodes that are dead or gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from hegemon.cli.log_nodes import Line, merged
from hegemon.cluster.log_ports import LOG_LEVELS, LogFilter

READ_MAX: Final = 32 << 20


@dataclass
class _File:
    path: Path
    read: int = 0
    rest: bytes = b""
    stamp: str = ""


class FileLog:
    """Reads on in the files of `directory`/logs. `only` names nodes; empty: all of them."""

    def __init__(self, directory: Path, which: LogFilter, only: Iterable[str]) -> None:
        self._logs = directory / "logs" if (directory / "logs").is_dir() else directory
        self._which = which
        self._only = frozenset(only)
        self._files: dict[str, _File] = {}

    def begin(self, limit: int) -> list[Line]:
        """The newest lines, oldest first. ValueError if there are no log files, or none of a node that was named."""
        lines = self.more()
        unknown = self._only - self._files.keys()
        if unknown or not self._files:
            names = ", ".join(sorted(path.stem for path in self._logs.glob("*.log")))
            raise ValueError(
                f"no log of {min(unknown, default='a node')} in {self._logs}; there are: {names or 'none'}"
            )
        return lines[-limit:]

    def more(self) -> list[Line]:
        """What has been written since, oldest first."""
        for path in sorted(self._logs.glob("*.log")):
            # What is not a node's is that of the stores, in their own form.
            if path.stem not in self._files and (path.stem in self._only or (not self._only and _is_node(path))):
                self._files[path.stem] = _File(path)
        return merged([list(self._read(name, file)) for name, file in sorted(self._files.items())])

    def _read(self, name: str, file: _File) -> Iterator[Line]:
        try:
            with file.path.open("rb") as stream:
                size = stream.seek(0, 2)
                if size < file.read:  # another file under this name
                    file.read, file.rest = 0, b""
                file.read = max(file.read, size - READ_MAX)
                stream.seek(file.read)
                data = stream.read()
        except OSError:
            return
        file.read += len(data)
        *whole, file.rest = (file.rest + data).split(b"\n")
        for text in whole:
            line = _line(text)
            if line is None:
                continue
            file.stamp = str(line.get("timestamp") or file.stamp)
            line = {"timestamp": file.stamp, "level": "info", "node": name} | line
            if matches(self._which, line):
                yield line


def matches(which: LogFilter, line: Line) -> bool:
    """The same as a node does with the lines that it keeps."""
    level = str(line["level"])
    if which.level is not None and level in LOG_LEVELS and LOG_LEVELS.index(level) < LOG_LEVELS.index(which.level):
        return False
    return (
        which.job in (None, line.get("job"))
        and which.request in (None, line.get("request_id"))
        and (which.since is None or str(line["timestamp"]) >= which.since)
        and (which.grep is None or which.grep.casefold() in msgspec.json.encode(line).decode().casefold())
    )


def _line(text: bytes) -> Line | None:
    """A line of ours, or what somebody else wrote there, as a handler's `print` does."""
    if not text.strip():
        return None
    try:
        found: Any = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    return found if isinstance(found, dict) and "event" in found else {"event": text.decode(errors="replace")}


def _is_node(path: Path) -> bool:
    """Whether it has a line of a node's log near its beginning."""
    with path.open("rb") as stream:
        return b'"event": ' in stream.read(4096)
