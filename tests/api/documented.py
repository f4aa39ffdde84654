"""Holds every answer that a test receives against the OpenAPI description: status, media type, schema, headers."""

import functools
import json
from typing import Any

import httpx
from jsonschema import Draft202012Validator
from starlette.routing import compile_path

from hegemon.api.app import OPERATIONS, TITLE
from hegemon.api.openapi import specification

DESCRIPTION = specification(OPERATIONS, title=TITLE, version="test")
_PATHS = [(compile_path(path)[0], path) for path in DESCRIPTION["paths"]]


def validator(schema: dict[str, Any]) -> Draft202012Validator:
    """A validator that knows the description's components."""
    return Draft202012Validator(
        {**schema, "components": DESCRIPTION["components"]}, format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def resolved(described: Any) -> Any:
    """What a reference into the components stands for."""
    while "$ref" in described:
        _, _, kind, name = described["$ref"].split("/")
        described = DESCRIPTION["components"][kind][name]
    return described


@functools.cache
def answers(path: str, method: str) -> dict[str, Any]:
    """The described answers of an operation, by status."""
    described = DESCRIPTION["paths"][path][method]["responses"]
    return {status: resolved(answer) for status, answer in described.items()}


@functools.cache
def _answer_validator(path: str, method: str, status: str, media_type: str) -> Draft202012Validator:
    return validator(answers(path, method)[status]["content"][media_type]["schema"])


def check(response: httpx.Response) -> None:
    """An httpx event hook: fails the test whose answer is not documented."""
    response.read()
    assert response.headers["x-request-id"]
    media_type = response.headers.get("content-type", "").partition(";")[0]
    if response.status_code >= 400:
        assert media_type == "application/problem+json", response.text
    method = response.request.method.lower()
    path = next((path for pattern, path in _PATHS if pattern.match(response.request.url.path)), None)
    if path is None or method not in DESCRIPTION["paths"][path]:
        return
    status = str(response.status_code)
    documented = answers(path, method)
    assert status in documented, f"{method} {path} answered {status}, undocumented: {response.text}"
    for header in ("location", "retry-after", "idempotency-replayed"):
        assert header not in response.headers or header in {name.lower() for name in documented[status]["headers"]}
    if "content" not in documented[status]:
        assert response.content == b""
        return
    assert media_type in documented[status]["content"]
    if media_type.endswith("json"):
        body = json.loads(response.content)
        _answer_validator(path, method, status, media_type).validate(body)
        if response.status_code >= 400:
            assert body["code"] in documented[status]["content"][media_type]["examples"]


def assert_problem(response: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """Fails unless the answer is this problem; its body."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["code"], body.get("field")) == (status, code, field), body
    assert body["status"] == status
    assert body["detail"]
    assert body["request_id"] == response.headers["x-request-id"]
    return body
