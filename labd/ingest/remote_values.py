"""One value at a time: what a JSON value is, and whether it fits a type; the careful way where Arrow's refuses.

Why so strict: a value is taken only if nothing of it is lost. `"5"` is no number in JSON, `5.0` no integer, and an
integer beyond 2^53 no double unless it is one exactly; all of these are rescued. Text holds everything.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from labd.ingest.remote_types import MOST_DIGITS, SIMPLE, merge, to_word

DATE = re.compile(r"\d{4}-\d\d-\d\d\Z")
NAIVE = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?\Z")
ZONED = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)\Z")
_LONG = 2**63
DEEPEST = 100
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_INT = 2**31


class Real(float):
    """A number with a fraction, which knows how it was written."""

    text: str

    def __new__(cls, text: str) -> Real:
        """The number that a text says."""
        made = super().__new__(cls, text)
        made.text = text
        return made


class Record(dict[str, Any]):
    """A JSON object; `overridden` are values of keys that came again."""

    overridden: dict[str, Any] | None = None


def _record(pairs: list[tuple[str, Any]]) -> Record:
    made = Record(pairs)
    if len(made) < len(pairs):
        made.overridden = {}
        last = {name: place for place, (name, _) in enumerate(pairs)}
        for place, (name, value) in enumerate(pairs):
            if place != last[name]:
                made.overridden[name] = value
    return made


_DECODER = json.JSONDecoder(object_pairs_hook=_record, parse_float=Real)


def load(line: str) -> Record | None:
    """The object of a line; None if it is none, is nested too deeply, or has half of a surrogate pair in it."""
    try:
        if line.count("{") + line.count("[") > DEEPEST and too_deep(line.encode()):
            return None
        found = _DECODER.decode(line)
        if "\\ud" in line.lower():
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Record) else None


def too_deep(line: bytes) -> bool:
    """Whether the brackets of a line may be nested beyond `DEEPEST`; brackets in texts may make it say so wrongly.

    Why by taking pairs away: it is fast, and pyarrow's reader ends the process at some 10,000 levels.
    """
    left = line.translate(None, _NO_BRACKETS)
    for _ in range(DEEPEST):
        fewer = left.replace(b"{}", b"").replace(b"[]", b"")
        if len(fewer) == len(left):
            return len(left) > 2 * DEEPEST
        left = fewer
    return bool(left)


def text_of(value: Any) -> str:
    """A value as the text that stands for it in a column of text and in `_rescued_data`."""
    if isinstance(value, str):
        return value
    if isinstance(value, Real):
        return value.text
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        return json.dumps(value, ensure_ascii=False, default=told)
    return told(value)


def told(value: Any) -> str:
    """What JSON has no value for, as text."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def time_kind(text: str) -> Any:
    """`date`, `timestamp` or `timestamptz` if a text is one in ISO 8601, else string."""
    kind = (
        "date" if DATE.match(text) else "timestamp" if NAIVE.match(text) else "timestamptz" if ZONED.match(text) else ""
    )
    if kind:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            kind = ""
    return SIMPLE[kind or "string"]


def type_of(value: Any, *, within: bool = False) -> Any:
    """The type that one JSON value has; times within lists and objects are text, as the fast way has them too."""
    if value is None:
        return pa.null()
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int):
        if -_LONG <= value < _LONG:
            return pa.int64()
        digits = len(str(abs(value)))
        return pa.decimal128(MOST_DIGITS, 0) if digits <= MOST_DIGITS else pa.string()
    if isinstance(value, float):
        return pa.float64()
    if isinstance(value, str):
        return pa.string() if within else time_kind(value)
    if isinstance(value, list):
        found = pa.null()
        for element in value:
            found = merge(found, type_of(element, within=True))
        return pa.list_(found)
    return pa.struct([(name, type_of(inner, within=True)) for name, inner in value.items()])


def fit_value(value: Any, kind: Any) -> tuple[Any, bool]:
    """A value as a type wants it, and whether all of it fits.

    Of a list, struct or map what fits stays, so the answer may be a value and False.
    """
    types = pa.types
    if value is None:
        return None, True
    if types.is_list(kind):
        if not isinstance(value, list):
            return None, False
        pairs = [fit_value(element, kind.value_type) for element in value]
        return [element for element, _ in pairs], all(good for _, good in pairs)
    if types.is_struct(kind):
        return _fit_struct(value, kind)
    if types.is_map(kind):
        entries = list(value.items()) if isinstance(value, Mapping) else value
        if not isinstance(entries, list) or not all(isinstance(entry, tuple) for entry in entries):
            return None, False
        keys = [fit_value(key, kind.key_type) for key, _ in entries]
        values = [fit_value(inner, kind.item_type) for _, inner in entries]
        kept = [(key, inner) for (key, good), (inner, _) in zip(keys, values, strict=True) if good]
        return kept, all(good for _, good in keys + values)
    try:
        made = _fit_simple(value, kind)
    except (ValueError, TypeError, OverflowError, InvalidOperation):
        made = None
    return made, made is not None


def _fit_struct(value: Any, kind: Any) -> tuple[Any, bool]:
    if not isinstance(value, Mapping):
        return None, False
    made, fitting = {}, not getattr(value, "overridden", None)
    names = match_names(list(value), [field.name for field in kind])
    for name, inner in value.items():
        target = names.get(name)
        if target is None:
            fitting = fitting and inner is None
        else:
            made[target], good = fit_value(inner, kind.field(target).type)
            fitting = fitting and good
    return made, fitting


def match_names(brought: list[str], wanted: list[str]) -> dict[str, str]:
    """Which wanted name each brought one is: the same, else the same but for case if nobody else is that."""
    taken = set(brought) & set(wanted)
    found = {name: name for name in taken}
    folded = {name.lower(): name for name in reversed(wanted) if name not in taken}
    for name in brought:
        target = folded.get(name.lower()) if name not in taken else None
        if target is not None:
            found[name] = target
            del folded[name.lower()]
    return found


def _fit_simple(value: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_string(kind):
        return text_of(value)
    if types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if types.is_integer(kind):
        limit = _LONG if kind.bit_width == 64 else _INT
        return value if number and isinstance(value, int) and -limit <= value < limit else None
    if types.is_floating(kind):
        return float(value) if number and (not isinstance(value, int) or int(float(value)) == value) else None
    if types.is_decimal(kind):
        return _fit_decimal(value, kind) if number or isinstance(value, str) else None
    if types.is_binary(kind) or types.is_fixed_size_binary(kind):
        raw = (
            value.encode()
            if isinstance(value, str)
            else bytes(value)
            if isinstance(value, (bytes, bytearray))
            else None
        )
        return raw if raw is None or types.is_binary(kind) or len(raw) == kind.byte_width else None
    if to_word(kind) == "uuid":
        return (
            value.bytes if isinstance(value, uuid.UUID) else uuid.UUID(value).bytes if isinstance(value, str) else None
        )
    return _fit_time(value, kind)


def _fit_decimal(value: Any, kind: Any) -> Decimal | None:
    made = Decimal(text_of(value) if not isinstance(value, Decimal) else value)
    if not made.is_finite():
        return None
    _, digits, exponent = made.normalize().as_tuple()
    scale = max(0, -int(exponent))
    whole = max(0, len(digits) + int(exponent))
    return made if scale <= kind.scale and whole <= kind.precision - kind.scale else None


def _fit_time(value: Any, kind: Any) -> Any:
    types = pa.types
    if types.is_time(kind):
        return value if isinstance(value, time) else time.fromisoformat(value) if isinstance(value, str) else None
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        return None
    instant = (value if value.tzinfo else value.replace(tzinfo=UTC)).astimezone(UTC)
    if types.is_date(kind):
        return instant.date() if instant.time() == time() else None
    return instant if kind.tz else instant.replace(tzinfo=None)
