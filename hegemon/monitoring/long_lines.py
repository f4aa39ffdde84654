"""Log lines that are too long to be kept or passed on, made to fit: stderr has them whole."""

from __future__ import annotations

from typing import Any, Final

import msgspec

LINE_MAX: Final = 8_000
_VALUE_MAX: Final = 1_000


def shortened(line: bytes) -> bytes:
    """A long line with its long values cut, still one JSON object; whatever is left if that is not enough."""
    fields: dict[str, Any] = msgspec.json.decode(line)
    cut = {name: _cut(value) for name, value in fields.items()}
    text = msgspec.json.encode({**cut, "cut": True})
    if len(text) <= LINE_MAX:
        return text
    main = ("timestamp", "level", "event", "node", "worker", "job", "attempt", "request_id")
    return msgspec.json.encode({name: cut[name] for name in main if name in cut} | {"cut": True})


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _VALUE_MAX else value[:_VALUE_MAX] + "…"
    if isinstance(value, (dict, list)):
        text = msgspec.json.encode(value).decode()
        return value if len(text) <= _VALUE_MAX else text[:_VALUE_MAX] + "…"
    return value
