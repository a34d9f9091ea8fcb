"""Iceberg's words for types and what they are in Arrow.

Why words: they are what people write, what the daemon keeps and compares, and what both engines understand.
Timestamps are in microseconds, because Iceberg's second format has no finer ones.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import pyarrow as pa

SIMPLE = {
    "boolean": pa.bool_(),
    "int": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "binary": pa.binary(),
    "uuid": pa.uuid() if hasattr(pa, "uuid") else pa.binary(16),
}
MOST_DIGITS = 38
_TOKEN = re.compile(r"\s*(?:([A-Za-z_][A-Za-z_0-9]*)|`((?:[^`]|``)+)`|(\d+)|([<>(),:\[\]]))")
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z_0-9]*\Z")


class UnknownType(ValueError):
    """A text is no type."""


@lru_cache(maxsize=1000)
def to_arrow(word: str) -> Any:
    """The Arrow type of a word such as `decimal(10, 2)` or `struct<a: long, b: list<string>>`.

    Names in a struct may be in backticks.

    Raises:
        UnknownType: The text is no type.
    """
    reader = _Reader(word)
    found = reader.type()
    if reader.peek() != "":
        raise UnknownType(f"{word!r}: {reader.peek()!r} is too much")
    return found


def to_word(kind: Any) -> str | None:
    """The word for an Arrow type; None where it tells nothing (all null, or a struct or list of nothing).

    What Iceberg has not, is said by what holds it: unsigned and small numbers by the next larger, the rest as text.
    """
    types = pa.types
    if types.is_dictionary(kind):
        return to_word(kind.value_type)
    if types.is_null(kind):
        return None
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        element = to_word(kind.value_type)
        return None if element is None else f"list<{element}>"
    if types.is_map(kind):
        value = to_word(kind.item_type)
        return None if value is None else f"map<{to_word(kind.key_type) or 'string'}, {value}>"
    if types.is_struct(kind):
        fields = [(field.name, to_word(field.type)) for field in kind]
        told = [f"{_quoted(name)}: {word}" for name, word in fields if word is not None]
        return f"struct<{', '.join(told)}>" if told else None
    return _simple_word(kind)


def _simple_word(kind: Any) -> str:
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid":
        return "uuid"
    if types.is_boolean(kind):
        return "boolean"
    if types.is_integer(kind):
        if types.is_uint64(kind):
            return "decimal(20, 0)"
        return "long" if kind.bit_width == 64 or types.is_uint32(kind) else "int"
    if types.is_floating(kind):
        return "double" if kind.bit_width == 64 else "float"
    if types.is_decimal(kind):
        return f"decimal({kind.precision}, {kind.scale})" if kind.precision <= MOST_DIGITS else "string"
    if types.is_timestamp(kind):
        return "timestamptz" if kind.tz else "timestamp"
    if types.is_date(kind):
        return "date"
    if types.is_time(kind):
        return "time"
    if types.is_fixed_size_binary(kind):
        return f"fixed[{kind.byte_width}]"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return "binary"
    return "long" if types.is_duration(kind) else "string"


def normal(kind: Any) -> Any:
    """The Arrow type that labd's tables have for an Arrow type; null where it tells nothing."""
    word = to_word(kind)
    return pa.null() if word is None else to_arrow(word)


def merge(one: Any, other: Any) -> Any:
    """The narrowest type that holds the values of both, text at worst; both are `normal` types."""
    types = pa.types
    if one.equals(other) or types.is_null(other):
        return one
    if types.is_null(one):
        return other
    if types.is_list(one) and types.is_list(other):
        return pa.list_(merge(one.value_type, other.value_type))
    if types.is_struct(one) and types.is_struct(other):
        fields = {field.name: field.type for field in one}
        for field in other:
            fields[field.name] = merge(fields[field.name], field.type) if field.name in fields else field.type
        return pa.struct(list(fields.items()))
    if types.is_map(one) and types.is_map(other) and one.key_type.equals(other.key_type):
        return pa.map_(one.key_type, merge(one.item_type, other.item_type))
    if types.is_temporal(one) and types.is_temporal(other) and not (types.is_time(one) or types.is_time(other)):
        return SIMPLE["timestamptz" if "timestamptz" in (to_word(one), to_word(other)) else "timestamp"]
    return _merged_number(one, other) or pa.string()


def _merged_number(one: Any, other: Any) -> Any:
    types = pa.types
    kinds = (one, other)
    if not all(types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) for kind in kinds):
        return None
    if any(types.is_floating(kind) for kind in kinds):
        return pa.float64()
    if all(types.is_integer(kind) for kind in kinds):
        return pa.int64()
    whole = max(
        kind.precision - kind.scale if types.is_decimal(kind) else (19 if kind.bit_width == 64 else 10)
        for kind in kinds
    )
    scale = max(kind.scale if types.is_decimal(kind) else 0 for kind in kinds)
    return pa.decimal128(whole + scale, scale) if whole + scale <= MOST_DIGITS else None


def _quoted(name: str) -> str:
    return name if _PLAIN.match(name) else "`" + name.replace("`", "``") + "`"


class _Reader:
    """Descends through the text of a type."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[str] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None:
                raise UnknownType(f"{text!r} is no type at {text[place:]!r}")
            name = match[2]
            self._tokens.append("`" + name.replace("``", "`") if name else match[1] or match[3] or match[4])
            place = match.end()
        self._next = 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise UnknownType(f"{self._text!r} is no type: {wanted or 'more'} expected, found {token or 'the end'}")
        self._next += 1
        return token

    def number(self) -> int:
        token = self.take()
        if not token.isdigit():
            raise UnknownType(f"{self._text!r} is no type: a number expected, found {token}")
        return int(token)

    def type(self) -> Any:
        word = self.take().lower()
        if word == "list":
            self.take("<")
            element = self.type()
            self.take(">")
            return pa.list_(element)
        if word == "map":
            self.take("<")
            key = self.type()
            self.take(",")
            value = self.type()
            self.take(">")
            return pa.map_(key, value)
        if word == "struct":
            return self._struct()
        if word == "decimal":
            self.take("(")
            precision = self.number()
            self.take(",")
            scale = self.number()
            self.take(")")
            if not 1 <= precision <= MOST_DIGITS or scale > precision:
                raise UnknownType(f"decimal({precision}, {scale}): 1 to {MOST_DIGITS} digits, no more of them decimals")
            return pa.decimal128(precision, scale)
        if word == "fixed":
            self.take("[")
            width = self.number()
            self.take("]")
            return pa.binary(width)
        if word not in SIMPLE:
            raise UnknownType(f"{word!r} in {self._text!r} is no type; there are {', '.join(SIMPLE)}, decimal(p, s), "
                              "fixed[n], list<t>, map<k, v>, struct<name: t, ...>")  # fmt: skip
        return SIMPLE[word]

    def _struct(self) -> Any:
        self.take("<")
        fields = []
        while True:
            name = self.take()
            self.take(":")
            fields.append((name.removeprefix("`"), self.type()))
            if self.take() == ">":
                return pa.struct(fields)
