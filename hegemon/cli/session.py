"""A command's way to the node: the global options, and one connection whose errors end the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

import typer

from hegemon.cli.exits import Stop, for_refusal, for_silence, usage

if TYPE_CHECKING:
    from hegemon.cli.login_file import LoginFile
    from hegemon.client import Client


class Credentials(TypedDict):
    """Arguments of a client."""

    token: str | None
    keeper: LoginFile


class Tracked(TypedDict, total=False):
    """Arguments of a client."""

    request_id: Callable[[], str]


DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What stands before the command."""

    url: str
    token: str | None = None
    request_id: str | None = None


# A command may ask several nodes, and where a client is made is far from where the options are.
_asked = [GlobalOptions(DEFAULT_URL)]


def asked(options: GlobalOptions) -> GlobalOptions:
    """Remember what this command line said."""
    _asked[-1] = options
    return options


def url_of(ctx: typer.Context) -> str:
    """What `--url` says. ValueError when it is no URL of a node."""
    from hegemon.client import transport

    options = ctx.find_object(GlobalOptions) or GlobalOptions(DEFAULT_URL)
    transport.setup(options.url)
    return options.url.rstrip("/")


def credentials(url: str) -> Credentials:
    """What a client of the node at `url` shows: the token of the command line, else the login at the command line's
    URL, also to other nodes of its cluster; but never one made over https to a node on plain http.
    """
    from hegemon.cli.login_file import LoginFile

    asked = _asked[-1]
    weaker = asked.url.startswith("https:") and not url.startswith("https:")
    # An empty token is none at all; with None the client would take that of the environment.
    return {"token": "" if weaker else asked.token, "keeper": LoginFile(url if weaker else asked.url)}


def tracked(options: GlobalOptions) -> Tracked:
    """The name that this command line gives to what it asks, if it does. ValueError when nodes would not take it."""
    name = options.request_id
    if name is None:
        return {}
    if re.fullmatch(r"[A-Za-z0-9_.\-]{1,64}", name) is None:
        raise ValueError(f"a request id is 1 to 64 letters, digits, _ . -, not {name!r}")
    return {"request_id": lambda: name}


def wrong_option(error: ValueError) -> Stop:
    """What a client cannot be made with, and the options that said so."""
    text = str(error)
    if "TLS" in text:
        return usage(f"{text}. See --ca-file and --client-cert (HEGEMON_CA_FILE, HEGEMON_CLIENT_CERT).")
    if "token" in text:
        return usage(f"{text}. See --token (HEGEMON_TOKEN, HEGEMON_API_KEY).")
    if "request id" in text:
        return usage(f"{text}. See --request-id (HEGEMON_REQUEST_ID).")
    return usage(f"{text}. Set it with --url or HEGEMON_URL.")


@contextmanager
def connect(ctx: typer.Context) -> Iterator[Client]:
    """The client of the node that `--url` names; whatever goes wrong inside becomes a `Stop`."""
    from hegemon.client import ApiError, Client, Unreachable

    options = ctx.find_object(GlobalOptions) or GlobalOptions(DEFAULT_URL)
    try:
        client = Client(options.url, **credentials(options.url), **tracked(options))
    except ValueError as error:
        raise wrong_option(error) from error
    with client:
        try:
            yield client
        except ApiError as error:
            raise for_refusal(error) from error
        except Unreachable as error:
            raise for_silence(error) from error
        except Stop:
            raise
        except ValueError as error:
            raise usage(f"{error}.") from error
