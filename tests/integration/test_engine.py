"""The engine on real SQLite files: promises, faults at each write, and what a new daemon makes of an old one's jobs."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from labd.clock import SystemClock, iso
from labd.engine import retention
from labd.engine.engine import Engine, EngineOptions
from labd.engine.job import Caller, Job, JobState, Submission
from labd.engine.registry import JobContext, Registry, StopSpec, TaskSpec
from labd.engine.schedules import ScheduleSpec
from labd.engine.views import JobFilter
from labd.errors import (
    BadRequest,
    Conflict,
    DeviceTimeout,
    Draining,
    IdempotencyConflict,
    InvalidArguments,
    JobStateConflict,
    StopLatched,
    StoreDamaged,
    StoreFull,
    StoreNewer,
    UnknownJob,
    UnknownQueue,
    UnknownTask,
)
from tests.fakes.clock import FakeClock

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))


class Bench:
    """Tasks whose bodies the test holds in its hand."""

    def __init__(self) -> None:
        self.started: list[tuple[int, int]] = []
        self.gate = asyncio.Event()
        self.entered = asyncio.Event()
        self.failures = 0
        self.at_rest: list[int] = []
        self.refuse = False
        self.stops = 0

    def registry(self) -> Registry:
        registry = Registry()

        async def noop(ctx: JobContext, n: int = 0) -> int:
            self.started.append((ctx.job.id, ctx.job.attempt))
            return n

        async def wait(ctx: JobContext) -> str:
            self.started.append((ctx.job.id, ctx.job.attempt))
            self.entered.set()
            ctx.log("waiting for the test")
            ctx.progress(1, 2, "half")
            await self.gate.wait()
            return "done"

        async def move(ctx: JobContext, degrees: float) -> float:
            self.started.append((ctx.job.id, ctx.job.attempt))
            self.entered.set()
            try:
                await self.gate.wait()
            finally:
                await asyncio.sleep(0)  # bring the device to rest
                self.at_rest.append(ctx.job.id)
            return degrees

        async def flaky(ctx: JobContext) -> str:
            self.started.append((ctx.job.id, ctx.job.attempt))
            if self.failures:
                self.failures -= 1
                raise DeviceTimeout("servo 1: no status packet")
            return "ok"

        async def broken(ctx: JobContext) -> None:
            raise ValueError("the task is wrong")

        async def unspeakable(ctx: JobContext) -> Any:
            return {1, 2, object()}

        async def stop(args: dict[str, Any], caller: Caller) -> dict[str, Any]:
            self.stops += 1
            return {"stopped": True}

        def allowed(args: dict[str, Any]) -> None:
            if self.refuse:
                raise StopLatched("stopped by anna")

        registry.add(TaskSpec("test.noop", noop, aliases=("noop/noop",)))
        registry.add(TaskSpec("test.wait", wait))
        registry.add(
            TaskSpec(
                "test.move", move, effect="physical", resources=("arm",), precheck=allowed, simulated=lambda args: True
            )
        )
        registry.add(TaskSpec("test.flaky", flaky, max_attempts=3, retry_delay_s=1.0, backoff="fixed"))
        registry.add(TaskSpec("test.broken", broken))
        registry.add(TaskSpec("test.keyed", noop, idempotency="n-{n}"))
        registry.add(TaskSpec("test.cached", noop, cached=True, cache_ttl_s=60.0, code={"sha256": "a"}))
        registry.add(TaskSpec("test.unspeakable", unspeakable))
        registry.add(StopSpec("test.stop", stop, aliases=("emergency_stop",)))
        return registry

    @asynccontextmanager
    async def engine(self, folder: Path, clock: Any = None, **options: Any) -> AsyncIterator[Engine]:
        made = Engine(folder, self.registry(), clock or SystemClock(), Random(7), EngineOptions(**options))
        await made.open()
        try:
            await made.start()
            yield made
        finally:
            await made.close()


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def one(engine: Engine, task: str, caller: Caller = ANNA, /, **fields: Any) -> Job:
    return (await engine.submit([Submission(task, **fields)], caller))[0]


async def ended(engine: Engine, job: Job) -> Job:
    found = await engine.wait(job.id, 10)
    assert found.state.value in ("succeeded", "failed", "cancelled", "interrupted"), found
    return found


async def until(claim: Callable[[], bool]) -> None:
    """Let the loop turn until a claim holds; the test's own time limit bounds it."""
    while not claim():  # noqa: ASYNC110 the claims are about many parts; none has an event of its own
        await asyncio.sleep(0)


def row_of(folder: Path, job_id: int) -> tuple[Any, ...]:
    with sqlite3.connect(f"file:{folder / 'labd.db'}?mode=ro", uri=True) as opened:
        found = opened.execute("SELECT state, attempt, result FROM jobs WHERE id = ?", (job_id,)).fetchone()
    opened.close()
    return tuple(found)


async def test_a_job_runs_and_its_result_is_on_disk(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await ended(engine, await one(engine, "test.noop", args={"n": 5}, tags=["night"]))
        assert (job.state, job.result, job.attempt, job.submitted_by) == ("succeeded", 5, 1, "unix:anna")
        assert row_of(state_dir, job.id) == ("succeeded", 1, "5")
        kinds = [event.kind for event in await engine.job_events(job.id)]
        assert kinds == ["job.submitted", "job.started", "job.succeeded"]


async def test_an_alias_stores_the_canonical_name(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        assert (await one(engine, "noop/noop")).task == "test.noop"


async def test_the_start_is_on_disk_before_the_first_line_of_the_body(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await one(engine, "test.move", args={"degrees": 90})
        await bench.entered.wait()
        assert row_of(state_dir, job.id)[:2] == ("running", 1)
        bench.gate.set()
        assert (await ended(engine, job)).simulated


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"task": "test.nop"}, UnknownTask, "no task is named test.nop; did you mean test.noop"),
        (
            {"task": "test.noop", "args": {"n": "x"}},
            InvalidArguments,
            "test.noop: argument n = 'x': Expected `int`, got `str`",
        ),
        ({"task": "test.noop", "args": {"m": 1}}, InvalidArguments, "unknown field `m`"),
        ({"task": "test.move"}, InvalidArguments, "missing required field `degrees`"),
        (
            {"task": "test.noop", "queue": "fast"},
            UnknownQueue,
            "no queue is named fast; there are high-priority, standard",
        ),
        ({"task": "test.noop", "priority": 10}, BadRequest, "priority 10 is not between 0 (first) and 9"),
        ({"task": "test.noop", "timeout_s": 0}, BadRequest, "timeout_s 0 is not above 0"),
        ({"task": "test.noop", "max_attempts": 0}, BadRequest, "max_attempts 0 is not between 1 and 100"),
        ({"task": "test.noop", "run_at": "tomorrow"}, BadRequest, "run_at: Invalid isoformat string"),
        ({"task": "test.noop", "run_at": "2026-01-01T00:00"}, BadRequest, "an instant needs a time zone"),
        ({"task": "test.noop", "tags": ["two words"]}, BadRequest, "tag 'two words'"),
        ({"task": "test.noop", "idempotency_key": ""}, BadRequest, "idempotency_key has 0 characters"),
        ({"task": "test.noop", "expires_in_s": 1, "delay_s": 5}, BadRequest, "expires_at is not after run_at"),
    ],
)
async def test_a_bad_submission_names_field_value_and_limit_and_leaves_nothing(
    bench: Bench, state_dir: Path, fields: dict[str, Any], error: type[Exception], message: str
) -> None:
    async with bench.engine(state_dir) as engine:
        with pytest.raises(error, match=r".*") as caught:
            await engine.submit([Submission("test.noop"), Submission(**fields)], ANNA)
        assert message in str(caught.value)
        assert await engine.jobs(JobFilter()) == []
        assert engine.counts()["queued"] == 0


async def test_a_recorded_result_is_given_again_until_it_is_too_old_or_not_wanted(
    bench: Bench, state_dir: Path
) -> None:
    clock = FakeClock()
    async with bench.engine(state_dir, clock) as engine:
        first = await ended(engine, await one(engine, "test.cached", args={"n": 5}))
        again = await ended(engine, await one(engine, "test.cached", args={"n": 5}))
        assert (again.state, again.result, again.cached_from) == ("succeeded", 5, first.id)
        assert (await engine.why(again.id))[0].message.startswith("its result is the recorded one of job 1")
        await ended(engine, await one(engine, "test.cached", args={"n": 6}))
        await ended(engine, await one(engine, "test.cached", args={"n": 5}, no_cache=True))
        clock.advance(61)
        last = await ended(engine, await one(engine, "test.cached", args={"n": 5}))
        assert last.cached_from is None
        assert [job_id for job_id, _ in bench.started] == [1, 3, 4, 5]


async def test_a_failing_task_is_retried_with_its_error_shown_and_then_succeeds(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock()
    bench.failures = 2
    async with bench.engine(state_dir, clock) as engine:
        job = await one(engine, "test.flaky")
        for attempt in (1, 2):
            await until(lambda attempt=attempt: len(bench.started) == attempt and job.state == "queued")
            causes = await engine.why(job.id)
            assert causes[0].code == "run_at"
            assert job.error is not None
            assert job.error.code == "device_timeout"
            clock.advance(2.0)
            engine.wake()
        assert (await ended(engine, job)).state == "succeeded"
        assert bench.started == [(1, 1), (1, 2), (1, 3)]


async def test_attempts_run_out_and_the_job_fails_with_the_last_error(bench: Bench, state_dir: Path) -> None:
    bench.failures = 9
    async with bench.engine(state_dir) as engine:
        job = await ended(engine, await one(engine, "test.flaky", max_attempts=1))
        assert job.error is not None
        assert (job.state, job.error.code, job.error.type) == ("failed", "device_timeout", "DeviceTimeout")


async def test_a_raising_task_fails_its_own_job_with_type_message_and_traceback(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await ended(engine, await one(engine, "test.broken"))
        assert job.error is not None
        assert job.error.message == "test.broken (job 1) raised ValueError: the task is wrong"
        assert "in broken" in job.error.traceback


async def test_a_result_that_json_cannot_hold_fails_the_job(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await ended(engine, await one(engine, "test.unspeakable"))
        assert job.error is not None
        assert (job.state, job.error.type) == ("failed", "TypeError")


async def test_a_timeout_ends_the_attempt_and_is_a_failure(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await ended(engine, await one(engine, "test.move", args={"degrees": 1}, timeout_s=0.01))
        assert job.error is not None
        assert job.error.message == "test.move (job 1) took longer than its timeout of 0.01 s"
        assert (job.state, bench.at_rest) == ("failed", [1])


async def test_progress_and_log_lines_are_kept(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await one(engine, "test.wait")
        await bench.entered.wait()
        assert job.progress is not None
        assert (job.progress.done, job.progress.total, job.progress.text) == (1, 2, "half")
        assert [line.text for line in await engine.logs(job.id)] == ["waiting for the test"]
        bench.gate.set()
        await ended(engine, job)


async def test_a_delayed_job_waits_for_its_time(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock()
    async with bench.engine(state_dir, clock) as engine:
        job = await one(engine, "test.noop", delay_s=60)
        assert (await engine.why(job.id))[0].message == f"not before {iso(clock.wall() + 60)}"
        clock.advance(61)
        engine.wake()
        await ended(engine, job)


async def test_the_same_key_gives_the_same_job_back_also_when_both_come_at_once(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        items = [Submission("test.noop", {"n": 1}, idempotency_key="k1") for _ in range(20)]
        jobs = await asyncio.gather(*[engine.submit([item], ANNA) for item in items])
        assert {found[0].id for found in jobs} == {1}
        again, made = await engine.submit_one(items[0], ANNA)
        assert (again.id, made) == (1, False)
        both = await engine.submit([items[0], Submission("test.noop", idempotency_key="k2"), items[0]], ANNA)
        assert [job.id for job in both] == [1, 2, 1]


async def test_a_task_may_say_the_key_of_its_jobs(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        first, again, other = [await one(engine, "test.keyed", args=args) for args in ({"n": 0}, {}, {"n": 1})]
        assert (again.id, other.id) == (first.id, first.id + 1)
        assert first.idempotency_key == "test.keyed:n-0"


async def test_who_asks_again_gets_the_job_even_where_a_new_one_would_be_refused(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        first = await one(engine, "test.move", args={"degrees": 1}, idempotency_key="k")
        bench.refuse = True
        assert (await one(engine, "test.move", args={"degrees": 1}, idempotency_key="k")).id == first.id
        with pytest.raises(StopLatched):
            await one(engine, "test.move", args={"degrees": 1}, idempotency_key="new")
        bench.gate.set()


async def test_the_same_key_with_other_arguments_is_a_conflict(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await one(engine, "test.noop", args={"n": 1}, idempotency_key="k")
        with pytest.raises(IdempotencyConflict, match="idempotency key k belongs to job 1"):
            await one(engine, "test.noop", args={"n": 2}, idempotency_key="k")


async def test_the_same_key_after_a_restart_gives_the_same_job(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await ended(engine, await one(engine, "test.noop", idempotency_key="k"))
    async with bench.engine(state_dir) as engine:
        assert (await one(engine, "test.noop", idempotency_key="k")).id == 1


async def test_cancelling_is_not_cancelled_before_the_work_has_ended(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await one(engine, "test.move", args={"degrees": 1})
        await bench.entered.wait()
        asked = await engine.cancel(job.id, ANNA, "wrong plate")
        assert asked.state in ("cancelling", "cancelled")
        done = await ended(engine, job)
        assert done.error is not None
        assert (done.state, done.error.message, bench.at_rest) == (
            "cancelled",
            "cancelled by unix:anna: wrong plate",
            [1],
        )
        with pytest.raises(JobStateConflict, match="job 1 is cancelled already"):
            await engine.cancel(job.id, ANNA)


async def test_a_queued_job_is_withdrawn_at_once(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA, "night")
        job = await one(engine, "test.noop")
        assert (await engine.cancel(job.id, ANNA)).state == "cancelled"
        await engine.resume_queue("standard", ANNA)
        assert bench.started == []


async def test_what_holds_a_resource_is_cancelled_and_what_waits_for_it_too(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        running = await one(engine, "test.move", args={"degrees": 1})
        waiting = await one(engine, "test.move", args={"degrees": 2})
        await bench.entered.wait()
        assert sorted(engine.cancel_holding("arm", ANNA, "stop", "stop_latched")) == [running.id, waiting.id]
        for job in (running, waiting):
            done = await ended(engine, job)
            assert done.error is not None
            assert (done.state, done.error.code) == ("cancelled", "stop_latched")
        assert [job_id for job_id, _ in bench.started] == [running.id]


async def test_held_jobs_wait_for_a_release_also_across_a_restart(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA)
        job = await one(engine, "test.move", args={"degrees": 2})
        assert engine.hold_queued("arm", "device_lost", "the arm was lost") == [job.id]
        await engine.resume_queue("standard", ANNA)
    bench.gate.set()
    async with bench.engine(state_dir) as engine:
        assert bench.started == []
        assert (await engine.why(job.id))[0].code == "device_lost"
        assert engine.queues()[1].held == 1
        await engine.release(job.id, ANNA)
        assert (await ended(engine, job)).state == "succeeded"
        with pytest.raises(JobStateConflict, match="not held"):
            await engine.release(job.id, ANNA)


async def test_a_name_that_means_stop_runs_at_once_past_paused_queues_and_leaves_a_record(
    bench: Bench, state_dir: Path
) -> None:
    async with bench.engine(state_dir) as engine:
        for queue in engine.queues():
            await engine.pause_queue(queue.name, ANNA)
        job = await one(engine, "emergency_stop")
        assert (bench.stops, job.state, job.result) == (1, "succeeded", {"stopped": True})
        assert row_of(state_dir, job.id)[0] == "succeeded"


async def test_a_refused_precondition_makes_no_job(bench: Bench, state_dir: Path) -> None:
    bench.refuse = True
    async with bench.engine(state_dir) as engine:
        with pytest.raises(StopLatched):
            await one(engine, "test.move", args={"degrees": 1})
        assert await engine.jobs(JobFilter()) == []


async def test_a_physical_job_that_waited_past_its_expiry_never_starts(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock()
    async with bench.engine(state_dir, clock) as engine:
        await engine.pause_queue("standard", ANNA)
        job = await one(engine, "test.move", args={"degrees": 1})
        clock.advance(601)
        await engine.resume_queue("standard", ANNA)
        done = await ended(engine, job)
        assert done.error is not None
        assert (done.state, done.error.code, bench.started) == ("cancelled", "job_expired", [])


async def test_after_a_death_physical_work_waits_for_a_person_and_repeatable_work_runs_again(
    bench: Bench, state_dir: Path
) -> None:
    """The files are copied while the work is going on: what a `kill -9` at that moment would have left."""
    async with bench.engine(state_dir) as engine:
        physical = await one(engine, "test.move", args={"degrees": 1})
        repeatable = await one(engine, "test.wait")
        await until(lambda: len(bench.started) == 2)
        await engine.journal.commit()
        left = state_dir / "left"
        left.mkdir()
        for file in state_dir.glob("labd.db*"):
            (left / file.name).write_bytes(file.read_bytes())
        bench.gate.set()
        await ended(engine, physical)
        await ended(engine, repeatable)
    bench.started.clear()
    async with bench.engine(left) as engine:
        cut = await engine.job(physical.id)
        again = await ended(engine, repeatable)
        assert cut.error is not None
        assert (cut.state, cut.error.code) == ("interrupted", "job_interrupted")
        assert "nobody knows how far it came" in (await engine.why(cut.id))[0].message
        assert (again.state, again.attempt, again.crashes) == ("succeeded", 2, 1)
        assert bench.started == [(repeatable.id, 2)]
        retried = await engine.retry(cut.id, ANNA)
        assert (await ended(engine, retried)).attempt == 2


async def test_a_job_that_keeps_killing_the_daemon_fails_in_the_end(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await one(engine, "test.wait")
        await bench.entered.wait()
        job.crashes = 5
        engine._book.change(job, "job.progress")
        await engine.journal.commit()
        left = state_dir / "left"
        left.mkdir()
        for file in state_dir.glob("labd.db*"):
            (left / file.name).write_bytes(file.read_bytes())
        bench.gate.set()
    async with bench.engine(left) as engine:
        done = await engine.job(job.id)
        assert done.error is not None
        assert (done.state, done.error.code) == ("failed", "job_interrupted")


async def test_a_drain_lets_work_end_then_cuts_it_off_and_a_physical_job_is_interrupted(
    bench: Bench, state_dir: Path
) -> None:
    async with bench.engine(state_dir) as engine:
        physical = await one(engine, "test.move", args={"degrees": 1})
        repeatable = await one(engine, "test.wait")
        await until(lambda: len(bench.started) == 2)
        await engine.drain(0.0)
        assert (physical.state, repeatable.state, bench.at_rest) == ("interrupted", "queued", [physical.id])
        with pytest.raises(Draining):
            await one(engine, "test.noop")
    bench.gate.set()
    async with bench.engine(state_dir) as engine:
        assert (await ended(engine, repeatable)).attempt == 2
        assert (await engine.job(physical.id)).state == "interrupted"


async def test_restored_physical_jobs_are_held(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA)
        job = await one(engine, "test.move", args={"degrees": 2})
    (state_dir / "restored.json").write_text(json.dumps({"created_at": "2026-11-01T00:00:00Z"}))
    async with bench.engine(state_dir) as engine:
        await engine.resume_queue("standard", ANNA)
        assert "restored" in [cause.code for cause in await engine.why(job.id)]
        assert not (state_dir / "restored.json").exists()


async def test_jobs_of_a_task_that_is_gone_are_held_and_let_go_when_it_is_back(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA)
        job = await one(engine, "test.move", args={"degrees": 2})
        await engine.resume_queue("low-priority", ANNA)
    empty = Engine(state_dir, Registry(), SystemClock(), Random(1), EngineOptions())
    await empty.open()
    await empty.start()
    assert "task_missing" in [cause.code for cause in await empty.why(job.id)]
    await empty.close()
    bench.gate.set()
    async with bench.engine(state_dir) as engine:
        await engine.resume_queue("standard", ANNA)
        assert (await ended(engine, job)).state == "succeeded"


async def test_ids_are_never_used_twice_even_when_retention_took_the_last_job(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir, keep_jobs=0) as engine:
        for _ in range(3):
            await ended(engine, await one(engine, "test.noop"))
        assert await engine.retention.sweep() == 3
        with pytest.raises(UnknownJob):
            await engine.job(3)
    async with bench.engine(state_dir) as engine:
        assert (await one(engine, "test.noop")).id == 4


async def set_page_limit(engine: Engine, pages: int) -> None:
    """A full disk as SQLite meets it: SQLITE_FULL from its own allocator."""
    await engine.journal.write(lambda opened: opened.execute(f"PRAGMA max_page_count = {pages}").fetchall())


async def fill_up(engine: Engine) -> None:
    while True:
        await engine.submit([Submission("test.noop", tags=["x" * 60] * 20, queue="low-priority")] * 50, ANNA)


async def test_a_full_disk_refuses_new_jobs_keeps_reads_and_running_work_and_recovers_by_itself(
    bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.RETRY_S", 0.01)
    async with bench.engine(state_dir) as engine:
        going = await one(engine, "test.wait")
        await bench.entered.wait()
        await set_page_limit(engine, 1)
        with pytest.raises(
            StoreFull, match="takes no more writes: database or disk is full; free space, nothing was accepted"
        ):
            await fill_up(engine)
        with pytest.raises(StoreFull):
            await one(engine, "test.noop")
        assert engine.store_full
        assert (await engine.job(going.id)).id == going.id
        bench.gate.set()
        await until(lambda: going.state == "succeeded")
        assert (await one(engine, "emergency_stop")).state == "succeeded"
        await set_page_limit(engine, 1_000_000)
        await until(lambda: not engine.store_full)
        await engine.journal.commit()
        assert row_of(state_dir, going.id)[0] == "succeeded"
        job = await ended(engine, await one(engine, "test.noop"))
        on_disk = {found.id for found in await engine.jobs(JobFilter(limit=100_000))}
        assert job.id in on_disk
        assert sum(engine.counts()[state] for state in ("queued", "running")) == 0


@pytest.mark.parametrize("act", ["cancel_holding", "hold_queued"])
async def test_a_row_that_is_old_when_it_is_handed_over_ends_no_job_twice_and_holds_none_that_has_ended(
    bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    async with bench.engine(state_dir) as engine:
        going = await one(engine, "test.move", args={"degrees": 1})
        await bench.entered.wait()
        behind = await one(engine, "test.move", args={"degrees": 2})
        read, late, seen = engine.journal.read, asyncio.Event(), asyncio.Event()

        async def slow_read(name: str, *parameters: Any) -> Any:
            found = await read(name, *parameters)
            if name == "queued_physical" and not seen.is_set():
                seen.set()
                await late.wait()
            return found

        monkeypatch.setattr(engine.journal, "read", slow_read)
        if act == "cancel_holding":
            engine.cancel_holding("arm", ANNA, "stopped", "stop_latched")
            await seen.wait()
        else:
            engine.hold_queued("arm", "stalled", "look first")
            await seen.wait()
            await engine.release(behind.id, ANNA)
        bench.gate.set()
        await until(lambda: engine.counts()["queued"] == engine.counts()["running"] == 0)
        await engine.journal.commit()
        state = (await engine.job(behind.id)).state
        late.set()
        await until(lambda: not any(task.get_name() == act for task in asyncio.all_tasks()))
        await engine.journal.commit()
        assert (state, (await engine.job(behind.id)).state) == (state, state)
        assert state == ("cancelled" if act == "cancel_holding" else "succeeded")
        assert [(queue.queued, queue.held) for queue in engine.queues() if queue.queued or queue.held] == []
        assert sum(engine.counts()[name] for name in ("queued", "running")) == 0
        assert (await engine.job(going.id)).state == ("cancelled" if act == "cancel_holding" else "succeeded")


async def test_a_job_whose_admission_is_refused_never_runs_though_its_turn_came_meanwhile(
    bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.RETRY_S", 0.01)
    async with bench.engine(state_dir) as engine:
        await engine.change_queue("standard", ANNA, concurrency=1)
        going = await one(engine, "test.wait")
        await bench.entered.wait()
        await set_page_limit(engine, 1)
        slow = threading.Event()
        disk = asyncio.create_task(engine.journal.write(lambda opened: slow.wait(10.0)))
        asked = asyncio.create_task(engine.submit([Submission("test.noop", tags=["x" * 60] * 20)] * 50, ANNA))
        await until(lambda: engine.counts()["queued"] == 50)
        bench.gate.set()
        await until(lambda: engine.counts()["running"] == 1 and going.state == "succeeded")  # one of the fifty
        slow.set()
        with pytest.raises(StoreFull):
            await asked
        await disk
        await set_page_limit(engine, 1_000_000)
        await until(lambda: not engine.store_full)
        await engine.journal.commit()
        assert bench.started == [(going.id, 1)]
        assert sum(engine.counts()[state] for state in ("queued", "running")) == 0
        job = await ended(engine, await one(engine, "test.noop"))
        assert bench.started == [(going.id, 1), (job.id, 1)]


async def test_a_file_that_is_no_database_is_named_and_left_as_it_is(bench: Bench, state_dir: Path) -> None:
    (state_dir / "labd.db").write_bytes(b"PRECIOUS" * 1000)
    with pytest.raises(StoreDamaged, match="is not an SQLite database; move it away or restore a backup"):
        async with bench.engine(state_dir):
            pass
    assert (state_dir / "labd.db").read_bytes() == b"PRECIOUS" * 1000


async def test_a_torn_database_is_named_and_left_as_it_is(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.submit([Submission("test.noop") for _ in range(500)], ANNA)
    path = state_dir / "labd.db"
    image = bytearray(path.read_bytes())
    image[8192 : len(image) // 2] = b"\xa5" * (len(image) // 2 - 8192)
    path.write_bytes(image)
    with pytest.raises(StoreDamaged, match="is damaged"):
        async with bench.engine(state_dir):
            pass
    assert path.read_bytes() == bytes(image)


async def test_a_newer_database_is_refused_and_left_as_it_is(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir):
        pass
    opened = sqlite3.connect(state_dir / "labd.db")
    opened.execute("PRAGMA user_version = 99")
    opened.close()
    with pytest.raises(StoreNewer, match=r"has schema 99, this labd knows up to \d+"):
        async with bench.engine(state_dir):
            pass


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE jobs SET state = 'sleeping'",
        "UPDATE jobs SET finished_at = NULL",
        "UPDATE jobs SET state = 'interrupted', error = '{}'",
        "UPDATE jobs SET attempt = -1",
        "UPDATE jobs SET state = 'running', attempt = 0, finished_at = NULL",
        "UPDATE jobs SET state = 'failed', error = NULL",
        "UPDATE audit SET actor = 'nobody'",
        "DELETE FROM audit",
    ],
)
async def test_the_database_guards_states_and_audit_by_itself(bench: Bench, state_dir: Path, change: str) -> None:
    async with bench.engine(state_dir) as engine:
        await ended(engine, await one(engine, "test.noop"))
        engine.audit(ANNA, "test", "x", {})
    opened = sqlite3.connect(state_dir / "labd.db")
    with pytest.raises(sqlite3.IntegrityError):
        opened.execute(change)
    opened.close()


async def test_retention_keeps_the_file_flat(bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "BITE", 200)
    sizes = []
    async with bench.engine(state_dir, keep_jobs=200, queues={"standard": (2, 500)}) as engine:
        for _ in range(6):
            await engine.submit([Submission("test.noop") for _ in range(800)], ANNA)
            await until(lambda: engine.counts()["queued"] + engine.counts()["running"] == 0)
            await engine.journal.commit()
            await engine.retention.sweep()
            pages = await engine.journal.read_sql("PRAGMA page_count", ())
            sizes.append(pages[0][0])
        assert len(await engine.jobs(JobFilter(limit=10_000))) == 200
    assert max(sizes[2:]) <= sizes[1] * 1.2, sizes


async def test_log_lines_go_by_age_while_their_job_stays(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock()
    async with bench.engine(state_dir, clock, keep_lines_s=100.0) as engine:
        job = await one(engine, "test.wait")
        await bench.entered.wait()
        bench.gate.set()
        await ended(engine, job)
        assert len(await engine.logs(job.id)) == 1
        clock.advance(101)
        await engine.retention.sweep()
        assert await engine.logs(job.id) == []
        assert (await engine.job(job.id)).state == "succeeded"


async def test_the_feed_misses_nothing_from_any_cursor_across_a_restart(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        for _ in range(5):
            await ended(engine, await one(engine, "test.noop"))
        seen = [event.seq async for event in take_until(engine, 0, engine.events.last_seq)]
        assert seen == sorted(set(seen))
        last = engine.events.last_seq
    async with bench.engine(state_dir) as engine:
        await ended(engine, await one(engine, "test.noop"))
        later = [event async for event in take_until(engine, last - 2, engine.events.last_seq)]
        assert [event.seq for event in later] == list(range(last - 1, engine.events.last_seq + 1))


async def take_until(engine: Engine, after: int, last: int) -> AsyncIterator[Any]:
    async for event in engine.events.subscribe(after):
        yield event
        if event.seq >= last:
            return


async def test_the_audit_chain_names_the_first_changed_entry(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        for n in range(5):
            engine.audit(ANNA, "test.act", f"thing {n}", {"n": n})
        report = await engine.audit_verify()
        assert (report.ok, report.entries) == (True, 5)
    opened = sqlite3.connect(state_dir / "labd.db", isolation_level=None)
    opened.execute("DROP TRIGGER audit_keeps_values")
    opened.execute("UPDATE audit SET details = '{\"n\":9}' WHERE id = 3")
    opened.close()
    async with bench.engine(state_dir) as engine:
        report = await engine.audit_verify()
        assert (report.ok, report.broken_at, report.problem) == (False, 3, "entry 3: its content was changed")


async def test_a_schedule_fires_once_for_each_instant_across_a_restart(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock(1_800_000_000.0)
    spec = ScheduleSpec(
        name="tick", task="test.noop", interval_s=60.0, misfire="all", overlap="parallel", overlap_limit=100
    )
    async with bench.engine(state_dir, clock) as engine:
        await engine.put_schedule(spec, ANNA)
        for _ in range(3):
            clock.advance(60)
            await engine._timetable.fire_due()
            await engine._timetable.fire_due()
        async with asyncio.timeout(5):  # the timetable's own turn, woken by the clock, may still be at the last one
            while len(made := await engine.jobs(JobFilter())) < 3:
                pass
        assert [job.idempotency_key for job in made] == [
            f"schedule:tick:{iso(1_800_000_000.0 + 60 * n)}" for n in (3, 2, 1)
        ]
        with pytest.raises(Conflict, match="schedule tick exists already"):
            await engine.put_schedule(spec, ANNA, create=True)
    clock.advance(120)
    async with bench.engine(state_dir, clock) as engine:
        await engine._timetable.fire_due()
        assert len(await engine.jobs(JobFilter())) == 5
        await engine.pause_schedule("tick", ANNA)
        clock.advance(600)
        await engine._timetable.fire_due()
        assert len(await engine.jobs(JobFilter())) == 5
        assert engine.preview("tick", 2) == [clock.wall() + 60, clock.wall() + 120]


async def test_a_schedule_on_a_full_disk_loses_no_run(
    bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.journal.RETRY_S", 0.01)
    clock = SystemClock()
    async with bench.engine(state_dir, clock) as engine:
        spec = ScheduleSpec(name="tick", task="test.noop", interval_s=3600.0, misfire="all", tags=("x" * 60,) * 16)
        await engine.put_schedule(spec, ANNA)
        entry = engine._timetable.entries["tick"]
        entry.state = msgspec.structs.replace(
            entry.state, settled=((0.0, clock.wall() - 4000),), next_run_at=clock.wall() - 10
        )
        await set_page_limit(engine, 1)
        with pytest.raises(StoreFull):
            await fill_up(engine)
        await engine._timetable.fire_due()
        await set_page_limit(engine, 1_000_000)
        await until(lambda: not engine.store_full)
        await engine.journal.commit()
        await engine._timetable.fire_due()
        fired = await engine.jobs(JobFilter(task="test.noop", queue="standard"))
        assert len(fired) == 1


async def test_filters_find_by_state_task_queue_tag_text_and_page(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await one(engine, "test.noop", args={"n": 100}, tags=["blue_1"])
        await one(engine, "test.noop", args={"n": 3}, queue="low-priority", tags=["blueX1"])
        job = await one(engine, "test.broken")
        await ended(engine, job)

        async def ids(**which: Any) -> list[int]:
            return [found.id for found in await engine.jobs(JobFilter(**which))]

        assert await ids(tag="blue_1") == [1]
        assert await ids(text="the task is WRONG") == [3]
        assert await ids(text='"n":100') == [1]
        assert await ids(states=("failed",)) == [3]
        assert await ids(states=("failed", "succeeded"), queue="low-priority") == [2]
        assert await ids(task="test.noop", limit=1) == [2]
        assert await ids(task="test.noop", limit=1, before_id=2) == [1]
        assert await ids(submitted_by="unix:bert") == []


async def test_pause_and_limits_of_queues_survive_a_restart(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA, "cleaning")
        with pytest.raises(BadRequest, match="concurrency -1 is not between 0 and 10000"):
            await engine.change_queue("standard", ANNA, concurrency=-1)
    async with bench.engine(state_dir) as engine:
        view = next(queue for queue in engine.queues() if queue.name == "standard")
        assert (view.paused, view.paused_by, view.paused_reason) == (True, "unix:anna", "cleaning")


async def test_a_backup_made_while_jobs_run_opens_as_a_database_of_its_own(bench: Bench, state_dir: Path) -> None:
    copy = state_dir / "copy"
    copy.mkdir()
    async with bench.engine(state_dir) as engine:
        for _ in range(20):
            await one(engine, "test.noop")
        assert [path.name for path in await engine.backup(copy)] == ["labd.db", "logbook.db"]
    async with bench.engine(copy) as engine:
        assert len(await engine.jobs(JobFilter())) == 20


async def test_a_backlog_larger_than_the_window_runs_in_order_and_whole(
    bench: Bench, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labd.engine.dispatcher.WINDOW", 50)
    monkeypatch.setattr("labd.engine.dispatcher.LOW_WATER", 20)
    monkeypatch.setattr("labd.engine.pump.FILL", 40)
    async with bench.engine(state_dir) as engine:
        await engine.pause_queue("standard", ANNA)
        for _ in range(5):
            await engine.submit([Submission("test.noop") for _ in range(100)], ANNA)
    async with bench.engine(state_dir) as engine:
        assert engine.counts()["queued"] == 500
        await engine.resume_queue("standard", ANNA)
        await one(engine, "test.noop", priority=0)
        await until(lambda: len(bench.started) == 501)
        await engine.journal.commit()
        order = [job_id for job_id, _ in bench.started if job_id != 501]
        assert order == sorted(order)
        assert len(set(order)) == 500


async def test_a_question_that_comes_after_the_end_is_refused_as_such(bench: Bench, state_dir: Path) -> None:
    async with bench.engine(state_dir) as engine:
        job = await one(engine, "test.noop")
        await ended(engine, job)
    with pytest.raises(Draining, match="labd is ending; ask again when it is back"):
        await engine.job(job.id)
    with pytest.raises(Draining):
        await engine.submit([Submission("test.noop")], ANNA)


async def test_a_clock_step_is_told_and_loses_no_delayed_job(bench: Bench, state_dir: Path) -> None:
    clock = FakeClock()
    async with bench.engine(state_dir, clock) as engine:
        job = await one(engine, "test.noop", delay_s=3600)
        await until(lambda: bool(clock._sleepers))
        clock.step_wall(7200)
        clock.advance(20)
        await ended(engine, job)
        await engine.journal.commit()
        kinds = [event.kind async for event in take_until(engine, 0, engine.events.last_seq)]
        assert "clock.stepped" in kinds


def test_options_are_values() -> None:
    assert replace(EngineOptions(), ageing_s=1.0).ageing_s == 1.0
    assert JobState.QUEUED == "queued"
