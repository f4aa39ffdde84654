"""The OpenAPI 3.1 description, made from the operations and the Structs that they really decode and encode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from hegemon.api.access import ACCESS
from hegemon.api.dead_operations import DeadSelection
from hegemon.api.election_operations import StepDown
from hegemon.api.job_operations import NewJobs
from hegemon.api.operation import ALWAYS, CHANGES_ALWAYS, Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.problems import TABLE, Problem, ProblemType
from hegemon.queue.jobs import PRIORITIES, PRIORITY_MAX, NewJob

DESCRIPTION: Final = (
    "Background jobs on a cluster that elects its own leader. Any node answers. "
    "Errors are `application/problem+json` (RFC 9457) with a stable `code`; every answer carries `X-Request-ID`."
)
SECURITY_SCHEMES: Final = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "An access token of /auth/login, a service token, or an API key.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
}
# What every operation that needs a credential may answer, on a node with authentication.
GUARDED: Final = ("unauthenticated", "token_expired", "forbidden", "store_unavailable")
_REF: Final = "#/components/schemas/{name}"
_EXAMPLE: Final = "#/components/examples/{name}"
_RESPONSE: Final = "#/components/responses/{name}"
_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"
_REQUEST_ID: Final = "X-Request-ID"
_RETRY_AFTER: Final = "Retry-After"

# What a submitter's fields mean; msgspec knows their types and bounds.
_NEW_JOB_FIELDS: Final = {
    "type": "Which handler runs it.",
    "payload": "The handler's arguments by name.",
    "queue": "A queue is there as soon as a job is in it.",
    "priority": f"0 to {PRIORITY_MAX}, {PRIORITY_MAX} first, or a name: "
    + ", ".join(f"{name} {number}" for name, number in PRIORITIES.items())
    + ".",
    "delay": "Run it no earlier than so many seconds from now. Not together with `scheduled_at`.",
    "scheduled_at": "Run it no earlier than this.",
    "expires_at": "If it has not started by then, it fails.",
    "max_retries": "How often it is tried again after a failure; the cluster's MAX_RETRIES if not given.",
    "timeout": "How many seconds a try may take.",
    "retry": "A retry policy of its own: `kind`, `base_ms`, `max_ms`, `multiplier`, `jitter`.",
    "tags": "Words to find it by.",
}
_DEAD_FIELDS: Final = {
    "ids": "These dead letters.",
    "type": "Those of this type.",
    "queue": "Those of this queue.",
    "all": "`true`: every dead letter there is.",
}


def specification(operations: Iterable[Operation], *, title: str, version: str) -> dict[str, Any]:
    """The whole document."""
    operations = tuple(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": group} for group in dict.fromkeys(operation.group for operation in operations)],
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "examples": {code: {"value": _problem_example(code, kind)} for code, kind in TABLE.items()},
            "responses": {_name(codes): _problem(codes) for codes in _by_status(ALWAYS).values()},
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "tags": [operation.group],
        "summary": operation.summary,
    }
    if operation.description:
        described["description"] = operation.description
    access = ACCESS[operation.method, operation.path]
    described["security"] = [] if access.public else [{name: []} for name in SECURITY_SCHEMES]
    if not access.public:
        described["x-roles"] = sorted(access.roles)
    if operation.parameters:
        described["parameters"] = [_parameter(parameter) for parameter in operation.parameters]
    if operation.body is not None:
        examples = {name: {"value": value} for name, value in operation.body_examples.items()}
        schema = {"$ref": _REF.format(name=operation.body.__name__)}
        described["requestBody"] = {
            "required": operation.body_required,
            "content": {_JSON: {"schema": schema, "examples": examples}},
        }
    described["responses"] = {str(answer.status): _answer(answer) for answer in operation.answers}
    guarded = () if access.public else GUARDED
    changes = () if operation.method == "GET" else CHANGES_ALWAYS
    by_status = _by_status((*operation.problems, *guarded, *changes, *ALWAYS))
    everywhere = _by_status(ALWAYS)
    for status, codes in sorted(by_status.items()):
        shared = codes == everywhere.get(status)
        described["responses"][str(status)] = (
            {"$ref": _RESPONSE.format(name=_name(codes))} if shared else _problem(codes)
        )
    return described


def _by_status(codes: Iterable[str]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for code in dict.fromkeys(codes):
        found.setdefault(TABLE[code].status, []).append(code)
    return found


def _name(codes: list[str]) -> str:
    """`too_many_connections` is TooManyConnections."""
    return "Or".join(code.title().replace("_", "") for code in codes)


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": dict(parameter.schema),
        "example": parameter.example,
    }


def _answer(answer: Answer) -> dict[str, Any]:
    headers = {name: _header(description) for name, description in answer.headers.items()}
    described: dict[str, Any] = {
        "description": answer.description,
        "headers": {**headers, _REQUEST_ID: _header("The request's id, the caller's own if it sent one.")},
    }
    if answer.shape == "text":
        described["content"] = {answer.media_type: {"schema": {"type": "string"}, "example": answer.example}}
    elif answer.shape is not None:
        schema = {"$ref": _REF.format(name=answer.shape.__name__)}
        described["content"] = {_JSON: {"schema": schema, "example": answer.example}}
    return described


def _problem(codes: list[str]) -> dict[str, Any]:
    kinds = {code: TABLE[code] for code in codes}
    headers = {_REQUEST_ID: _header("The request's id.")}
    if 401 in {kind.status for kind in kinds.values()}:
        headers["WWW-Authenticate"] = _header("`Bearer`, with `error` when a credential was sent.")
    if any(kind.retry for kind in kinds.values()):
        headers[_RETRY_AFTER] = _header("Whole seconds after which it is worth another try.")
    if "rate_limited" in codes:
        headers["RateLimit-Policy"] = _header("How many requests (`q`) in how many seconds (`w`), by limit.")
        headers["RateLimit"] = _header("How many are left (`r`) of the last limit, and when all are back (`t`).")
    return {
        "description": " / ".join(f"{kind.title} (`{code}`)" for code, kind in kinds.items()),
        "headers": headers,
        "content": {
            _PROBLEM: {
                "schema": {"$ref": _REF.format(name=Problem.__name__)},
                "examples": {code: {"$ref": _EXAMPLE.format(name=code)} for code in kinds},
            }
        },
    }


def _problem_example(code: str, kind: ProblemType) -> dict[str, Any]:
    example = {
        "type": f"/problems/{code}",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.explanation,
        "code": code,
        "request_id": "9f86d081884c7d65",
    }
    return {**example, "field": "priority"} if code == "invalid_job" else example


def _header(description: str) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string"}}


def _schemas(operations: tuple[Operation, ...]) -> dict[str, Any]:
    shapes: list[Any] = [Problem, DeadSelection, StepDown, _without_raw(NewJob)]
    shapes += [one.body for one in operations if one.body not in (None, NewJob, NewJobs)]
    shapes += [
        answer.shape
        for operation in operations
        for answer in operation.answers
        if answer.shape is not None and answer.shape != "text"
    ]
    _, schemas = msgspec.json.schema_components(list(dict.fromkeys(shapes)), ref_template=_REF)
    new_job = schemas[NewJob.__name__]
    properties = new_job["properties"]
    new_job["description"] = "A job to run. Unknown fields are refused."
    properties["priority"] = {
        "anyOf": [{"type": "integer", "minimum": 0, "maximum": PRIORITY_MAX}, {"enum": list(PRIORITIES)}],
        "default": 5,
    }
    for name, meaning in _NEW_JOB_FIELDS.items():
        properties[name] = {"description": meaning, **{k: v for k, v in properties[name].items() if k != "description"}}
    for name, meaning in _DEAD_FIELDS.items():
        schemas[DeadSelection.__name__]["properties"][name]["description"] = meaning
    schemas["JobView"]["properties"]["payload"] = {"type": "object", "description": "The handler's arguments by name."}
    for name in ("JobView", "UserView", "KeyView", "CreatedKey", "TokenPair", "TokenView"):
        for field, schema in schemas.get(name, {"properties": {}})["properties"].items():
            if field.endswith("_at"):
                _as_time(schema)
    schemas[NewJobs.__name__] = {
        "title": NewJobs.__name__,
        "description": "A batch: all of its jobs are accepted, or none. MAX_BATCH_SIZE bounds it.",
        "type": "object",
        "properties": {"jobs": {"type": "array", "minItems": 1, "items": {"$ref": _REF.format(name=NewJob.__name__)}}},
        "required": ["jobs"],
        "additionalProperties": False,
    }
    return dict(sorted(schemas.items()))


def _as_time(schema: dict[str, Any]) -> None:
    for one in schema.get("anyOf", [schema]):
        if one.get("type") == "string":
            one["format"] = "date-time"


def _without_raw(shape: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """A Struct of the same name and fields for which msgspec can make a schema: it cannot for a default that is Raw."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(shape):
        if field.type is msgspec.Raw:
            fields.append((field.name, dict[str, Any], msgspec.field(default_factory=dict)))
        elif field.required:
            fields.append((field.name, field.type))
        elif field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, field.type, msgspec.field(default_factory=field.default_factory)))
        else:
            fields.append((field.name, field.type, field.default))
    return msgspec.defstruct(shape.__name__, fields, kw_only=True, forbid_unknown_fields=True)
