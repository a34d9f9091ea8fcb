"""An ended job as it is told to whoever asked for it: the same words at every door.

Why one place: a client decides by the same `status` and `code`, whether it asks over HTTP, the Unix socket or MQTT.
"""

from __future__ import annotations

from typing import Any

from labd.engine.job import Job, JobState
from labd.errors import LabdError


def outcome(job: Job) -> dict[str, Any]:
    """`{"status": "success", "result", "job"}`, or as `failure` where the job did not succeed."""
    if job.state is JobState.SUCCEEDED:
        return {"status": "success", "result": job.result, "job": job.id}
    error = job.error
    if error is not None and job.state is JobState.FAILED:
        return _failed(job.id, error.code, error.message, error.details)
    code = "job_interrupted" if job.state is JobState.INTERRUPTED else "job_cancelled"
    message = f"job {job.id} ({job.task}) was {job.state}"
    if error is not None and error.message:
        message = f"{message}: {error.message}"
    return _failed(job.id, code, message, error.details if error else {})


def failure(error: LabdError, job_id: int | None = None) -> dict[str, Any]:
    """`{"status": "error", "code", "message", "details", "job"}`; no job where none was made."""
    return _failed(job_id, error.code, error.message, error.details)


def _failed(job_id: int | None, code: str, message: str, details: dict[str, Any]) -> dict[str, Any]:
    return {"status": "error", "code": code, "message": message, "details": details, "job": job_id}
