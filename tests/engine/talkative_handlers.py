"""Handlers that log, and whose traces go on: what they say is found by their job."""

from __future__ import annotations

import logging
import sys

import structlog

from hegemon import Context, job


@job("talk")
async def talk(ctx: Context, word: str, fail: bool = False) -> dict[str, str | None]:
    """Says the word by both ways of logging."""
    logging.getLogger("talkative").warning("by logging: %s", word)
    structlog.get_logger().info("by_structlog", word=word)
    if fail and ctx.failures == 0:
        raise ConnectionError(f"no {word}")
    return {"request_id": ctx.request_id, "traceparent": ctx.traceparent}


@job("talk-in-a-thread")
def talk_in_a_thread(word: str) -> None:
    """The same where the event loop is not."""
    logging.getLogger("talkative").warning("in a thread: %s", word)


@job("chatter")
def chatter(lines: int) -> None:
    """Many lines at once."""
    for number in range(lines):
        logging.getLogger("talkative").warning("line %d", number)


@job("span")
async def span(ctx: Context, times: int = 0) -> str | None:
    """A span of its own inside the one of the attempt; fails so many times first."""
    from opentelemetry import trace  # noqa: PLC0415 - an optional extra

    with trace.get_tracer("tests").start_as_current_span("inner"):
        if ctx.failures < times:
            raise ConnectionError("not yet")
    return ctx.traceparent


@job("span-in-a-thread")
def span_in_a_thread() -> None:
    """The same where the event loop is not."""
    from opentelemetry import trace  # noqa: PLC0415 - an optional extra

    with trace.get_tracer("tests").start_as_current_span("inner"):
        pass


@job("otel-loaded")
async def otel_loaded() -> bool:
    """Whether what makes and sends spans is in this process. (The driver of Redis loads other parts by itself.)"""
    return any(name.startswith(("opentelemetry.exporter", "hegemon.tracing.spans")) for name in sys.modules)
