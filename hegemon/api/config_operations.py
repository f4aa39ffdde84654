"""The settings that this node runs with, for admins. Secrets, and passwords inside addresses, are masked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from hegemon.api.call import Call
from hegemon.api.operation import Answer, Operation
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, ok
from hegemon.api.resource import Node


class ConfigView(msgspec.Struct, frozen=True):
    """Every setting by its name in the environment, as one would write it there; empty if it is unset."""

    node_id: str
    settings: Mapping[str, str]


async def config(node: Node, call: Call) -> Reply:
    """GET /api/v1/config"""
    call.query(frozenset())
    public: Callable[[], Mapping[str, str]] | None = node.services.get("config")
    if public is None:
        raise ApiError("not_found", "this node does not show its settings")
    shown: dict[str, Any] = node.observer.cluster()
    return ok(ConfigView(shown["node_id"], public()))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/api/v1/config",
        "getConfig",
        "cluster",
        "The settings of this node, secrets masked",
        config,
        (
            Answer(
                200,
                "The settings.",
                ConfigView,
                {"node_id": "node-1", "settings": {"SERVER_PORT": "8080", "JWT_SECRET": "********"}},
            ),
        ),
        problems=("invalid_parameter", "not_found"),
    ),
)
