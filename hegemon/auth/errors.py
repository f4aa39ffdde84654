"""What can go wrong around an identity. Every error has a stable `code`; the API turns it into a problem.

A refusal never says which part of a credential was wrong: `detail` for the caller is the docstring, the reason is for
the log and the audit.
"""

from __future__ import annotations

from typing import ClassVar


class AuthError(Exception):
    """Something went wrong around an identity."""

    code: ClassVar[str] = "auth_error"

    def __init__(self, message: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(message or " ".join((type(self).__doc__ or "").split()))
        self.retry_after_s = retry_after_s


# Who are you?
class Unauthenticated(AuthError):
    """This needs a credential that is accepted: log in, or send an API key."""

    code = "unauthenticated"

    def __init__(self, message: str | None = None, *, reason: str = "") -> None:
        super().__init__(message)
        # For the log and the audit alone: to a caller it would be a hint.
        self.reason = reason


class TokenExpired(Unauthenticated):
    """The token has expired: refresh it, or log in again."""

    code = "token_expired"


class InvalidCredentials(AuthError):
    """The name or the password is wrong, or the account is disabled."""

    code = "invalid_credentials"


# Not you, or not now.
class Forbidden(AuthError):
    """The caller's role does not allow this."""

    code = "forbidden"


class LoginThrottled(AuthError):
    """Too many failed logins; wait before the next."""

    code = "login_throttled"


class LoginsBusy(AuthError):
    """More logins wait for their turn than this node takes at once."""

    code = "overloaded"


# The management of users and keys.
class UserNotFound(AuthError):
    """There is no user of this name."""

    code = "user_not_found"


class UserExists(AuthError):
    """There is a user of this name already."""

    code = "user_exists"


class KeyNotFound(AuthError):
    """There is no API key with this id."""

    code = "key_not_found"


class InvalidUser(AuthError):
    """The user as described cannot be accepted."""

    code = "invalid_user"

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class PreconditionFailed(AuthError):
    """It was changed meanwhile: read it again, and send the ETag that you get then as If-Match."""

    code = "precondition_failed"


# Found at start: the node does not come up.
class AuthSettingsError(AuthError):
    """The settings of authentication cannot be used."""

    code = "auth_settings"
