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
from labd.engine.job import ENDED, Job, Submission
from labd.engine.outcome import failure, outcome
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
            return _failed(503, {**failure(error, job.id if job else None), "message": note})
        except LabdError as error:
            return _failed(status_of(error), failure(error, job.id if job else None))
        return answer(job)

    def is_stop(path: dict[str, str]) -> bool:
        return engine.registry.is_stop(path["task"])

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
            urgent=is_stop,
            errors=("unknown_task", "invalid_arguments", "refused", "task_failed", "job_cancelled", "job_interrupted"),
        )
    ]


def answer(job: Job) -> web.Response:
    """An ended job as this route answers it."""
    told = outcome(job)
    status = 200 if told["status"] == "success" else STATUS.get(told["code"], 500)
    return web.Response(status=status, body=ENCODER.encode(told), headers=JSON_HEADERS)


def _failed(status: int, told: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=ENCODER.encode(told), headers=JSON_HEADERS)
