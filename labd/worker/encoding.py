"""JSON as it goes over the wire, with the place named where a value cannot be written.

Enums go as their values, dataclasses as objects, tuples as arrays. NaN, infinities and lone surrogates are refused: the
daemon's reader would refuse the whole line.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import os
from typing import Any


class NotJson(ValueError):
    """A value that JSON cannot hold; the message names the place in it."""


def _stand_in(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_stand_in).encode
_canonical = json.JSONEncoder(allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def encode(value: Any) -> bytes:
    """One line of JSON without its end.

    Raises:
        NotJson: Without a place; `check` finds it.
    """
    try:
        return _encode(value).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as fault:
        raise NotJson(str(fault) or type(fault).__name__) from None


def plain(value: Any, subject: str) -> Any:
    """The value as it will be read on the other side.

    Raises:
        NotJson: Names the place, such as `result["plates"][3]`.
    """
    try:
        return json.loads(encode(value))
    except NotJson as fault:
        raise NotJson(explain(value, subject) or f"{subject}: {fault}") from None


def canonical(value: Any) -> str:
    """One spelling for one plain value, on every Python."""
    return _canonical(value)


def explain(value: Any, place: str, depth: int = 0) -> str:
    """Where in the value lies what JSON cannot hold; empty if it lies nowhere."""
    if depth > 200:
        return f"{place[:80]}... is nested more than 200 deep, or holds itself"
    if value is None or isinstance(value, (bool, int)):
        return ""
    if isinstance(value, float):
        return (
            "" if math.isfinite(value) else f"{place} is {value}, which JSON cannot hold; use None for a missing number"
        )
    if isinstance(value, str):
        return "" if _is_unicode(value) else f"{place} is a text with a lone surrogate, which UTF-8 cannot hold"
    if isinstance(value, dict):
        for key, item in value.items():
            if key is not None and not isinstance(key, (str, int, float)):
                return f"{place} has the key {key!r} of type {_name(key)}; JSON has words as keys"
            found = explain(item, f"{place}[{key!r}]", depth + 1)
            if found:
                return found
        return ""
    if isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            found = explain(item, f"{place}[{index}]", depth + 1)
            if found:
                return found
        return ""
    try:
        return explain(_stand_in(value), place, depth + 1)
    except TypeError:
        return f"{place} is of type {_name(value)}, which JSON cannot hold; give numbers, texts, lists and dicts"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _name(value: Any) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
