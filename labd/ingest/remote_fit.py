"""Fits Arrow columns to the columns of a table; what does not fit is null there and stands in `_rescued_data`.

Why by trying: Arrow's casts are fast and refuse as a whole, so a column that is refused is halved until the values
that do not fit are alone. A clean column costs one cast, or none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from labd.ingest.remote_types import normal
from labd.ingest.remote_values import fit_value, match_names, text_of, told

Json = dict[str, Any]
Fitted = tuple[Any, list[int]]
"""A column, and the rows of it whose value did not fit."""
_ZONE = r"\d\d:\d\d.*(Z|[+-]\d\d(:?\d\d)?)$"


def fit_batch(
    batch: Any, schema: Any, *, text: bool, number_of: Callable[[int], Json], formats: Sequence[str] = ()
) -> tuple[Any, int]:
    """A batch with exactly the columns of `schema`, the last being `_rescued_data`, and how many rows have it.

    Args:
        batch: Record batch of a file.
        schema: `arrow_schema(columns)`.
        text: Columns of text are what was written in a CSV file, so they may be numbers too.
        number_of: Where a row stands, such as `{"_line": 7}`.
        formats: Of timestamps in text.
    """
    names = batch.schema.names
    found = {target: names.index(name) for name, target in match_names(names, schema.names[:-1]).items()}
    rescued: dict[int, Json] = {}
    columns = []
    for field in list(schema)[:-1]:
        place = found.get(field.name)
        if place is None:
            columns.append(pa.nulls(batch.num_rows, field.type))
            continue
        column = _tellable(batch.column(place))
        fitted, bad = fit(column, field.type, text=text, formats=formats)
        columns.append(fitted)
        for row in bad:
            rescued.setdefault(row, {})[names[place]] = column[row].as_py()
    kept = set(found.values())
    for place, name in enumerate(names):
        if place not in kept:
            _rescue_all(batch.column(place), name, rescued)
    columns.append(rescued_column(batch.num_rows, rescued, number_of))
    return pa.RecordBatch.from_arrays(columns, schema=schema), len(rescued)


def _rescue_all(column: Any, name: str, rescued: dict[int, Json]) -> None:
    """Put every value of a column that the table has not into the rescued rows."""
    if pa.types.is_null(column.type):
        return
    for row, value in enumerate(_tellable(column).to_pylist()):
        if value is not None:
            rescued.setdefault(row, {})[name] = value


def rescued_column(rows: int, rescued: dict[int, Json], number_of: Callable[[int], Json]) -> Any:
    """`_rescued_data` of a batch."""
    if not rescued:
        return pa.nulls(rows, pa.string())
    texts: list[str | None] = [None] * rows
    for row, values in rescued.items():
        texts[row] = rescued_text(values, number_of(row))
    return pa.array(texts, pa.string())


def rescued_text(values: Json, place: Json) -> str:
    """What did not fit in a row, as JSON text. NaN and infinity are text there, because JSON has no such numbers."""
    try:
        return json.dumps(values | place, ensure_ascii=False, default=told, allow_nan=False)
    except ValueError:
        return json.dumps({name: text_of(value) for name, value in values.items()} | place, ensure_ascii=False)


def plain(column: Any) -> Any:
    """A column in the types that labd's tables have; finer than microseconds is cut off."""
    target = normal(column.type)
    if column.type.equals(target) or pa.types.is_null(target):
        return column
    if pa.types.is_dictionary(column.type):
        return plain(column.dictionary_decode())
    return column.cast(target, safe=not _has_nanoseconds(column.type))


def _tellable(column: Any) -> Any:
    """A column whose values Python can tell: it has no nanoseconds."""
    return plain(column) if _has_nanoseconds(column.type) else column


def _has_nanoseconds(kind: Any) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_nanoseconds(kind.field(place).type) for place in range(kind.num_fields))
    return getattr(kind, "unit", "") == "ns"


def fit(column: Any, target: Any, *, text: bool = False, formats: Sequence[str] = ()) -> Fitted:
    """A column as `target`, null where a value does not fit."""
    types = pa.types
    if column.type.equals(target):
        return column, []
    if types.is_null(column.type) or column.null_count == len(column):
        return pa.nulls(len(column), target), []
    if types.is_nested(column.type) or types.is_nested(target):
        column = _tellable(column)
        if _covers(column.type, target):
            try:
                return column.cast(target), []
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                pass
        return _one_by_one(column, target)
    column = plain(column)
    source = column.type
    if source.equals(target):
        return column, []
    if types.is_string(source):
        return _fit_text(column, target, text=text, formats=formats)
    if types.is_string(target) and not types.is_binary(source) and not types.is_temporal(source):
        return column.cast(target), []
    if _may_be(source, target):
        return _halved(column, target, lambda part: part.cast(target))
    return _one_by_one(column, target)


def _may_be(source: Any, target: Any) -> bool:
    types = pa.types
    if types.is_integer(source):
        return bool(types.is_integer(target) or types.is_floating(target) or types.is_decimal(target))
    if types.is_decimal(source):
        return bool(types.is_decimal(target) or types.is_integer(target) or types.is_floating(target))
    if types.is_floating(source):
        return bool(types.is_floating(target))
    return bool(
        (types.is_timestamp(source) or types.is_date(source)) and (types.is_timestamp(target) or types.is_date(target))
    )


def _covers(source: Any, target: Any) -> bool:
    """Whether a nested type can be cast without a field or a kind of value being lost."""
    types = pa.types
    if types.is_struct(source) and types.is_struct(target):
        inner = {field.name: field.type for field in target}
        return all(field.name in inner and _covers(field.type, inner[field.name]) for field in source)
    if types.is_list(source) and types.is_list(target):
        return _covers(source.value_type, target.value_type)
    if types.is_map(source) and types.is_map(target):
        return bool(source.key_type.equals(target.key_type)) and _covers(source.item_type, target.item_type)
    if types.is_nested(source) or types.is_nested(target):
        return False
    source = normal(source)
    return bool(source.equals(target) or types.is_null(source) or _may_be(source, target))


def _fit_text(column: Any, target: Any, *, text: bool, formats: Sequence[str]) -> Fitted:
    types = pa.types
    if text:
        column = pc.utf8_trim_whitespace(column)
    if types.is_timestamp(target):
        return _halved(column, target, lambda part: _to_timestamp(part, target, formats))
    number = types.is_integer(target) or types.is_floating(target) or types.is_boolean(target)
    if types.is_date(target) or types.is_decimal(target) or types.is_binary(target) or (number and text):
        return _halved(column, target, lambda part: part.cast(target))
    return _one_by_one(column, target)


def _to_timestamp(column: Any, target: Any, formats: Sequence[str]) -> Any:
    """Text in one of `formats`, else in ISO 8601 with or without zone; without is UTC."""
    naive, utc, seconds = pa.timestamp("us"), pa.timestamp("us", "UTC"), None
    for form in formats:
        parsed = pc.strptime(column, format=form, unit="us", error_is_null=True)
        seconds = parsed if seconds is None else pc.coalesce(seconds, parsed)
    if seconds is not None:
        seconds = seconds.cast(naive)
        column = pc.if_else(pc.is_valid(seconds), pa.scalar(None, pa.string()), column)
    if pc.any(pc.match_substring_regex(column, r"\.\d{7}")).as_py():
        column = pc.replace_substring_regex(column, r"(\.\d{6})\d+", r"\1")
    zoned = pc.match_substring_regex(column, _ZONE)
    with_zone = pc.if_else(zoned, column, pa.scalar(None, pa.string()))
    without = pc.if_else(zoned, pa.scalar(None, pa.string()), column)
    parts = [with_zone.cast(utc).cast(naive), without.cast(naive)]
    found = pc.coalesce(*([seconds] if seconds is not None else []), *parts)
    return found.cast(target)


def _halved(column: Any, target: Any, cast: Callable[[Any], Any]) -> Fitted:
    bad: list[int] = []
    parts: list[Any] = []

    def go(start: int, length: int) -> None:
        try:
            parts.append(cast(column.slice(start, length)))
        except pa.ArrowInvalid:
            if length == 1:
                parts.append(pa.nulls(1, target))
                bad.append(start)
                return
            half = length // 2
            go(start, half)
            go(start + half, length - half)

    go(0, len(column))
    return (parts[0] if len(parts) == 1 else pa.concat_arrays(parts)), bad


def _one_by_one(column: Any, target: Any) -> Fitted:
    values, bad = [], []
    for row, value in enumerate(column.to_pylist()):
        made, good = fit_value(value, target)
        values.append(made)
        if not good:
            bad.append(row)
    return pa.array(values, target), bad
