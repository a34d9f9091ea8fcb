"""Jobs that wait for their steps: child jobs they called, questions they asked.

A waiting job has neither slot nor worker; it keeps its resources, and its children inherit them. Everything here is in
the journal, so a daemon that starts again finds every open step as it was left.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog

from labd.clock import Clock, iso
from labd.engine import rows
from labd.engine.job import ENDED, Caller, Job, JobError, JobState, Submission
from labd.engine.jobbook import JobBook
from labd.engine.journal import Journal
from labd.engine.steps import Call, Question, Step, StepError, Suspended, check_answer
from labd.errors import Conflict, Draining, JobStateConflict, LabdError, StoreFull

log = structlog.get_logger()
FULL_AGAIN_S = 0.5
Submit = Callable[[list[Submission], Caller], Awaitable[list[Job]]]
_decode = msgspec.json.Decoder(Step).decode


class Waiting:
    """Every job with open steps.

    Args:
        submit: Makes the child jobs.
        go_on: Lets a waiting job take its turn again.
        fail: Ends a waiting job whose steps can never be done.
        cancelled: Ends a job that was being cancelled and whose last child has ended.
    """

    def __init__(
        self, book: JobBook, journal: Journal, clock: Clock, submit: Submit, go_on: Callable[[Job], None],
        fail: Callable[[Job, JobError], None], cancelled: Callable[[Job], None],
    ) -> None:  # fmt: skip
        self._book = book
        self._journal = journal
        self._clock = clock
        self._submit = submit
        self._go_on = go_on
        self._fail = fail
        self._cancelled = cancelled
        self._steps: dict[int, list[Step]] = {}
        self._parents: dict[int, tuple[int, int]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}
        self._making: set[int] = set()
        self.cancel_child: Callable[[int, JobError], None]
        self._tasks: set[asyncio.Task[None]] = set()

    async def load(self, job: Job) -> None:
        """Take up a waiting job that the last daemon left; its children are looked at again."""
        steps = await self.steps_of(job.id)
        self._steps[job.id] = steps
        for step in steps:
            if step.done:
                continue
            if step.job_id is not None:
                self._parents[step.job_id] = (job.id, step.ordinal)
                child = await self._book.find(step.job_id)
                if child.state in ENDED:
                    self.ended(child)
            elif step.question is not None:
                self._set_timer(job, step)
        self._look(job)

    async def steps_of(self, job_id: int) -> list[Step]:
        """The recorded steps of a job."""
        if job_id in self._steps:
            return self._steps[job_id]
        return [_decode(row[0]) for row in await self._journal.read("steps_of_job", job_id)]

    async def recorded(self, job_id: int) -> list[Step]:
        """The steps of a job that are done, in order; what its body sees when it runs again."""
        steps = await self.steps_of(job_id)
        if steps:
            self._steps[job_id] = steps
        return sorted((step for step in steps if step.done), key=lambda step: step.ordinal)

    def suspend(self, job: Job, suspended: Suspended) -> None:
        """The body was unwound: make its children, or put its question; the state is `waiting` already."""
        self._making.add(job.id)
        task = asyncio.get_running_loop().create_task(self._suspend(job, suspended), name=f"steps of job {job.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _suspend(self, job: Job, suspended: Suspended) -> None:
        try:
            self._steps[job.id] = await self.steps_of(job.id)
            if suspended.ask is not None:
                self._ask(job, suspended.ask)
            else:
                await self._call(job, suspended.calls, self._steps[job.id])
        finally:
            self._making.discard(job.id)
        if job.state is JobState.CANCELLING and job.error is not None:
            self.cancel(job, job.error)  # it was cancelled while its children were being made
        else:
            self._look(job)

    async def _call(self, job: Job, wanted: list[Call], steps: list[Step]) -> None:
        known = {step.ordinal for step in steps}
        calls = [call for call in wanted if call.ordinal not in known]
        try:
            children = await self._children(job, calls) if calls else []
        except LabdError as fault:
            tasks = list(dict.fromkeys(call.task for call in calls))
            named = fault.details.get("task")  # several are refused together, for the sake of one
            called = named if named in tasks else ", ".join(tasks)
            self._fail(
                job, JobError(fault.code, f"job {job.id} called {called}: {fault.message}", type(fault).__name__)
            )
            return
        if children is None:
            return
        for call, child in zip(calls, children, strict=True):
            step = Step(call.ordinal, "call", call.task, call.hash, job_id=child.id)
            steps.append(step)
            self._store(job.id, step)
        for step in steps:
            if step.job_id is not None and not step.done:
                self._parents[step.job_id] = (job.id, step.ordinal)
                found = await self._book.find(step.job_id)
                if found.state in ENDED:
                    self.ended(found)

    async def _children(self, job: Job, calls: list[Call]) -> list[Job] | None:
        """Made now, or when the disk takes something again: a flow of hours does not fail for a disk full for a minute.

        Returns:
            None if there are none and the job is to stay as it is: labd is ending, and in the next daemon the body
            comes here once more; or it is being cancelled.

        Raises:
            LabdError: They are refused for another reason.
        """
        while job.state is not JobState.CANCELLING:
            try:
                return await self._submit([_submission(job, call) for call in calls], Caller(job.submitted_by))
            except Draining:
                return None
            except StoreFull:
                await asyncio.sleep(FULL_AGAIN_S)
        return None

    def _ask(self, job: Job, question: Question) -> None:
        known = next((s for s in self._steps[job.id] if s.ordinal == question.ordinal), None)
        if known is None:
            known = Step(
                question.ordinal,
                "ask",
                question.question,
                question.hash,
                question=question,
                asked_at=self._clock.wall(),
            )
            self._steps[job.id].append(known)
            self._store(job.id, known)
            job.asks = msgspec.to_builtins(question)
            self._book.change(job, "job.asked", None, {"question": question.question, "ordinal": question.ordinal})
        self._set_timer(job, known)

    def cancel(self, job: Job, reason: JobError) -> None:
        """A waiting job is being cancelled: its children first, then itself."""
        if job.id in self._making:
            return
        for child_id in self.open_children(job.id):
            self.cancel_child(child_id, reason)
        self._look(job)

    def ended(self, child: Job) -> None:
        """A child has ended: its step has a result, an error, or, interrupted, goes on waiting for a person."""
        parent = self._parents.get(child.id)
        if parent is None or child.state is JobState.INTERRUPTED:
            return
        job_id, ordinal = self._parents.pop(child.id)
        step = next(step for step in self._steps[job_id] if step.ordinal == ordinal)
        step.done = True
        if child.state is JobState.SUCCEEDED:
            step.result = child.result
        else:
            error = child.error or JobError(child.state.value, f"job {child.id} ended as {child.state}")
            step.error = StepError(error.code, error.message)
        self._store(job_id, step)
        job = self._book.live.get(job_id)
        if job is not None:
            self._look(job)

    async def answer(self, job_id: int, value: Any, caller: Caller) -> Job:
        """Answer the open question of a job; on disk when it returns.

        Raises:
            JobStateConflict: It asks nothing.
            Conflict: Somebody was first; names who and when.
            BadRequest: The answer is none that the question allows.
        """
        job = await self._book.settled(job_id)
        asked = [step for step in await self.steps_of(job_id) if step.question is not None]
        step = asked[-1] if asked else None
        if step is None or step.question is None:
            raise JobStateConflict(f"job {job_id} is {job.state} and asks nothing", job=job_id, state=job.state)
        if step.done:
            raise Conflict(
                f"{step.what} was answered by {step.by} at {iso(step.answered_at)}", job=job_id, by=step.by,
                answer=step.result,
            )  # fmt: skip
        self._answered(job, step, check_answer(step.question, value), caller.name)
        await self._journal.commit()
        return job

    def _answered(self, job: Job, step: Step, value: Any, by: str) -> None:
        step.done, step.result, step.by, step.answered_at = True, value, by, self._clock.wall()
        self._store(job.id, step)
        self._book.publish("job.answered", {"question": step.what, "by": by}, job.id)
        self._clear_timer(job.id)
        self._look(job)

    def _set_timer(self, job: Job, step: Step) -> None:
        question = step.question
        if step.done or question is None or question.deadline_s is None or question.on_deadline == "hold":
            return
        left_s = (step.asked_at or 0.0) + question.deadline_s - self._clock.wall()
        self._clear_timer(job.id)
        loop = asyncio.get_running_loop()
        self._timers[job.id] = loop.call_later(max(0.0, left_s), self._overdue, job, step, question)

    def _overdue(self, job: Job, step: Step, question: Question) -> None:
        self._timers.pop(job.id, None)
        if step.done:
            return
        if question.on_deadline == "default":
            self._answered(job, step, question.default, "the deadline")
            return
        step.done = True
        step.error = StepError("no_answer", f"{question.question} nobody answered within {question.deadline_s:g} s")
        self._store(job.id, step)
        self._look(job)

    def _clear_timer(self, job_id: int) -> None:
        timer = self._timers.pop(job_id, None)
        if timer is not None:
            timer.cancel()

    def _look(self, job: Job) -> None:
        """Let the job go on if it waits and nothing is open."""
        if job.state is JobState.CANCELLING and not self.open_children(job.id):
            self._cancelled(job)
        elif job.state is JobState.WAITING and all(step.done for step in self._steps[job.id]):
            job.asks = None
            self._go_on(job)

    def open_children(self, job_id: int) -> list[int]:
        """Children of a job that have not ended."""
        return [child for child, (parent, _) in self._parents.items() if parent == job_id]

    def asking(self) -> list[Job]:
        """Jobs with an open question, oldest first."""
        live = self._book.live
        return [
            live[job_id] for job_id in sorted(self._steps) if job_id in live and self.question_of(job_id) is not None
        ]

    def question_of(self, job_id: int) -> Step | None:
        """The open question of a waiting job."""
        return next((s for s in self._steps.get(job_id, []) if s.question is not None and not s.done), None)

    def forget(self, job: Job) -> None:
        """The job has ended, or runs anew: its steps leave the memory and stay in the journal.

        Failed ones stay too: a body that catches the failure of a physical child and fails later on must not, when it
        is tried again, have the child done a second time. Only a person's `retry` begins them anew.
        """
        if job.id not in self._steps:
            return
        self._clear_timer(job.id)
        for child in self.open_children(job.id):
            del self._parents[child]
        del self._steps[job.id]

    async def forget_failed(self, job_id: int) -> None:
        """A person runs the job again: what failed is done anew, what succeeded is not."""
        for step in await self.steps_of(job_id):
            if step.done and step.error is not None:
                self._journal.execute("delete_step", job_id, step.ordinal)

    def close(self) -> None:
        """Stop the deadlines; the next daemon takes them up."""
        for job_id in list(self._timers):
            self._clear_timer(job_id)
        for task in self._tasks:
            task.cancel()

    def _store(self, job_id: int, step: Step) -> None:
        self._journal.execute("put_step", job_id, step.ordinal, rows.encode(step))


def _submission(job: Job, call: Call) -> Submission:
    return Submission(
        call.task,
        dict(call.args),
        queue=call.queue,
        parent_id=job.id,
        step=call.ordinal,
        idempotency_key=f"step:{job.id}:{call.ordinal}:{job.attempt}",
        tags=["step"],
    )
