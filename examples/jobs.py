"""The example handlers: three that do real work (mail, pictures, text) and four small ones for trying and measuring.

A handler is a function with `@job("type")`. Its arguments come by name from the payload and are checked against their
type hints before it runs. `Context` is passed in where it is asked for. What it returns is the job's result.

Jobs run *at least* once: a worker that dies is replaced, and the job starts again. So each handler here is written such
that running it twice leaves the same effect as running it once. Paths are relative to the current directory.
"""

import asyncio
import os
import re
import smtplib
import socket
from collections import Counter
from datetime import timedelta
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from examples.files import write_whole
from examples.mail_sink import mail_folder, sink_address
from hegemon import Context, Reject, job

Pixels = Annotated[int, Meta(ge=1, le=16_384)]
Quality = Annotated[int, Meta(ge=1, le=95)]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]

UNBOUNDED = 1_000_000_000
PICTURE_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
TEXT_SUFFIXES = {".txt", ".md"}
WORD = re.compile(r"\w+(?:['\u2019]\w+)*")  # don't, with either apostrophe


class Stopped(Exception):
    """The job was cancelled or ran out of time. Half a result is no result, so a handler that stops early raises."""


# ── for trying and measuring ──────────────────────────────────────────────────────────────────────────────────────────


@job("noop")
async def noop(**payload: Any) -> None:
    """Do nothing, whatever the payload."""


@job("echo")
async def echo(**payload: Any) -> dict[str, Any]:
    """Return the payload."""
    return payload


@job("sleep")
async def sleep(seconds: Seconds) -> dict[str, float]:
    """Wait for `seconds`. An `async` handler is cancelled at its next `await`, with nothing to do for it."""
    await asyncio.sleep(seconds)
    return {"seconds": seconds}


@job("fail")
async def fail(ctx: Context, times: Count = 1, message: str | None = None) -> dict[str, int]:
    """Fail `times` times, then succeed. With more `times` than retries the job ends among the dead letters."""
    if ctx.failures < times:
        raise RuntimeError(message or f"failure {ctx.failures + 1} of {times}, as asked")
    return {"failures": ctx.failures}


# ── mail ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@job("email", max_retries=5, timeout=timedelta(seconds=60))
def email(ctx: Context, to: str, subject: str, body: str = "", sender: str = "hegemon@localhost") -> dict[str, str]:
    """Send a mail through the SMTP server at `EXAMPLE_SMTP` (`host:port`), or into the examples' own sink if unset.

    Execution is at least once; the effect is idempotent: the Message-ID is made from the job's id, so a mail that is
    sent again is the same mail. The sink keeps one file for each Message-ID; a real mail system may do likewise.

    A bad address or subject, and what the server refuses for good (5xx), is rejected. A server that cannot be reached
    or says "later" (4xx) is an ordinary error, so it is tried again.
    """
    message = _mail(ctx.job_id, _address("to", to), _address("sender", sender), subject, body)
    host, port = _smtp_server()
    try:
        # Without a local_hostname, smtplib asks DNS for one before every mail.
        with smtplib.SMTP(host, port, local_hostname=socket.gethostname(), timeout=10) as server:
            server.send_message(message)
    except smtplib.SMTPRecipientsRefused as error:
        code, reason = next(iter(error.recipients.values()))
        _reject_if_permanent(code, reason, error)
        raise
    except smtplib.SMTPResponseException as error:
        _reject_if_permanent(error.smtp_code, error.smtp_error, error)
        raise
    ctx.log(f"mail for {to} accepted by {host}:{port}")
    return {"to": to, "message_id": str(message["Message-ID"]), "smtp": f"{host}:{port}"}


def _mail(job_id: str, to: Address, sender: Address, subject: str, body: str) -> EmailMessage:
    message = EmailMessage()
    try:
        message["Subject"] = subject
        message.set_content(body)
    except ValueError as error:  # such as a line break, by which a subject could smuggle in further headers
        raise Reject(f"the mail cannot be written: {error}") from error
    message["From"], message["To"] = sender, to
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{job_id}@{sender.domain}>"
    return message


def _address(field: str, text: str) -> Address:
    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, MessageError) as error:
        raise Reject(f"{field}: {text!r} is not a mail address: {error}") from error
    if not (address.username and address.domain and text.isascii()):
        raise Reject(f"{field}: {text!r} is not a mail address, which has the form name@domain in ASCII")
    return address


def _smtp_server() -> tuple[str, int]:
    setting = os.environ.get("EXAMPLE_SMTP", "")
    if not setting:
        try:
            return sink_address(mail_folder())
        except ModuleNotFoundError as error:
            raise Reject("email without EXAMPLE_SMTP needs aiosmtpd: pip install 'hegemon[examples]'") from error
    host, _, port = setting.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"EXAMPLE_SMTP must be host:port, such as localhost:25, not {setting!r}")
    return host, int(port)


def _reject_if_permanent(code: int, reason: bytes | str, error: Exception) -> None:
    if code >= 500:
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise Reject(f"the mail server refused for good: {code} {text}") from error


# ── pictures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@job("resize-image", timeout=timedelta(minutes=10))
def resize_image(
    ctx: Context,
    source: str,
    target: str,
    width: Pixels | None = None,
    height: Pixels | None = None,
    max_side: Pixels = 512,
    quality: Quality = 85,
) -> dict[str, list[dict[str, Any]]]:
    """Shrink a PNG or JPEG file, or each one in a folder, to fit inside `width` x `height` pixels.

    A side that is not given is free; with neither, both are `max_side`. The aspect ratio is kept, a camera's
    orientation is applied, nothing is enlarged. `quality` (1 to 95) is for JPEG. A `target` that ends in .png, .jpg or
    .jpeg names the file to write; any other is a folder, and the file names stay.

    Returns `{"files": [{"source", "target", "width", "height", "bytes"}]}`. A missing source or a broken picture is
    rejected by name; a full disk is an ordinary error and is tried again. A cancelled job stops before the next file;
    the files it wrote stay.
    """
    if width is None and height is None:
        width = height = max_side
    box = (width or UNBOUNDED, height or UNBOUNDED)
    pairs = _sources_and_targets(Path(source), Path(target))
    done: list[dict[str, Any]] = []
    for original, copy in pairs:
        if ctx.cancelled:
            raise Stopped(f"stopped after {len(done)} of {len(pairs)} pictures")
        # Reading and writing may fail for reasons that pass. What fails in between is the picture's own fault.
        data, size = _shrink(original, original.read_bytes(), box, PICTURE_FORMATS[copy.suffix.lower()], quality)
        write_whole(copy, data)
        done.append(
            {"source": str(original), "target": str(copy), "width": size[0], "height": size[1], "bytes": len(data)}
        )
        ctx.progress(len(done) / len(pairs), original.name)
    return {"files": done}


def _sources_and_targets(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Pair each picture with the file to write, in order of name."""
    to_file = target.suffix.lower() in PICTURE_FORMATS
    pictures = _files(source, set(PICTURE_FORMATS))
    if source.is_dir() and to_file:
        raise Reject(f"target: {target} is a file, but the source {source} is a folder")
    pairs = [(picture, target if to_file else target / picture.name) for picture in pictures]
    for picture, copy in pairs:
        if picture.suffix.lower() not in PICTURE_FORMATS:
            raise Reject(f"source: {picture} is not a .png, .jpg or .jpeg file")
        if picture.resolve() == copy.resolve():
            raise Reject(f"target: {copy} would overwrite its own source")
    return pairs


def _shrink(
    name: Path, data: bytes, box: tuple[int, int], encoding: str, quality: int
) -> tuple[bytes, tuple[int, int]]:
    """Return the encoded picture and its size in pixels."""
    try:
        from PIL import Image, ImageOps  # noqa: PLC0415 - optional: the other handlers load without it
    except ModuleNotFoundError as error:
        raise Reject("resize-image needs Pillow: pip install 'hegemon[examples]'") from error
    output = BytesIO()
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG")) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.mode in ("1", "P"):  # a palette cannot hold the shades between its colours
                picture = picture.convert("RGBA")
            picture.thumbnail(box)
            if encoding == "JPEG" and picture.mode not in ("L", "RGB", "CMYK"):
                picture = picture.convert("RGB")
            picture.save(output, encoding, quality=quality, icc_profile=picture.info.get("icc_profile"))
    except MemoryError:
        raise
    except Exception as error:  # Pillow meets broken data with OSError, SyntaxError, TypeError, struct.error and more
        raise Reject(f"{name} is not a usable picture: {error}") from error
    return output.getvalue(), picture.size


# ── text ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


@job("word-count", timeout=timedelta(minutes=10))
def word_count(ctx: Context, path: str, top: Count = 10) -> dict[str, Any]:
    """Count files, lines and words of a text file, or of each .txt and .md file in a folder.

    Returns `{"files", "lines", "words", "top": [[word, n], …]}`, the most frequent words first and equals by the
    alphabet. Upper and lower case are one.
    """
    texts = _files(Path(path), TEXT_SUFFIXES)
    files = lines = 0
    words: Counter[str] = Counter()
    for text in texts:
        if ctx.cancelled:
            raise Stopped(f"stopped after {files} of {len(texts)} texts")
        with text.open(encoding="utf-8", errors="replace") as open_text:
            for line in open_text:
                lines += 1
                words.update(WORD.findall(line.casefold()))
        files += 1
        ctx.progress(files / len(texts), text.name)
    ranked = sorted(words.items(), key=lambda item: (-item[1], item[0]))
    return {"files": files, "lines": lines, "words": words.total(), "top": [list(item) for item in ranked[:top]]}


def _files(path: Path, suffixes: set[str]) -> list[Path]:
    """Return the file itself, or the folder's files that end in one of `suffixes`, in order of name."""
    if path.is_file():
        return [path]
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() in suffixes and file.is_file())
    raise Reject(f"there is no file or folder {path} (in {Path.cwd()})")
