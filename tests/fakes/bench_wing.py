"""A wing without a device: tasks that do nothing, wait, fail, or leave a trace that an outside checker can read.

`[test]` in the settings:
    trace = "/path/trace.jsonl"     where `test.physical` and `test.sleep` write, one JSON object a line

Why a trace without fsync: it is written with one `write` to a file opened for appending, which a kill -9 of the
daemon cannot take back. Only a power cut could, and nobody cuts the power here.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.engine.registry import JobContext, StopSpec, TaskSpec
from labd.errors import LabdError
from labd.settings import Problems
from labd.wing import Host, Wing

COLOURS = ("red", "yellow", "blue")


class TestFault(LabdError):
    """A failure that was asked for, worth another try."""

    code = "test_fault"
    retryable = True


class LastingTestFault(TestFault):
    """One that is not."""

    retryable = False


class Trace:
    """What task bodies did, told from the inside."""

    def __init__(self, path: Path | None) -> None:
        self._file = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)

    def line(self, kind: str, ctx: JobContext) -> None:
        """One line: `start`, `end`, `cancelled`."""
        if self._file < 0:
            return
        job = ctx.job
        facts = {"kind": kind, "task": job.task, "job": job.id, "attempt": job.attempt, "key": job.idempotency_key,
                 "pid": os.getpid(), "mono_ns": time.monotonic_ns()}  # fmt: skip
        os.write(self._file, json.dumps(facts).encode() + b"\n")

    def close(self) -> None:
        """No more lines; a second call does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class TestWing:
    """The wing at work."""

    def __init__(self, trace: Path | None) -> None:
        self._trace = Trace(trace)

    async def start(self) -> None:
        """Nothing to open."""

    async def drain(self) -> None:
        """Nothing moves."""

    async def stop(self) -> None:
        """Close the trace."""
        self._trace.close()

    def endpoints(self) -> list[Any]:
        """None."""
        return []

    def status(self) -> dict[str, Any]:
        """No device."""
        return {"devices": [], "attention": []}

    def change(self, settings: Any) -> list[str]:
        """Nothing can be changed while it works."""
        return []

    def tasks(self) -> list[TaskSpec | StopSpec]:
        """Everything that benches and tests ask for."""
        return [
            TaskSpec("test.noop", self.noop, "Does nothing.", max_attempts=3),
            TaskSpec("test.stamp", self.stamp, "Answers when its first line ran, nanoseconds of CLOCK_MONOTONIC."),
            TaskSpec("test.sleep", self.sleep, "Waits; may be repeated.", max_attempts=3, retry_delay_s=0.01),
            TaskSpec("test.fail", self.fail, "Fails its first attempts.", max_attempts=3, retry_delay_s=0.01),
            TaskSpec(
                "test.physical",
                self.physical,
                "Stands for a motion: never repeated.",
                effect="physical",
                resources=lambda args: (args["resource"],) if args.get("resource") else (),
            ),
            TaskSpec(
                "test.mix", self.noop, "Nothing, on stock.", consumes=dict.fromkeys(COLOURS, 0.001), max_attempts=3
            ),
            TaskSpec("test.slow", self.slow, "Tells its progress, and takes its time to come to rest when cancelled."),
        ]

    async def noop(self, ctx: JobContext) -> None:
        """Nothing."""

    async def stamp(self, ctx: JobContext) -> int:
        """When the body began."""
        return time.monotonic_ns()

    async def sleep(self, ctx: JobContext, duration_s: float = 0.1) -> int:
        """Wait, with a trace; gives the attempt."""
        self._trace.line("start", ctx)
        await asyncio.sleep(duration_s)
        self._trace.line("end", ctx)
        return ctx.job.attempt

    async def fail(
        self, ctx: JobContext, times: int = 1_000_000, retryable: bool = True, message: str = "as asked"
    ) -> int:
        """Fail `times` attempts, then succeed."""
        ctx.log(f"attempt {ctx.job.attempt}", "warning")
        if ctx.job.attempt <= times:
            text = f"attempt {ctx.job.attempt} of job {ctx.job.id}: {message}"
            raise TestFault(text) if retryable else LastingTestFault(text)
        return ctx.job.attempt

    async def physical(self, ctx: JobContext, duration_s: float = 0.1, resource: str = "") -> int:
        """Wait, with a trace that shows a second start."""
        self._trace.line("start", ctx)
        try:
            await asyncio.sleep(duration_s)
        except asyncio.CancelledError:
            self._trace.line("cancelled", ctx)
            raise
        self._trace.line("end", ctx)
        return ctx.job.attempt

    async def slow(self, ctx: JobContext, duration_s: float = 5.0, rest_s: float = 0.0) -> str:
        """Step by step to the end; `rest_s` is how long it goes on after it was cancelled."""
        steps = max(1, round(duration_s / 0.05))
        try:
            for step in range(steps):
                ctx.progress(step, steps, f"step {step} of {steps}")
                await asyncio.sleep(duration_s / steps)
        except asyncio.CancelledError:
            ctx.log("coming to rest")
            await asyncio.sleep(rest_s)
            raise
        return "done"


class TestWingFactory:
    """Satisfies `labd.wing.WingFactory`; handed to `labd.process.run` by `tests.fakes.bench_daemon`."""

    name = "test"
    extra = ""
    modules: tuple[str, ...] = ()

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Path | None:
        """The path of the trace."""
        for key in table.keys() - {"trace"}:
            problems.add(where, f"test.{key}", "unknown key; there is trace")
        return Path(table["trace"]) if "trace" in table else None

    def build(self, settings: Path | None, host: Host) -> Wing:
        """The wing, not yet started."""
        return TestWing(settings)


wing = TestWingFactory()
__all__ = ["TestWing", "Trace", "wing"]
