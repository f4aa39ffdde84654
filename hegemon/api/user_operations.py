"""The management of users over HTTP, for admins. A change needs If-Match, so that of two admins none undoes the other's
work unseen.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from hegemon.api.call import Call
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.parameters import Parameter
from hegemon.api.principal import identity
from hegemon.api.problems import ApiError
from hegemon.api.reply import Header, Reply, encode, ok
from hegemon.api.resource import Node
from hegemon.api.views import moment
from hegemon.auth.roles import Role
from hegemon.auth.users import NAME, QUEUES_MAX, User, UserChange
from hegemon.queue.jobs import Name

USERS: Final = "/api/v1/users"
_ETAG: Final = re.compile(r'(?:W/)?"([0-9]{1,18})"')

Queues = Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=QUEUES_MAX)]
Password = Annotated[str, msgspec.Meta(max_length=1024)]


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user to be. Without `queues` it may use all of them; a password has 12 characters or more."""

    name: Annotated[str, msgspec.Meta(pattern=f"^{NAME.pattern}$")]
    password: Password
    role: Role
    queues: Queues | None = None


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to change; what is left out stays. `queues` null: all of them."""

    role: Role | msgspec.UnsetType = msgspec.UNSET
    disabled: bool | msgspec.UnsetType = msgspec.UNSET
    queues: Queues | msgspec.UnsetType | None = msgspec.UNSET
    password: Password | msgspec.UnsetType = msgspec.UNSET


class UserView(msgspec.Struct, frozen=True, kw_only=True):
    """A user. `queues` null: all of them."""

    name: str
    role: Role
    disabled: bool
    queues: tuple[str, ...] | None
    created_at: str
    changed_at: str


class UserList(msgspec.Struct, frozen=True):
    """All users, by name."""

    users: list[UserView]


_NEW: Final = msgspec.json.Decoder(NewUser)
_PATCH: Final = msgspec.json.Decoder(UserPatch)


async def list_users(node: Node, call: Call) -> Reply:
    """GET /api/v1/users"""
    call.query(frozenset())
    return ok(UserList([_view(user) for user in await identity(node).users.list()]))


async def add_user(node: Node, call: Call) -> Reply:
    """POST /api/v1/users"""
    call.query(frozenset())
    users = identity(node).users
    given = await call.json(_NEW, code="invalid_user")
    call.note(target=f"user:{given.name}", role=given.role.value)
    user = await users.add(given.name, given.password, given.role, given.queues)
    return Reply(201, encode(_view(user)), headers=((b"location", f"{USERS}/{user.name}".encode()), _etag(user)))


async def get_user(node: Node, call: Call) -> Reply:
    """GET /api/v1/users/{name}"""
    call.query(frozenset())
    return _shown(await identity(node).users.get(call.path_value("name")))


async def change_user(node: Node, call: Call) -> Reply:
    """PATCH /api/v1/users/{name}"""
    call.query(frozenset())
    users, name, version = identity(node).users, call.path_value("name"), if_match(call)
    given = await call.json(_PATCH, code="invalid_user")
    changed = sorted(field for field in given.__struct_fields__ if getattr(given, field) is not msgspec.UNSET)
    call.note(target=f"user:{name[:64]}", changed=" ".join(changed))
    change = UserChange(role=given.role, disabled=given.disabled, queues=given.queues, password=given.password)
    return _shown(await users.change(name, change, version=version))


async def remove_user(node: Node, call: Call) -> Reply:
    """DELETE /api/v1/users/{name}"""
    call.query(frozenset())
    users, name, version = identity(node).users, call.path_value("name"), if_match(call)
    call.note(target=f"user:{name[:64]}")
    await users.remove(name, version=version)
    return Reply(204)


def if_match(call: Call) -> int | None:
    """The version that a change is meant for; None for `*`, which is whatever there is. ApiError
    `precondition_required` when nothing is said, `precondition_failed` for what is no ETag of ours."""
    text = call.header(b"if-match")
    if text is None:
        raise ApiError("precondition_required", "send If-Match with the ETag that reading it gave", field="If-Match")
    if text.strip() == "*":
        return None
    found = _ETAG.fullmatch(text.strip())
    if found is None:
        raise ApiError("precondition_failed", "If-Match is not an ETag of this user", field="If-Match")
    return int(found[1])


def _shown(user: User) -> Reply:
    return Reply(200, encode(_view(user)), headers=(_etag(user),))


def _etag(user: User) -> Header:
    return b"etag", f'"{user.version}"'.encode()


def _view(user: User) -> UserView:
    return UserView(
        name=user.name,
        role=user.role,
        disabled=user.disabled,
        queues=user.queues,
        created_at=moment(user.created_at),
        changed_at=moment(user.changed_at),
    )


_USER: Final = {
    "name": "ana",
    "role": "user",
    "disabled": False,
    "queues": ["mail", "reports"],
    "created_at": "2026-11-22T12:00:00.000Z",
    "changed_at": "2026-11-22T12:00:00.000Z",
}
_NAMED: Final = Parameter("name", "A user's name.", {"type": "string"}, "ana", "path")
_IF_MATCH: Final = Parameter(
    "If-Match",
    "The ETag that the user had when it was read, or `*` for whatever it is now. A change needs one.",
    {"type": "string"},
    '"1764000000000"',
    "header",
)
_TAGGED: Final = {"ETag": "The user's state, for If-Match."}
_GROUP: Final = "users"
_READ_PROBLEMS: Final = ("invalid_parameter", "not_found", *STORE_PROBLEMS)
_ONE_PROBLEMS: Final = (*_READ_PROBLEMS, "user_not_found")
_CHANGE_PROBLEMS: Final = (
    *_ONE_PROBLEMS,
    "precondition_required",
    "precondition_failed",
    "invalid_user",
    "outcome_unknown",
)

OPERATIONS: Final = (
    Operation(
        "GET",
        USERS,
        "listUsers",
        _GROUP,
        "The users",
        list_users,
        (Answer(200, "All of them, by name.", UserList, {"users": [_USER]}),),
        problems=_READ_PROBLEMS,
    ),
    Operation(
        "POST",
        USERS,
        "addUser",
        _GROUP,
        "Add a user",
        add_user,
        (Answer(201, "Added.", UserView, _USER, {**_TAGGED, "Location": "The user's path."}),),
        problems=(*_READ_PROBLEMS, *BODY_PROBLEMS, "invalid_user", "user_exists", "overloaded", "outcome_unknown"),
        body=NewUser,
        body_examples={
            "of two queues": {
                "name": "ana",
                "password": "rails over the river",
                "role": "user",
                "queues": ["mail", "reports"],
            }
        },
        audited=True,
    ),
    Operation(
        "GET",
        f"{USERS}/{{name}}",
        "getUser",
        _GROUP,
        "Look at a user",
        get_user,
        (Answer(200, "The user.", UserView, _USER, _TAGGED),),
        parameters=(_NAMED,),
        problems=_ONE_PROBLEMS,
    ),
    Operation(
        "PATCH",
        f"{USERS}/{{name}}",
        "changeUser",
        _GROUP,
        "Change a user's role, queues or password, disable or enable them",
        change_user,
        (Answer(200, "As it is now. Tokens from before are void on all nodes.", UserView, _USER, _TAGGED),),
        "The last admin cannot be disabled or made anything else.",
        (_NAMED, _IF_MATCH),
        (*_CHANGE_PROBLEMS, *BODY_PROBLEMS, "overloaded"),
        UserPatch,
        {"disable": {"disabled": True}, "another role, all queues": {"role": "viewer", "queues": None}},
        audited=True,
    ),
    Operation(
        "DELETE",
        f"{USERS}/{{name}}",
        "removeUser",
        _GROUP,
        "Remove a user",
        remove_user,
        (Answer(204, "Gone; their tokens are void on all nodes.", None),),
        "The last admin cannot be removed. API keys that the user made stay.",
        (_NAMED, _IF_MATCH),
        _CHANGE_PROBLEMS,
        audited=True,
    ),
)
