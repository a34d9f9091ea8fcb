"""Arrow types and what the embedded store makes of them.

Runs in the store's child process: the standard library and pyarrow.

Why some columns are read by pyarrow and written anew before they are loaded: ladybug 0.22 reads parquet by itself, but
takes a time in nanoseconds for a number, half floats for bytes, and no decimals at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import types

NUMBERS = {
    pa.int8(): "INT8", pa.int16(): "INT16", pa.int32(): "INT32", pa.int64(): "INT64",
    pa.uint8(): "UINT8", pa.uint16(): "UINT16", pa.uint32(): "UINT32", pa.uint64(): "UINT64",
    pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.bool_(): "BOOL", pa.date32(): "DATE", pa.date64(): "DATE",
}  # fmt: skip
DECIMAL_DIGITS = 38


class Unfit(Exception):
    """A type that the store has no place for; the text says which."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A column's type in the store, and the Arrow type that it is written anew with, if it must be."""

    name: str
    anew: Any = None


def fit(kind: Any) -> Fit:
    """How the store holds a column.

    Raises:
        Unfit: It does not.
    """
    if kind in NUMBERS:
        return Fit(NUMBERS[kind])
    if is_text(kind):
        return Fit("STRING")
    if types.is_null(kind):
        return Fit("STRING")
    if types.is_float16(kind):
        return Fit("FLOAT", pa.float32())
    if types.is_timestamp(kind):
        return Fit("TIMESTAMP" if kind.tz is None else "TIMESTAMP_TZ", _micro(kind))
    if types.is_decimal(kind) and kind.precision <= DECIMAL_DIGITS and 0 <= kind.scale <= kind.precision:
        return Fit(f"DECIMAL({kind.precision}, {kind.scale})", pa.string())
    if types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return Fit("BLOB")
    return _nested(kind)


def _nested(kind: Any) -> Fit:
    """Lists, structs and maps of what is read as it is; their inner parts are never written anew."""
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return Fit(f"{_inner(kind, kind.value_type)}[]")
    if types.is_struct(kind) and kind.num_fields:
        parts = [kind.field(place) for place in range(kind.num_fields)]
        for part in parts:
            if not part.name.isidentifier() or not part.name.isascii():
                raise Unfit(f"{kind}: {part.name!r} cannot be the name of a field")
        return Fit("STRUCT(" + ", ".join(f"{part.name} {_inner(kind, part.type)}" for part in parts) + ")")
    if types.is_map(kind):
        return Fit(f"MAP({_inner(kind, kind.key_type)}, {_inner(kind, kind.item_type)})")
    raise Unfit(str(kind))


def _inner(whole: Any, kind: Any) -> str:
    found = fit(kind)
    if found.anew is not None or types.is_null(kind):
        raise Unfit(f"{whole} with {kind} inside")
    return found.name


def _micro(kind: Any) -> Any:
    """Nanoseconds are written anew in microseconds, where nothing is lost by it."""
    return pa.timestamp("us", kind.tz) if kind.unit == "ns" else None


def is_text(kind: Any) -> bool:
    """Text in one of Arrow's ways of holding it."""
    if types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def is_list(kind: Any) -> bool:
    """A list that labels can be in."""
    return bool(types.is_list(kind) or types.is_large_list(kind))
