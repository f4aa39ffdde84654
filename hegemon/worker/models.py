"""Pydantic models in the type hints of handlers, without importing pydantic: a model knows how to check and describe
itself.
"""

from __future__ import annotations

from typing import Any


def is_model(kind: Any) -> bool:
    """Whether this is a class of models, as pydantic 2 makes them."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_json_schema")


def made(kind: type, value: Any) -> Any:
    """The instance that this JSON value stands for; the decoder's hook for types that are not its own. ValueError
    names the field."""
    model: Any = kind
    if not is_model(kind):
        raise TypeError(f"{kind.__qualname__} cannot be made from JSON")
    try:
        return model.model_validate(value)
    except ValueError as error:
        # pydantic's own text is many lines, with addresses to read on.
        faults = [(".".join(map(str, one["loc"])), one["msg"]) for one in getattr(error, "errors", list)()]
        raise ValueError("; ".join(f"{at}: {says}" if at else says for at, says in faults) or str(error)) from None


def model_builtins(value: Any) -> Any:
    """What a model that is a default looks like in JSON."""
    if not is_model(type(value)):
        raise NotImplementedError(f"{type(value).__qualname__} is no JSON")
    return value.model_dump(mode="json")


def model_schema(kind: type, defs: dict[str, Any]) -> dict[str, Any]:
    """Its own schema as a reference; it and what it refers to are put into `defs`, under names that only it uses."""
    model: Any = kind
    name = f"{kind.__module__}.{kind.__qualname__}".replace("<locals>.", "")
    schema = model.model_json_schema(ref_template=f"#/$defs/{name}.{{model}}")
    inner = schema.pop("$defs", {})
    defs.update({f"{name}.{key}": one for key, one in inner.items()})
    if "$ref" in schema:  # A model that holds itself stands among those that it refers to.
        return {"$ref": schema["$ref"]}
    defs[name] = schema
    return {"$ref": f"#/$defs/{name}"}
