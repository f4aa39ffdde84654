"""A mailbox for trying out the `email` job: an SMTP server on loopback that keeps every mail as an .eml file.

Each worker process runs its own on a free port, in a thread that ends with the process, and all write to one folder.
So there is no start to race for and no server to be left behind. To read the mails:

    python -m examples.mail_sink list [--to ADDRESS]
"""

import argparse
import asyncio
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default as modern_policy
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from examples.files import write_whole

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Envelope, Session


def mail_folder() -> Path:
    """Where the mails are kept: `EXAMPLE_OUTPUT/mail`, by default `var/examples/mail`."""
    return Path(os.environ.get("EXAMPLE_OUTPUT") or "var/examples") / "mail"


# ── reading ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Mail:
    """A mail that was delivered. `sender` and `to` are bare addresses; `date` is as in the mail's own header."""

    path: Path
    message_id: str
    sender: str
    to: str
    subject: str
    body: str
    date: str


def read_mails(folder: Path, to: str | None = None) -> Iterator[Mail]:
    """Yield the mails in `folder`, oldest first; only those for the address `to` if it is given."""
    arrived = sorted((path.stat().st_mtime_ns, path) for path in folder.glob("*.eml"))
    for _, path in arrived:
        message = message_from_bytes(path.read_bytes(), policy=modern_policy)
        mail = Mail(
            path=path,
            message_id=str(message["Message-ID"] or ""),
            sender=_bare(message, "From"),
            to=_bare(message, "To"),
            subject=str(message["Subject"] or ""),
            body=_body(message),
            date=str(message["Date"] or ""),
        )
        if to is None or mail.to == to:
            yield mail


def _bare(message: EmailMessage, header: str) -> str:
    value = message[header]
    return ", ".join(address.addr_spec for address in value.addresses) if value is not None else ""


def _body(message: EmailMessage) -> str:
    part = message.get_body(("plain", "html"))
    return str(part.get_content()) if part is not None else ""


# ── writing ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class MailSink:
    """An SMTP server on 127.0.0.1 that stores mails in `folder`, one file for each Message-ID.

    It runs on an event loop of its own, in a daemon thread. Raises ModuleNotFoundError if aiosmtpd is not installed.
    """

    def __init__(self, folder: Path) -> None:
        from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - optional: with EXAMPLE_SMTP nobody needs it

        self._protocol = SMTP
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="mail-sink", daemon=True)

    def start(self) -> tuple[str, int]:
        """Listen on a free port; return the host and the port."""
        self._thread.start()
        return asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def stop(self) -> None:
        """Close the port and all connections, and end the thread."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def handle_DATA(self, server: "SMTP", session: "Session", envelope: "Envelope") -> str:  # noqa: N802
        """Store one mail (aiosmtpd calls this, by this name); "250" is said only when it is on disk."""
        content = envelope.original_content or b""
        try:
            await asyncio.to_thread(write_whole, self._folder / _file_name(content), content)
        except OSError as error:
            return f"451 cannot store the mail now: {error.strerror}"
        return "250 stored"

    async def _listen(self) -> tuple[str, int]:
        # Without a hostname, aiosmtpd asks DNS for one.
        self._server = await self._loop.create_server(
            lambda: self._protocol(self, hostname="localhost"), "127.0.0.1", 0
        )
        host, port = self._server.sockets[0].getsockname()
        return host, port

    async def _close(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


def _file_name(content: bytes) -> str:
    """Name a mail by its Message-ID, and one without by its content, so that the same mail is the same file."""
    message_id = str(message_from_bytes(content)["Message-ID"] or "").strip().strip("<>")
    # The id comes from outside: one that is not plainly a file name must not become a path.
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.@_-]{0,199}", message_id):
        return f"{message_id}.eml"
    return f"{sha256(message_id.encode(errors='replace') or content).hexdigest()}.eml"


_sinks: dict[Path, tuple[MailSink, tuple[str, int]]] = {}
_starting = threading.Lock()


def sink_address(folder: Path) -> tuple[str, int]:
    """Return host and port of this process's sink for `folder`, started at the first call, from whatever thread."""
    folder = folder.resolve()
    with _starting:
        if folder not in _sinks:
            sink = MailSink(folder)
            _sinks[folder] = (sink, sink.start())
        return _sinks[folder][1]


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m examples.mail_sink", description="Read the examples' mailbox.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("list", help="show the mails that were delivered, oldest first")
    listing.add_argument("--to", metavar="ADDRESS", help="only those for this address")
    options = parser.parse_args()
    mails = list(read_mails(mail_folder(), options.to))
    for mail in mails:
        print(f"{mail.date}  {mail.to}  {mail.subject}\n    {mail.path}")
    print(f"{len(mails)} mail{'' if len(mails) == 1 else 's'} in {mail_folder()}")


if __name__ == "__main__":
    main()
