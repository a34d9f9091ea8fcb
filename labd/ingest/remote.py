"""What the daemon asks of an engine, in the child: the one entry, for every engine and every verb.

Answers are `{"answer": ...}`, or `{"refusal": code, "text": ..., "details": ...}` with a code of `labd/errors.py`.

Why secrets are taken out here: whatever a library says in an error ends in logs, reports and answers. So no text leaves
the child before every secret that came with the call has been replaced in it.
"""

from __future__ import annotations

import sys
import traceback
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

from labd import log, task
from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
VERBS = ("load", "sample", "describe", "find_tokens", "find_commits", "find_files", "query", "drop")
SHORTEST_SECRET = 4  # characters; shorter ones stand in too many innocent words
HIDDEN = "***"
_engines: dict[str, Any] = {}


class ChildFailed(RuntimeError):
    """Something that no part of an engine expected; the traceback is in the log, without secrets."""


@task(name="ingest")
def ask(verb: str, args: dict) -> dict:  # type: ignore[type-arg]
    """One call: `verb` is a method of `port.TableEngine`, `args` its arguments and `engine`."""
    hide = hider(args)
    try:
        answer = _answer(verb, dict(args))
    except Refusal as refusal:
        _forget()
        return {"refusal": refusal.code, "text": hide(refusal.text), "details": hide(refusal.details)}
    except Exception as fault:  # noqa: BLE001 the runner of the child: told without secrets, then as a failure
        _forget()
        log(hide(traceback.format_exc()), "error")
        raise ChildFailed(hide(f"{verb}: {type(fault).__name__}: {fault}")) from None
    return {"answer": hide(answer)}


def _answer(verb: str, args: Json) -> Any:
    name = str(args.pop("engine", "arrow"))
    if verb == "list_files":
        from labd.ingest.remote_sources import open_source

        return open_source(args["source"]).pages(args["cursor"], args["after"], args["count"])
    if verb not in VERBS:
        raise Refusal("source_refused", f"{verb!r} is no verb of an engine; there are list_files, {', '.join(VERBS)}")
    if name == "spark":
        from labd.ingest import remote_spark

        return remote_spark.ask(verb, args)
    if name == "arrow":
        args.pop("spark", None)
        return getattr(_arrow(), verb)(**args)
    raise Refusal("table_refused", f"{name!r} is no engine; there are arrow and spark")


def _arrow() -> Any:
    """The engine, kept for the next call."""
    if "arrow" not in _engines:
        from labd.ingest.remote_arrow import ArrowEngine

        _engines["arrow"] = ArrowEngine()
    return _engines["arrow"]


def _forget() -> None:
    """What is kept for the next call is made anew: it may be what failed."""
    iceberg = sys.modules.get("labd.ingest.remote_iceberg")
    if iceberg is not None:
        iceberg.forget_catalogs()


def hider(args: Any) -> Callable[[Any], Any]:
    """A function that replaces the secrets of a call, as they are and URL-quoted, in a value of plain types."""
    spelled = {
        form
        for one in _secrets(args)
        for form in (one, urllib.parse.quote(one), urllib.parse.quote(one, safe=""), urllib.parse.quote_plus(one))
    }
    values = sorted((one for one in spelled if len(one) >= SHORTEST_SECRET), key=len, reverse=True)

    def hide(value: Any) -> Any:
        if isinstance(value, str):
            for one in values:
                if one in value:
                    value = value.replace(one, HIDDEN)
            return value
        if isinstance(value, dict):
            return {hide(key): hide(one) for key, one in value.items()}
        if isinstance(value, (list, tuple)):
            return [hide(one) for one in value]
        return value

    return hide if values else lambda value: value


def _secrets(value: Any) -> Iterator[str]:
    """All values below a key `secrets`, at whatever depth."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "secrets" and isinstance(one, dict):
                yield from (str(secret) for secret in one.values() if secret)
            else:
                yield from _secrets(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _secrets(one)
