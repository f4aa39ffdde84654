"""Registering handlers: what can be declared, and what a payload must look like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta

from hegemon.queue.retry import RetryPolicy
from hegemon.worker import registry
from hegemon.worker.context import Context
from hegemon.worker.registry import HandlerError, InvalidPayload, job


@pytest.fixture(autouse=True)
def own_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_handlers", {})


@dataclass
class Address:
    street: str
    number: int = 1


def test_arguments_are_checked_and_made_from_their_hints() -> None:
    @job("t")
    def handler(
        ctx: Context,
        at: datetime,
        where: Address,
        size: Annotated[int, Meta(ge=1)],
        how: Literal["fast", "slow"] = "fast",
        names: list[str] | None = None,
    ) -> None: ...

    found = registry.handlers()["t"]
    assert (found.context, found.is_async) == ("ctx", False)
    made = found.arguments(b'{"at":"2026-01-02T03:04:05Z","where":{"street":"x"},"size":3}')
    assert made["where"] == Address("x", 1)
    assert made["at"].year == 2026
    assert (made["size"], made["how"], made["names"]) == (3, "fast", None)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"size":0}', "size"),
        (b'{"size":"3"}', "size"),
        (b"{}", "size"),
        (b'{"size":1,"colour":2}', "colour"),
        (b'{"size":1,"inner":{"number":"x","street":"y"}}', "inner.number"),
        (b"[1]", "object"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_and_the_field_named(payload: bytes, words: str) -> None:
    @job("t")
    def handler(size: Annotated[int, Meta(ge=1)], inner: Address | None = None) -> None: ...

    with pytest.raises(InvalidPayload, match=words):
        registry.handlers()["t"].arguments(payload)


def test_a_handler_with_keywords_takes_every_field() -> None:
    @job("t")
    async def handler(size: int = 1, **rest: Any) -> None: ...

    found = registry.handlers()["t"]
    assert found.is_async
    assert found.arguments(b'{"a":[1],"size":2}') == {"a": [1], "size": 2}
    with pytest.raises(InvalidPayload, match="size"):
        found.arguments(b'{"size":"x"}')


def test_a_default_that_can_change_is_not_shared_between_jobs() -> None:
    @job("t")
    def handler(names: list[str] = []) -> None: ...  # noqa: B006 - the point

    arguments = registry.handlers()["t"].arguments
    arguments(b"{}")["names"].append("x")
    assert arguments(b"{}")["names"] == []


def test_options_are_kept_in_milliseconds() -> None:
    policy = RetryPolicy(kind="fixed", base_ms=5)

    @job("a", timeout=timedelta(minutes=1), max_retries=7, retry=policy)
    def one() -> None: ...

    @job("b", timeout=0.5)
    def other() -> None: ...

    a, b = registry.handlers()["a"], registry.handlers()["b"]
    assert (a.timeout_ms, a.max_retries, a.retry) == (60_000, 7, policy)
    assert (b.timeout_ms, b.max_retries, b.retry) == (500, None, None)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "x" * 101, "ü", "a\n"])
def test_a_type_that_cannot_stand_in_an_entry_is_refused(name: str) -> None:
    with pytest.raises(HandlerError, match="1 to 100"):

        @job(name)
        def handler() -> None: ...


@pytest.mark.parametrize("timeout", [0, -1, timedelta(0)])
def test_a_timeout_must_be_positive(timeout: float | timedelta) -> None:
    with pytest.raises(HandlerError, match="timeout"):

        @job("t", timeout=timeout)
        def handler() -> None: ...


def test_a_type_has_one_handler_and_importing_its_module_twice_is_no_second() -> None:
    @job("t")
    def handler() -> None: ...

    job("t")(handler)
    with pytest.raises(HandlerError, match="already handled by"):

        @job("t")
        def other() -> None: ...


def test_signatures_that_cannot_be_called_by_name_are_refused() -> None:
    with pytest.raises(HandlerError, match="by name"):

        @job("a")
        def positional(x: int, /) -> None: ...

    with pytest.raises(HandlerError, match="by name"):

        @job("b")
        def many(*x: int) -> None: ...


def test_a_module_that_is_not_there_is_told_apart_from_one_that_fails() -> None:
    with pytest.raises(HandlerError, match="cannot import 'no_such_module'"):
        registry.load(["no_such_module"])
    with pytest.raises(HandlerError, match="failed: ValueError: not today"):
        registry.load(["tests.engine.broken_handlers"])
