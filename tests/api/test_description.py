import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate
from starlette.routing import Route

from hegemon.api import export
from hegemon.api.access import ACCESS
from hegemon.api.app import DESCRIPTION_PATH, OPERATIONS, create_app
from hegemon.api.legacy import TWINS
from hegemon.api.problems import TABLE
from hegemon.api.resource import Resource
from tests.api.conftest import VERSION
from tests.api.documented import DESCRIPTION, answers, resolved, validator
from tests.api.memory import MemoryNode

DOCS = Path(__file__).parents[2] / "docs"


def test_the_description_is_valid_openapi() -> None:
    validate(DESCRIPTION)


def test_a_node_serves_its_description(http: httpx.Client) -> None:
    served = http.get("/openapi.json").json()
    assert served["info"]["version"] == VERSION
    assert served["paths"] == DESCRIPTION["paths"]


def test_every_route_and_method_is_described() -> None:
    node = MemoryNode()
    app = create_app(node, node, version=VERSION, request_bytes_max=1000, metrics=None)
    served = set()
    for route in app.routes:
        assert isinstance(route, Route)
        assert isinstance(route.endpoint, Resource)
        if route.path == DESCRIPTION_PATH or not route.include_in_schema:  # the dashboard's
            continue
        served |= {(route.path, method.lower()) for method in route.endpoint.methods}
    described = {(path, method) for path, item in DESCRIPTION["paths"].items() for method in item}
    described |= {(path, "head") for path, method in described if method == "get"}
    older = {(path, method) for path, twin in TWINS.items() for known, method in described if known == twin}
    assert served == described | older


def test_what_the_pipeline_answers_is_described_for_every_operation() -> None:
    for operation in OPERATIONS:
        described = answers(operation.path, operation.method.lower())
        codes = {
            code
            for one in described.values()
            for media in one.get("content", {}).values()
            for code in media.get("examples", {})
        }
        expected = {"malformed_request", "request_timeout", "misdirected_request", "rate_limited", "headers_too_large"}
        expected |= {"internal_error", "overloaded", "too_many_connections", "stopping"}
        if operation.method != "GET":
            expected |= {"forbidden", "outcome_unknown"}
        if not ACCESS[operation.method, operation.path].public:
            expected |= {"unauthenticated", "token_expired", "forbidden", "store_unavailable"}
        if operation.body is not None:
            expected |= {"malformed_json", "unsupported_media_type", "body_too_large"}
        if any(one.name == "If-Match" for one in operation.parameters):
            expected |= {"precondition_required", "precondition_failed"}
        if any(one.name == "Idempotency-Key" for one in operation.parameters):
            expected |= {"idempotency_key_reused", "idempotency_key_in_flight"}
        assert expected <= codes, (operation.name, expected - codes)


def test_operation_names_are_unique() -> None:
    assert len({operation.name for operation in OPERATIONS}) == len(OPERATIONS)


def test_path_parameters_are_described() -> None:
    for operation in OPERATIONS:
        places = {parameter.name for parameter in operation.parameters if parameter.place == "path"}
        assert places == {part[1:-1] for part in operation.path.split("/") if part.startswith("{")}


def _media() -> list[tuple[str, dict[str, Any], Any]]:
    found = []
    for path, item in DESCRIPTION["paths"].items():
        for method, operation in item.items():
            bodies = [*answers(path, method).values(), operation.get("requestBody", {})]
            for media in (media for body in bodies for media in body.get("content", {}).values()):
                examples = {name: resolved(one)["value"] for name, one in media.get("examples", {}).items()}
                if "example" in media:
                    examples[""] = media["example"]
                assert examples, f"{method} {path} has no example"
                found += [(f"{method} {path} {name}", media["schema"], value) for name, value in examples.items()]
            for parameter in operation.get("parameters", ()):
                found.append((f"{method} {path} {parameter['name']}", parameter["schema"], parameter["example"]))
    return found


def test_every_example_is_what_its_schema_says() -> None:
    for place, schema, example in _media():
        errors = [error.message for error in validator(schema).iter_errors(example)]
        assert not errors, f"{place}: {errors}"


def test_every_example_of_a_job_is_accepted(http: httpx.Client) -> None:
    for path in ("/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/dead/requeue", "/api/v1/dead/purge"):
        examples = DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]["application/json"]["examples"]
        for name, example in examples.items():
            answer = http.post(path, json=example["value"])
            assert answer.status_code in (200, 201), f"{path} {name}: {answer.text}"


@pytest.mark.parametrize(
    "body",
    [{"type": "a", "x": 1}, {"type": "a", "priority": 11}, {"type": "a", "priority": "urgent"}, {"type": "a b"}, {}],
)
def test_the_schema_of_a_job_refuses_what_the_api_refuses(body: Any) -> None:
    assert not validator({"$ref": "#/components/schemas/NewJob"}).is_valid(body)


def test_the_exported_description_is_that_of_the_code() -> None:
    written = (DOCS / "openapi.json").read_text(encoding="utf-8")
    assert json.loads(written) == json.loads(export.openapi_json()), "run: python -m hegemon.api.export docs"


def test_the_page_of_problems_is_that_of_the_table() -> None:
    written = (DOCS / "api.md").read_text(encoding="utf-8")
    assert written == export.api_page(), "run: python -m hegemon.api.export docs"
    assert all(f"`{code}`" in written for code in TABLE)
