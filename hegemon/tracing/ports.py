"""The doors through which submissions and attempts are traced, and what stands there while tracing is off: nothing."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from hegemon.queue.jobs import NewJob
from hegemon.queue.provenance import Provenance
from hegemon.tracing.context import TraceContext


class Submission(Protocol):
    """One submission under way. `provenance` is what its jobs carry on."""

    @property
    def provenance(self) -> Provenance: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def accepted(self, ids: Sequence[str]) -> None:
        """The jobs are durable."""


class SubmissionTracer(Protocol):
    """Begins the span of a submission of these jobs."""

    def __call__(self, jobs: Sequence[NewJob], provenance: Provenance) -> Submission: ...


class TracedRun(Protocol):
    """One attempt under way. `traceparent` is what its handler passes on to whomever it calls."""

    traceparent: str | None

    def enter(self) -> None:
        """In the task or thread of the handler, whose context ends with it."""

    def ended(self, outcome: str, error: dict[str, Any] | None) -> str | None:
        """The attempt has ended so, with its error as it is stored. Its traceparent if it was recorded."""

    def next(self, before: str | None) -> TraceContext | None:
        """What the next attempt carries; `before` is what `ended` gave."""


class RunTracer(Protocol):
    """Begins the span of an attempt: attributes `about` it, `traced` what its job carries, `waited_s` since it could
    have begun."""

    def __call__(
        self, about: dict[str, Any], queue: str, traced: TraceContext | None, *, waited_s: float
    ) -> TracedRun: ...


class Untraced:
    """A submission without a span: its jobs carry on what came with the request."""

    __slots__ = ("provenance",)

    def __init__(self, jobs: Sequence[NewJob], provenance: Provenance) -> None:
        del jobs
        self.provenance = provenance

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...

    def accepted(self, ids: Sequence[str]) -> None:
        """Nobody wants to know."""


untraced: SubmissionTracer = Untraced
