"""What people type, as the values the API takes: arguments of tasks, instants, spans of time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from labctl.client import Client
from labd.errors import BadRequest, NotFound

_SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h|d|w)?")
_UNIT_S = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def span_s(text: str) -> float | None:
    """Seconds of `90s`, `10m`, `2h`, `1d`; None for anything else."""
    found = _SPAN.fullmatch(text.strip())
    if found is None or found[2] is None:
        return None
    return float(found[1]) * _UNIT_S[found[2]]


def required_span_s(text: str) -> float:
    """Seconds of a span; a bare number is seconds.

    Raises:
        BadRequest: Neither a number nor a span.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None:
        raise BadRequest(f"{text}: not a span of time; write 90s, 10m, 2h or 1d")
    return float(found[1]) * _UNIT_S[found[2] or "s"]


def instant(text: str) -> str:
    """An ISO 8601 instant in UTC; without a zone it is this host's time.

    Raises:
        BadRequest: Not ISO 8601.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"{text}: not a time; write 2026-01-31T08:00, 2026-01-31 or a span such as 2h") from None
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def moment(text: str | None, now: datetime | None = None) -> str | None:
    """An instant, or one that is a span ago."""
    if text is None:
        return None
    ago_s = span_s(text)
    if ago_s is None:
        return instant(text)
    when = (now or datetime.now(UTC)) - timedelta(seconds=ago_s)
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def task_arguments(client: Client, task: str, pairs: Sequence[str], whole: str | None) -> dict[str, Any]:
    """The arguments of a task from `name=value` words and one JSON object; the words go before the object.

    A value that reads as JSON (a number, true, a list) is taken so, unless the task's schema wants a text there.

    Raises:
        BadRequest: A word without `=`, or not a JSON object.
    """
    args = json_object(whole) if whole is not None else {}
    schema: dict[str, Any] | None = None
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise BadRequest(f"{pair}: an argument is written NAME=VALUE")
        value = _value(text)
        if not isinstance(value, str):
            if schema is None:
                schema = _schema(client, task)
            if wants_text(schema.get("properties", {}).get(name, {})):
                value = text
        args[name] = value
    return args


def json_object(text: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadRequest: Anything else.
    """
    try:
        value = json.loads(text)
    except ValueError as fault:
        raise BadRequest(f"{text}: not JSON ({fault})") from None
    if not isinstance(value, dict):
        raise BadRequest(f'{text}: arguments are one JSON object, such as {{"hotel": "B"}}')
    return value


def submissions(file: TextIO) -> list[dict[str, Any]]:
    """A JSON list of submissions, or a single one.

    Raises:
        BadRequest: Anything else.
    """
    try:
        value = json.load(file)
    except ValueError as fault:
        raise BadRequest(f"{file.name}: not JSON ({fault})") from None
    found = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) and isinstance(one.get("task"), str) for one in found):
        raise BadRequest(f'{file.name}: a list of submissions is wanted, such as [{{"task": "...", "args": {{}}}}]')
    return found


def wants_text(schema: dict[str, Any]) -> bool:
    """Whether the JSON schema of one argument takes a text and no number."""
    kinds = {one.get("type") for one in [schema, *schema.get("anyOf", []), *schema.get("oneOf", [])]}
    listed = schema.get("type")
    if isinstance(listed, list):
        kinds = set(listed)
    return "string" in kinds and not kinds & {"number", "integer", "boolean", "array", "object"}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _schema(client: Client, task: str) -> dict[str, Any]:
    try:
        found = client.task(task).get("schema")
    except NotFound:
        return {}  # the submission itself says it better, with the nearest names
    return found if isinstance(found, dict) else {}
