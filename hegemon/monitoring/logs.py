"""Logs by structlog: one line per fact, JSON for machines, coloured for people, and no secret in any of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog

from hegemon.auth.masking import Masker


def configure(level: str, form: str, secrets: Iterable[str] = (), *, ours_alone: bool = False) -> None:
    """Set up structlog and the standard library's logging to write to stderr. `form`: auto, json or console. `secrets`
    are masked wherever they would be written, tracebacks included; so is what looks like a credential. `ours_alone`
    leaves the standard library's logging as it is, where user code has a say in it.
    """
    number = logging.getLevelName(level.upper())
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    masking = _Masking(Masker(secrets))
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    final: list[structlog.types.Processor] = (
        [_console()] if console else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    final = [masking.by_name, *final, masking.by_text]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    if ours_alone:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    # The drivers' own chatter about a store that is away adds nothing to ours; below `warning` httpx writes URLs.
    for name in ("pymongo", "uvicorn", "asyncio", "httpx", "httpcore"):
        logging.getLogger(name).setLevel(max(number, logging.WARNING))


def _console() -> structlog.dev.ConsoleRenderer:
    # Its own choice of traceback shows local variables, and cuts them: of a long secret, half would pass the mask.
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


class _Masking:
    """Two steps of a log line: `by_name` while it is still values, `by_text` once it is written, whatever wrote it."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def by_name(self, logger: Any, method: str, line: structlog.types.EventDict) -> structlog.types.EventDict:
        del logger, method
        # The error itself is turned into text later.
        return {name: value if name == "exc_info" else self._masker.value(name, value) for name, value in line.items()}

    def by_text(self, logger: Any, method: str, text: Any) -> Any:
        del logger, method
        return self._masker.text(text) if isinstance(text, str) else text
