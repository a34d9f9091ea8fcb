"""Durable steps: a body that calls and asks is unwound, waits without a slot, and goes on with what was recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from labd.clock import SystemClock
from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import Caller, Job, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.engine.steps import Call, Question, Suspended
from labd.engine.views import JobFilter
from labd.errors import BadRequest, Conflict, DeviceFault, JobStateConflict, StoreFull

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))


class Lab:
    """A flow with two calls and a question between, and what it calls."""

    def __init__(self) -> None:
        self.bodies: list[int] = []
        self.mixed: list[int] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.leave = asyncio.Event()
        self.fail_mix = 0
        self.together = 0
        self.most_together = 0
        self.deadline: dict[str, Any] = {}

    def registry(self) -> Registry:
        registry = Registry()

        async def mix(ctx: JobContext, n: int = 0) -> int:
            self.together += 1
            self.most_together = max(self.most_together, self.together)
            try:
                await self.gate.wait()
            finally:
                self.together -= 1
            if self.fail_mix:
                self.fail_mix -= 1
                raise DeviceFault("the pipette is blocked")
            self.mixed.append(n)
            return n * 10

        async def flow(ctx: JobContext) -> list[Any]:
            self.bodies.append(ctx.job.attempt)
            results: list[Any] = []
            for ordinal in range(3):
                if ordinal < len(ctx.steps):
                    step = ctx.steps[ordinal]
                    if step.error is not None:
                        raise DeviceFault(step.error.message)
                    results.append(step.result)
                elif ordinal == 1:
                    question = Question(1, "Plate loaded?", "q", choices=("yes", "no"), **self.deadline)
                    raise Suspended(ask=question)
                else:
                    raise Suspended(calls=[Call(ordinal, "lab.mix", {"n": ordinal}, f"h{ordinal}")])
            return results

        async def fan(ctx: JobContext) -> list[Any]:
            self.bodies.append(ctx.job.attempt)
            if not ctx.steps:
                raise Suspended(calls=[Call(n, "lab.mix", {"n": n}, f"h{n}") for n in range(4)])
            return [step.result for step in ctx.steps]

        async def late_caller(ctx: JobContext) -> list[Any]:
            if not ctx.steps:
                self.entered.set()
                await self.gate.wait()
                raise Suspended(calls=[Call(0, "lab.mix", {"n": 7}, "h0")])
            return [step.result for step in ctx.steps]

        async def linger(ctx: JobContext) -> None:
            await self.leave.wait()

        async def careless_fan(ctx: JobContext) -> None:
            raise Suspended(calls=[Call(0, "lab.flow", {}, "h0"), Call(1, "lab.mix", {"n": "two"}, "h1")])

        async def physical_flow(ctx: JobContext) -> None:
            raise Suspended(calls=[Call(0, "lab.mix", {}, "h")])

        registry.add(TaskSpec("lab.mix", mix, effect="physical", resources=("ot2",)))
        registry.add(TaskSpec("lab.flow", flow, resources=("ot2",), origin="test", max_attempts=2, retry_delay_s=0.001))
        registry.add(TaskSpec("lab.fan", fan, resources=("ot2",), origin="test"))
        registry.add(TaskSpec("lab.late_caller", late_caller, origin="test"))
        registry.add(TaskSpec("lab.linger", linger))
        registry.add(TaskSpec("lab.careless_fan", careless_fan, origin="test"))
        registry.add(TaskSpec("lab.physical_flow", physical_flow, effect="physical", origin="test"))
        return registry

    @asynccontextmanager
    async def engine(self, folder: Path) -> AsyncIterator[Engine]:
        options = EngineOptions(queues={"standard": (2, 1), "low-priority": (3, 1)})
        made = Engine(folder, self.registry(), SystemClock(), Random(7), options)
        await made.open()
        try:
            await made.start()
            yield made
        finally:
            await made.close()


@pytest.fixture
def lab() -> Lab:
    return Lab()


async def until_state(engine: Engine, job_id: int, state: str, code: str | None = None) -> Job:
    async with asyncio.timeout(10):
        async for event in engine.events.subscribe(0):
            if event.job_id != job_id:
                continue
            job = await engine.job(job_id)
            if job.state == state and (code is None or (await engine.why(job_id))[0].code == code):
                return job
    raise AssertionError(state)


async def fill_up(engine: Engine) -> None:
    while True:
        await engine.submit([Submission("lab.mix", tags=["x" * 60] * 20, queue="low-priority")] * 50, ANNA)


async def submit(engine: Engine, task: str) -> Job:
    return (await engine.submit([Submission(task)], ANNA))[0]


async def test_a_flow_calls_asks_and_calls_again_on_one_slot_and_one_resource(lab: Lab, state_dir: Path) -> None:
    lab.gate.set()
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        asking = await until_state(engine, job.id, "waiting", "question")
        assert asking.asks is not None
        assert asking.asks["question"] == "Plate loaded?"
        with pytest.raises(BadRequest, match=r"Plate loaded\? 'perhaps' is none of yes, no"):
            await engine.answer(job.id, "perhaps", ANNA)
        await engine.answer(job.id, "yes", ANNA)
        done = await engine.wait(job.id, 10)
        assert (done.state, done.result, done.attempt) == ("succeeded", [0, "yes", 20], 1)
        assert lab.bodies == [1, 1, 1, 1]
        with pytest.raises(Conflict, match=r"Plate loaded\? was answered by unix:anna at "):
            await engine.answer(job.id, "no", Caller("unix:bert"))


async def test_a_waiting_flow_holds_its_resource_against_strangers_but_not_against_its_children(
    lab: Lab, state_dir: Path
) -> None:
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        child = await until_state(engine, job.id + 1, "running")
        stranger = (await engine.submit([Submission("lab.mix", queue="low-priority")], ANNA))[0]
        assert [cause.code for cause in await engine.why(stranger.id)] == ["resource_held"]
        assert (await engine.why(job.id))[0].message == f"it waits for job {child.id} (lab.mix), which is running"
        lab.gate.set()
        await until_state(engine, job.id, "waiting", "question")
        await engine.answer(job.id, "no", ANNA)
        assert (await engine.wait(job.id, 10)).state == "succeeded"
        assert (await engine.wait(stranger.id, 10)).state == "succeeded"


async def test_children_of_one_flow_take_turns_on_an_inherited_resource(lab: Lab, state_dir: Path) -> None:
    lab.gate.set()
    async with lab.engine(state_dir) as engine:
        await engine.change_queue("standard", ANNA, concurrency=10)
        done = await engine.wait((await submit(engine, "lab.fan")).id, 10)
        assert (done.result, lab.most_together) == ([0, 10, 20, 30], 1)


async def test_a_question_waits_across_a_restart_and_finished_steps_are_not_repeated(lab: Lab, state_dir: Path) -> None:
    lab.gate.set()
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        await until_state(engine, job.id, "waiting", "question")
    async with lab.engine(state_dir) as engine:
        assert (await engine.why(job.id))[0].code == "question"
        await engine.answer(job.id, "yes", ANNA)
        done = await engine.wait(job.id, 10)
        assert (done.state, done.attempt, lab.mixed) == ("succeeded", 1, [0, 2])


async def test_a_child_cut_off_by_a_death_is_interrupted_and_its_parent_waits_for_the_person(
    lab: Lab, state_dir: Path
) -> None:
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        child = await until_state(engine, job.id + 1, "running")
    lab.gate.set()
    async with lab.engine(state_dir) as engine:
        assert (await engine.job(child.id)).state == "interrupted"
        await until_state(engine, job.id, "waiting")
        await engine.retry(child.id, ANNA)
        await until_state(engine, job.id, "waiting", "question")
        await engine.answer(job.id, "yes", ANNA)
        assert (await engine.wait(job.id, 10)).result == [0, "yes", 20]


async def test_a_person_who_gives_up_an_interrupted_child_lets_its_parent_go_on(lab: Lab, state_dir: Path) -> None:
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        child = await until_state(engine, job.id + 1, "running")
    async with lab.engine(state_dir) as engine:
        assert (await engine.job(child.id)).state == "interrupted"
        await engine.cancel(child.id, ANNA)
        done = await engine.wait(job.id, 10)
        assert (done.state, done.error.code if done.error else None) == ("failed", "device_fault")


async def test_a_failed_child_fails_the_call_and_a_retry_of_the_parent_makes_a_new_one(
    lab: Lab, state_dir: Path
) -> None:
    lab.gate.set()
    lab.fail_mix = 1
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        failed = await engine.wait(job.id, 10)
        assert failed.error is not None
        assert (failed.state, failed.error.message) == ("failed", "the pipette is blocked")
        await engine.retry(job.id, ANNA)
        await until_state(engine, job.id, "waiting", "question")
        await engine.answer(job.id, "yes", ANNA)
        assert (await engine.wait(job.id, 10)).state == "succeeded"
        assert lab.mixed == [0, 2]


async def test_cancelling_a_waiting_flow_cancels_its_child_first(lab: Lab, state_dir: Path) -> None:
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.flow")
        child = await until_state(engine, job.id + 1, "running")
        await engine.cancel(job.id, ANNA, "wrong plate")
        done = await engine.wait(job.id, 10)
        assert (done.state, (await engine.job(child.id)).state, lab.together) == ("cancelled", "cancelled", 0)


@pytest.mark.parametrize(
    ("deadline", "state", "result"),
    [
        ({"deadline_s": 0.01, "on_deadline": "default", "default": "no"}, "succeeded", [0, "no", 20]),
        ({"deadline_s": 0.01, "on_deadline": "fail"}, "failed", None),
    ],
)
async def test_a_question_past_its_deadline_follows_its_policy(
    lab: Lab, state_dir: Path, deadline: dict[str, Any], state: str, result: Any
) -> None:
    lab.gate.set()
    lab.deadline = deadline
    async with lab.engine(state_dir) as engine:
        done = await engine.wait((await submit(engine, "lab.flow")).id, 10)
        assert (done.state, done.result) == (state, result)


async def test_a_physical_task_may_not_call(lab: Lab, state_dir: Path) -> None:
    async with lab.engine(state_dir) as engine:
        done = await engine.wait((await submit(engine, "lab.physical_flow")).id, 10)
        assert done.error is not None
        assert done.state == "failed"
        assert "physical acts are child jobs of a repeatable task" in done.error.message


async def test_several_calls_that_are_refused_make_no_child_and_name_the_one_at_fault(
    lab: Lab, state_dir: Path
) -> None:
    async with lab.engine(state_dir) as engine:
        done = await engine.wait((await submit(engine, "lab.careless_fan")).id, 10)
        assert done.error is not None
        assert done.error.message.startswith(f"job {done.id} called lab.mix: lab.mix: argument n = 'two'")
        assert [job.id for job in await engine.jobs(JobFilter())] == [done.id]


async def test_a_call_while_labd_is_ending_is_made_by_the_next_daemon(lab: Lab, state_dir: Path) -> None:
    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.late_caller")
        await engine.submit([Submission("lab.linger", queue="low-priority")], ANNA)
        await lab.entered.wait()
        draining = asyncio.create_task(engine.drain(10.0))
        await asyncio.sleep(0)
        lab.gate.set()
        await until_state(engine, job.id, "waiting")
        await engine.journal.commit()
        lab.leave.set()
        await draining
    async with lab.engine(state_dir) as engine:
        done = await engine.wait(job.id, 10)
        assert (done.state, done.result, lab.mixed) == ("succeeded", [70], [7])


async def test_a_call_on_a_full_disk_is_made_when_there_is_room(
    lab: Lab, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.RETRY_S", 0.01)
    monkeypatch.setattr("labd.engine.waiting.FULL_AGAIN_S", 0.01)

    async def set_page_limit(pages: int) -> None:
        await engine.journal.write(lambda opened: opened.execute(f"PRAGMA max_page_count = {pages}").fetchall())

    async with lab.engine(state_dir) as engine:
        job = await submit(engine, "lab.late_caller")
        await lab.entered.wait()
        await set_page_limit(1)
        with pytest.raises(StoreFull):
            await fill_up(engine)
        waiting = asyncio.create_task(until_state(engine, job.id, "waiting"))
        lab.gate.set()
        await set_page_limit(1_000_000)
        await waiting
        done = await engine.wait(job.id, 10)
        assert (done.state, done.result) == ("succeeded", [70])


async def test_a_job_that_asks_nothing_cannot_be_answered(lab: Lab, state_dir: Path) -> None:
    lab.gate.set()
    async with lab.engine(state_dir) as engine:
        job = (await engine.submit([Submission("lab.mix")], ANNA))[0]
        with pytest.raises(JobStateConflict, match="asks nothing"):
            await engine.answer(job.id, "yes", ANNA)
