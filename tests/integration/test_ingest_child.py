"""The child of the ingestions over a real worker: one call at a time, killed rather than doubted."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from labd.clock import Clock, SystemClock
from labd.engine.worker_start import Worker
from labd.errors import ClusterUnreachable, EnvironmentOff, TableConflict, TaskFailed
from labd.ingest.engine_child import EngineChild, hider
from labd.ingest.engines import ChildEngine, EngineSettings, Lane, secrets_in
from labd.ingest.port import Page, SourceAccess
from labd.settings_types import EnvironmentSettings
from tests.fakes.broker import until
from tests.fakes.clock import FakeClock
from tests.fakes.task_house import task_house

CHILD = """
import os, sys, time
from labd import task


@task(name="ingest")
def ask(verb, args):
    if verb == "pid":
        return {"answer": os.getpid()}
    if verb == "stand":
        open(args["mark"], "w").close()
        time.sleep(3600)
    if verb == "die":
        print("nearly done with", args["secrets"]["key"])
        os.kill(os.getpid(), 9)
    if verb == "refuse":
        text = "no commit with " + args["secrets"]["key"]
        return {"refusal": "table_conflict", "text": text, "details": {"tries": 3}}
    if verb == "lost":
        return {"refusal": "cluster_unreachable", "text": "the cluster is gone", "details": {}}
    if verb == "raise":
        raise ValueError(args["secrets"]["key"])
    if verb == "late":
        import no_such_package
    if verb == "list_files":
        return {"answer": {"entries": "[]", "count": 0}}
    return "nonsense"
"""
BREAKS = """
import os, time

for fd in os.listdir("/proc/self/fd"):
    link = f"/proc/self/fd/{fd}"
    if os.path.islink(link) and os.readlink(link).startswith("socket:"):
        os.write(int(fd), b"nonsense\\n")
time.sleep(60)
"""
SECRET = "s3cr3t/with+odd"


class Rig:
    """A child of the module above."""

    def __init__(self, child: EngineChild, folder: Path) -> None:
        self.child = child
        self.folder = folder

    async def pid(self) -> int:
        return int(await self.child.ask("pid", {}, 10.0))

    async def standing(self) -> asyncio.Task[Any]:
        """A call that is under way in the child."""
        mark = self.folder / "mark"
        call = asyncio.create_task(self.child.ask("stand", {"mark": str(mark)}, 30.0))
        await until(mark.exists)
        return call


@asynccontextmanager
async def rig(folder: Path, clock: Clock | None = None, text: str = CHILD, idle_s: float = 60.0) -> AsyncIterator[Rig]:
    (folder / "child_of_test.py").write_text(text)
    settings = EnvironmentSettings(grace_s=0.3, start_timeout_s=15.0, variables={"PYTHONPATH": str(folder)})
    async with task_house(folder, environments={"default": settings}) as house:

        async def start() -> Worker:
            return await house.workers.worker_of("default", "child_of_test", 512)

        child = EngineChild("arrow", start, clock or SystemClock(), idle_s)
        try:
            yield Rig(child, folder)
        finally:
            await child.close()
            await child.close()


def is_gone(pid: int) -> bool:
    return not os.path.exists(f"/proc/{pid}")  # noqa: PTH110 a process is no file


async def test_calls_share_one_process_and_go_one_after_the_other(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        pids = await asyncio.gather(one.pid(), one.pid(), one.pid())
        assert set(pids) == {one.child.pid}


async def test_a_cancelled_call_ends_the_process_and_the_next_has_another(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        before = await one.pid()
        call = await one.standing()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert is_gone(before)
        assert await one.pid() != before


async def test_a_process_that_lost_its_cluster_is_ended_and_the_next_call_has_another(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        before = await one.pid()
        with pytest.raises(ClusterUnreachable, match="the cluster is gone"):
            await one.child.ask("lost", {}, 10.0)
        assert is_gone(before)
        assert await one.pid() != before


async def test_a_call_that_takes_too_long_ends_the_process_and_may_be_made_again(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        before = await one.pid()
        with pytest.raises(ClusterUnreachable, match=r"no answer to stand within 0\.3 s, its process was ended"):
            await one.child.ask("stand", {"mark": str(state_dir / "mark")}, 0.3)
        assert ClusterUnreachable.retryable
        assert is_gone(before)


async def test_a_dead_process_is_told_with_its_last_words_and_without_secrets(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        with pytest.raises(ClusterUnreachable) as met:
            await one.child.ask("die", {"secrets": {"key": SECRET}}, 10.0, [SECRET])
        assert met.value.message == (
            "ingest engine arrow: its process was ended by SIGKILL during die; its last lines: nearly done with ***; "
            "what it committed is looked up by its token"
        )
        assert await one.pid() == one.child.pid


async def test_a_refusal_is_the_error_of_its_code_and_carries_no_secret(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        with pytest.raises(TableConflict) as met:
            await one.child.ask("refuse", {"secrets": {"key": SECRET}}, 10.0, [SECRET])
        assert (met.value.message, met.value.details) == ("no commit with ***", {"tries": 3})
        with pytest.raises(TaskFailed) as failed:
            await one.child.ask("raise", {"secrets": {"key": SECRET}}, 10.0, [SECRET])
        assert SECRET not in failed.value.message
        with pytest.raises(TaskFailed, match="answered with 'nonsense'"):
            await one.child.ask("other", {}, 10.0)


async def test_an_idle_process_is_ended(state_dir: Path) -> None:
    clock = FakeClock()
    async with rig(state_dir, clock, idle_s=60.0) as one:
        before = await one.pid()
        await asyncio.sleep(0)
        clock.advance(59.0)
        assert await one.pid() == before
        await asyncio.sleep(0)
        clock.advance(61.0)
        await until(lambda: is_gone(before))
        assert one.child.pid is None
        assert await one.pid() != before


async def test_a_module_that_cannot_be_imported_is_told(state_dir: Path) -> None:
    async with rig(state_dir, text="import no_such_package") as one:
        with pytest.raises(EnvironmentOff, match="No module named 'no_such_package'"):
            await one.pid()
        assert one.child.pid is None


async def test_a_package_that_is_missing_in_the_environment_is_named_and_not_tried_again(state_dir: Path) -> None:
    async with rig(state_dir) as one:
        with pytest.raises(EnvironmentOff) as met:
            await one.child.ask("late", {}, 10.0)
        assert met.value.message == (
            "ingest engine arrow: no_such_package is not installed in environment default; install it there, such as "
            "by `pip install 'labd[ingest]'`, or name another environment"
        )
        assert not met.value.retryable


async def test_a_person_does_not_wait_behind_a_load(state_dir: Path) -> None:
    (state_dir / "other").mkdir()
    async with rig(state_dir) as one, rig(state_dir / "other") as other:
        made = [one.child, other.child]
        lane = Lane(lambda: made.pop(0), 1)
        settings = EngineSettings(name="arrow", environment="default", memory_mib={"default": 512})
        async with lane.child(urgent=False) as held:
            assert held is one.child
            page = await ChildEngine(settings, lane, urgent=True).list_files(
                SourceAccess(url="file:///x"), None, None, 1
            )
            assert page == Page("[]", 0)
            waits = asyncio.create_task(
                ChildEngine(settings, lane).list_files(SourceAccess(url="file:///x"), None, None, 1)
            )
            await asyncio.sleep(0)
            assert not waits.done()
        assert (await waits).count == 0


def test_secrets_are_hidden_as_they_are_and_quoted() -> None:
    hide = hider([SECRET, "abc"])
    assert hide(f"k={SECRET}&q=s3cr3t%2Fwith%2Bodd&a=abc") == "k=***&q=***&a=abc"
    given = {"batch": {"source": {"secrets": {"key": "one"}}, "list": [{"secrets": {"token": "two"}}]}, "secrets": {}}
    assert sorted(secrets_in(given)) == ["one", "two"]


async def test_a_process_that_is_killed_before_it_is_ready_may_be_asked_again(state_dir: Path) -> None:
    async with rig(state_dir, text="import os\nos.kill(os.getpid(), 9)\n") as killed:
        told = "ingest engine arrow: its process was killed before it was ready: .* was ended by SIGKILL"
        with pytest.raises(ClusterUnreachable, match=told):
            await killed.child.ask("pid", {}, 10.0)
    assert ClusterUnreachable.retryable


@pytest.mark.parametrize(
    ("text", "how"),
    [
        # What it printed stands in the message as well, and is no word about how it ended.
        ("import os\nprint('the last run was ended by SIGKILL', flush=True)\nos._exit(3)\n", "ended with exit code 3"),
        # labd itself ends it with SIGKILL: it broke the protocol, and the next one would as well.
        (BREAKS, "sent what is no message of the protocol"),
    ],
)
async def test_a_process_that_ended_by_itself_is_off_whatever_it_printed(state_dir: Path, text: str, how: str) -> None:
    async with rig(state_dir, text=text) as house:
        with pytest.raises(EnvironmentOff, match=how):
            await house.child.ask("pid", {}, 10.0)
