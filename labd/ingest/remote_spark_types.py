"""Column types between Iceberg's words, which labd speaks, and Spark's."""

from __future__ import annotations

from labd.ingest.remote_refusal import Refusal

TO_SPARK = {
    "boolean": "boolean", "int": "int", "long": "bigint", "float": "float", "double": "double", "date": "date",
    "string": "string", "binary": "binary", "timestamp": "timestamp_ntz", "timestamptz": "timestamp",
    "uuid": "string",
}  # fmt: skip
FROM_SPARK = {spark: words for words, spark in TO_SPARK.items() if words != "uuid"}
ALIASES = {"tinyint": "int", "smallint": "int"}


def to_spark(words: str) -> str:
    """Such as `struct<a: long, b: list<string>>` -> ``struct<`a`: bigint, `b`: array<string>>``.

    Raises:
        Refusal: Spark has no such type (`time`, `fixed[16]`).
    """
    words = words.strip()
    if words.startswith("decimal(") or words in TO_SPARK:
        return TO_SPARK.get(words, words)
    if words.startswith("list<"):
        return f"array<{to_spark(_inner(words))}>"
    if words.startswith("map<"):
        key, value = split(_inner(words))
        return f"map<{to_spark(key)}, {to_spark(value)}>"
    if words.startswith("struct<"):
        fields = (one.partition(":") for one in split(_inner(words)))
        return "struct<" + ", ".join(f"{quote(name.strip())}: {to_spark(kind)}" for name, _, kind in fields) + ">"
    raise Refusal("table_refused", f"engine spark has no type {words}; use engine arrow, or text for that column")


def from_spark(kind: object) -> str:
    """The words for a type of pyspark."""
    from pyspark.sql import types

    if isinstance(kind, types.ArrayType):
        return f"list<{from_spark(kind.elementType)}>"
    if isinstance(kind, types.MapType):
        return f"map<{from_spark(kind.keyType)}, {from_spark(kind.valueType)}>"
    if isinstance(kind, types.StructType):
        return "struct<" + ", ".join(f"{field.name}: {from_spark(field.dataType)}" for field in kind.fields) + ">"
    if isinstance(kind, types.DecimalType):
        return f"decimal({kind.precision}, {kind.scale})"
    text = str(getattr(kind, "simpleString", lambda: kind)())
    return FROM_SPARK.get(text, ALIASES.get(text, text))


def quote(*names: str) -> str:
    """Names for Spark SQL, each as it is."""
    return ".".join(f"`{name.replace('`', '``')}`" for name in names)


def split(text: str) -> list[str]:
    """At the commas that are not within brackets."""
    parts, depth, begin = [], 0, 0
    for place, sign in enumerate(text):
        depth += (sign in "<(") - (sign in ">)")
        if sign == "," and not depth:
            parts.append(text[begin:place].strip())
            begin = place + 1
    return [*parts, text[begin:].strip()]


def _inner(words: str) -> str:
    return words[words.index("<") + 1 : words.rindex(">")]
