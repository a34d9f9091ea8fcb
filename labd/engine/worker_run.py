"""Runs one job in a worker: borrows one from the pool, sends the run, and turns its end into the engine's words."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from labd.engine.inline import TRACEBACK_LIMIT, AttemptFailed
from labd.engine.job import JobError
from labd.engine.registry import InlineFunction, JobContext
from labd.engine.steps import Call, Question, Step, Suspended
from labd.engine.task_pins import TaskPins
from labd.engine.worker_ahead import NotBegun
from labd.engine.worker_messages import FoundTask, Message
from labd.engine.worker_output import JobOutput
from labd.engine.worker_process import WorkerGone
from labd.engine.worker_start import StartFailed, Worker
from labd.engine.workers import Pool
from labd.errors import EnvironmentOff, StoreFull, TaskOff, WorkerDied

HINTS = {
    "SIGKILL": "; something outside of labd ended it, often for want of memory: see `dmesg`",
    "SIGXCPU": "; it used up its processor time (cpu_s)",
    "SIGSEGV": "; a library of its environment crashed",
}
MESSAGE_LIMIT = 4_000
_encode = msgspec.json.Encoder().encode


class ProtocolFault(Exception):
    """An answer that is none; the text says why."""


class WorkerRuns:
    """Makes the functions that the engine calls for tasks of workers.

    Args:
        pools: Environment -> pool; read at each run.
        code_changed: Called when a worker has read other code than the engine knows.
    """

    def __init__(self, pools: Mapping[str, Pool], pins: TaskPins, code_changed: Callable[[], None]) -> None:
        self._pools = pools
        self._pins = pins
        self._code_changed = code_changed
        self._numbers = itertools.count(1)

    def function(self, environment: str, task: FoundTask, code: dict[str, Any]) -> InlineFunction:
        """What runs a job of this task."""
        affinity = task.policy.affinity
        digest = task.sha256

        async def run(ctx: JobContext, **args: Any) -> Any:
            is_back = False
            while True:
                pool = self._pools.get(environment)
                if pool is None:
                    text = f"environment {environment} is off; see `labctl env list`"
                    raise EnvironmentOff(text, environment=environment, begun=bool(ctx.steps))
                worker = await _borrow(pool, affinity, task.name, digest, ctx, is_back)
                try:
                    self._check(worker, task.name, digest, code, ctx)
                    if worker.outfit.settings.cpu_s:
                        worker.process.limit_processor_time(worker.outfit.settings.cpu_s)
                    try:
                        message = await self._run(worker, task.name, ctx, args)
                    except NotBegun:
                        is_back = True
                        continue
                    try:
                        return _result(message)
                    except (msgspec.ValidationError, ProtocolFault) as fault:
                        worker.process.broke(f"answered with {message.type!r} of the wrong shape: {fault}")
                        text = f"{task.name} (job {ctx.job.id}): its worker's answer makes no sense: {fault}"
                        raise AttemptFailed(JobError("task_failed", text, "ProtocolFault")) from fault
                finally:
                    if affinity is None:
                        pool.give_back(worker)
                    else:
                        pool.give_back_sticky(affinity)

        return run

    def _check(self, worker: Worker, task: str, digest: str, code: dict[str, Any], ctx: JobContext) -> None:
        """The code that this worker has is the one that was looked at; if not, the job records what it runs."""
        found = worker.digests.get(task)
        if found is None:
            self._code_changed()
            raise TaskOff(f"{task} is not in {code['file']} as it is now; see `labctl task list`", task=task)
        self._pins.check(task, found)
        if found != digest:
            self._code_changed()
            ctx.job.code = {**code, "sha256": found, "commit": None}

    async def _run(self, worker: Worker, task: str, ctx: JobContext, args: dict[str, Any]) -> Message:
        process, job = worker.process, ctx.job
        is_ahead = process.is_busy
        if not process.is_usable or (is_ahead and not process.takes_ahead):
            raise NotBegun  # since it was lent it has ended, or printed
        number = next(self._numbers)
        output = JobOutput(lambda level, text: ctx.log(text, level))
        grace_s = worker.outfit.settings.grace_s
        request = {
            "type": "run", "run": number, "job": job.id, "attempt": job.attempt, "task": task, "args": args,
            "steps": [_recorded(step) for step in ctx.steps if step.done] if ctx.steps else [], "grace_s": grace_s,
        }  # fmt: skip
        if is_ahead:
            request["ahead"] = True
        attempt = job.attempt

        async def consume(ordinal: int, volumes_ul: dict[str, float]) -> None:
            step = f"{attempt}:{ordinal}"
            try:
                await ctx.consume(volumes_ul, step=step)
            except StoreFull:  # the body is told to move nothing, so nothing may be missing afterwards
                with contextlib.suppress(StoreFull):
                    await ctx.consume({name: -volume for name, volume in volumes_ul.items()}, step=f"{step} not taken")
                raise

        try:
            return await process.run(
                number, _encode(request) + b"\n", output, ctx.progress, grace_s, consume, job.id,
                are_more_coming=worker.lent > 1,
            )  # fmt: skip
        except WorkerGone as gone:
            running = asyncio.current_task()
            if job.effect == "repeatable" and running is not None and running.cancelling():
                raise asyncio.CancelledError from gone  # it was ended because it was asked to
            raise _died(worker, task, job.id, str(gone), output) from gone


async def _borrow(
    pool: Pool, affinity: str | None, task: str, digest: str, ctx: JobContext, is_back: bool
) -> Worker:  # fmt: skip
    try:
        if affinity is not None:
            return await pool.borrow_sticky(affinity, task, digest)
        worker = pool.idle_worker()
        if worker is not None:
            return worker
        may_be_sent_ahead = ctx.job.effect == "repeatable" and not ctx.steps
        size = pool.outfit.settings.size
        text = f"waits for a worker: all {size} of environment {pool.name} are busy or starting"
        return await pool.borrow(lambda: ctx.log(text), may_be_sent_ahead=may_be_sent_ahead, is_back=is_back)
    except StartFailed as fault:
        if fault.by_signal and ctx.job.effect == "repeatable":
            raise WorkerDied(f"{task} (job {ctx.job.id}): its worker did not start: {fault}") from fault
        begun = bool(ctx.steps)  # one that comes back after an answer or a step has begun before
        raise EnvironmentOff(f"environment {pool.name}: {fault}", environment=pool.name, begun=begun) from fault


def _result(message: Message) -> Any:
    """What the child told, as the engine takes it."""
    if message.type == "done":
        return message.result
    if message.type == "suspend":
        if message.ask is not None:
            given = {key: value for key, value in message.ask.items() if value is not None}
            raise Suspended(ask=msgspec.convert(given, Question))
        if not message.calls:
            raise ProtocolFault("it waits for no step")
        raise Suspended(calls=msgspec.convert(message.calls, list[Call]))
    if message.type == "failed":
        raise AttemptFailed(_bounded(msgspec.convert(message.error, JobError)))
    if message.type == "cancelled":
        raise asyncio.CancelledError
    raise ProtocolFault(f"{message.type!r} ends no run")


def _bounded(error: JobError) -> JobError:
    """An error of a length that fits into rows, events and alerts; a worker of labd cuts it itself."""
    return msgspec.structs.replace(
        error, code=error.code[:64], type=error.type[:200], message=error.message[:MESSAGE_LIMIT],
        details={}, traceback=error.traceback[-TRACEBACK_LIMIT:],
    )  # fmt: skip


def _recorded(step: Step) -> dict[str, Any]:
    """A step as the child wants it."""
    told: dict[str, Any] = {
        "ordinal": step.ordinal, "kind": step.kind, "task" if step.kind == "call" else "question": step.what,
        "hash": step.hash, "result": step.result,
    }  # fmt: skip
    if step.error is not None:
        told["error"] = {"code": step.error.code, "message": step.error.message}
    return told


def _died(worker: Worker, task: str, job_id: int, ending: str, output: JobOutput) -> WorkerDied:
    process = worker.process
    lines = output.last_lines()
    hint = next((text for word, text in HINTS.items() if word in ending), "")
    last = f"; its last lines: {' | '.join(lines)}" if lines else ""
    return WorkerDied(
        f"{task} (job {job_id}): its worker (Python {process.python_version}, {process.where}) {ending}{hint}{last}",
        pid=process.pid, ending=ending, lines=lines,
    )  # fmt: skip
