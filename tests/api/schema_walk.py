"""Requests made up from the OpenAPI description, sent to a served node as each role, and every answer held against it.

Used with few examples by `./dev test` and with many by `./dev soak`.
"""

from __future__ import annotations

from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.specs.openapi import checks as openapi

from tests.api.secured import Secured
from tests.waiting import PATIENCE_S


def never_a_500(context: Any, response: Any, case: Any) -> None:
    """A fault. What a node cannot do just now is a 503, which must be described like every other answer."""
    del context, case
    assert response.status_code != 500, response.text


CHECKS = [
    never_a_500,
    openapi.status_code_conformance,
    openapi.content_type_conformance,
    openapi.response_schema_conformance,
]
# Its one answer may take as long as it is asked to.
SLOW = {"waitForJob"}
# Its good answer ends with the node; what it refuses, `test_streams` tries.
ENDLESS = "streamActivity"


def description(secured: Secured) -> Any:
    """The description as the node serves it, without what has no end."""
    return schemathesis.openapi.from_url(f"{secured.url}/openapi.json", timeout=PATIENCE_S).exclude(
        operation_id=ENDLESS
    )


def options(examples: int) -> hypothesis.settings:
    """So many examples of each operation, the same in every run."""
    return hypothesis.settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def walk(secured: Secured, role: str, examples: int) -> int:
    """Try each operation as this role; how many requests were sent. AssertionError or a failure of schemathesis for an
    answer that is a 500 or is not described."""
    sent = 0
    for result in description(secured).get_all_operations():
        operation = result.ok()
        if operation.definition.raw["operationId"] in SLOW:
            continue

        @options(examples)
        @hypothesis.given(case=operation.as_strategy())
        def attempt(case: Any) -> None:
            nonlocal sent
            sent += 1
            response = case.call(headers=secured.headers(role), timeout=PATIENCE_S)
            case.validate_response(response, checks=CHECKS)

        attempt()
    return sent


def walk_along(secured: Secured, role: str, examples: int, steps: int) -> int:
    """Follow the description's links and what it makes and takes: submit, then look, cancel, retry, delete. How many
    requests were answered as described.
    """
    answered = 0
    machine = description(secured).as_state_machine()
    headers = secured.headers(role)

    class Walk(machine):  # type: ignore[misc, valid-type] # a class that is made from the description
        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            del case
            return {"headers": headers, "timeout": PATIENCE_S}

        def validate_response(self, response: Any, case: Any, additional_checks: Any = (), **more: Any) -> None:
            nonlocal answered
            del additional_checks, more
            case.validate_response(response, checks=CHECKS)
            answered += 1

    hypothesis.stateful.run_state_machine_as_test(
        Walk, settings=hypothesis.settings(options(examples), stateful_step_count=steps)
    )
    return answered
