"""Logs by structlog: one line per fact, JSON for machines, coloured for people, and no secret in any of them.

a line ──fields of where it is written──> sampling ──> masked ──> text ──> stderr
                                                                   └─as JSON──> `keep` (the node's ring)
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TextIO, cast

import structlog

from hegemon.auth.masking import Masker
from hegemon.log_context import RUN, bound, log_fields
from hegemon.monitoring.log_sampling import Sampling
from hegemon.monitoring.log_stream import LogStream, Losses

Line = structlog.types.EventDict
Processor = structlog.types.Processor
Keep = Callable[[str, str], None]
SUPPRESSED: Final = "lines_suppressed"
_FIRST: Final = ("timestamp", "level", "event")
# The drivers' own chatter about a store that is away adds nothing to ours; below `warning` httpx writes URLs.
_CHATTER: Final = ("pymongo", "uvicorn", "asyncio", "httpx", "httpcore", "urllib3")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a process logs. `form`: auto, json or console. `secrets` are masked wherever they would be written,
    tracebacks included; so is what looks like a credential. `fields` stand in every line. `keep` is given the level and
    the JSON of every line, masked. `per_second` bounds the lines of one kind; 0 does not."""

    level: str
    form: str
    secrets: Iterable[str] = ()
    fields: Mapping[str, str] = field(default_factory=dict)
    keep: Keep | None = None
    per_second: int = 0


def configure(shape: Shape, *, ours_alone: bool = False) -> None:
    """Set up structlog and the standard library's logging to write to stderr. `ours_alone` leaves the standard
    library's logging as it is, where user code has a say in it; see `adopt`.
    """
    steps = _Steps(shape)
    structlog.configure(
        processors=[
            steps.sampled,
            structlog.contextvars.merge_contextvars,
            log_fields,
            steps.fields,
            structlog.processors.add_log_level,
            *_STAMPS,
            *steps.written,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_number(shape.level)),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, LogStream(sys.stderr, _losses))),
        cache_logger_on_first_use=True,
    )
    _sampling[:] = [steps.sampling]
    if not ours_alone:
        _take_over(shape, steps)


def adopt(shape: Shape) -> None:
    """After user code was loaded: its lines by the standard library's logging carry their job, and are written like
    ours unless it has set up another form."""
    factory = logging.getLogRecordFactory()

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = factory(*args, **kwargs)
        # For a format of the user's own: %(job)s, %(attempt)s, %(request_id)s.
        fields = bound()
        made.job, made.attempt, made.request_id = (fields.get(name, "") for name in ("job", "attempt", "request_id"))
        return made

    logging.setLogRecordFactory(record)
    if not logging.getLogger().handlers:
        steps = _Steps(shape)
        _sampling.append(steps.sampling)
        _take_over(shape, steps)


def flush() -> None:
    """Tell of the lines that were left out and not told of yet."""
    for sampling in _sampling:
        sampling.flush()


_sampling: list[Sampling] = []
# Of the process: whoever writes a line, stderr is one.
_losses: Final = Losses()
_STAMPS: Final[tuple[Processor, ...]] = (
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
)


def _take_over(shape: Shape, steps: _Steps) -> None:
    handler = logging.StreamHandler(LogStream(sys.stderr, _losses))
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(
        formatter(
            processors=[formatter.remove_processors_meta, *steps.written],
            foreign_pre_chain=[
                structlog.contextvars.merge_contextvars,
                log_fields,
                steps.fields,
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                *_STAMPS,
            ],
        )
    )
    # A formatter that drops a line fails; a filter may.
    handler.addFilter(steps.sampled_record)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_number(shape.level))
    for name in _CHATTER:
        logging.getLogger(name).setLevel(max(_number(shape.level), logging.WARNING))


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _console() -> structlog.dev.ConsoleRenderer:
    # Its own choice of traceback shows local variables, and cuts them: of a long secret, half would pass the mask.
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


class _Steps:
    """The steps of a log line: `fields` and `sampled` while it is still values, then `written`, in this order."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._masker = Masker(shape.secrets)
        self._json = structlog.processors.JSONRenderer()
        self.sampling = Sampling(shape.per_second, _tell)
        console = shape.form == "console" or (shape.form == "auto" and sys.stderr.isatty())
        final: list[Processor] = (
            [self._kept_beside, _console()]
            if console
            else [structlog.processors.format_exc_info, _in_order, self._json]
        )
        self.written: list[Processor] = [_losses.told, self._by_name, *final, self._by_text]
        if not console:
            self.written.append(self._kept)

    def fields(self, logger: Any, method: str, line: Line) -> Line:
        """What every line of this process has."""
        del logger, method
        for name, value in self._shape.fields.items():
            line.setdefault(name, value)
        return line

    def sampled(self, logger: Any, method: str, line: Line) -> Line:
        """Lines of handlers are their writers' business: all of them are written."""
        del logger
        event = str(line.get("event"))[:100]
        if event != SUPPRESSED and RUN.get() is None and not self.sampling.admit(event, method):
            raise structlog.DropEvent
        return line

    def sampled_record(self, record: logging.LogRecord) -> bool:
        """The same for the standard library's logging, where the text before its values were put in is the kind."""
        kind = f"{record.name}: {str(record.msg)[:100]}"
        return RUN.get() is not None or self.sampling.admit(kind, record.levelname.lower())

    def _by_name(self, logger: Any, method: str, line: Line) -> Line:
        del logger, method
        # The error itself is turned into text later.
        return {name: value if name == "exc_info" else self._masker.value(name, value) for name, value in line.items()}

    def _by_text(self, logger: Any, method: str, text: Any) -> Any:
        """Whatever wrote it."""
        del logger, method
        return self._masker.text(text) if isinstance(text, str) else text

    def _kept(self, logger: Any, method: str, text: Any) -> Any:
        del logger
        if self._shape.keep is not None and isinstance(text, str):
            self._shape.keep(_level(method), text)
        return text

    def _kept_beside(self, logger: Any, method: str, line: Line) -> Line:
        """The console's line is for people: the one that is kept is made beside it."""
        if self._shape.keep is not None:
            whole = structlog.processors.format_exc_info(logger, method, dict(line))
            text = str(self._json(logger, method, _in_order(logger, method, whole)))
            self._shape.keep(_level(method), self._masker.text(text))
        return line


def _in_order(logger: Any, method: str, line: Line) -> Line:
    """When, how grave and what stand first."""
    del logger, method
    return {name: line[name] for name in _FIRST if name in line} | dict(line)


def _level(method: str) -> str:
    return {"exception": "error", "warn": "warning", "fatal": "critical"}.get(method, method)


def _tell(kind: str, level: str, count: int) -> None:
    # Its stream may be gone by then: this is a thread of its own.
    with contextlib.suppress(ValueError, OSError):
        getattr(structlog.get_logger(__name__), _level(level))(SUPPRESSED, of=kind, count=count)
