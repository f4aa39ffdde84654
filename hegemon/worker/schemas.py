"""What a handler takes, as a JSON Schema made from its type hints: for the forms and lists that people look at.

It is told, and holds nobody: what fits is decided by the decoder that the same hints make. A hint that has no schema is
"any JSON", alone; so no handler fails to load for a form's sake.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from hegemon.queue.job_types import DESCRIPTION_MAX, SCHEMA_BYTES_MAX, TYPES_MAX, JobType
from hegemon.worker.models import is_model, model_builtins, model_schema
from hegemon.worker.registry import Handler, Parameter

Schema = dict[str, Any]
DEFAULT_BYTES_MAX: Final = 1_000


def told(handlers: Mapping[str, Handler]) -> list[JobType]:
    """What there is to tell of these handlers; of the first TYPES_MAX by name."""
    return [_tellable(handlers[name]) for name in sorted(handlers)[:TYPES_MAX]]


def _tellable(handler: Handler) -> JobType:
    """What can be told of it; without words where those of its author are no JSON, as an object in a model's
    `json_schema_extra` is not: a worker starts all the same."""
    try:
        about = describe(handler)
        msgspec.json.encode(about)
    except Exception:  # noqa: BLE001 - it comes from the user's code
        return JobType(type=handler.type, max_retries=handler.max_retries, timeout_ms=handler.timeout_ms)
    return about


def describe(handler: Handler) -> JobType:
    """One handler: what it takes, the first words of its docstring, its own limits."""
    text = msgspec.json.encode(payload_schema(handler.parameters, open_ended=handler.open_ended)).decode()
    return JobType(
        type=handler.type,
        description=(inspect.getdoc(handler.function) or "").strip()[:DESCRIPTION_MAX],
        schema=text if len(text.encode()) <= SCHEMA_BYTES_MAX else None,
        max_retries=handler.max_retries,
        timeout_ms=handler.timeout_ms,
    )


def payload_schema(parameters: Sequence[Parameter], *, open_ended: bool) -> Schema:
    """The JSON Schema (2020-12) of a payload with these arguments by name."""
    defs: Schema = {}
    properties: dict[str, Schema] = {}
    for parameter, schema in zip(parameters, _schemas([one.hint for one in parameters], defs), strict=True):
        properties[parameter.name] = schema | _described(parameter.hint, schema) | _default(parameter)
    made: Schema = {
        "type": "object",
        "properties": properties,
        "required": [one.name for one in parameters if one.required],
        "additionalProperties": open_ended,
    }
    return made | ({"$defs": defs} if defs else {})


def _schemas(hints: Sequence[Any], defs: Schema) -> list[Schema]:
    def foreign(kind: type) -> Schema:
        # An empty schema is none to msgspec.
        return model_schema(kind, defs) if is_model(kind) else {"$comment": "any JSON"}

    try:
        made, found = msgspec.json.schema_components(hints, schema_hook=foreign)
    except Exception:  # noqa: BLE001 - a hint without a schema, or a model whose own making of one fails
        if len(hints) == 1:
            return [{}]
        return [_schemas([hint], defs)[0] for hint in hints]
    defs.update(found)
    return list(made)


def _described(hint: Any, schema: Schema) -> Schema:
    """`Annotated[int, "what it is"]` says it as well as msgspec's Meta or typing_extensions' Doc."""
    if "description" in schema or typing.get_origin(hint) is not typing.Annotated:
        return {}
    for word in typing.get_args(hint)[1:]:
        text = getattr(word, "documentation", word)
        if isinstance(text, str):
            return {"description": text[:DESCRIPTION_MAX]}
    return {}


def _default(parameter: Parameter) -> Schema:
    if parameter.required:
        return {}
    try:
        value = msgspec.to_builtins(parameter.default, str_keys=True, enc_hook=model_builtins)
        fits = len(msgspec.json.encode(value)) <= DEFAULT_BYTES_MAX
    except (TypeError, ValueError, NotImplementedError, msgspec.MsgspecError):
        return {}  # It is there, and no JSON.
    return {"default": value} if fits else {}
