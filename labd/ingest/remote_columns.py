"""Columns of tables and files: their schema in Arrow, and how a table's grow by what a file brings."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from labd.ingest.remote_types import merge, normal, to_arrow, to_word

Json = dict[str, Any]
RESCUED = "_rescued_data"


def arrow_schema(columns: list[Json], rescued: bool = True) -> Any:
    """The Arrow schema of columns, with `_rescued_data` as the last unless told otherwise."""
    fields = [(column["name"], to_arrow(column["type"])) for column in columns]
    return pa.schema([*fields, (RESCUED, pa.string())] if rescued else fields)


def union(table: list[Json], brought: list[Json]) -> tuple[list[Json], list[Json]]:
    """The columns that a table has when it takes what a file brings, and what changes for that.

    Names are the same whatever their case. Only what Iceberg allows is widened (int to long, float to double, more
    digits of a decimal); where a type does not fit, the table's stays and a `conflict` says so: its values are rescued.
    """
    changes: list[Json] = []
    columns = {column["name"].lower(): dict(column) for column in table}
    for column in brought:
        known = columns.get(column["name"].lower())
        if known is None:
            columns[column["name"].lower()] = dict(column)
            changes.append(_change("add", column["name"], column["type"]))
            continue
        grown = _grown(to_arrow(known["type"]), to_arrow(column["type"]), known["name"], changes)
        known["type"] = to_word(grown) or known["type"]
    return list(columns.values()), changes


def fits(source: Any, target: Any) -> bool:
    """Whether every value of a type may stand in a column of another, so that nothing need change."""
    types = pa.types
    if source.equals(target) or types.is_null(source) or types.is_string(target):
        return True
    if types.is_date(target) or types.is_time(target) or types.is_map(target):
        return False
    if types.is_list(source) and types.is_list(target):
        return fits(source.value_type, target.value_type)
    if types.is_struct(source) and types.is_struct(target):
        inner = {field.name.lower(): field.type for field in target}
        return all(field.name.lower() in inner and fits(field.type, inner[field.name.lower()]) for field in source)
    if types.is_timestamp(target):
        return bool(types.is_timestamp(source) or types.is_date(source))
    return bool(merge(normal(source), target).equals(target))


def _grown(was: Any, brought: Any, path: str, changes: list[Json]) -> Any:
    types = pa.types
    if types.is_struct(was) and types.is_struct(brought):
        fields = {field.name.lower(): (field.name, field.type) for field in was}
        for field in brought:
            known = fields.get(field.name.lower())
            inner = f"{path}.{known[0] if known else field.name}"
            if known is None:
                changes.append(_change("add", inner, to_word(field.type) or "string"))
                fields[field.name.lower()] = (field.name, field.type)
            else:
                fields[field.name.lower()] = (known[0], _grown(known[1], field.type, inner, changes))
        return pa.struct(list(fields.values()))
    if types.is_list(was) and types.is_list(brought):
        return pa.list_(_grown(was.value_type, brought.value_type, f"{path}.element", changes))
    if fits(brought, was):
        return was
    wide = merge(was, brought)
    allowed = (
        (types.is_int32(was) and types.is_int64(wide))
        or (types.is_float32(was) and types.is_float64(wide))
        or (types.is_decimal(was) and types.is_decimal(wide) and was.scale == wide.scale)
    )
    if allowed:
        changes.append(_change("widen", path, to_word(wide) or "", to_word(was)))
        return wide
    changes.append(_change("conflict", path, to_word(brought) or "", to_word(was)))
    return was


def _change(kind: str, column: str, type_: str, was: str | None = None) -> Json:
    return {"key": f"{kind} {column} {type_}", "kind": kind, "column": column, "type": type_, "was": was}
