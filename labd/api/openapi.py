"""`/api/v1/openapi.json`: the whole document, made from the same `Endpoint` values that are served."""

from __future__ import annotations

import re
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

import msgspec
from aiohttp import web

from labd.api.answer import JSON_HEADERS
from labd.api.endpoint import Call, Endpoint
from labd.api.errors import STATUS, ErrorBody
from labd.api.gate import SAFE_METHODS

if TYPE_CHECKING:
    from labd.engine.engine import Engine

REF = "#/components/schemas/{name}"
_GREEDY = re.compile(r":\.\+\}")
_PART = re.compile(r"\{(\w+)\}")
EVERYWHERE = ("bad_request", "header_too_large", "origin_refused", "overloaded", "share_taken")
WITH_SCOPE = ("not_authenticated", "scope_missing")
WITH_BODY = ("length_required", "body_too_large", "request_timeout")


def plain_path(path: str) -> str:
    """The path as OpenAPI writes it: `{task:.+}` -> `{task}`."""
    return _GREEDY.sub("}", path)


def document(endpoints: list[Endpoint], version: str, tasks: dict[str, Any] | None = None) -> dict[str, Any]:
    """OpenAPI 3.1 of all endpoints; `tasks` are the schemas of the arguments, under `x-labd-tasks`."""
    kinds: list[Any] = [ErrorBody]
    for endpoint in endpoints:
        for kind in (endpoint.body, endpoint.answer, endpoint.query, endpoint.refusal):
            kinds += _choices(kind)
    unique = list({repr(kind): kind for kind in kinds}.values())
    schemas, components = msgspec.json.schema_components(unique, ref_template=REF)
    by_kind = {repr(kind): schema for kind, schema in zip(unique, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        operations = paths.setdefault(plain_path(endpoint.path), {})
        operations[endpoint.method.lower()] = _operation(endpoint, by_kind, components)
    used = {kind for endpoint in endpoints if (kind := endpoint.query) is not None}
    for kind in used:
        components.pop(_name_of(by_kind[repr(kind)]), None)
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "labd", "version": version, "license": {"name": "MIT", "identifier": "MIT"}},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "session": {"type": "apiKey", "in": "cookie", "name": "labd_session"},
            },
        },
    }
    if tasks is not None:
        found["x-labd-tasks"] = tasks
    return found


def _operation(endpoint: Endpoint, by_kind: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    path = plain_path(endpoint.path)
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in _PART.findall(path)
    ]
    if endpoint.query is not None:
        shape = components[_name_of(by_kind[repr(endpoint.query)])]
        required = shape.get("required", [])
        parameters += [
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in shape["properties"].items()
        ]
    operation: dict[str, Any] = {
        "operationId": _operation_id(endpoint),
        "summary": endpoint.summary,
        "description": f"Scope: {endpoint.scope}.",
        "tags": list(endpoint.tags),
        "responses": _responses(endpoint, by_kind),
        "security": [] if endpoint.scope == "none" else [{"bearer": []}, {"session": []}],
        "x-labd-scope": endpoint.scope,
    }
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = _content(endpoint.body, by_kind)
    return operation


def _choices(kind: Any) -> tuple[Any, ...]:
    """A union as its parts: an answer may be one of several Structs, which no decoder could tell apart."""
    if kind is None:
        return ()
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _content(kind: Any, by_kind: dict[str, Any]) -> dict[str, Any]:
    found = [by_kind[repr(choice)] for choice in _choices(kind)]
    return {"content": {"application/json": {"schema": found[0] if len(found) == 1 else {"oneOf": found}}}}


def _responses(endpoint: Endpoint, by_kind: dict[str, Any]) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "OK"}
    if endpoint.answer is not None:
        good |= _content(endpoint.answer, by_kind)
    found: dict[str, Any] = {str(status): good for status in (endpoint.status, *endpoint.also)}
    codes: dict[int, dict[str, Any]] = {}
    for code in (*endpoint.errors, *errors_of_the_door(endpoint)):
        codes.setdefault(STATUS[code], {})[code] = ErrorBody
    for code in endpoint.refused:
        codes.setdefault(STATUS[code], {})[code] = endpoint.refusal
    for status, named in codes.items():
        bodies = list(dict.fromkeys(named.values()))
        found[str(status)] = {"description": ", ".join(named), **_content(Union[*bodies], by_kind)}
    return found


def errors_of_the_door(endpoint: Endpoint) -> tuple[str, ...]:
    """Codes of what is refused before the handler is called."""
    with_scope = WITH_SCOPE if endpoint.scope != "none" else ()
    if endpoint.method in SAFE_METHODS:
        return (*with_scope, *EVERYWHERE)
    return (*with_scope, *EVERYWHERE, *(WITH_BODY if endpoint.body is not None else WITH_BODY[1:]))


def _operation_id(endpoint: Endpoint) -> str:
    words = re.sub(r"[^A-Za-z0-9]+", "_", plain_path(endpoint.path).removeprefix("/api/v1")).strip("_")
    return f"{endpoint.method.lower()}_{words or 'root'}"


def _name_of(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def endpoints(engine: Engine, all_of_them: list[Endpoint], version: str) -> list[Endpoint]:
    """The route of the document; the list must hold every other route when it is first asked for."""
    made: list[bytes] = []

    async def openapi(call: Call) -> web.Response:
        if not made:
            schemas = {spec.name: engine.registry.schema(spec) for spec in engine.registry.tasks()}
            made.append(msgspec.json.encode(document(all_of_them, version, schemas), enc_hook=str))
        return web.Response(body=made[0], headers=JSON_HEADERS)

    return [Endpoint("GET", "/api/v1/openapi.json", openapi, "read", "This API as OpenAPI 3.1", tags=("daemon",))]
