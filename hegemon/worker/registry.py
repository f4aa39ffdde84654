"""Handlers by type. `@job("type")` registers a function; its type hints are the schema of the payload.

A payload that does not fit the hints fails at once, without retries, and the error names the field.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import re
import typing
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar

import msgspec

from hegemon.queue.retry import RetryPolicy
from hegemon.worker import models
from hegemon.worker.context import Context

F = TypeVar("F", bound=Callable[..., Any])
Arguments = Callable[[bytes], dict[str, Any]]
_NAME: Final = re.compile(r"^[A-Za-z0-9_.\-/]{1,100}$")


class HandlerError(Exception):
    """A handler is declared in a way that cannot work."""


class InvalidPayload(Exception):
    """The payload does not fit the handler's type hints."""


class Parameter(msgspec.Struct, frozen=True):
    """An argument of a handler that comes from the payload. `default` is NODEFAULT where it must be given."""

    name: str
    hint: Any
    default: Any

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.default is msgspec.NODEFAULT


class Handler(msgspec.Struct, frozen=True):
    """One registered handler. `None` in the options means: as the job or the cluster says. `open_ended`: it takes
    fields beyond its parameters."""

    type: str
    function: Callable[..., Any]
    is_async: bool
    context: str | None
    arguments: Arguments
    max_retries: int | None
    timeout_ms: int | None
    retry: RetryPolicy | None
    parameters: tuple[Parameter, ...] = ()
    open_ended: bool = False


_handlers: dict[str, Handler] = {}


def job(
    type: str,  # noqa: A002 - the field's name everywhere else
    *,
    max_retries: int | None = None,
    timeout: timedelta | float | None = None,
    retry: RetryPolicy | None = None,
) -> Callable[[F], F]:
    """Register a function, `async def` or `def` (run in a thread), as the handler of `type`; returns it unchanged.

    `max_retries` and `timeout` (seconds or timedelta) hold for jobs that do not bring their own; `retry` is the backoff
    of this type. Raises `HandlerError` for a type that is taken or a signature that cannot be called by name.
    """

    def register(function: F) -> F:
        if not _NAME.fullmatch(type):
            raise HandlerError(f"job type {type!r}: 1 to 100 letters, digits, and _ . - /")
        known = _handlers.get(type)
        if known is not None and known.function is not function and not _same(known.function, function):
            raise HandlerError(f"job type {type!r} is already handled by {known.function.__qualname__}")
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        if seconds is not None and seconds <= 0:
            raise HandlerError(f"job type {type!r}: timeout must be above 0, not {seconds}")
        context, parameters, open_ended = _signature(type, function)
        _handlers[type] = Handler(
            type=type,
            function=function,
            is_async=inspect.iscoroutinefunction(function),
            context=context,
            arguments=_arguments(type, parameters, open_ended=open_ended),
            max_retries=max_retries,
            timeout_ms=None if seconds is None else round(seconds * 1000),
            retry=retry,
            parameters=parameters,
            open_ended=open_ended,
        )
        return function

    return register


def _same(one: Callable[..., Any], other: Callable[..., Any]) -> bool:
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


def handlers() -> Mapping[str, Handler]:
    """All handlers by type."""
    return _handlers


def load(modules: typing.Iterable[str]) -> None:
    """Import the modules that register handlers; errors say which module and why."""
    for name in modules:
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise HandlerError(
                f"HANDLERS: cannot import {name!r} ({error}); "
                "it must be importable from the current directory or installed"
            ) from error
        except Exception as error:
            raise HandlerError(f"HANDLERS: importing {name!r} failed: {error.__class__.__name__}: {error}") from error


def _signature(job_type: str, function: Callable[..., Any]) -> tuple[str | None, tuple[Parameter, ...], bool]:
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except NameError as error:
        raise HandlerError(f"job type {job_type!r}: a type hint cannot be resolved: {error}") from error
    context = None
    found: list[Parameter] = []
    open_ended = False
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, Any)
        if hint is Context:
            context = name
        elif parameter.kind is parameter.VAR_KEYWORD:
            open_ended = True
        elif parameter.kind in (parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY):
            raise HandlerError(f"job type {job_type!r}: parameter {name!r} cannot be given by name")
        else:
            default = msgspec.NODEFAULT if parameter.default is parameter.empty else parameter.default
            found.append(Parameter(name, hint, default))
    return context, tuple(found), open_ended


def _arguments(job_type: str, parameters: typing.Sequence[Parameter], *, open_ended: bool) -> Arguments:
    fields: list[Any] = [
        (one.name, one.hint)
        if one.required
        else (one.name, one.hint, msgspec.field(default_factory=_copies(one.default)))
        for one in parameters
    ]
    shape = msgspec.defstruct(f"Payload_{len(_handlers)}", fields, kw_only=True, forbid_unknown_fields=not open_ended)
    try:
        return _open(shape) if open_ended else _closed(shape)
    except TypeError as error:
        raise HandlerError(f"job type {job_type!r}: a type hint cannot be checked: {error}") from error


def _copies(value: Any) -> Callable[[], Any]:
    return lambda: copy.copy(value)


def _closed(shape: type[msgspec.Struct]) -> Arguments:
    decode = msgspec.json.Decoder(shape, dec_hook=models.made).decode
    names = shape.__struct_fields__

    def arguments(payload: bytes) -> dict[str, Any]:
        try:
            value = decode(payload)
        except msgspec.DecodeError as error:
            raise InvalidPayload(_words(error)) from None
        return {name: getattr(value, name) for name in names}

    return arguments


def _open(shape: type[msgspec.Struct]) -> Arguments:
    closed = _closed(shape)
    everything = msgspec.json.Decoder(dict[str, Any])
    names = frozenset(shape.__struct_fields__)

    def arguments(payload: bytes) -> dict[str, Any]:
        known = closed(payload)
        return {key: value for key, value in everything.decode(payload).items() if key not in names} | known

    return arguments


def _words(error: Exception) -> str:
    return f"payload: {error}".replace(" - at `$.", " - at field `").replace("Object missing", "missing")
