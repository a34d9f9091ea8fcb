"""Column types between Iceberg's words, which labd speaks, and Spark's."""

from __future__ import annotations

import re
from typing import Any

from labd.ingest.remote_refusal import Refusal

TO_SPARK = {
    "boolean": "boolean", "int": "int", "long": "bigint", "float": "float", "double": "double", "date": "date",
    "string": "string", "binary": "binary", "timestamp": "timestamp_ntz", "timestamptz": "timestamp",
}  # fmt: skip
FROM_SPARK = {spark: words for words, spark in TO_SPARK.items()}
PLAIN = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")
ALIASES = {"tinyint": "int", "smallint": "int"}


def to_spark(words: str) -> str:
    """Such as `struct<a: long, b: list<string>>` -> ``struct<`a`: bigint, `b`: array<string>>``.

    Raises:
        Refusal: Spark has no such type (`time`, `fixed[16]`), or it is no type.
    """
    from labd.ingest.remote_types import UnknownType, to_arrow

    try:
        return _ddl(to_arrow(words), words)
    except UnknownType as fault:
        raise Refusal("table_refused", str(fault)) from fault


def _ddl(kind: Any, words: str) -> str:
    import pyarrow as pa

    from labd.ingest.remote_types import to_word

    if pa.types.is_list(kind):
        return f"array<{_ddl(kind.value_type, words)}>"
    if pa.types.is_map(kind):
        return f"map<{_ddl(kind.key_type, words)}, {_ddl(kind.item_type, words)}>"
    if pa.types.is_struct(kind):
        return "struct<" + ", ".join(f"{quote(one.name)}: {_ddl(one.type, words)}" for one in kind) + ">"
    word = to_word(kind) or words
    if word.startswith("decimal("):
        return word
    if word in TO_SPARK:
        return TO_SPARK[word]
    raise Refusal("table_refused", f"engine spark has no type {words}; use engine arrow, or text for that column")


def from_spark(kind: object) -> str:
    """The words for a type of pyspark."""
    from pyspark.sql import types

    if isinstance(kind, types.ArrayType):
        return f"list<{from_spark(kind.elementType)}>"
    if isinstance(kind, types.MapType):
        return f"map<{from_spark(kind.keyType)}, {from_spark(kind.valueType)}>"
    if isinstance(kind, types.StructType):
        return "struct<" + ", ".join(f"{_name(one.name)}: {from_spark(one.dataType)}" for one in kind.fields) + ">"
    if isinstance(kind, types.DecimalType):
        return f"decimal({kind.precision}, {kind.scale})"
    text = str(getattr(kind, "simpleString", lambda: kind)())
    return FROM_SPARK.get(text, ALIASES.get(text, text))


def quote(*names: str) -> str:
    """Names for Spark SQL, each as it is."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def _name(name: str) -> str:
    return name if PLAIN.match(name) else quote(name)
