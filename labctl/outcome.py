"""From a job that was waited for to what its task returned, or to the error class that `POST /execute` would answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.refusals import error_of

GOING = ("queued", "running", "waiting", "cancelling")


def result_of(job: Mapping[str, Any]) -> Any:
    """What the task returned.

    Raises:
        LabdError: The class of its error's code; `job_cancelled`, `job_interrupted`, or `task_timeout` for a job that
            is still going.
    """
    state, name = job["state"], f"job {job['id']} ({job['task']})"
    if state == "succeeded":
        return job.get("result")
    error = job.get("error") or {}
    details = {**(error.get("details") or {}), "job": job["id"]}
    if state in GOING:
        text = f"{name} is still {state} and goes on; `labctl job wait {job['id']}` or `labctl job why {job['id']}`"
        raise error_of("task_timeout", text, details)
    if state == "failed" and error.get("code"):
        raise error_of(str(error["code"]), str(error.get("message", "")), details)
    text = f"{name} was {state}" + (f": {error['message']}" if error.get("message") else "")
    raise error_of("job_interrupted" if state == "interrupted" else "job_cancelled", text, details)
