"""`/` and `/web/...`: the dashboard's files, from memory, to browsers of every HTTP listener.

Why public: the files say what stands in labd's source and nothing of this host; every figure they show comes from the
API, behind a scope. Why a stamp in the path: `/web/<stamp>/js/main.js` never changes, so a browser keeps it for good
and a page of many small modules costs no requests the second time; another labd has another stamp.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from aiohttp import web

from labd.api.answer import json_answer
from labd.api.endpoint import Call, Endpoint
from labd.errors import NotFound

FOLDER = Path(__file__).resolve().parent.parent / "web"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Vary": "Accept-Encoding",
}
FOREVER = "public, max-age=31536000, immutable"
STAMP, PAGES, PRELOADS = "@stamp@", "@pages@", "@preloads@"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, as it is and packed."""

    content_type: str
    text: bytes
    packed: bytes
    etag: str


@dataclass(slots=True)
class WebFiles:
    """All files of the dashboard; read when the first browser comes.

    Why `watch`: who works on a page in a source tree sees the change with the next reload. An installed labd reads its
    files once, so that an upgrade under a running daemon never mixes two versions.

    Args:
        folder: Where `index.html` lies.
        watch: Look for changed files whenever a page is opened.
    """

    folder: Path = FOLDER
    watch: bool = False
    stamp: str = ""
    assets: dict[str, Asset] = field(default_factory=dict)
    _seen: tuple[tuple[str, int, int], ...] = ()

    def load(self) -> None:
        """Read what is not yet known; a second call does nothing unless files have changed."""
        if self.assets and not self.watch:
            return
        found = sorted(path for path in self.folder.rglob("*") if path.suffix in TYPES and path.is_file())
        seen = tuple((str(path), (facts := path.stat()).st_mtime_ns, facts.st_size) for path in found)
        if seen == self._seen:
            return
        texts = {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in found}
        digest = hashlib.sha256()
        for name, text in texts.items():
            digest.update(f"{name}\0{len(text)}\0".encode() + text)
        stamp = digest.hexdigest()[:12]
        texts["index.html"] = _filled(texts["index.html"].decode(), stamp, sorted(texts)).encode()
        self.assets = {name: _asset(name, text) for name, text in texts.items()}
        self.stamp, self._seen = stamp, seen


def _filled(page: str, stamp: str, names: list[str]) -> str:
    """The start page with its addresses: every module of the shell is fetched at once, not one after the other."""
    pages = [name.removeprefix("pages/").removesuffix(".js") for name in names if name.startswith("pages/")]
    modules = [name for name in names if name.endswith(".js")]
    links = "\n".join(f'<link rel="modulepreload" href="/web/{stamp}/{escape(name)}">' for name in modules)
    return page.replace(STAMP, stamp).replace(PAGES, escape(" ".join(pages))).replace(PRELOADS, links)


def _asset(name: str, text: bytes) -> Asset:
    kind = TYPES[Path(name).suffix]
    return Asset(kind, text, gzip.compress(text, 9, mtime=0), hashlib.sha256(text).hexdigest()[:20])


def answer_file(call: Call, asset: Asset, cache: str) -> web.Response:
    """The file, packed where the browser takes that, or the word that it has it already."""
    headers = call.request.headers
    is_packed = "gzip" in headers.get("Accept-Encoding", "")
    etag = f'"{asset.etag}-gz"' if is_packed else f'"{asset.etag}"'
    head = {**HEADERS, "Cache-Control": cache, "ETag": etag}
    if etag in headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=head)
    head["Content-Type"] = asset.content_type
    if is_packed:
        head["Content-Encoding"] = "gzip"
    return web.Response(body=asset.packed if is_packed else asset.text, headers=head)


def endpoints(version: str, files: WebFiles | None = None) -> list[Endpoint]:
    """Routes of the dashboard."""
    shelf = files or WebFiles(watch=(FOLDER.parent.parent / "pyproject.toml").exists())

    async def root(call: Call) -> web.StreamResponse:
        if "text/html" not in call.request.headers.get("Accept", ""):
            facts = {"name": "labd", "version": version, "docs": "/docs", "openapi": "/api/v1/openapi.json"}
            return json_answer(call.request, facts)
        await asyncio.to_thread(shelf.load)
        answer = answer_file(call, shelf.assets["index.html"], "no-cache")
        answer.headers["Vary"] = "Accept, Accept-Encoding"
        return answer

    async def file(call: Call) -> web.Response:
        if not shelf.assets:
            await asyncio.to_thread(shelf.load)
        name = call.path["name"]
        asset = shelf.assets.get(name)
        if asset is None or name == "index.html":
            raise NotFound(f"the dashboard has no file {name[:200]}", path=name[:200])
        return answer_file(call, asset, FOREVER if call.path["stamp"] == shelf.stamp else "no-cache")

    async def favicon(call: Call) -> web.Response:
        return web.Response(status=302, headers={"Location": "/web/0/icon.svg", "Cache-Control": "no-cache"})

    tags = ("dashboard",)
    return [
        Endpoint("GET", "/", root, "none", "The dashboard; for other programs where to read on", tags=tags),
        Endpoint("GET", "/favicon.ico", favicon, "none", "Where the dashboard's icon is", tags=tags),
        Endpoint(
            "GET", "/web/{stamp}/{name:.+}", file, "none", "A file of the dashboard", tags=tags, errors=("not_found",)
        ),
    ]  # fmt: skip
