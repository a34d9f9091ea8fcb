"""`/docs/runbook` and `/api/v1/runbook/{code}`: what each alarm means, what labd does meanwhile, what a person does.

Why a file of data: the same text stands on the page, in the dashboard and under `labctl alert show`.
"""

from __future__ import annotations

import re
import tomllib
from functools import cache
from html import escape
from importlib.resources import files

import msgspec
from aiohttp import web

from labd.api.docs import PAGE_HEADERS
from labd.api.endpoint import Call, Endpoint
from labd.errors import NotFound

PATH = "/docs/runbook"
_NUMBER = re.compile(r"_\d+$")
_CODE = re.compile(r"`([^`]+)`")


class Entry(msgspec.Struct, frozen=True):
    """The text for one code."""

    code: str
    title: str
    means: str
    meanwhile: str
    steps: list[str]


@cache
def entries() -> dict[str, Entry]:
    """Every code that has a text, in the order of the file."""
    table = tomllib.loads(files("labd.api").joinpath("runbook.toml").read_text(encoding="utf-8"))
    return {code: msgspec.convert({"code": code, **body}, Entry) for code, body in table.items()}


def entry(code: str) -> Entry | None:
    """The text for a code; the number at the end of `device_warning_2` does not count."""
    known = entries()
    return known.get(code) or known.get(_NUMBER.sub("", code))


def address(code: str) -> str | None:
    """Where on this daemon the text stands, None where there is none."""
    found = entry(code)
    return None if found is None else f"{PATH}#{found.code}"


def page() -> str:
    """All of it as HTML."""
    body = "".join(map(_section, entries().values()))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>labd runbook</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css"></head><body>'
        f"<h1>Runbook</h1><p>What each alarm means, what labd does meanwhile, and what a person does.</p>{body}"
        "</body></html>"
    )


def _section(one: Entry) -> str:
    steps = "".join(f"<li>{_words(step)}</li>" for step in one.steps)
    return (
        f'<h2 id="{escape(one.code)}">{escape(one.title)} <span class="scope">{escape(one.code)}</span></h2>'
        f"<p>{_words(one.means)}</p><p>Meanwhile: {_words(one.meanwhile)}</p><ol>{steps}</ol>"
    )


def _words(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text, quote=False))


def endpoints() -> list[Endpoint]:
    """The page and the single texts."""

    async def whole(call: Call) -> web.Response:
        return web.Response(text=page(), content_type="text/html", headers=PAGE_HEADERS)

    async def one(call: Call) -> Entry:
        code = call.path["code"]
        found = entry(code)
        if found is None:
            raise NotFound(f"the runbook has no text for {code}; {PATH} has all there are", code=code)
        return found

    return [
        Endpoint("GET", PATH, whole, "none", "What each alarm means and what to do", tags=("daemon",)),
        Endpoint("GET", "/api/v1/runbook/{code}", one, "read", "What one alarm means and what to do",
                 answer=Entry, tags=("alerts",), errors=("not_found",)),
    ]  # fmt: skip
