"""Exit codes of labctl: one table for every command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.refusals import classes_by_code
from labd import errors

DONE = 0
JOB_FAILED = 1
USAGE = 2
UNREACHABLE = 3
REFUSED = 4
STILL_GOING = 5
ATTENTION = 6
INTERRUPTED = 130

# The first line that fits decides, so the nearer class stands above its parent.
_BY_CLASS: tuple[tuple[type[errors.LabdError], int], ...] = (
    (errors.DaemonUnreachable, UNREACHABLE),
    (errors.StopUnconfirmed, ATTENTION),
    (errors.JobInterrupted, ATTENTION),
    (errors.StoreDamaged, ATTENTION),
    (errors.BadRequest, USAGE),
    (errors.SettingsFault, USAGE),
    (errors.NotFound, REFUSED),
    (errors.Conflict, REFUSED),
    (errors.NotAuthenticated, REFUSED),
    (errors.ScopeMissing, REFUSED),
    (errors.Refused, REFUSED),
    (errors.Unavailable, REFUSED),
)

_BY_STATE = {
    "succeeded": DONE,
    "failed": JOB_FAILED,
    "cancelled": JOB_FAILED,
    "interrupted": ATTENTION,
}


_REFUSALS = frozenset(
    code
    for code, kind in classes_by_code().items()
    if issubclass(kind, errors.Refused) and kind is not errors.JobExpired
)


def of_error(error: errors.LabdError) -> int:
    """The exit code of an error that ended a command."""
    for kind, code in _BY_CLASS:
        if isinstance(error, kind):
            return code
    return JOB_FAILED


def of_job(job: Mapping[str, Any]) -> int:
    """The exit code of a command that waited for a job; a job that is held goes on only when a person says so."""
    if job.get("hold") and job["state"] == "queued":
        return ATTENTION
    error = job.get("error") or {}
    if job["state"] == "failed" and error.get("code") in _REFUSALS:
        return REFUSED  # the same refusal whether it came at the door or when the job's turn came
    return _BY_STATE.get(str(job["state"]), STILL_GOING)
