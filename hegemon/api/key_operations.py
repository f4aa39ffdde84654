"""API keys and service tokens over HTTP, for admins: credentials for programs."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec

from hegemon.api.call import Call
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.principal import identity, principal
from hegemon.api.problems import ApiError
from hegemon.api.reply import Reply, encode, ok
from hegemon.api.resource import Node
from hegemon.api.user_operations import Queues
from hegemon.api.views import moment
from hegemon.auth.api_keys import NAME_MAX, ApiKey
from hegemon.auth.logins import SERVICE_TTL_MAX
from hegemon.auth.roles import Role
from hegemon.auth.users import NAME

KEYS: Final = "/api/v1/keys"
TOKENS: Final = "/api/v1/tokens"
TTL_S_DEFAULT: Final = 3600
_TOKEN_ID: Final = re.compile(r"[0-9a-f]{32}")


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to be. Without `expires_at` it is good until it is revoked, without `queues` for all of them."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_MAX)]
    role: Role
    queues: Queues | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without its secret. `last_used_at` is exact to a minute."""

    id: str
    name: str
    role: Role
    queues: tuple[str, ...] | None
    created_by: str
    created_at: str
    expires_at: str | None
    last_used_at: str | None


class CreatedKey(KeyView, frozen=True, kw_only=True):
    """A new key; `key` is shown this once."""

    key: str


class KeyList(msgspec.Struct, frozen=True):
    """All keys, the newest first."""

    keys: list[KeyView]


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token for a service: its name, its role, and for how many seconds."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME.pattern}$")]
    role: Role
    queues: Queues | None = None
    ttl: Annotated[int, msgspec.Meta(ge=1, le=int(SERVICE_TTL_MAX.total_seconds()))] = TTL_S_DEFAULT


class TokenView(msgspec.Struct, frozen=True, kw_only=True):
    """A service token; `id` is what it is revoked by."""

    id: str
    token: str
    token_type: str
    expires_at: str


_NEW_KEY: Final = msgspec.json.Decoder(NewKey)
_NEW_TOKEN: Final = msgspec.json.Decoder(NewToken)


async def list_keys(node: Node, call: Call) -> Reply:
    """GET /api/v1/keys"""
    call.query(frozenset())
    return ok(KeyList([_view(key) for key in await identity(node).keys.list()]))


async def add_key(node: Node, call: Call) -> Reply:
    """POST /api/v1/keys"""
    call.query(frozenset())
    keys = identity(node).keys
    given = await call.json(_NEW_KEY, code="invalid_user")
    expires_at = None if given.expires_at is None else int(given.expires_at.timestamp() * 1000)
    key, text = await keys.add(
        given.name, given.role, created_by=principal(call), queues=given.queues, expires_at=expires_at
    )
    call.note(target=f"key:{key.id}", role=key.role.value)
    created = CreatedKey(**msgspec.structs.asdict(_view(key)), key=text)
    return Reply(201, encode(created), headers=((b"location", f"{KEYS}/{key.id}".encode()),))


async def get_key(node: Node, call: Call) -> Reply:
    """GET /api/v1/keys/{id}"""
    call.query(frozenset())
    return ok(_view(await identity(node).keys.get(call.path_value("id"))))


async def revoke_key(node: Node, call: Call) -> Reply:
    """DELETE /api/v1/keys/{id}"""
    call.query(frozenset())
    keys, key_id = identity(node).keys, call.path_value("id")
    call.note(target=f"key:{key_id[:64]}")
    await keys.revoke(key_id)
    return Reply(204)


async def issue_token(node: Node, call: Call) -> Reply:
    """POST /api/v1/tokens"""
    call.query(frozenset())
    logins = identity(node).logins
    given = await call.json(_NEW_TOKEN, code="invalid_user")
    issued = logins.service_token(given.name, given.role, ttl=timedelta(seconds=given.ttl), queues=given.queues)
    call.note(target=f"service:{given.name}", role=given.role.value, ttl=given.ttl)
    view = TokenView(
        id=issued.id,
        token=issued.token,
        token_type="Bearer",  # noqa: S106 - a word of RFC 6750
        expires_at=moment(issued.expires_at),
    )
    return Reply(201, encode(view))


async def revoke_token(node: Node, call: Call) -> Reply:
    """DELETE /api/v1/tokens/{id}"""
    call.query(frozenset())
    logins, token_id = identity(node).logins, call.path_value("id")
    if _TOKEN_ID.fullmatch(token_id) is None:
        raise ApiError("invalid_parameter", "this is no token's id", field="id")
    call.note(target=f"token:{token_id}")
    await logins.revoke_token(token_id)
    return Reply(204)


def _view(key: ApiKey) -> KeyView:
    return KeyView(
        id=key.id,
        name=key.name,
        role=key.role,
        queues=key.queues,
        created_by=key.created_by,
        created_at=moment(key.created_at),
        expires_at=None if key.expires_at is None else moment(key.expires_at),
        last_used_at=None if key.last_used_at is None else moment(key.last_used_at),
    )


_KEY: Final = {
    "id": "5f0c9a7e21b3d844",
    "name": "the shop",
    "role": "worker",
    "queues": ["mail"],
    "created_by": "user:ana",
    "created_at": "2026-11-22T12:00:00.000Z",
    "expires_at": "2027-11-22T12:00:00.000Z",
    "last_used_at": None,
}
_NEW: Final = {name: _KEY[name] for name in ("name", "role", "queues", "expires_at")}
_TOKEN: Final = {
    "id": 32 * "0",
    "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJzZXJ2aWNlOnNob3AifQ.c2lnbmF0dXJl",
    "token_type": "Bearer",
    "expires_at": "2026-11-22T13:00:00.000Z",
}
_KEY_ID: Final = Parameter("id", "A key's id.", {"type": "string"}, "5f0c9a7e21b3d844", "path")
_ID: Final = Parameter("id", "A token's id.", {"type": "string"}, 32 * "0", "path")
_GROUP: Final = "keys"
_PROBLEMS: Final = ("invalid_parameter", "not_found", *STORE_PROBLEMS)
_NEW_PROBLEMS: Final = (*_PROBLEMS, *BODY_PROBLEMS, "invalid_user", "outcome_unknown")

OPERATIONS: Final = (
    Operation(
        "GET",
        KEYS,
        "listKeys",
        _GROUP,
        "The API keys",
        list_keys,
        (Answer(200, "All of them, the newest first, without their secrets.", KeyList, {"keys": [_KEY]}),),
        problems=_PROBLEMS,
    ),
    Operation(
        "POST",
        KEYS,
        "addKey",
        _GROUP,
        "Make an API key",
        add_key,
        (
            Answer(
                201,
                "Made. `key` is shown this once: it goes into X-API-Key or Authorization: Bearer.",
                CreatedKey,
                {**_KEY, "key": "hgm_5f0c9a7e21b3d844_" + 43 * "0"},
                {"Location": "The key's path."},
            ),
        ),
        "A key is never changed: make another one and revoke this one. So there is nothing that needs If-Match.",
        problems=_NEW_PROBLEMS,
        body=NewKey,
        body_examples={"for one queue": _NEW},
        audited=True,
    ),
    Operation(
        "GET",
        f"{KEYS}/{{id}}",
        "getKey",
        _GROUP,
        "Look at an API key",
        get_key,
        (Answer(200, "The key, without its secret.", KeyView, _KEY),),
        parameters=(_KEY_ID,),
        problems=(*_PROBLEMS, "key_not_found"),
    ),
    Operation(
        "DELETE",
        f"{KEYS}/{{id}}",
        "revokeKey",
        _GROUP,
        "Revoke an API key",
        revoke_key,
        (Answer(204, "Void, on all nodes within a second.", None),),
        parameters=(_KEY_ID,),
        problems=(*_PROBLEMS, "key_not_found", "outcome_unknown"),
        audited=True,
    ),
    Operation(
        "POST",
        TOKENS,
        "issueToken",
        _GROUP,
        "Issue a token for a service",
        issue_token,
        (Answer(201, "It is good for `ttl` seconds, and is not stored anywhere.", TokenView, _TOKEN),),
        f"A token needs no look-up, and lives {int(SERVICE_TTL_MAX.total_seconds()) // 3600} hours at the most. A "
        "program that goes on for longer takes an API key.",
        problems=_NEW_PROBLEMS,
        body=NewToken,
        body_examples={"for an hour": {"name": "shop", "role": "worker", "ttl": 3600}},
        audited=True,
    ),
    Operation(
        "DELETE",
        f"{TOKENS}/{{id}}",
        "revokeToken",
        _GROUP,
        "Revoke a service token",
        revoke_token,
        (Answer(204, "Void, on all nodes within a second.", None),),
        parameters=(_ID,),
        problems=(*_PROBLEMS, "outcome_unknown"),
        audited=True,
    ),
)
