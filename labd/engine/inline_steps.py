"""Durable steps for tasks of wings: a body inside the daemon that calls other tasks as its steps.

The same rules as in workers (`labd.worker.replay`): the body is unwound at the first step that has no result yet, its
job waits without a slot, and it runs again from its first line when the step has ended. Such a body does nothing but
decide what is next; everything that acts is a step.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from labd.engine.registry import JobContext
from labd.engine.steps import Call, Question, Step, Suspended
from labd.errors import LabdError, TaskFailed

_encode = msgspec.json.Encoder(order="sorted").encode


class StepFailed(TaskFailed):
    """A step has failed for good; the job that called it fails with the step's own words."""


class StepMismatch(TaskFailed):
    """The body went another way than the first time."""

    code = "step_mismatch"


class InlineSteps:
    """The steps of one job, in order.

    Args:
        ctx: Of the running job; its task's `TaskSpec.origin` must be set, so that the engine brings its steps.
    """

    def __init__(self, ctx: JobContext) -> None:
        self._job_id = ctx.job.id
        self._recorded = {step.ordinal: step for step in ctx.steps}
        self._next = 0

    def call(self, task: str, args: dict[str, Any], queue: str | None = None) -> Any:
        """The result of another task, as a child job that is never done twice; in its own queue unless one is named.

        Raises:
            StepFailed: The child failed or was cancelled; carries its code.
            StepMismatch: The recorded step was another one.
        """
        digest = hashlib.sha256(_encode(["call", task, args])).hexdigest()
        ordinal, step = self._take()
        if step is None or not step.done:
            raise Suspended(calls=[Call(ordinal, task, args, digest, queue)])
        return self._result(step, task, digest)

    def ask(self, question: str, choices: tuple[str, ...]) -> str:
        """What a person answered, one of `choices`; the job waits for it without a slot, across restarts.

        Raises:
            StepFailed: The question was taken back.
            StepMismatch: The recorded step was another one.
        """
        digest = hashlib.sha256(_encode(["ask", question, choices])).hexdigest()
        ordinal, step = self._take()
        if step is None or not step.done:
            raise Suspended(ask=Question(ordinal, question, digest, choices=choices))
        return str(self._result(step, question, digest))

    def _take(self) -> tuple[int, Step | None]:
        ordinal, self._next = self._next, self._next + 1
        return ordinal, self._recorded.get(ordinal)

    def _result(self, step: Step, what: str, digest: str) -> Any:
        if step.hash != digest:
            raise StepMismatch(
                f"job {self._job_id}: step {step.ordinal} was {step.what} and is {what} with these arguments now; "
                "submit it anew",
                step=step.ordinal,
            )
        if step.error is not None:
            told = what if step.job_id is None else f"{what} (job {step.job_id})"
            raise StepFailed(f"{told}: {step.error.message}", code=step.error.code, job=step.job_id)
        return step.result


def failure_code(fault: LabdError) -> str:
    """The code of the step that failed, or the fault's own."""
    return str(fault.details.get("code", fault.code)) if isinstance(fault, StepFailed) else fault.code
