"""What a worker tells of its handlers: the JSON Schema of their type hints, their docstring, their limits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import msgspec
import pydantic
import pytest
from msgspec import Meta

from hegemon.queue.job_types import DESCRIPTION_MAX, SCHEMA_BYTES_MAX, TYPES_MAX
from hegemon.worker import registry
from hegemon.worker.context import Context
from hegemon.worker.registry import InvalidPayload, job
from hegemon.worker.schemas import DEFAULT_BYTES_MAX, describe, told

NO_JSON: Any = object


@pytest.fixture(autouse=True)
def own_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_handlers", {})


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Address:
    street: str
    number: int = 1


class Point(msgspec.Struct):
    x: float


class Words(TypedDict, total=False):
    de: str


class Line(pydantic.BaseModel):
    sku: str
    count: int = pydantic.Field(1, ge=1, description="How many.")


class Order(pydantic.BaseModel):
    lines: list[Line]


class Odd(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(json_schema_extra={"example": NO_JSON})
    x: int


class Tree(pydantic.BaseModel):
    kids: list[Tree] = []


class Foreign:
    """Neither msgspec nor pydantic knows it."""


def schema_of(type_: str = "t") -> dict[str, Any]:
    text = describe(registry.handlers()[type_]).schema
    assert text is not None
    schema: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(schema)
    return schema


def test_every_kind_of_hint_has_its_schema() -> None:
    def handler(
        ctx: Context,
        name: str,
        where: Address,
        point: Point,
        words: Words,
        order: Order,
        colour: Colour = Colour.RED,
        how: Literal["a", "b"] = "a",
        size: Annotated[int, Meta(ge=1, description="How large.")] | None = None,
        names: list[str] | None = None,
        plain: Annotated[str, "As it is."] = "x",
        whatever: Any = None,
    ) -> None: ...

    # As if it had no hint.
    del handler.__annotations__["whatever"]
    job("t")(handler)
    schema = schema_of()
    properties = schema["properties"]
    assert schema["required"] == ["name", "where", "point", "words", "order"]
    assert schema["additionalProperties"] is False
    assert "ctx" not in properties
    assert properties["name"] == {"type": "string"}
    assert properties["how"] == {"enum": ["a", "b"], "default": "a"}
    assert properties["plain"] == {"type": "string", "description": "As it is.", "default": "x"}
    assert properties["whatever"] == {"default": None}
    assert properties["colour"]["default"] == "red"
    assert "How large." in json.dumps(properties["size"])
    fits = jsonschema.Draft202012Validator(schema)
    good = {
        "name": "x",
        "where": {"street": "y"},
        "point": {"x": 1.5},
        "words": {"de": "ja"},
        "order": {"lines": [{"sku": "z"}]},
        "colour": "blue",
        "names": ["a"],
    }
    bad: list[dict[str, Any]] = [
        {"name": 1},
        {"where": {}},
        {"point": {}},
        {"words": {"de": 1}},
        {"order": {"lines": [{}]}},
        {"order": {"lines": [{"sku": "z", "count": 0}]}},
        {"colour": "green"},
        {"how": "c"},
        {"size": 0},
        {"names": [1]},
        {"more": 1},
    ]
    arguments = registry.handlers()["t"].arguments
    # The schema and the decoder are made of the same hints, and agree.
    assert fits.is_valid(good)
    assert arguments(msgspec.json.encode(good))["order"] == Order(lines=[Line(sku="z", count=1)])
    for change in bad:
        assert not fits.is_valid(good | change), change
        with pytest.raises(InvalidPayload):
            arguments(msgspec.json.encode(good | change))


def test_a_handler_with_keywords_says_that_it_takes_more() -> None:
    @job("t")
    def handler(size: int = 1, **rest: Any) -> None: ...

    assert schema_of()["additionalProperties"] is True


def test_a_hint_without_a_schema_is_any_json_and_leaves_the_others_theirs() -> None:
    @job("t")
    def handler(name: str, foreign: Foreign | None = None, default: Any = Foreign()) -> None: ...  # noqa: B008

    properties = schema_of()["properties"]
    assert properties["name"] == {"type": "string"}
    jsonschema.validate({"a": [1]}, {**properties["foreign"]})
    assert "default" not in properties["default"]
    with pytest.raises(InvalidPayload, match="Foreign"):
        registry.handlers()["t"].arguments(b'{"name":"x","foreign":1}')


def test_a_model_whose_own_schema_fails_is_any_json() -> None:
    class Broken(pydantic.BaseModel):
        @classmethod
        def model_json_schema(cls, *args: Any, **options: Any) -> dict[str, Any]:
            raise RuntimeError("no schema today")

    def handler(name: str, broken: Any) -> None: ...

    handler.__annotations__["broken"] = Broken
    job("t")(handler)
    properties = schema_of()["properties"]
    assert (properties["name"], properties["broken"]) == ({"type": "string"}, {})


def test_models_that_hold_themselves_or_others_keep_their_references() -> None:
    @job("t")
    def handler(tree: Tree, order: Order, default: Line = Line(sku="a", count=1)) -> None: ...  # noqa: B008 - a default model

    schema = schema_of()
    assert schema["properties"]["default"]["default"] == {"sku": "a", "count": 1}
    fits = jsonschema.Draft202012Validator(schema)
    order = {"lines": [{"sku": "a"}]}
    assert fits.is_valid({"tree": {"kids": [{"kids": []}]}, "order": order})
    assert not fits.is_valid({"tree": {"kids": [{"kids": 1}]}, "order": order})
    assert not fits.is_valid({"tree": {}, "order": {"lines": [{"sku": 1}]}})


def test_what_a_model_refuses_names_its_place() -> None:
    @job("t")
    def handler(order: Order) -> None: ...

    with pytest.raises(InvalidPayload, match=r"lines\.0\.sku: .*order"):
        registry.handlers()["t"].arguments(b'{"order":{"lines":[{"sku":1}]}}')


def test_the_docstring_and_the_handlers_own_limits_are_told() -> None:
    @job("t", max_retries=7, timeout=timedelta(minutes=1))
    def handler() -> None:
        """Do it.

        And more.
        """

    @job("u")
    def other() -> None: ...

    about = describe(registry.handlers()["t"])
    assert (about.description, about.max_retries, about.timeout_ms) == ("Do it.\n\nAnd more.", 7, 60_000)
    about = describe(registry.handlers()["u"])
    assert (about.description, about.max_retries, about.timeout_ms) == ("", None, None)


def test_what_is_told_is_bounded() -> None:
    for number in range(TYPES_MAX + 5):
        job(f"t{number:03}")(lambda: None)
    assert [one.type for one in told(registry.handlers())][-1] == f"t{TYPES_MAX - 1:03}"

    def large(first: Any, default: str = "x" * 2 * DEFAULT_BYTES_MAX) -> None: ...

    large.__doc__ = "y" * 2 * DESCRIPTION_MAX
    large.__annotations__["first"] = Literal[tuple(f"word-{number}" for number in range(SCHEMA_BYTES_MAX // 8))]
    job("large")(large)
    about = describe(registry.handlers()["large"])
    assert about.schema is None
    assert len(about.description) == DESCRIPTION_MAX
    large.__annotations__["first"] = int
    registry._handlers.clear()
    job("large")(large)
    assert "default" not in schema_of("large")["properties"]["default"]


def test_a_worker_starts_whatever_stands_in_a_model_or_a_docstring() -> None:
    @job("a", max_retries=3)
    def odd(order: Odd) -> None: ...

    def words() -> None: ...

    words.__doc__ = "\udcff"
    job("b")(words)
    assert [(one.type, one.schema, one.max_retries) for one in told(registry.handlers())] == [
        ("a", None, 3),
        ("b", None, None),
    ]


def test_the_key_of_a_type_changes_with_whatever_is_told_of_it() -> None:
    @job("t")
    def handler(size: int = 1) -> None: ...

    about = describe(registry.handlers()["t"])
    assert about.key == describe(registry.handlers()["t"]).key
    assert about.key.startswith("t#")
    for name, value in {"description": "x", "schema": None, "max_retries": 1, "timeout_ms": 1}.items():
        assert msgspec.structs.replace(about, **{name: value}).key != about.key
