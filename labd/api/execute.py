"""`POST /execute/{task}`: run a task and wait for its end, as the seeds' clients do.

The job belongs to the queue like every other: if the caller hangs up, it goes on, and its number was in the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec
from aiohttp import web

from labd.api.answer import ENCODER, JSON_HEADERS
from labd.api.connection import while_connected
from labd.api.endpoint import Call, Endpoint
from labd.api.errors import STATUS, status_of
from labd.engine.job import ENDED, Job, JobState, Submission
from labd.errors import Draining, LabdError

if TYPE_CHECKING:
    from labd.engine.engine import Engine

TURN_S = 60.0


class Executed(msgspec.Struct):
    """The outcome; `result` where it succeeded, `code` and `message` where it did not."""

    status: Literal["success", "error"]
    job: int | None
    result: Any = None
    code: str | None = None
    message: str | None = None
    details: dict[str, Any] = {}


def endpoints(engine: Engine) -> list[Endpoint]:
    """The route that runs and waits."""

    async def execute(call: Call) -> web.Response:
        job: Job | None = None
        try:
            job, _ = await engine.submit_one(Submission(call.path["task"], call.body), call.caller)
            while job.state not in ENDED:
                job = await while_connected(call.request, engine.wait(job.id, TURN_S))
        except Draining as error:
            note = f"{error.message}; job {job.id} is kept" if job else error.message
            return _failed(job, 503, error.code, note, error.details)
        except LabdError as error:
            return _failed(job, status_of(error), error.code, error.message, error.details)
        return outcome(job)

    return [
        Endpoint(
            "POST",
            "/execute/{task:.+}",
            execute,
            "operate",
            "Run a task and wait for its end",
            body=dict[str, Any],
            answer=Executed,
            tags=("execute",),
            errors=("unknown_task", "invalid_arguments", "refused", "task_failed", "job_cancelled", "job_interrupted"),
        )
    ]


def outcome(job: Job) -> web.Response:
    """An ended job as this route answers it."""
    if job.state is JobState.SUCCEEDED:
        body = ENCODER.encode({"status": "success", "result": job.result, "job": job.id})
        return web.Response(body=body, headers=JSON_HEADERS)
    error = job.error
    if error is not None and job.state is JobState.FAILED:
        return _failed(job, STATUS.get(error.code, 500), error.code, error.message, error.details)
    code = "job_interrupted" if job.state is JobState.INTERRUPTED else "job_cancelled"
    message = f"job {job.id} ({job.task}) was {job.state}"
    if error is not None and error.message:
        message = f"{message}: {error.message}"
    return _failed(job, STATUS[code], code, message, error.details if error else {})


def _failed(job: Job | None, status: int, code: str, message: str, details: dict[str, Any]) -> web.Response:
    answer = {
        "status": "error",
        "code": code,
        "message": message,
        "details": details,
        "job": None if job is None else job.id,
    }
    return web.Response(status=status, body=ENCODER.encode(answer), headers=JSON_HEADERS)
