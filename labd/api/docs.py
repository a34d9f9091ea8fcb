"""`/docs`: the API as one page that needs no script and no other host.

Why public: it says what stands in labd's source; what this host has (tasks, devices, jobs) is behind a scope.
"""

from __future__ import annotations

from html import escape
from typing import Any

from aiohttp import web

from labd.api.endpoint import Call, Endpoint
from labd.api.errors import STATUS
from labd.api.openapi import EVERYWHERE, WITH_BODY, WITH_SCOPE, document

OF_THE_DOOR = (*WITH_SCOPE, *EVERYWHERE, *WITH_BODY)  # told once, not with every route

PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1b1b }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc }
h3 { font: 600 1rem ui-monospace, monospace; margin-top: 1.8rem }
code, td:first-child { font-family: ui-monospace, monospace } table { border-collapse: collapse; width: 100% }
td, th { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-bottom: 1px solid #eee }
.scope { float: right; font: .85rem system-ui; color: #555 }
@media (prefers-color-scheme: dark) { body { background: #151515; color: #ddd } td, th { border-color: #333 } }
"""


def page(api: dict[str, Any]) -> str:
    """The document as HTML; everything from outside is escaped."""
    groups: dict[str, list[str]] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            group = (operation["tags"] or ["other"])[0]
            groups.setdefault(group, []).append(_section(method.upper(), path, operation, api["components"]["schemas"]))
    links = " · ".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in groups)
    body = "".join(f'<h2 id="{escape(name)}">{escape(name)}</h2>{"".join(parts)}' for name, parts in groups.items())
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>labd API</title>'
        '<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/docs/style.css"></head><body>'
        f"<h1>labd {escape(api['info']['version'])}</h1><p>{links}</p>"
        "<p>JSON in and out. Errors are <code>{code, message, details}</code>. Instants are ISO 8601 in UTC. On the "
        "Unix socket the caller is known by uid and groups; on TCP send <code>Authorization: Bearer TOKEN</code>. Any "
        f"route may answer {', '.join(f'<code>{STATUS[code]} {code}</code>' for code in OF_THE_DOOR)}. The "
        'whole document: <a href="/api/v1/openapi.json">/api/v1/openapi.json</a>.</p>'
        f"{body}</body></html>"
    )


def _section(method: str, path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> str:
    rows = [(name["name"], name["in"], _words(name["schema"], schemas)) for name in operation.get("parameters", [])]
    body = operation.get("requestBody")
    if body is not None:
        shape = body["content"]["application/json"]["schema"]
        rows.append(("body", "JSON", _words(shape, schemas)))
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/json", {}).get("schema")
        if status < "300":
            rows.append((status, "answer", _words(content, schemas) if content else response["description"]))
        elif codes := [code for code in response["description"].split(", ") if code not in OF_THE_DOOR]:
            rows.append((status, "error", ", ".join(codes)))
    table = "".join(f"<tr><td>{escape(a)}</td><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows)
    return (
        f'<h3>{escape(method)} {escape(path)} <span class="scope">{escape(operation["x-labd-scope"])}</span></h3>'
        f"<p>{escape(operation['summary'])}</p><table>{table}</table>"
    )


def _words(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """A schema in a few words: fields of an object, limits of a number."""
    if "$ref" in schema:
        shape = schemas.get(schema["$ref"].rpartition("/")[2], {})
        required = shape.get("required", [])
        fields = [name if name in required else f"{name}?" for name in shape.get("properties", {})]
        return "{" + ", ".join(fields) + "}" if fields else str(shape.get("type", "any"))
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_words(each, schemas) for each in schema[word])
    if schema.get("type") == "array" and "items" in schema and isinstance(schema["items"], dict):
        return f"list of {_words(schema['items'], schemas)}"
    limits = [
        f"{label} {schema[key]}"
        for key, label in (("minimum", "at least"), ("maximum", "at most"), ("maxLength", "characters at most"))
        if key in schema
    ]
    if schema.get("default") not in (None, ""):
        limits.append(f"default {schema['default']}")
    return ", ".join([str(schema.get("type", "any")), *limits])


def endpoints(all_of_them: list[Endpoint], version: str) -> list[Endpoint]:
    """Routes of the pages."""
    made: list[bytes] = []

    async def docs(call: Call) -> web.Response:
        if not made:
            made.append(page(document(all_of_them, version)).encode())
        return web.Response(body=made[0], headers={"Content-Type": "text/html; charset=utf-8", **PAGE_HEADERS})

    async def style(call: Call) -> web.Response:
        return web.Response(text=STYLE, headers={"Content-Type": "text/css; charset=utf-8", **PAGE_HEADERS})

    tags = ("daemon",)
    return [
        Endpoint("GET", "/docs", docs, "none", "This API as a page", tags=tags),
        Endpoint("GET", "/docs/style.css", style, "none", "Style of the page", tags=tags),
    ]
