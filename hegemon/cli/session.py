"""A command's way to the node: the global options, and one connection whose errors end the command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from hegemon.cli.exits import Stop, for_refusal, for_silence, usage

if TYPE_CHECKING:
    from hegemon.client import Client

DEFAULT_URL = "http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class GlobalOptions:
    """What stands before the command."""

    url: str


def url_of(ctx: typer.Context) -> str:
    """What `--url` says. ValueError when it is no URL of a node."""
    from hegemon.client import transport

    options = ctx.find_object(GlobalOptions) or GlobalOptions(DEFAULT_URL)
    transport.setup(options.url)
    return options.url.rstrip("/")


@contextmanager
def connect(ctx: typer.Context) -> Iterator[Client]:
    """The client of the node that `--url` names; whatever goes wrong inside becomes a `Stop`."""
    from hegemon.client import ApiError, Client, Unreachable

    options = ctx.find_object(GlobalOptions) or GlobalOptions(DEFAULT_URL)
    try:
        client = Client(options.url)
    except ValueError as error:
        raise usage(f"{error}. Set it with --url or HEGEMON_URL.") from error
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
