"""The part of MongoDB's language that Hegemon uses: filters, updates, update pipelines. Pure; documents are values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

Document = dict[str, Any]
_MISSING: Final = object()
_COMPARES: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "$in": lambda value, wanted: any(_equal(value, one) for one in wanted),
    "$nin": lambda value, wanted: not any(_equal(value, one) for one in wanted),
    "$ne": lambda value, wanted: not _equal(value, wanted),
    "$gt": lambda value, wanted: _comparable(value, wanted) and value > wanted,
    "$gte": lambda value, wanted: _comparable(value, wanted) and value >= wanted,
    "$lt": lambda value, wanted: _comparable(value, wanted) and value < wanted,
    "$lte": lambda value, wanted: _comparable(value, wanted) and value <= wanted,
    "$exists": lambda value, wanted: (value is not _MISSING) == bool(wanted),
}


def copied(value: Any) -> Any:
    """A value that shares nothing with this one."""
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return value


def _comparable(value: Any, wanted: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(wanted, (int, float)):
        return True
    return type(value) is type(wanted)


def _equal(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return wanted is None
    return bool(value == wanted) or (isinstance(value, list) and wanted in value)


def field(document: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, or a mark that there is none."""
    value: Any = document
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def matches(document: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether a filter finds this document."""
    for path, wanted in query.items():
        if path == "$or":
            if not any(matches(document, one) for one in wanted):
                return False
            continue
        if path == "$and":
            if not all(matches(document, one) for one in wanted):
                return False
            continue
        value = field(document, path)
        if isinstance(wanted, Mapping) and wanted and all(key.startswith("$") for key in wanted):
            if not all(_COMPARES[name](value, one) for name, one in wanted.items()):
                return False
        elif not _equal(value, wanted):
            return False
    return True


def projected(document: Document, fields: Mapping[str, int] | None) -> Document:
    """What a projection leaves: inclusions only, as far as they are used."""
    if not fields:
        return copied(document)  # type: ignore[no-any-return]  # a copy of a dictionary is one
    kept: Document = {}
    for path in ("_id", *fields):
        value = field(document, path)
        if value is not _MISSING and fields.get(path, 1):
            _put(kept, path, copied(value))
    return kept


def _put(document: Document, path: str, value: Any) -> None:
    *heads, last = path.split(".")
    for head in heads:
        document = document.setdefault(head, {})
    document[last] = value


def updated(document: Document, change: Any, *, inserting: bool = False) -> Document:
    """The document after an update: operators, or a pipeline."""
    new: Document = copied(document)
    if isinstance(change, list):
        for stage in change:
            new = _stage(new, stage)
        return new
    for operator, fields in change.items():
        if operator == "$setOnInsert" and not inserting:
            continue
        for path, value in fields.items():
            _operate(new, operator, path, copied(value))
    return new


def _operate(document: Document, operator: str, path: str, value: Any) -> None:
    before = field(document, path)
    if operator in ("$set", "$setOnInsert"):
        _put(document, path, value)
    elif operator == "$inc":
        _put(document, path, (0 if before is _MISSING else before) + value)
    elif operator == "$unset":
        if before is not _MISSING:
            *heads, last = path.split(".")
            for head in heads:
                document = document[head]
            del document[last]
    elif operator == "$push":
        items = [] if before is _MISSING else list(before)
        items += value["$each"] if isinstance(value, dict) and "$each" in value else [value]
        if isinstance(value, dict) and "$slice" in value:
            items = items[value["$slice"] :] if value["$slice"] < 0 else items[: value["$slice"]]
        _put(document, path, items)
    elif operator == "$max":
        _put(document, path, value if before is _MISSING else max(before, value))
    else:
        raise NotImplementedError(f"the simulated MongoDB has no {operator}")


def _stage(document: Document, stage: Mapping[str, Any]) -> Document:
    ((name, value),) = stage.items()
    if name == "$replaceWith":
        return dict(_expression(document, value))
    if name == "$unset":
        return {key: part for key, part in document.items() if key not in value}
    if name == "$set":
        return document | {key: _expression(document, part) for key, part in value.items()}
    raise NotImplementedError(f"the simulated MongoDB has no stage {name}")


def _expression(document: Document, value: Any) -> Any:
    if isinstance(value, str) and value.startswith("$"):
        return document if value == "$$ROOT" else field(document, value[1:])
    if not isinstance(value, Mapping):
        return copied(value)
    ((name, given),) = value.items()
    if name == "$literal":
        return copied(given)
    parts = [_expression(document, part) for part in given]
    if name == "$mergeObjects":
        return {key: part for one in parts for key, part in one.items()}
    if name == "$indexOfArray":
        return parts[0].index(parts[1]) if parts[1] in parts[0] else -1
    if name == "$arrayElemAt":
        return parts[0][parts[1]]
    raise NotImplementedError(f"the simulated MongoDB has no {name}")


def ordered(found: list[Document], sort: Sequence[tuple[str, int]]) -> list[Document]:
    """Documents in the order of a sort."""
    for path, direction in reversed(sort):
        found.sort(key=lambda document: field(document, path), reverse=direction < 0)
    return found
