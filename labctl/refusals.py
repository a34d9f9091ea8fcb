"""From an answer of the daemon to a value or to the error class of its code."""

from __future__ import annotations

import json
from typing import Any

from labd import errors
from labd.errors import LabdError

_BY_STATUS: dict[int, type[LabdError]] = {
    400: errors.BadRequest,
    401: errors.NotAuthenticated,
    403: errors.ScopeMissing,
    404: errors.NotFound,
    409: errors.Conflict,
    412: errors.Refused,
    413: errors.BadRequest,
    422: errors.BadRequest,
    429: errors.Overloaded,
    502: errors.DaemonUnreachable,
    503: errors.Unavailable,
    504: errors.DaemonUnreachable,
}


def classes_by_code() -> dict[str, type[LabdError]]:
    """Every class of the error tree under its code."""
    found: dict[str, type[LabdError]] = {}
    open_classes: list[type[LabdError]] = [LabdError]
    while open_classes:
        kind = open_classes.pop()
        found.setdefault(kind.code, kind)
        open_classes.extend(kind.__subclasses__())
    return found


def error_of(code: str, message: str, details: dict[str, Any], status: int = 0) -> LabdError:
    """The error of a code; a code that this version does not know keeps its text under the class of its status."""
    kind = classes_by_code().get(code) or _BY_STATUS.get(status) or LabdError
    error = kind(message)
    error.details = dict(details)
    if kind.code != code:
        error.details.setdefault("code", code)
    return error


def value_of(status: int, content_type: str, body: bytes, retry_after: str = "") -> Any:
    """The decoded answer.

    Args:
        retry_after: The header of that name; an error has it as `retry_after_s` among its details.

    Raises:
        LabdError: The daemon answered with an error, or with something that is not labd's.
    """
    document: Any = None
    if content_type == "application/json" or body[:1] in (b"{", b"["):
        try:
            document = json.loads(body.decode()) if body else None
        except ValueError:
            document = None
    if status < 400:
        if document is None and body:
            return body.decode("utf-8", "replace")
        return document
    if isinstance(document, dict) and "code" in document:
        details = document.get("details") or {}
        if document.get("job") is not None:
            details = {**details, "job": document["job"]}
        details = {**_named(retry_after), **details}
        raise error_of(str(document["code"]), str(document.get("message", "")), details, status)
    text = body[:200].decode("utf-8", "replace").strip().splitlines()
    kind = _BY_STATUS.get(status, LabdError)
    raise kind(
        f"the daemon answered HTTP {status} without an error of labd's"
        f"{f' ({text[0]})' if text else ''}; is another program, or a proxy, at this address?",
        status=status,
        **_named(retry_after),
    )


def _named(retry_after: str) -> dict[str, Any]:
    return {"retry_after_s": int(retry_after)} if retry_after.isascii() and retry_after.isdigit() else {}
