"""Logging in over HTTP: a password for a pair of tokens, the pair for the next one, and the end of it."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from hegemon.api.addresses import limit_key
from hegemon.api.call import Call
from hegemon.api.operation import BODY_PROBLEMS, STORE_PROBLEMS, Answer, Operation
from hegemon.api.principal import IDENTITY, identity
from hegemon.api.reply import Reply, encode, ok
from hegemon.api.resource import Node
from hegemon.api.views import moment
from hegemon.auth.errors import Unauthenticated
from hegemon.auth.logins import Issued
from hegemon.auth.roles import Role
from hegemon.auth.sessions import Reused, session_of

AUTH: Final = "/auth"
JWKS: Final = "/.well-known/jwks.json"
# Names, passwords and tokens are short; 1024 characters may be 6 bytes each, written as escapes.
BODY_BYTES_MAX: Final = 16_384

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1024)]


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A name and its password."""

    username: Text
    password: Text


class RefreshToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the last login or refresh."""

    refresh_token: Text


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The present password, and the one that is to be."""

    password: Text
    new_password: Text


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gives: `access_token` goes into `Authorization: Bearer`, for `expires_in` seconds; `refresh_token`
    is good for one refresh."""

    access_token: str
    token_type: str
    expires_in: int
    expires_at: str
    refresh_token: str
    refresh_expires_at: str
    role: Role


class Me(msgspec.Struct, frozen=True):
    """Who the credential stands for; `queues` null: all of them."""

    id: str
    role: Role
    queues: list[str] | None
    session: str | None


class PublicKeys(msgspec.Struct, frozen=True):
    """A JWK set (RFC 7517); empty where tokens are signed with a shared secret."""

    keys: list[dict[str, str]]


_LOGIN: Final = msgspec.json.Decoder(Login)
_REFRESH: Final = msgspec.json.Decoder(RefreshToken)
_PASSWORD: Final = msgspec.json.Decoder(NewPassword)


async def login(node: Node, call: Call) -> Reply:
    """POST /auth/login"""
    call.query(frozenset())
    identities = identity(node)
    given = await _small(call).json(_LOGIN, code="invalid_parameter")
    call.note(target=f"user:{given.username[:64]}")
    issued = await identities.logins.login(given.username, given.password, address=limit_key(call.address))
    call.note(principal=f"user:{given.username.strip().lower()}", session=issued.session)
    return _pair(issued, identities.access_ttl_s)


async def refresh(node: Node, call: Call) -> Reply:
    """POST /auth/refresh"""
    call.query(frozenset())
    identities = identity(node)
    if node.limits is not None:
        node.limits.check_refusals(call)
    given = await _small(call).json(_REFRESH, code="invalid_parameter")
    try:
        call.note(target=f"session:{session_of(given.refresh_token)}")
        return _pair(await identities.logins.refresh(given.refresh_token), identities.access_ttl_s)
    except Unauthenticated as error:
        if isinstance(error, Reused):
            call.note(reused=True)
        # A credential like any other: whoever guesses is stopped before each guess costs the store a question.
        if node.limits is not None:
            node.limits.take_refusal(call)
        raise


async def logout(node: Node, call: Call) -> Reply:
    """POST /auth/logout"""
    call.query(frozenset())
    identities = identity(node)
    # Without a body it is the session of the access token; whoever sends a body sends JSON.
    bare = call.header(b"transfer-encoding") is None and call.header(b"content-length") in (None, "0")
    token = None if bare else (await _small(call).json(_REFRESH, code="invalid_parameter")).refresh_token
    await identities.logins.logout(call.principal, refresh_token=token)
    return Reply(204)


async def me(node: Node, call: Call) -> Reply:
    """GET /auth/me"""
    del node
    call.query(frozenset())
    who = call.principal
    return ok(Me(who.id, who.role, None if who.queues is None else sorted(who.queues), who.session))


async def password(node: Node, call: Call) -> Reply:
    """POST /auth/password"""
    call.query(frozenset())
    identities = identity(node)
    given = await _small(call).json(_PASSWORD, code="invalid_parameter")
    call.note(target=call.principal.id)
    await identities.logins.change_password(
        call.principal, given.password, given.new_password, address=limit_key(call.address)
    )
    return Reply(204)


async def jwks(node: Node, call: Call) -> Reply:
    """GET /.well-known/jwks.json"""
    call.query(frozenset())
    found = node.services.get(IDENTITY)
    return Reply(200, encode({"keys": []} if found is None else identity(node).ring.jwks()))


def _small(call: Call) -> Call:
    """The call, with a bound for its body that strangers can have."""
    call.body_bytes_max = min(call.body_bytes_max, BODY_BYTES_MAX)
    return call


def _pair(issued: Issued, access_ttl_s: int) -> Reply:
    return ok(
        TokenPair(
            access_token=issued.access_token,
            token_type="Bearer",  # noqa: S106 - a word of RFC 6750
            expires_in=access_ttl_s,
            expires_at=moment(issued.expires_at),
            refresh_token=issued.refresh_token,
            refresh_expires_at=moment(issued.refresh_expires_at),
            role=issued.role,
        )
    )


_PAIR: Final = {
    "access_token": "eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiJ1c2VyOmFuYSJ9.c2lnbmF0dXJl",
    "token_type": "Bearer",
    "expires_in": 600,
    "expires_at": "2026-11-22T12:10:00.000Z",
    "refresh_token": "hgr_9b1d5c2e7f304a6899d1c3b5a7e9f012_" + 64 * "0",
    "refresh_expires_at": "2026-11-29T12:00:00.000Z",
    "role": "user",
}
_GROUP: Final = "auth"
_PROBLEMS: Final = (*BODY_PROBLEMS, "invalid_parameter", "not_found", *STORE_PROBLEMS, "outcome_unknown")

OPERATIONS: Final = (
    Operation(
        "POST",
        f"{AUTH}/login",
        "login",
        _GROUP,
        "Log in with a name and a password",
        login,
        (Answer(200, "Logged in.", TokenPair, _PAIR),),
        "After a few failures the next attempts of a name, and of an address, must wait (429). Where authentication is "
        "off, this and all operations around users, keys and tokens answer 404.",
        problems=(*_PROBLEMS, "invalid_credentials", "login_throttled", "overloaded"),
        body=Login,
        body_examples={"a person": {"username": "ana", "password": "rails over the river"}},
        audited=True,
    ),
    Operation(
        "POST",
        f"{AUTH}/refresh",
        "refresh",
        _GROUP,
        "The next pair of tokens",
        refresh,
        (Answer(200, "The pair; the refresh token that was sent is used up.", TokenPair, _PAIR),),
        "Each refresh token is good once: a second use, but for a repetition within 5 seconds, revokes its whole "
        "session, since somebody has a copy.",
        problems=(*_PROBLEMS, "unauthenticated", "token_expired"),
        body=RefreshToken,
        body_examples={"the last one": {"refresh_token": _PAIR["refresh_token"]}},
        audited=True,
    ),
    Operation(
        "POST",
        f"{AUTH}/logout",
        "logout",
        _GROUP,
        "End the caller's session on all nodes",
        logout,
        (Answer(204, "It is over, on all nodes within a second.", None),),
        "With `refresh_token`, the session of that one too.",
        problems=_PROBLEMS,
        body=RefreshToken,
        body_required=False,
        body_examples={"another session": {"refresh_token": _PAIR["refresh_token"]}},
        audited=True,
    ),
    Operation(
        "GET",
        f"{AUTH}/me",
        "getMe",
        _GROUP,
        "Who the credential stands for",
        me,
        (Answer(200, "The caller.", Me, {"id": "user:ana", "role": "user", "queues": None, "session": None}),),
        problems=("invalid_parameter",),
    ),
    Operation(
        "POST",
        f"{AUTH}/password",
        "changePassword",
        _GROUP,
        "Change the caller's own password",
        password,
        (Answer(204, "Changed; every session of the caller has ended.", None),),
        problems=(*_PROBLEMS, "invalid_credentials", "invalid_user", "login_throttled", "overloaded", "user_not_found"),
        body=NewPassword,
        body_examples={"a new one": {"password": "rails over the river", "new_password": "a bridge of seven arches"}},
        audited=True,
    ),
    Operation(
        "GET",
        JWKS,
        "getJwks",
        _GROUP,
        "The public keys that tokens are signed with",
        jwks,
        (Answer(200, "A JWK set.", PublicKeys, {"keys": []}),),
        problems=("invalid_parameter",),
    ),
)
