"""Task files that come, change, break and go, in real workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from labd.engine.job import INTERNAL, Caller, JobState, Submission
from labd.errors import EnvironmentOff, TaskOff, TaskPinned, UnknownTask
from labd.settings_types import EnvironmentSettings, TasksSettings
from tests.conftest import requires_program
from tests.fakes.task_house import TaskHouse, task_house

ANNA = Caller("unix:anna", frozenset({"read", "operate"}))
VERSION = "@task\ndef version():\n    return {}\n"


@pytest.fixture
async def house(state_dir: Path) -> AsyncIterator[TaskHouse]:
    async with task_house(state_dir) as house:
        yield house


async def test_a_broken_file_is_named_by_line_and_takes_no_other_down(house: TaskHouse) -> None:
    house.write(VERSION.format(1))
    path = house.write("@task\ndef cut(:\n    pass\n", "broken.py")
    report = await house.workers.reload()
    [fault] = report.faults
    assert (fault.file, fault.line) == (str(path), 4)
    assert "SyntaxError" in fault.message
    assert await house.result("version") == 1
    with pytest.raises(TaskOff, match=r"cut is off: .*broken\.py:4: SyntaxError"):
        await house.submit("cut")
    assert house.workers.attention()[0]["code"] == "task_off"
    await house.load("@task\ndef cut():\n    return 'mended'\n", "broken.py")
    assert await house.result("cut") == "mended"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("raise RuntimeError('at import')\n", "RuntimeError: at import"),
        ("sys.exit(3)\n", "the file ends the interpreter"),
        ("os._exit(3)\n", "takes its interpreter down when it is imported: "),
        ("import ctypes; ctypes.string_at(0)\n", "was ended by SIGSEGV"),
    ],
)
async def test_a_file_that_cannot_be_imported_is_left_out(house: TaskHouse, text: str, told: str) -> None:
    house.write(VERSION.format(1))
    report = await house.load(text + "@task\ndef lost():\n    pass\n", "broken.py")
    assert [told in fault.message for fault in report.faults] == [True]
    assert await house.result("version") == 1
    with pytest.raises(TaskOff):
        await house.submit("lost")


async def test_each_task_that_cannot_be_used_is_refused_with_its_own_fault(house: TaskHouse) -> None:
    await house.load("@task(bounds={'y': (0, 1)})\ndef bounded(x: int): pass\n\n@task\ndef starred(*wells): pass\n")
    with pytest.raises(TaskOff, match=r"bounded is off: .*: task bounded: @task\(bounds=\.\.\.\) names y"):
        await house.submit("bounded")
    with pytest.raises(TaskOff, match=r"starred is off: .*: task starred: \*wells cannot be checked"):
        await house.submit("starred")


async def test_a_name_that_is_taken_is_a_fault_of_the_later_file(house: TaskHouse) -> None:
    house.write(VERSION.format(1), "a.py")
    report = await house.load(VERSION.format(2), "b.py")
    assert ["is already defined in" in fault.message for fault in report.faults] == [True]
    assert await house.result("version") == 1


async def test_running_jobs_finish_on_the_code_they_started_with(house: TaskHouse) -> None:
    gate = house.folder / "go"
    waits = f"    progress(1)\n    while not os.path.exists({str(gate)!r}):\n        time.sleep(0.01)\n"
    await house.load("@task\ndef version():\n" + waits + "    return 1\n")
    old = await house.submit("version")
    await house.reached(old)
    await house.load(VERSION.format(2))
    new = await house.run("version")
    gate.touch()
    old = await house.ended(old)
    assert (old.result, new.result) == (1, 2)
    assert old.code is not None and new.code is not None and old.code["sha256"] != new.code["sha256"]
    assert house.workers.pool("default").workers == 1


async def test_changed_files_are_found_without_being_asked(state_dir: Path) -> None:
    async with task_house(state_dir, VERSION.format(1), poll_s=0.05) as house, asyncio.timeout(15.0):
        feed = house.engine.events.subscribe(house.engine.events.last_seq)
        house.write(VERSION.format(22))
        async for event in feed:
            if event.kind == "task.reloaded":
                break
        assert await house.result("version") == 22


async def test_a_job_records_digest_and_commit_of_its_code(house: TaskHouse) -> None:
    git = requires_program("git")
    path = house.write(VERSION.format(1))

    def run(*words: str) -> str:
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        done = subprocess.run([git, *identity, *words], cwd=house.folder, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    run("init", "-q")
    run("add", "tasks.py")
    run("commit", "-q", "-m", "first")
    await house.workers.reload()
    job = await house.run("version")
    commit = run("rev-parse", "HEAD")
    assert job.code is not None
    assert job.code == {
        "file": str(path), "sha256": job.code["sha256"], "commit": commit, "environment": "default",
    }  # fmt: skip
    await house.load(VERSION.format(2))
    job = await house.run("version")
    assert job.code is not None and job.code["commit"] == f"{commit}-dirty"


async def test_a_pinned_task_refuses_other_code_until_it_is_unpinned(house: TaskHouse) -> None:
    await house.load(VERSION.format(1))
    spec = house.engine.registry.find("version")
    await house.workers.pins.pin("version", spec.code, ANNA, 1000.0)  # type: ignore[union-attr,arg-type]
    assert await house.result("version") == 1
    await house.load(VERSION.format(2))
    with pytest.raises(TaskPinned, match=r"version is pinned to the code \w{12} of .*tasks\.py by unix:anna"):
        await house.submit("version")
    await house.load(VERSION.format(1))
    assert await house.result("version") == 1
    await house.load(VERSION.format(2))
    assert await house.workers.pins.unpin("version")
    assert await house.result("version") == 2


async def test_a_task_that_is_gone_is_unknown(house: TaskHouse) -> None:
    await house.load(VERSION.format(1))
    (house.folder / "tasks.py").unlink()
    await house.workers.reload()
    with pytest.raises(UnknownTask):
        await house.submit("version")


async def test_a_queued_job_whose_task_is_gone_does_not_stop_the_others(house: TaskHouse) -> None:
    await house.load(VERSION.format(1) + "@task\ndef stays():\n    return 'here'\n")
    await house.engine.pause_queue("standard", ANNA, "test")
    job = await house.submit("version")
    await house.load("@task\ndef stays():\n    return 'here'\n")
    await house.engine.resume_queue("standard", ANNA)
    assert await house.result("stays") == "here"
    assert (await house.engine.job(job.id)).state in (JobState.QUEUED, JobState.FAILED)


async def test_tasks_of_an_environment_that_is_off_are_refused_with_its_reason(state_dir: Path) -> None:
    missing = {"ot2": EnvironmentSettings(python="/no/such/python")}
    text = VERSION.format(1) + "@task(env='ot2')\ndef mix():\n    pass\n@task(env='flex')\ndef stack():\n    pass\n"
    async with task_house(state_dir, text, missing) as house:
        assert await house.result("version") == 1
        with pytest.raises(EnvironmentOff, match=r"mix is off: environment ot2: /no/such/python does not answer"):
            await house.submit("mix")
        with pytest.raises(EnvironmentOff, match=r"stack is off: no environment is named flex"):
            await house.submit("stack")


async def test_an_environment_that_only_the_running_file_knows_is_found(state_dir: Path) -> None:
    text = "where = ''.join(['sec', 'ond'])\n@task(env=where)\ndef there():\n    return os.environ['WHERE']\n"
    second = {"second": EnvironmentSettings(python="3.11", variables={"WHERE": "second"}, grace_s=0.3)}
    async with task_house(state_dir, VERSION.format(1), second) as house:
        await house.load(text)
        assert await house.result("there") == "second"


async def test_changed_settings_start_new_workers(state_dir: Path) -> None:
    text = "@task(env='paint')\ndef colour():\n    return os.environ.get('COLOUR')\n"
    red, blue = (EnvironmentSettings(python="3.11", variables={"COLOUR": one}, grace_s=0.3) for one in ("red", "blue"))
    async with task_house(state_dir, text, {"paint": red}) as house:
        assert await house.result("colour") == "red"
        settings = TasksSettings(folders=(str(house.folder),), poll_s=0.0)
        await house.workers.change({"paint": blue}, settings)
        assert await house.result("colour") == "blue"
        await house.workers.change({}, settings)
        with pytest.raises(EnvironmentOff, match="no environment is named paint"):
            await house.submit("colour")


async def test_a_flow_calls_children_and_asks_a_person(house: TaskHouse) -> None:
    await house.load(
        "@task\ndef double(n: int):\n    return 2 * n\n"
        "@task\ndef flow():\n"
        "    first = call('double', n=2)\n"
        "    answer = ask('Go on?', choices=['yes', 'no'])\n"
        "    return [first, answer, call.many([('double', {'n': 3}), ('double', {'n': 4})])]\n"
    )
    job = await house.submit("flow")
    async with asyncio.timeout(15.0):
        async for event in house.engine.events.subscribe(0):
            if event.kind == "job.asked" and event.job_id == job.id:
                break
    await house.engine.answer(job.id, "yes", ANNA)
    assert (await house.ended(job)).result == [4, "yes", [6, 8]]


async def test_a_pin_outlives_the_daemon(state_dir: Path) -> None:
    async with task_house(state_dir, VERSION.format(1)) as house:
        code = house.engine.registry.find("version").code  # type: ignore[union-attr]
        await house.workers.pins.pin("version", code, ANNA, 1000.0)  # type: ignore[arg-type]
    async with task_house(state_dir, VERSION.format(2)) as house:
        with pytest.raises(TaskPinned):
            await house.engine.submit([Submission("version")], INTERNAL)


def paint_lab(folder: Path, version: str, colour: str = "'red'") -> None:
    """A package of two modules with one task."""
    (folder / "paint_lab").mkdir(exist_ok=True)
    (folder / "paint_lab" / "__init__.py").write_text("from paint_lab.mixing import mixed\n")
    (folder / "paint_lab" / "colours.py").write_text(f"COLOUR = {colour}\n")
    (folder / "paint_lab" / "mixing.py").write_text(
        "from labd import task\nfrom paint_lab.colours import COLOUR\n\n"
        f"@task\ndef mixed():\n    return COLOUR + '{version}'\n"
    )


async def reloaded(house: TaskHouse, after: int) -> None:
    async with asyncio.timeout(15.0):
        async for event in house.engine.events.subscribe(after):
            if event.kind == "task.reloaded":
                return


async def test_a_changed_part_of_a_module_is_taken_up_and_one_that_broke_is_when_it_is_mended(state_dir: Path) -> None:
    site = state_dir / "site"
    site.mkdir()
    paint_lab(site, "one")
    environments = {"default": EnvironmentSettings(variables={"PYTHONPATH": str(site)}, grace_s=0.3)}
    async with task_house(state_dir, environments=environments, poll_s=0.05) as house:
        settings = TasksSettings(folders=(str(house.folder),), modules=("paint_lab",), poll_s=0.05)
        await house.workers.change(environments, settings)
        old = await house.run("mixed")
        assert old.result == "redone"
        last = house.engine.events.last_seq
        paint_lab(site, "three", "'bluish '")
        await reloaded(house, last)
        new = await house.run("mixed")
        assert new.result == "bluish three"
        assert old.code is not None and new.code is not None and old.code["sha256"] != new.code["sha256"]
        last = house.engine.events.last_seq
        paint_lab(site, "three", "1 / 0")
        await reloaded(house, last)
        with pytest.raises(UnknownTask):
            await house.submit("mixed")
        last = house.engine.events.last_seq
        paint_lab(site, "three", "'mended '")
        await reloaded(house, last)
        assert await house.result("mixed") == "mended three"


async def test_modules_that_stand_still_are_left_in_peace_and_looked_at_when_asked(state_dir: Path) -> None:
    site = state_dir / "site"
    site.mkdir()
    paint_lab(site, "one")
    environments = {"default": EnvironmentSettings(variables={"PYTHONPATH": str(site)}, grace_s=0.3)}
    async with task_house(state_dir, environments=environments) as house:
        settings = TasksSettings(folders=(str(house.folder),), modules=("paint_lab",))
        await house.workers.change(environments, settings)
        assert house.workers.is_current()
        paint_lab(site, "another")
        assert not house.workers.is_current()
        await house.workers.reload(ANNA)
        assert house.workers.is_current()
        assert await house.result("mixed") == "redanother"


async def test_a_task_answers_to_the_names_that_prefect_gives_it_unless_they_are_taken(house: TaskHouse) -> None:
    await house.load(
        "@task\ndef mix_two_colors():\n    return 'under'\n\n"
        "@task(name='weigh-plate')\ndef weigh():\n    return 'dash'\n\n"
        "@task\ndef weigh_plate():\n    return 'under'\n"
    )
    for name in ("mix_two_colors", "mix-two-colors", "mix-two-colors/mix-two-colors"):
        job = await house.run(name)
        assert (job.task, job.result) == ("mix_two_colors", "under")
    assert await house.result("weigh-plate") == "dash"
    assert await house.result("weigh-plate/weigh-plate") == "dash"
    assert await house.result("weigh_plate") == "under"


async def test_jobs_of_a_simulated_environment_say_so_and_its_bodies_are_told(state_dir: Path) -> None:
    environments = {
        "default": EnvironmentSettings(grace_s=0.3, simulated=True),
        "real": EnvironmentSettings(python=sys.executable, grace_s=0.3),
    }
    text = "@task{}\ndef {}():\n    return os.environ.get('LABD_SIMULATED')\n"
    async with task_house(state_dir, environments=environments) as house:
        await house.load(text.format("", "here") + text.format("(env='real')", "there"))
        simulated, real = await house.run("here"), await house.run("there")
        assert (simulated.simulated, simulated.result) == (True, "1")
        assert (real.simulated, real.result) == (False, None)
        views = {view.name: view.simulated for view in await house.workers.views()}
        assert views == {"default": True, "real": False}


async def test_a_changed_file_that_a_task_file_imports_is_taken_up(house: TaskHouse) -> None:
    (house.folder / "recipe_words.py").write_text("WORD = 'one'\n")
    await house.load("import recipe_words\n\n@task\ndef word():\n    return recipe_words.WORD\n")
    assert await house.result("word") == "one"
    (house.folder / "recipe_words.py").write_text("WORD = 'another'\n")
    await house.workers.reload()
    assert await house.result("word") == "another"
