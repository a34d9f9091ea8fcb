"""How a run failed, as the daemon stores it: code, type, message, traceback from the body on, whether to try again."""

from __future__ import annotations

import os
import pathlib
import traceback
from typing import Any, Dict, Tuple

TRACEBACK_LIMIT = 16_000
MESSAGE_LIMIT = 4_000
OWN_FOLDER = str(pathlib.Path(__file__).parent) + os.sep


def failed(code: str, message: str) -> Dict[str, Any]:
    """A failure that trying again would only repeat."""
    return {"type": "failed", "error": _error(code, "", message, "", False)}


def raised(subject: str, fault: BaseException) -> Dict[str, Any]:
    """What a body raised; an exception with `retryable = False` is not tried again."""
    if isinstance(fault, MemoryError):
        traceback.clear_frames(fault.__traceback__)  # what the body held is given back before more is needed
    ended = f"called sys.exit({fault.code!r})" if isinstance(fault, SystemExit) else f"raised {said(fault)}"
    retryable = bool(getattr(fault, "retryable", True))
    return {
        "type": "failed",
        "error": _error("task_failed", type(fault).__name__, f"{subject} {ended}", _trace(fault), retryable),
    }


def said(fault: BaseException) -> str:
    """`ValueError: no tips left`, whatever its `__str__` does."""
    try:
        text = str(fault)
    except Exception:  # noqa: BLE001 a faulty __str__ must not hide the fault
        text = "(its text cannot be made)"
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def is_only(fault: BaseException, kinds: Tuple[type, ...]) -> bool:
    """Whether the exception, or everything in the group, is of these kinds."""
    inner = getattr(fault, "exceptions", None)
    if isinstance(inner, tuple) and inner:
        return all(is_only(one, kinds) for one in inner)
    return isinstance(fault, kinds)


def unicode_of(text: str) -> str:
    """The text as UTF-8 can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _error(code: str, kind: str, message: str, trace: str, retryable: bool) -> Dict[str, Any]:
    return {
        "code": code,
        "type": kind,
        "message": unicode_of(message[:MESSAGE_LIMIT]),
        "traceback": unicode_of(trace[-TRACEBACK_LIMIT:]),
        "retryable": retryable,
    }


def _trace(fault: BaseException) -> str:
    """The traceback without the worker's own frames above the body."""
    trace = fault.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(OWN_FOLDER) and trace.tb_next is not None:
        trace = trace.tb_next
    try:
        return "".join(traceback.format_exception(type(fault), fault, trace))
    except Exception:  # noqa: BLE001 as in `said`
        return "".join(traceback.format_tb(trace))
