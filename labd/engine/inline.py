"""Runs one attempt of a wing's task inside the daemon.

One of the three places with a broad `except`: whatever a task raises ends its own attempt and nothing else.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from labd.engine import storable
from labd.engine.job import Caller, Job, JobError
from labd.engine.registry import TaskSpec
from labd.engine.steps import Step, Suspended
from labd.errors import LabdError
from labd.telemetry import JOB

log = structlog.get_logger()
TRACEBACK_LIMIT = 16_000
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended: with a result, with an error, cancelled, or suspended until its steps are done."""

    result: Any = None
    error: JobError | None = None
    cancelled: bool = False
    suspended: Suspended | None = None


DONE = Outcome()


class AttemptFailed(Exception):
    """Ends an attempt with an error that was made elsewhere, such as in a worker, traceback and all."""

    def __init__(self, error: JobError) -> None:
        super().__init__(error.message)
        self.error = error


class InlineContext:
    """The `JobContext` of an inline task."""

    __slots__ = ("_add_line", "_consume", "_set_progress", "caller", "job", "steps")

    def __init__(
        self,
        job: Job,
        add_line: Callable[[Job, str, str], None],
        set_progress: Callable[[Job, float, float | None, str], None],
        steps: list[Step],
        consume: Callable[[Job, str, dict[str, float]], Awaitable[None]],
    ) -> None:
        self.job = job
        self.caller = Caller(job.submitted_by)
        self.steps = steps
        self._add_line = add_line
        self._set_progress = set_progress
        self._consume = consume

    def log(self, message: str, level: str = "info") -> None:
        """One line in the job's log."""
        self._add_line(self.job, level, message)

    def progress(self, done: float, total: float | None = None, text: str = "") -> None:
        """How far the job is."""
        self._set_progress(self.job, done, total, text)

    async def consume(self, volumes_ul: Mapping[str, float], step: str) -> None:
        """Debit stock; on disk when it returns."""
        await self._consume(self.job, step, dict(volumes_ul))


async def attempt(spec: TaskSpec, context: InlineContext) -> Outcome:
    """Run the task once; never raises."""
    job = context.job
    JOB.set((job.id, job.task, job.attempt))
    limit: asyncio.Timeout | None = None
    try:
        if job.timeout_s is None:
            result = await spec.function(context, **job.args)
        else:
            limit = asyncio.timeout(job.timeout_s)
            async with limit:
                result = await spec.function(context, **job.args)
        if result is None:
            return DONE
        problem = storable.fault_of(result)
        if problem is not None:
            _encode(result)  # raises what is wrong with it, save where it is only nested too deep
            message = f"{job.task} (job {job.id}) returned what cannot be kept: {problem}"
            return Outcome(error=JobError("task_failed", message, "NotJson"))
        return Outcome(result=result)
    except asyncio.CancelledError:
        return Outcome(cancelled=True)
    except Suspended as suspended:
        return Outcome(suspended=suspended)
    except AttemptFailed as failed:
        return Outcome(error=failed.error)
    except LabdError as fault:
        return Outcome(
            error=JobError(fault.code, fault.message, type(fault).__name__, fault.details, retryable=fault.retryable)
        )
    except TimeoutError as fault:
        if limit is not None and limit.expired():
            message = f"{job.task} (job {job.id}) took longer than its timeout of {job.timeout_s:g} s"
            return Outcome(
                error=JobError("task_timeout", message, "TaskTimeout", {"timeout_s": job.timeout_s}, retryable=True)
            )
        return _failed(job, fault)
    except Exception as fault:  # noqa: BLE001 whatever a task raises ends its own attempt
        return _failed(job, fault)


def _failed(job: Job, fault: Exception) -> Outcome:
    log.error("job.attempt_raised", exc_info=fault)
    text = "".join(traceback.format_exception(fault))[-TRACEBACK_LIMIT:]
    message = f"{job.task} (job {job.id}) raised {type(fault).__name__}: {fault}"
    return Outcome(error=JobError("task_failed", message, type(fault).__name__, {}, text, retryable=True))
