"""The dashboard as a node serves it: files that are read once, kept packed, and cached by browsers by what they hold.

    /                          the page, which asks the API for everything else
    /ui/{path}                 the same page: what it shows stands in the address, so that it can be passed on
    /ui/static/{build}/{name}  its scripts, styles and pictures

`build` is a digest of all files, and so an address never changes what it means: those files are kept for good, while
the page itself is asked for again each time and answered with 304. Everybody may have them, since they hold nothing;
the API wants a credential as ever. `default-src 'none'` and no inline script or style: even a hole in the page's own
code could load nothing from elsewhere, and send nothing there.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from starlette.routing import Route

from hegemon.api.call import Call
from hegemon.api.problems import ApiError
from hegemon.api.reply import Header, Reply
from hegemon.api.resource import Endpoint, Node, Resource

DASHBOARD: Final = Path(__file__).with_name("dashboard")
PAGES: Final = "/ui"
STATIC: Final = f"{PAGES}/static"
SHELL: Final = "index.html"

_TYPES: Final = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_ALWAYS: Final[tuple[Header, ...]] = (
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    (b"vary", b"Accept-Encoding"),
)
_INDENT: Final = re.compile(rb"^[ \t]+", re.MULTILINE)
_LINE_COMMENT: Final = re.compile(rb"^//.*$", re.MULTILINE)
# Where neither a text with places to fill nor a regular expression can be, spaces beside these mean nothing: outside of
# texts.
_PLAIN_LINE: Final = re.compile(rb"^[^`/\n]+$", re.MULTILINE)
_TEXT: Final = re.compile(rb"""('(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")""")
_SPACE: Final = re.compile(rb" *([{};,]|=>|===|&&|\|\||(?<= )=(?= )|:(?= )) *")
_BLOCK_COMMENT: Final = re.compile(rb"^/\*.*?\*/$", re.MULTILINE | re.DOTALL)
_FOR_GOOD: Final = b"public, max-age=31536000, immutable"
_ASK_AGAIN: Final = b"no-cache"


@dataclasses.dataclass(frozen=True, slots=True)
class File:
    """One file: its bytes, the same by gzip, its type, and its ETag, which is of the bytes."""

    body: bytes
    packed: bytes
    content_type: bytes
    etag: bytes


def make_file(name: str, body: bytes) -> File:
    """`body` as it is served; the type by the end of `name`."""
    etag = b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()
    return File(body, gzip.compress(body, 9, mtime=0), _TYPES[Path(name).suffix], etag)


@cache
def files() -> Mapping[str, bytes]:
    """All of the dashboard's files by their names under its directory, `pages/jobs.js` for one, as they are served."""
    found = sorted(path for path in DASHBOARD.rglob("*") if path.suffix in _TYPES)
    return {path.relative_to(DASHBOARD).as_posix(): lean(path.name, path.read_bytes()) for path in found}


def lean(name: str, body: bytes) -> bytes:
    """A script or a style without indentation, without comments that have lines of their own, and without most of the
    spaces between signs. The lines stay, so that an error's place is the source's; a text over several lines would
    change, hence a test that there is none."""
    if not name.endswith((".css", ".js")):
        return body
    body = _LINE_COMMENT.sub(b"", _INDENT.sub(b"", body))
    body = _PLAIN_LINE.sub(_squeezed, body)
    return _BLOCK_COMMENT.sub(lambda comment: b"\n" * comment[0].count(b"\n"), body)


def _squeezed(line: re.Match[bytes]) -> bytes:
    parts = _TEXT.split(line[0])
    # The texts stand between the others.
    parts[::2] = [_SPACE.sub(rb"\1", part) for part in parts[::2]]
    return b"".join(parts)


@cache
def build() -> str:
    """What the addresses of the files hold: it changes when any of them does."""
    digest = hashlib.sha256()
    for name, body in files().items():
        digest.update(b"%s\0%d\0" % (name.encode(), len(body)) + body)
    return digest.hexdigest()[:16]


@cache
def static_files() -> Mapping[str, File]:
    """What stands under `STATIC`."""
    return {name: make_file(name, body) for name, body in files().items() if name != SHELL}


@cache
def shell(*, secured: bool) -> File:
    """The page, which learns from its own head whether it must ask for a login."""
    text = files()[SHELL].replace(b"{static}", f"{STATIC}/{build()}".encode())
    return make_file(SHELL, text.replace(b"{auth}", b"on" if secured else b"off"))


class Page(Resource):
    """A `Resource` that everybody may read, with headers of its own: the server's are for an API that has no page."""

    def __init__(self, node: Node, path: str, endpoint: Endpoint) -> None:
        everybodys = dataclasses.replace(node, gate=None, access=None, auditor=None)
        super().__init__(everybodys, path, {"GET": endpoint})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_own(message: Any) -> None:
            # `exchange` knows the word.
            message["hegemon.own_headers"] = True
            await send(message)

        await super().__call__(scope, receive, send_own)


def routes(node: Node) -> list[Route]:
    """The dashboard of this node, in the order in which the paths must be tried."""
    page = shell(secured=node.gate is not None)

    async def show(node: Node, call: Call) -> Reply:
        """GET / and /ui/{path}. The query is the page's own business."""
        del node
        return served(call, page, _ASK_AGAIN)

    async def static(node: Node, call: Call) -> Reply:
        """GET /ui/static/{build}/{name}"""
        del node
        found = static_files().get(call.path_value("name"))
        if found is None:
            raise ApiError("not_found")
        # During an upgrade the page may be another node's: better this node's file, and only now, than none.
        return served(call, found, _FOR_GOOD if call.path_value("build") == build() else _ASK_AGAIN)

    paths = {f"{STATIC}/{{build}}/{{name:path}}": static, "/": show, PAGES: show, f"{PAGES}/{{path:path}}": show}
    return [
        Route(path, endpoint=Page(node, path, Endpoint(handler, "dashboard")), include_in_schema=False)
        for path, handler in paths.items()
    ]


def served(call: Call, file: File, kept: bytes) -> Reply:
    """The file, packed where the browser takes that, or word that the one it has is still good."""
    headers = (*_ALWAYS, (b"etag", file.etag), (b"cache-control", kept))
    if file.etag in _words(call, b"if-none-match"):
        return Reply(304, content_type=file.content_type, headers=headers)
    if b"gzip" in _words(call, b"accept-encoding"):
        return Reply(200, file.packed, file.content_type, (*headers, (b"content-encoding", b"gzip")))
    return Reply(200, file.body, file.content_type, headers)


def _words(call: Call, name: bytes) -> set[bytes]:
    """A header's list, without weights; a weak ETag (a proxy's that packs by itself) counts as what it stands for."""
    listed = call.headers.get(name, b"").split(b",")
    return {word.partition(b";")[0].strip().removeprefix(b"W/") for word in listed}
