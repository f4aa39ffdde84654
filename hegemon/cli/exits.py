"""Exit codes and the sentences that go with them: one table, shown by `--help`, docs/cli.md and kept by the tests."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hegemon.client import ApiError, Unreachable


class ExitCode(IntEnum):
    """How a command ended, for scripts."""

    OK = 0
    JOB_FAILED = 1
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    TIMED_OUT = 6
    BUG = 70
    INTERRUPTED = 130


MEANINGS: Final[dict[ExitCode, str]] = {
    ExitCode.OK: "done",
    ExitCode.JOB_FAILED: "the job that was waited for failed or was cancelled; `hegemon up` could not start or go on; "
    "a trial of `hegemon election` was not finished, or a job of it was lost or run again; "
    "`hegemon audit verify` found a fault",
    ExitCode.USAGE: "the command line is wrong; nothing was sent. `hegemon node`: a wrong setting, handlers that "
    "cannot be imported, another node of its name: it starts when something is changed",
    ExitCode.NOT_FOUND: "there is no such job, or no such thing",
    ExitCode.REFUSED: "the node refused the request (401, 403, 409, 413, 422, ...): the same request will fail again",
    ExitCode.UNAVAILABLE: "no node answers, or it is overloaded or broken (429, 5xx), also after retries. "
    "`hegemon node`: a store does not answer or does not let it in, a port is taken: it may start another time",
    ExitCode.TIMED_OUT: "the time to wait was up before the job ended; the job goes on",
    ExitCode.BUG: "a fault in hegemon itself; HEGEMON_DEBUG=1 shows where",
    ExitCode.INTERRUPTED: "interrupted by Ctrl-C, or a question was answered with no",
}


# What to do next, where the code of the problem alone can tell, or with the field.
_NEXT: Final = {
    "invalid_user name": "Names are 1 to 64 of a-z 0-9 . _ @ - and begin with a letter or a digit.",
    "forbidden": "`hegemon whoami` shows your role and queues; an admin can change them.",
    "user_exists": "`hegemon user change` and `hegemon user passwd` change them.",
    "user_not_found": "`hegemon user list` shows who there is.",
    "key_not_found": "`hegemon key list` shows which there are.",
    "precondition_failed": "Look at it, then try again.",
}
# Codes of answers that no Hegemon node gives: something else listens there.
_NOT_OURS: Final = frozenset({"unexpected_answer", "http_404"})


class Stop(Exception):
    """End the command with this exit code and one or two sentences on stderr that say what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def usage(message: str) -> Stop:
    """The command line is wrong."""
    return Stop(ExitCode.USAGE, message)


def for_refusal(error: ApiError) -> Stop:
    """What a problem that the node reported means for the person at the terminal."""
    detail = "Somebody else changed it meanwhile" if error.status == 412 else error.detail.rstrip(".")
    where = error.code if error.field is None else f"{error.code}, field {error.field}"
    said = f"{detail} ({where})."
    if error.status == 401 and error.code != "invalid_credentials":
        # What the node says is meant for programs that log in by themselves.
        said = f"You are not logged in here, or no longer ({error.code})."
        return Stop(ExitCode.REFUSED, f"{said} Log in with `hegemon login NAME`, or set HEGEMON_API_KEY.")
    following = _NEXT.get(error.code) or _NEXT.get(f"{error.code} {error.field}")
    if following is not None:
        said = f"{said} {following}"
    if error.status == 404 and error.code != "http_404":
        return Stop(ExitCode.NOT_FOUND, said)
    if error.code in _NOT_OURS or 300 <= error.status < 400:
        return Stop(ExitCode.UNAVAILABLE, f"{said} Is --url right?")
    if error.status == 429 or error.status >= 500:
        if error.uncertain:
            return Stop(ExitCode.UNAVAILABLE, f"{said} {_look_first(error.idempotency_key)}")
        when = "later" if error.retry_after is None else f"in {error.retry_after:g} s"
        return Stop(ExitCode.UNAVAILABLE, f"{said} Try again {when}.")
    return Stop(ExitCode.REFUSED, said)


def for_silence(error: Unreachable) -> Stop:
    """What it means that nobody answered: whether to start a node, or to look before trying again."""
    said = f"No answer from {error.url} ({error.reason})."
    hint = next((hint for scheme, sign, hint in _TLS if error.url.startswith(scheme) and sign in error.reason), None)
    if hint is not None:
        return Stop(ExitCode.UNAVAILABLE, f"{said} {hint}")
    if not error.sent:
        return Stop(ExitCode.UNAVAILABLE, f"{said} Start a cluster with `hegemon up`, or name a node with --url.")
    # What a listener that waits for TLS does with plain HTTP, and what a node does that is killed.
    tls = " A node that speaks TLS wants https:// in --url." if _PLAIN in error.reason else ""
    return Stop(ExitCode.UNAVAILABLE, f"{said} {_look_first(error.idempotency_key)}{tls}")


_PLAIN: Final = "disconnected without sending a response"
# What is said of TLS when the two ends do not fit: the scheme of the URL, a part of the reason, what to do. No request
# was carried out then.
_TLS: Final = (
    ("https:", "has expired", "Renew its certificate: `hegemon cert node NAME --renew`."),
    ("https:", "ismatch", "Its certificate is for other names: use one of them in --url, or make one with this host."),
    ("https:", "CERTIFICATE_VERIFY_FAILED", "Name who signed its certificate with --ca-file, or set HEGEMON_CA_FILE."),
    ("https:", "CERTIFICATE_REQUIRED", "It wants a certificate of yours: --client-cert, or set HEGEMON_CLIENT_CERT."),
    ("https:", "WRONG_VERSION_NUMBER", "It does not speak TLS: write http:// in --url."),
    ("https:", "RECORD_LAYER_FAILURE", "It does not speak TLS: write http:// in --url."),
)


def _look_first(key: str | None) -> str:
    if key is None:
        return "It may have been carried out all the same: look before you try again."
    return f"The job may have been accepted: submit it again with --key {key} to get one job."


def table() -> str:
    """The codes as lines of text."""
    return "\n".join(f"  {code:>3}  {meaning}" for code, meaning in MEANINGS.items())
