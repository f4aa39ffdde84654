"""The API under /api/v1 stays what its clients know: the description is held against the one of the last release.

A release copies docs/openapi.json to docs/openapi-baseline.json. What breaks a client on purpose needs /api/v2.
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.api.documented import DESCRIPTION
from tests.api.openapi_diff import breaks

BASELINE: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi-baseline.json").read_text(encoding="utf-8")
)


def test_what_worked_with_the_last_release_works() -> None:
    assert breaks(BASELINE, DESCRIPTION) == []


def test_a_description_is_compatible_with_itself() -> None:
    assert breaks(DESCRIPTION, DESCRIPTION) == []


def _jobs(description: Any) -> Any:
    return description["paths"]["/api/v1/jobs"]


def _schema(description: Any, name: str) -> Any:
    return description["components"]["schemas"][name]


BREAKING: dict[str, Callable[[Any], Any]] = {
    "POST /api/v1/jobs is gone": lambda d: _jobs(d).pop("post"),
    "parameter tag is gone": lambda d: _jobs(d)["get"]["parameters"].pop(3),
    "parameter tag is required now": lambda d: _jobs(d)["get"]["parameters"][3].update(required=True),
    "scheduled is not taken any more": lambda d: _jobs(d)["get"]["parameters"][0]["schema"]["enum"].remove("scheduled"),
    "maximum is 7 now": lambda d: _jobs(d)["get"]["parameters"][4]["schema"].update(maximum=7),
    "only ['a'] is taken now": lambda d: _jobs(d)["get"]["parameters"][3]["schema"].update(enum=["a"]),
    "POST /api/v1/jobs body.payload is required now": lambda d: _schema(d, "NewJob")["required"].append("payload"),
    "body.tags is not taken any more": lambda d: _schema(d, "NewJob")["properties"].pop("tags"),
    "POST /api/v1/jobs 201 is gone": lambda d: _jobs(d)["post"]["responses"].pop("201"),
    "201: header Location is gone": lambda d: _jobs(d)["post"]["responses"]["201"]["headers"].pop("Location"),
    "body.jobs[].attempt is gone": lambda d: _schema(d, "JobView")["properties"].pop("attempt"),
    "body.jobs[].attempt may be missing now": lambda d: _schema(d, "JobView")["required"].remove("attempt"),
    "body.jobs[].attempt: ['integer'] became ['string']": (
        lambda d: _schema(d, "JobView")["properties"].update(attempt={"type": "string"})
    ),
    "its operationId was submitJob": lambda d: _jobs(d)["post"].update(operationId="submit"),
}


@pytest.mark.parametrize("says", BREAKING)
def test_a_change_that_breaks_clients_is_found(says: str) -> None:
    changed = copy.deepcopy(DESCRIPTION)
    BREAKING[says](changed)
    assert any(says in one for one in breaks(DESCRIPTION, changed)), breaks(DESCRIPTION, changed)


def test_a_change_that_only_adds_breaks_nothing() -> None:
    changed = copy.deepcopy(DESCRIPTION)
    changed["paths"]["/api/v1/more"] = _jobs(changed)
    _schema(changed, "JobView")["properties"]["more"] = {"type": "string"}
    _schema(changed, "NewJob")["properties"]["more"] = {"type": "string"}
    _jobs(changed)["get"]["parameters"].append({"name": "more", "in": "query", "schema": {"type": "string"}})
    assert breaks(DESCRIPTION, changed) == []
