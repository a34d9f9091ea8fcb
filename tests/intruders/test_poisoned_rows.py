"""What cannot be written or read again is refused at the door, and one bad row never takes the journal with it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.clock import SystemClock
from labd.engine import storable
from labd.engine.engine import Engine
from labd.engine.job import INTERNAL, Job, JobState, Submission
from labd.engine.registry import JobContext, Registry, TaskSpec
from labd.errors import Conflict, InvalidArguments, LabdError

LIMIT_S = 10.0
HALF = "\ud800"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


async def echo(ctx: JobContext, value: Any = None) -> Any:
    return value


async def says(ctx: JobContext, how: str) -> Any:
    if how == "log":
        ctx.log(f"a line with {HALF}")
    if how == "progress":
        ctx.progress(1, None, f"text {HALF}")
    if how == "error":
        raise ValueError(f"no file {HALF}")
    if how == "deep":
        return nested(500)
    return HALF if how == "result" else "whole"


class House:
    """A real engine with tasks that say what cannot be kept."""

    def __init__(self, folder: Path) -> None:
        registry = Registry()
        registry.add(TaskSpec("test.echo", echo))
        registry.add(TaskSpec("test.says", says))
        self.engine = Engine(folder, registry, SystemClock(), Random(1))

    async def __aenter__(self) -> House:
        await self.engine.open()
        await self.engine.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.drain(0.0)
        await self.engine.close()

    async def run(self, task: str, **args: Any) -> Job:
        async with asyncio.timeout(LIMIT_S):
            job, _ = await self.engine.submit_one(Submission(task, args), INTERNAL)
            return await self.engine.wait(job.id, LIMIT_S)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (HALF, "no Unicode"),
        ({HALF: 1}, "no Unicode"),
        ([{"a": f"x{HALF}"}], "no Unicode"),
        (nested(201), "more than 200 deep"),
        (nested(900), "more than 200 deep"),
        (nested(5000), "more than 200 deep"),
        (["]" * 500, nested(900)], "more than 200 deep"),
    ],
)
async def test_arguments_that_could_not_be_kept_are_refused_and_the_next_job_runs(
    state_dir: Path, value: Any, why: str
) -> None:
    async with House(state_dir) as house:
        with pytest.raises(InvalidArguments, match=why):
            await house.run("test.echo", value=value)
        assert (await house.run("test.echo", value="after")).result == "after"


@pytest.mark.parametrize("value", [nested(150), ["[" * 5000, "}" * 5000], "\U0001f9ea", 10**300, [[[1]]] * 2000])
async def test_what_can_be_kept_comes_back_after_a_restart(state_dir: Path, value: Any) -> None:
    async with House(state_dir) as house:
        job = await house.run("test.echo", value=value)
        assert job.state is JobState.SUCCEEDED
    async with House(state_dir) as house:
        found = await house.engine.job(job.id)
        assert found.args == {"value": value}
        assert found.result == value


@pytest.mark.parametrize(
    ("how", "state"),
    [("log", "succeeded"), ("progress", "succeeded"), ("error", "failed"), ("result", "failed"), ("deep", "failed")],
)
async def test_a_body_that_says_what_is_no_text_ends_its_own_job_only(state_dir: Path, how: str, state: str) -> None:
    async with House(state_dir) as house:
        beside = asyncio.gather(*(house.run("test.echo", value=n) for n in range(20)))
        job = await house.run("test.says", how=how)
        assert job.state == state
        assert [one.result for one in await beside] == list(range(20))
        lines = [line.text for line in await house.engine.logs(job.id, 0, 100)]
        assert how != "log" or lines == ["a line with ?"]
    async with House(state_dir) as house:
        assert (await house.engine.job(job.id)).state == state
        assert (await house.run("test.echo", value="after")).result == "after"


async def test_a_row_that_cannot_be_bound_is_dropped_alone_and_told(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line of defence: a text that no check has seen comes straight into the journal."""
    async with House(state_dir) as house:
        journal = house.engine.journal
        for key, value in (("good", 1), (HALF, 2), ("better", 3)):
            journal.put_fact(key, value)
        async with asyncio.timeout(LIMIT_S):
            await journal.commit()
            assert (await journal.fact("good"), await journal.fact("better")) == (1, 3)
        assert (await house.run("test.echo", value="after")).result == "after"
    assert "journal.failed" in "".join(capsys.readouterr())


async def test_a_new_job_in_the_same_commit_as_a_bad_row_is_refused_not_lost(state_dir: Path) -> None:
    async with House(state_dir) as house:
        house.engine.journal.put_fact(HALF, 1)
        try:
            job = await house.run("test.echo", value="same commit")
        except LabdError as refused:
            assert isinstance(refused, Conflict)
        else:
            assert job.result == "same commit"
        assert (await house.run("test.echo", value="after")).result == "after"


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=20))
def test_no_proper_value_is_refused(value: Any) -> None:
    assert storable.fault_of(value) is None


@given(st.text(st.characters(codec=None)))
def test_whatever_is_in_a_text_it_can_be_mended_and_written(text: str) -> None:
    assert storable.encoded({"text": text, text: [text]}).decode()
