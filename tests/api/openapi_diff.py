"""What of an OpenAPI description its clients could miss in a newer one: the rules of compatibility under /api/v1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Description = Mapping[str, Any]


def breaks(old: Description, new: Description) -> list[str]:
    """One sentence for each thing that worked with `old` and need not with `new`."""
    return list(_Diff(old, new).paths())


class _Diff:
    def __init__(self, old: Description, new: Description) -> None:
        self._old = old
        self._new = new

    def paths(self) -> Iterator[str]:
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                later = self._new["paths"].get(path, {}).get(method)
                where = f"{method.upper()} {path}"
                if later is None:
                    yield f"{where} is gone"
                else:
                    yield from self._operation(where, operation, later)

    def _operation(self, where: str, old: Description, new: Description) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where}: its operationId was {old['operationId']}"
        before = {(one["in"], one["name"]): one for one in old.get("parameters", ())}
        after = {(one["in"], one["name"]): one for one in new.get("parameters", ())}
        for key, parameter in before.items():
            if key not in after:
                yield f"{where}: parameter {key[1]} is gone"
            else:
                yield from self._taken(f"{where} {key[1]}", parameter["schema"], after[key]["schema"])
        for key, parameter in after.items():
            if parameter.get("required") and not before.get(key, {}).get("required"):
                yield f"{where}: parameter {key[1]} is required now"
        yield from self._body(where, old.get("requestBody"), new.get("requestBody"))
        for status, answer in old["responses"].items():
            yield from self._answer(f"{where} {status}", status, answer, new["responses"].get(status))

    def _body(self, where: str, old: Description | None, new: Description | None) -> Iterator[str]:
        if old is None or new is None:
            if new is not None and new.get("required"):
                yield f"{where}: a body is required now"
            if old is not None:
                yield f"{where}: no body is taken any more"
            return
        if new.get("required") and not old.get("required"):
            yield f"{where}: a body is required now"
        for kind, media in old["content"].items():
            if kind not in new["content"]:
                yield f"{where}: {kind} is not taken any more"
            else:
                yield from self._taken(f"{where} body", media["schema"], new["content"][kind]["schema"])

    def _answer(self, where: str, status: str, old: Description, new: Description | None) -> Iterator[str]:
        if new is None:
            if status.startswith("2"):
                yield f"{where} is gone"
            return
        old, new = self._resolved(self._old, old), self._resolved(self._new, new)
        for name in old.get("headers", {}):
            if name not in new.get("headers", {}):
                yield f"{where}: header {name} is gone"
        for kind, media in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{where}: {kind} is gone"
            else:
                yield from self._given(f"{where} body", media["schema"], new["content"][kind]["schema"])

    def _taken(self, where: str, old: Description, new: Description) -> Iterator[str]:
        """What a caller sends: it may not be taken less freely."""
        old, new = self._resolved(self._old, old), self._resolved(self._new, new)
        yield from self._types(where, old, new)
        for value in set(map(str, old.get("enum", ()))) - set(map(str, new.get("enum", old.get("enum", ())))):
            yield f"{where}: {value} is not taken any more"
        if "enum" in new and "enum" not in old:
            yield f"{where}: only {new['enum']} is taken now"
        for bound, sign in (("minimum", 1), ("minLength", 1), ("maximum", -1), ("maxLength", -1), ("maxItems", -1)):
            if bound in new and (bound not in old or sign * new[bound] > sign * old[bound]):
                yield f"{where}: {bound} is {new[bound]} now"
        for name in set(new.get("required", ())) - set(old.get("required", ())):
            yield f"{where}.{name} is required now"
        for name, schema in old.get("properties", {}).items():
            if name not in new.get("properties", {}):
                yield f"{where}.{name} is not taken any more"
            else:
                yield from self._taken(f"{where}.{name}", schema, new["properties"][name])
        if "items" in old and "items" in new:
            yield from self._taken(f"{where}[]", old["items"], new["items"])

    def _given(self, where: str, old: Description, new: Description) -> Iterator[str]:
        """What a caller gets: nothing that it may rely on may be missing."""
        old, new = self._resolved(self._old, old), self._resolved(self._new, new)
        yield from self._types(where, old, new)
        for name in old.get("required", ()):
            if name not in new.get("required", ()) and name in new.get("properties", {}):
                yield f"{where}.{name} may be missing now"
        for name, schema in old.get("properties", {}).items():
            if name not in new.get("properties", {}):
                yield f"{where}.{name} is gone"
            else:
                yield from self._given(f"{where}.{name}", schema, new["properties"][name])
        if "items" in old and "items" in new:
            yield from self._given(f"{where}[]", old["items"], new["items"])

    def _types(self, where: str, old: Description, new: Description) -> Iterator[str]:
        one, other = self._kinds(self._old, old), self._kinds(self._new, new)
        if one and other and one != other:
            yield f"{where}: {sorted(one)} became {sorted(other)}"

    def _kinds(self, document: Description, schema: Description) -> set[str]:
        schema = self._resolved(document, schema)
        if "anyOf" in schema:
            return {kind for one in schema["anyOf"] for kind in self._kinds(document, one)}
        kind = schema.get("type", ())
        return {kind} if isinstance(kind, str) else set(kind)

    def _resolved(self, document: Description, schema: Description) -> Description:
        reference = schema.get("$ref")
        if reference is None:
            return schema
        kind, name = reference.split("/")[-2:]
        found: Description = document["components"][kind][name]
        return found
