"""Types of jobs as a node tells of them, one of each sort."""

from typing import Any, Final

SHAPED: Final[dict[str, Any]] = {
    "type": "shaped",
    "description": "Takes one of everything.\n\nAnd gives it back.",
    "schema": {
        "type": "object",
        "properties": {
            "title": {"type": "string", "description": "What it is called."},
            "size": {"type": "integer", "minimum": 1, "maximum": 10, "default": 3},
            "how": {"enum": ["fast", "slow"], "default": "fast"},
            "names": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}], "default": None},
            "address": {"$ref": "#/$defs/Address"},
            "when": {"type": "string", "format": "date-time", "default": "2030-01-31T09:00:00Z"},
            "share": {"type": "number", "exclusiveMinimum": 0, "default": 0.5},
            "anything": {"default": None},
        },
        "required": ["title", "address"],
        "additionalProperties": False,
        "$defs": {"Address": {"type": "object", "properties": {"street": {"type": "string"}, "next": {}}}},
    },
    "max_retries": 7,
    "timeout": 90.0,
    "nodes": ["n1", "n2"],
    "differing": ["n2"],
}
TYPES: Final[list[dict[str, Any]]] = [
    {
        "type": "echo",
        "description": "Return the payload.",
        "schema": {"type": "object", "properties": {}, "required": [], "additionalProperties": True},
        "max_retries": None,
        "timeout": None,
        "nodes": ["n1"],
        "differing": [],
    },
    {
        "type": "fresh",
        "description": "",
        "schema": None,
        "max_retries": None,
        "timeout": None,
        "nodes": ["n3"],
        "differing": [],
    },
    SHAPED,
]
