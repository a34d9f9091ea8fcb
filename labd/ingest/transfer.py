"""Definitions as a document: out of one daemon and into another, and in from an older loader's table.

Why an import decides row by row: of a hundred older definitions the ninety that can be taken are taken, and each of the
others says why not. A second import passes over what the first one took.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from labd.errors import BadRequest
from labd.ingest.definition import Definition
from labd.ingest.record import Record, State, destination_key
from labd.ingest.seed_definition import LeftOut, Reading, convert
from labd.ingest.seed_nested import flatten, is_nested

FORMAT = "labd-ingestions"
VERSION = 1
MOST_ROWS = 10_000
Wanted = Literal["active", "paused"]


class Prepared(msgspec.Struct):
    """One definition of a document: as it would be kept, or why not. `key` is its place in the older table."""

    name: str
    key: str
    definition: Definition | None
    state: Wanted = "paused"
    reason: str = ""
    notes: list[str] = []
    secrets: tuple[str, ...] = ()
    """Names of the secrets that its credentials must have."""


def export(records: Iterable[Record], now: str) -> dict[str, Any]:
    """All that it takes to make these ingestions elsewhere: references to credentials, never secrets."""
    return {
        "format": FORMAT, "version": VERSION, "exported_at": now,
        "ingestions": [{"state": record.state.value, "definition": record.definition} for record in records],
    }  # fmt: skip


def read(text: str) -> Any:
    """The document in a text: JSON, JSON lines, or CSV with a head line.

    Raises:
        BadRequest: None of these.
    """
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise BadRequest("import: the document is empty")
    if text[0] not in "[{":
        return _read_csv(text)
    try:
        return json.loads(text)
    except ValueError as fault:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines]
        except ValueError:
            raise BadRequest(f"import: the document is no JSON: {fault}") from None


def _read_csv(text: str) -> list[dict[str, Any]]:
    csv.field_size_limit(2**24)
    try:
        found = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as fault:
        raise BadRequest(f"import: the document is no CSV: {fault}") from None
    for place, row in enumerate(found, 2):
        if None in row or None in row.values():
            raise BadRequest(f"import: CSV row {place} has another number of cells than the head line")
    return [{name.strip(): None if value in ("", "\\N", "NULL") else value for name, value in row.items()}
            for row in found]  # fmt: skip


def prepare(document: Any, *, catalog: str | None = None, engine: str = "arrow") -> list[Prepared]:
    """Every definition of a document, in its order.

    Args:
        catalog: A catalogue for older definitions, instead of their own.

    Raises:
        BadRequest: Neither an export of labd nor rows of an older table.
    """
    rows = _rows(document)
    if len(rows) > MOST_ROWS:
        raise BadRequest(f"import: the document has {len(rows)} definitions; at most {MOST_ROWS} at once")
    if isinstance(document, Mapping) and document.get("format") == FORMAT:
        found = [_own(place, one) for place, one in enumerate(rows)]
    else:
        found = _older(rows, catalog, engine)
    _refuse_twice(found)
    return found


def _rows(document: Any) -> list[Any]:
    if isinstance(document, Mapping):
        kind = document.get("format")
        if isinstance(kind, str) and kind != FORMAT:
            raise BadRequest(f"import: {kind[:40]!r} is no {FORMAT}; `labctl ingest export` writes one")
        if document.get("format") == FORMAT and document.get("version") != VERSION:
            raise BadRequest(
                f"import: the document has version {document.get('version')!r}, this labd reads {VERSION}; "
                "export it again with this labd"
            )
        rows = next((document[key] for key in ("ingestions", "rows", "items") if key in document), None)
        if rows is None and ("source_path" in document or is_nested(document)):
            rows = [document]
        document = rows
    if not isinstance(document, list) or not document:
        raise BadRequest(
            "import: the document has no `ingestions`; a list of rows, or what `labctl ingest export` wrote"
        )
    return document


def _own(place: int, one: Any) -> Prepared:
    given = one.get("definition") if isinstance(one, Mapping) else None
    name = str(given.get("name")) if isinstance(given, Mapping) else f"number {place + 1}"
    try:
        definition = msgspec.convert(given, Definition)
    except msgspec.ValidationError as fault:
        return Prepared(name[:80], "", None, reason=str(fault))
    state: Wanted = "active" if one.get("state") == State.ACTIVE else "paused"
    return Prepared(definition.name, "", definition, state)


def _older(rows: Sequence[Any], catalog: str | None, engine: str) -> list[Prepared]:
    """Rows with the same credentials share one name for them, that of the first."""
    named: dict[str, str] = {}
    taken: set[str] = set()
    found: list[Prepared] = []
    for place, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            found.append(Prepared(f"number {place}", "", None, reason="it is no object"))
            continue
        row = flatten(row) if is_nested(row) else row
        key = str(row.get("id") or "")[:64]
        told = str(row.get("name") or f"number {place}")[:80]
        try:
            definition, reading = convert(row, catalog=catalog, engine=engine)
        except LeftOut as fault:
            found.append(Prepared(told, key, None, reason=str(fault)))
            continue
        definition = _alone(definition, key or str(place), taken, reading)
        if reading.digest:
            name = named.setdefault(reading.digest, definition.name)
            source = msgspec.structs.replace(definition.source, credentials=name)
            definition = msgspec.structs.replace(definition, source=source)
        state: Wanted = "active" if str(row.get("status") or "").lower() == "active" else "paused"
        found.append(Prepared(definition.name, key, definition, state, "", reading.notes, reading.secrets))
    return found


def _alone(definition: Definition, key: str, taken: set[str], reading: Reading) -> Definition:
    """With a name of its own: names of the older table were unique for nobody."""
    name = definition.name
    if name.lower() in taken:
        name = f"{name[:54]}-{key.replace('-', '')[:8]}"
        reading.notes.append(f"another row has the name {definition.name}; this one becomes {name}")
    taken.add(name.lower())
    return msgspec.structs.replace(definition, name=name)


def _refuse_twice(found: Sequence[Prepared]) -> None:
    """Of two with one table or one name the first is taken."""
    tables: dict[str, str] = {}
    names: set[str] = set()
    for one in found:
        if one.definition is None:
            continue
        table = destination_key(one.definition)
        other = tables.setdefault(table.lower(), one.name)
        if one.name.lower() in names:
            one.definition, one.reason = None, f"{one.name} stands twice in the document"
        elif other != one.name:
            one.definition, one.reason = None, f"table {table} is that of {other} already; two never write one table"
        names.add(one.name.lower())
