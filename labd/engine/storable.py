"""What the journal takes: JSON that every later reader can read again, whoever has sent it.

Why a rule of its own beside the schema of a task: an argument without a type, a result of a worker or the text of a
fault may hold half of a surrogate pair, or lists nested nine hundred deep. They can be kept in memory, but not written,
or written and not read at the next start, where the stack is another.
"""

from __future__ import annotations

from typing import Any

import msgspec

DEPTH_LIMIT = 200
_TOO_DEEP = f"it is nested more than {DEPTH_LIMIT} deep"
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_encode = msgspec.json.Encoder().encode


def fault_of(value: Any) -> str | None:
    """Why a value cannot be kept, in words; None if it can."""
    try:
        text = _encode(value)
    except UnicodeEncodeError:
        return "a text in it is no Unicode: half of a surrogate pair"
    except RecursionError:
        return _TOO_DEEP
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as fault:
        return f"JSON cannot hold it: {fault}"
    if len(text) > 2 * DEPTH_LIMIT and not _is_shallow(text) and _is_deep(msgspec.to_builtins(value)):
        return _TOO_DEEP
    return None


def encoded(value: Any) -> bytes:
    """JSON of what has happened and must be kept: texts that are no Unicode are mended, for nothing else can be done.

    Raises:
        TypeError, ValueError, RecursionError: There is no JSON of it.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(mended(msgspec.to_builtins(value)))


def mended(value: Any) -> Any:
    """The value with a question mark for every half of a surrogate pair."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {mended(key): mended(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [mended(item) for item in value]
    return value


def _is_shallow(text: bytes) -> bool:
    """Whether the brackets alone show it: each look takes the inmost ones away. Those in texts may hide it."""
    brackets = text.translate(None, _NO_BRACKETS)
    for _ in range(DEPTH_LIMIT):
        fewer = brackets.replace(b"[]", b"").replace(b"{}", b"")
        if not fewer or len(fewer) == len(brackets):
            return not fewer
        brackets = fewer
    return False


def _is_deep(value: Any) -> bool:
    """Level by level, for a recursion would meet its own limit."""
    level = [value]
    for _ in range(DEPTH_LIMIT + 1):
        inner: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level = inner
        if not level:
            return False
    return True
