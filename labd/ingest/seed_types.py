"""Types of Spark's schema JSON in Iceberg's words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from labd.ingest.definition import Column

PLAIN = {
    "boolean": "boolean", "byte": "int", "tinyint": "int", "short": "int", "smallint": "int", "integer": "int",
    "int": "int", "long": "long", "bigint": "long", "float": "float", "real": "float", "double": "double",
    "string": "string", "varchar": "string", "char": "string", "text": "string", "binary": "binary", "date": "date",
    "timestamp": "timestamptz", "timestamp_ltz": "timestamptz", "timestamp_ntz": "timestamp",
}  # fmt: skip
_DECIMAL = re.compile(r"^decimal\(\s*(\d{1,2})\s*,\s*(\d{1,2})\s*\)$")
_SIZED = re.compile(r"^(var)?char\(\s*\d+\s*\)$")
_WORD = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
DEEPEST = 20


class NoColumns(ValueError):
    """A schema that cannot be read; the text names the column."""


def read_columns(schema: Any) -> tuple[Column, ...]:
    """The columns of `schema_json`: Spark's own JSON, `{"columns": [...]}`, a list of columns, or name to type.

    Raises:
        NoColumns: It is none of these, or has a type that Iceberg has not.
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except ValueError:
            raise NoColumns("schema_json is no JSON") from None
    if isinstance(schema, Mapping):
        listed = next((schema[key] for key in ("fields", "columns") if isinstance(schema.get(key), list)), None)
        if listed is None:
            listed = [{"name": name, "type": kind} for name, kind in schema.items()]
        schema = listed
    if not isinstance(schema, list) or not schema:
        raise NoColumns("schema_json has no columns")
    return tuple(_column(field) for field in schema)


def _column(field: Any) -> Column:
    if not isinstance(field, Mapping) or not field.get("name"):
        raise NoColumns("schema_json has a column without a name")
    kind = next((field[key] for key in ("type", "data_type", "dataType") if key in field), None)
    return Column(str(field["name"])[:255], iceberg_type(kind, str(field["name"])[:80]))


def iceberg_type(kind: Any, column: str, depth: int = 0) -> str:
    """One type.

    Raises:
        NoColumns: Iceberg has no such type.
    """
    if depth > DEEPEST:
        raise NoColumns(f"schema_json, column {column}: nested deeper than {DEEPEST}")
    if isinstance(kind, str):
        return _plain(kind.strip().lower(), column)
    if isinstance(kind, Mapping):
        what = kind.get("type")
        if what == "array":
            return f"list<{iceberg_type(kind.get('elementType'), column, depth + 1)}>"
        if what == "map":
            key = iceberg_type(kind.get("keyType"), column, depth + 1)
            return f"map<{key}, {iceberg_type(kind.get('valueType'), column, depth + 1)}>"
        if what == "struct" and isinstance(kind.get("fields"), list):
            inner = [
                f"{_field(str(one.get('name')))}: {iceberg_type(one.get('type'), column, depth + 1)}"
                for one in kind["fields"] if isinstance(one, Mapping)
            ]  # fmt: skip
            return f"struct<{', '.join(inner)}>"
        if isinstance(what, str):
            return _plain(what.strip().lower(), column)
    raise NoColumns(f"schema_json, column {column}: type {str(kind)[:60]!r} has no counterpart in Iceberg")


def _field(name: str) -> str:
    return name if _WORD.fullmatch(name) else "`" + name.replace("`", "``") + "`"


def _plain(kind: str, column: str) -> str:
    decimal = _DECIMAL.match(kind)
    if decimal is not None:
        return f"decimal({int(decimal[1])}, {int(decimal[2])})"
    found = PLAIN.get("string" if _SIZED.match(kind) else kind)
    if found is None and kind == "decimal":
        return "decimal(10, 0)"  # Spark's own default
    if found is None:
        raise NoColumns(f"schema_json, column {column}: type {kind[:60]!r} has no counterpart in Iceberg")
    return found
