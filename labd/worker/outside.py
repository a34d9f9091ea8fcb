"""What `call`, `progress` and `log` do outside of a job: the nearest plain thing, so tasks are tested as functions."""

from __future__ import annotations

import inspect
import logging
from typing import Any, Dict, List, Optional, Sequence, Tuple

import labd
from labd.worker import policy

logger = logging.getLogger("labd")
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def call(calls: Sequence[Tuple[str, Dict[str, Any]]]) -> List[Any]:
    """Run tasks of this process one after the other.

    Raises:
        LookupError: No task of that name has been imported here.
        labd.CallFailed: The function raised, as it would from a child job.
    """
    return [_call(name, args) for name, args in calls]


def _call(name: str, args: Dict[str, Any]) -> Any:
    function = policy.find(name)
    if function is None:
        known = ", ".join(sorted({policy.policy_of(known).name for known in policy.decorated})) or "none"
        raise LookupError(
            f"call({name!r}) outside of a job: no task of that name is imported here (there are: {known});"
            " import its file, or run this through labd"
        )
    try:
        result = function(**args)
        if not inspect.iscoroutine(result):
            return result
        import asyncio

        return asyncio.run(result)
    except Exception as fault:
        raise labd.CallFailed(name, "task_failed", f"{type(fault).__name__}: {fault}") from fault


def progress(done: float, total: Optional[float], text: str) -> None:
    """Tell the standard logger `labd`."""
    of = "" if total is None else f" of {total:g}"
    logger.info("%g%s%s", done, of, f" {text}" if text else "")


def log(text: str, level: str) -> None:
    """Tell the standard logger `labd`."""
    logger.log(LEVELS.get(level, logging.INFO), "%s", text)
