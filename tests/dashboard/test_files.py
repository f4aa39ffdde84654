"""The dashboard as files: what is served, how it is cached, what it may do, how heavy it is. No browser is needed."""

import gzip
import posixpath
import re
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from hatchling.builders.wheel import WheelBuilder

from hegemon.api.app import create_app
from hegemon.api.pages import DASHBOARD, SHELL, STATIC, build, files, lean, shell, static_files
from hegemon.api.server import ApiServer
from tests.api.memory import MemoryNode
from tests.nodes import ROOT

WEIGHT_MAX = 150_000
MARKUP = re.compile(rb"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function")
in_module = pytest.mark.asyncio(loop_scope="module")
DIRECTIVE = re.compile(r"([a-z-]+) ([^;]+)")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real server with the real application."""
    node = MemoryNode()
    app = create_app(node, node, version="9.8.7", request_bytes_max=1000, metrics=None)
    server = ApiServer(app, host="127.0.0.1", port=0)
    await server.start()
    async with httpx.AsyncClient(base_url=server.url, timeout=60, trust_env=False) as client:
        yield client
    await server.stop(1.0)


def at(name: str) -> str:
    """Where a file is served."""
    return f"{STATIC}/{build()}/{name}"


def test_all_of_it_together_is_lighter_than_150_kb() -> None:
    weights = {name: len(body) for name, body in files().items()}
    total = sum(weights.values())
    packed = sum(len(file.packed) for file in static_files().values())
    print(f"{total:,} bytes in {len(weights)} files, {packed:,} packed")  # noqa: T201 - the figure
    assert total < WEIGHT_MAX, sorted(weights.items(), key=lambda item: -item[1])


def test_what_is_left_out_of_a_script_changes_nothing_but_its_weight() -> None:
    source = (
        b"// why\nconst a = `b = c`;\n  /* one\n   * two */\n  a({b: 1, c}, (d) => e === 2 && f);\n  g ? h : 'i, j';\n"
        b"k = 'it\\'s; x' + \"y = 'z, \" + 1;\nl = /a, 'b/ + 'c';\n"
    )
    left = b"\nconst a = `b = c`;\n\n\na({b:1,c},(d)=>e===2&&f);\ng ? h:'i, j';\n"
    left += b"k='it\\'s; x' + \"y = 'z, \" + 1;\nl = /a, 'b/ + 'c';\n"
    assert lean("x.js", source) == left
    assert lean("x.svg", source) == source
    for path in [*DASHBOARD.rglob("*.js"), *DASHBOARD.rglob("*.css")]:
        text = path.read_bytes()
        assert lean(path.name, text).count(b"\n") == text.count(b"\n")
        # A text that goes over several lines would lose its indentation.
        assert not [line for line in text.splitlines() if line.count(b"`") % 2], path


def test_the_page_holds_no_script_or_style_of_its_own_and_everything_that_it_names_is_there() -> None:
    text = shell(secured=False).body.decode()
    assert "{" not in text
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text)
    named = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert len([name for name in named if name.startswith("/")]) > 5
    for name in named:
        if name.startswith("/"):
            assert name.removeprefix(f"{STATIC}/{build()}/") in files(), name


def test_every_import_of_a_script_is_there_and_every_script_is_imported() -> None:
    scripts = {name: text.decode() for name, text in files().items() if name.endswith(".js")}
    imported = {
        posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        for name, text in scripts.items()
        for path in re.findall(r"(?:from|import)\s*\(?'(\.[^']+)'", text)
    }
    assert imported <= scripts.keys()
    assert all(f"/{name}".encode() in files()[SHELL] for name in scripts.keys() - imported)


def test_no_script_makes_markup_of_text() -> None:
    for name, body in files().items():
        assert not MARKUP.search(body), name
        # Nothing is loaded from elsewhere; the namespace of SVG is a name, not an address.
        elsewhere = set(re.findall(rb"https?://[^'\"\s<>]+", body)) - {b"http://www.w3.org/2000/svg"}
        assert not elsewhere, name


def test_the_wheel_holds_all_of_it() -> None:
    builder = WheelBuilder(str(ROOT))
    packed = {file.distribution_path for file in builder.recurse_included_files()}
    assert {f"hegemon/api/dashboard/{name}" for name in files()} <= packed


@pytest.mark.parametrize("path", ["/", "/ui", "/ui/", "/ui/jobs", "/ui/jobs/0199a4b2-6c1e-7000-8000-3f1f0c9d2b7a?a=b"])
@in_module
async def test_every_address_of_a_page_gives_the_page(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.content == shell(secured=False).body


@in_module
async def test_the_page_may_load_and_reach_nothing_but_its_own_node(http: httpx.AsyncClient) -> None:
    for path in ("/", at("app.js")):
        answer = await http.get(path)
        policies = answer.headers.get_list("content-security-policy")
        assert len(policies) == 1, policies
        found = dict(DIRECTIVE.findall(policies[0]))
        assert found["default-src"] == "'none'"
        for directive in ("script-src", "style-src", "connect-src"):
            assert found[directive] == "'self'"
        assert found["img-src"] == "'self' data:"
        for directive in ("base-uri", "form-action", "frame-ancestors", "trusted-types"):
            assert found[directive] == "'none'"
        assert found["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in policies[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers.get_list("cache-control") in (["no-cache"], ["public, max-age=31536000, immutable"])


@in_module
async def test_the_api_keeps_the_headers_of_an_api(http: httpx.AsyncClient) -> None:
    for path in ("/livez", "/ui/static/x/nothing.js", "/nothing"):
        answer = await http.get(path)
        assert answer.headers.get_list("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]
        assert answer.headers["cache-control"] == "no-store"


@in_module
async def test_files_are_kept_for_good_under_their_own_build_only(http: httpx.AsyncClient) -> None:
    own = await http.get(at("app.js"))
    assert own.headers["cache-control"] == "public, max-age=31536000, immutable"
    other = await http.get(f"{STATIC}/0123456789abcdef/app.js")
    assert (other.status_code, other.headers["cache-control"]) == (200, "no-cache")
    assert other.content == own.content == files()["app.js"]


@pytest.mark.parametrize("path", ["/", at("pages/jobs.js"), at("style.css")])
@in_module
async def test_what_the_browser_has_is_not_sent_again(http: httpx.AsyncClient, path: str) -> None:
    first = await http.get(path)
    again = await http.get(path, headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert "content-length" not in again.headers
    changed = await http.get(path, headers={"if-none-match": '"other"'})
    assert changed.status_code == 200


@in_module
async def test_files_are_sent_packed_to_whoever_can_unpack_them(http: httpx.AsyncClient) -> None:
    plain = await http.get(at("style.css"), headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    async with http.stream("GET", at("style.css"), headers={"accept-encoding": "br, gzip;q=0.8"}) as packed:
        raw = b"".join([chunk async for chunk in packed.aiter_raw()])
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content) / 2


@pytest.mark.parametrize("name", ["index.html", "nothing.js", "../app.py", "%2e%2e/app.py", "..%2f..%2fapp.py", ""])
@in_module
async def test_nothing_but_these_files_is_served(http: httpx.AsyncClient, name: str) -> None:
    answer = await http.get(at(name))
    # A client that takes "..", out of an address asks for something else: the page, which everybody may have.
    assert answer.status_code == 404 or answer.content == shell(secured=False).body


@in_module
async def test_only_reading_is_answered(http: httpx.AsyncClient) -> None:
    assert (await http.head("/")).status_code == 200
    refused = await http.post("/", json={})
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
