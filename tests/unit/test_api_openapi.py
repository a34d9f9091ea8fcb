"""The document and the routes say the same, both ways."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.api import docs, schedules
from labd.api.endpoint import Call, Endpoint
from labd.api.errors import STATUS
from labd.api.openapi import document, plain_path
from labd.api.options import ApiOptions
from labd.api.server import build
from labd.engine.schedule_spec import ScheduleSpec
from tests.fakes.api_door import nothing_changed
from tests.fakes.api_engine import FakeStatus, MemoryEngine


class LidQuery(msgspec.Struct):
    device: str | None = None


class Lid(msgspec.Struct):
    is_open: bool


async def _lid(call: Call) -> Lid:
    return Lid(True)


WING = [Endpoint("GET", "/api/v1/box/lid", _lid, "read", "The lid", query=LidQuery, answer=Lid, tags=("box",))]


def served() -> list[Endpoint]:
    async def make() -> list[Endpoint]:
        options = ApiOptions(socket=Path("/nowhere/labd.sock"), state_dir=Path("/nowhere"))
        return build(MemoryEngine(), options, WING, FakeStatus(), nothing_changed).endpoints  # type: ignore[arg-type]

    return asyncio.run(make())


ENDPOINTS = served()
DOCUMENT = document(ENDPOINTS, "1.0")


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    routes = {(endpoint.method.lower(), plain_path(endpoint.path)) for endpoint in ENDPOINTS}
    told = {(method, path) for path, operations in DOCUMENT["paths"].items() for method in operations}
    assert routes == told
    assert len(routes) == len(ENDPOINTS)


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def test_every_reference_leads_somewhere_and_every_schema_is_used() -> None:
    names = {reference.removeprefix("#/components/schemas/") for reference in references(DOCUMENT)}
    assert names == set(DOCUMENT["components"]["schemas"])


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for operations in DOCUMENT["paths"].values() for operation in operations.values()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_an_operation_tells_parameters_body_answer_and_errors(endpoint: Endpoint) -> None:
    operation = DOCUMENT["paths"][plain_path(endpoint.path)][endpoint.method.lower()]
    told = {(parameter["in"], parameter["name"]) for parameter in operation.get("parameters", [])}
    expected = {("path", name) for name in re.findall(r"\{(\w+)", endpoint.path)}
    if endpoint.query is not None:
        expected |= {("query", field.encode_name) for field in msgspec.structs.fields(endpoint.query)}
    assert told == expected
    assert ("requestBody" in operation) == (endpoint.body is not None)
    assert str(endpoint.status) in operation["responses"]
    assert all(code in STATUS for code in endpoint.errors)
    assert endpoint.summary
    assert endpoint.tags
    assert operation["x-labd-scope"] == endpoint.scope
    assert bool(operation["security"]) == (endpoint.scope != "none")


def test_only_these_routes_are_open_to_everybody() -> None:
    free = {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS if endpoint.scope == "none"}
    assert free == {
        "GET /",
        "GET /docs",
        "GET /docs/runbook",
        "GET /docs/style.css",
        "GET /favicon.ico",
        "GET /healthz",
        "GET /web/{stamp}/{name:.+}",
        "POST /api/v1/session",
        "DELETE /api/v1/session",
    }


def test_two_endpoints_of_one_route_are_refused() -> None:
    options = ApiOptions(socket=Path("/nowhere/labd.sock"), state_dir=Path("/nowhere"))

    async def make() -> None:
        build(MemoryEngine(), options, [*WING, *WING], FakeStatus(), nothing_changed)  # type: ignore[arg-type]

    with pytest.raises(ValueError, match="two endpoints for GET /api/v1/box/lid"):
        asyncio.run(make())


def test_a_schedule_on_the_wire_has_the_fields_of_the_engine() -> None:
    ours = {field.name for field in msgspec.structs.fields(ScheduleSpec)}
    assert {field.name for field in msgspec.structs.fields(schedules.ScheduleBody)} == ours
    assert {field.name for field in msgspec.structs.fields(schedules.ScheduleAnswer)} > ours


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.targets += [value or "" for name, value in attrs if name in ("href", "src")]


def test_the_page_shows_every_route_and_asks_no_other_host() -> None:
    html = docs.page(DOCUMENT)
    for endpoint in ENDPOINTS:
        assert f"{endpoint.method} {plain_path(endpoint.path)}" in html
    links = Links()
    links.feed(html)
    assert not links.tags & {"script", "style", "iframe", "object", "form"}
    assert all(target.startswith(("/", "#")) and not target.startswith("//") for target in links.targets)


def test_the_page_escapes_what_a_wing_writes() -> None:
    hostile = [Endpoint("GET", "/x", _lid, "read", "<script>alert(1)</script>", tags=("<b>",))]
    html = docs.page(document(hostile, "<i>"))
    assert "<script>" not in html
    assert "<b>" not in html
    assert "<i>" not in html
