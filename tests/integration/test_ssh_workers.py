"""Workers on another host: a real sshd on a loopback port; what must hold is what holds for workers on this one."""

from __future__ import annotations

import asyncio
import hashlib
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from labd.engine.job import INTERNAL, JobState
from labd.errors import EnvironmentOff
from labd.settings_types import EnvironmentSettings
from tests.fakes.ssh_host import SshHost, make_key, ssh_host
from tests.fakes.task_house import TaskHouse, task_house

TASKS = """
from labd import Cancelled

ROBOT = "robot"

@task(env=ROBOT)
def place():
    print("printed there")
    print("complained there", file=sys.stderr)
    log("logged there")
    progress(1, 2, "half")
    return {"pid": os.getpid(), "file": __file__, "connection": os.environ["SSH_CONNECTION"], "lend": sys.path[0]}

@task(env=ROBOT)
def beside():
    import robot_words
    return robot_words.WORD + open(os.path.join(os.path.dirname(__file__), "plate.json")).read()

@task(env=ROBOT)
def fails():
    raise KeyError("no plate")

@task(env=ROBOT)
def segfaults():
    import ctypes
    print("before the crash")
    ctypes.string_at(0)

@task(env=ROBOT)
def waits():
    progress(0, None, f"pid {os.getpid()}")
    time.sleep(100)

@task(env=ROBOT)
def stubborn():
    import signal
    signal.signal(signal.SIGTERM, lambda *_: None)
    progress(0, None, f"pid {os.getpid()}")
    while True:
        try:
            time.sleep(100)
        except Cancelled:
            pass

@task(env=ROBOT, effect="physical", retries=0)
def moves(note: str):
    progress(0, None, f"pid {os.getpid()}")
    try:
        time.sleep(100)
    finally:
        with open(note, "w") as file:
            file.write("held")

@task(env=ROBOT)
def eats():
    return len(bytearray(512 * 2**20))

@task(env=ROBOT)
def computes():
    while True:
        pass

@task(env=ROBOT)
def prints(megabytes: int):
    for _ in range(megabytes * 1024):
        sys.stdout.write("x" * 1023 + "\\n")
    print("the end")
    return "done"
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    with ssh_host(tmp_path_factory.mktemp("ssh") / "host") as one:
        yield one


@pytest.fixture
async def house(state_dir: Path, host: SshHost) -> AsyncIterator[TaskHouse]:
    settings = host.environment(memory_mib=256, cpu_s=1, ssh_silence_s=0.8)
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "robot_words.py").write_text("WORD = 'well '\n")
    (folder / "plate.json").write_text('"A1"')
    async with task_house(state_dir, TASKS, {"robot": settings}) as one:
        assert one.workers.faults == []
        yield one


async def pid_of(house: TaskHouse, job_id: int) -> int:
    async with asyncio.timeout(15):
        async for event in house.engine.events.subscribe(0):
            if event.kind == "job.progress" and event.job_id == job_id:
                return int(event.data["text"].split()[1])
    raise AssertionError


async def gone(pid: int) -> None:
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    assert not (await asyncio.to_thread(psutil.wait_procs, [process], 5))[1], f"{pid} still runs"


async def test_a_task_runs_there_and_its_output_its_code_and_its_files_are_told_as_here(house: TaskHouse) -> None:
    job = await house.run("place")
    assert job.error is None
    assert isinstance(job.result, dict)
    assert "127.0.0.1" in job.result["connection"]
    sent = Path(job.result["file"])
    local = house.folder / "tasks.py"
    assert sent != local
    assert str(sent).endswith(str(local))
    assert job.code is not None
    assert (job.code["file"], job.code["sha256"]) == (str(local), hashlib.sha256(local.read_bytes()).hexdigest())
    lines = await house.lines(job)
    assert {"printed there", "complained there", "logged there"} <= set(lines)
    assert await house.result("beside") == 'well "A1"'
    views = {view.name: view for view in await house.workers.views()}
    assert (views["robot"].state, views["robot"].workers) == ("ready", 1)
    assert "@127.0.0.1" in views["robot"].python


async def test_an_exception_and_a_crash_there_are_told_with_paths_and_signals(house: TaskHouse) -> None:
    failed = await house.run("fails")
    assert failed.error is not None
    assert "no plate" in failed.error.message
    assert f'File "{house.folder}/tasks.py"' in str(failed.error)
    crashed = await house.run("segfaults")
    assert crashed.error is not None
    assert crashed.error.code == "worker_died"
    assert "was ended by SIGSEGV" in crashed.error.message
    assert "@127.0.0.1" in crashed.error.message
    assert "before the crash" in await house.lines(crashed)


@pytest.mark.parametrize("task", ["waits", "stubborn"])
async def test_a_cancel_ends_the_body_there_by_asking_or_by_signals(house: TaskHouse, task: str) -> None:
    job = await house.submit(task)
    pid = await pid_of(house, job.id)
    await house.engine.cancel(job.id, INTERNAL)
    assert (await house.ended(job)).state is JobState.CANCELLED
    if task == "stubborn":
        await gone(pid)
    assert (await house.run("place")).error is None


async def test_the_limits_of_memory_and_processor_time_hold_there(house: TaskHouse) -> None:
    eaten = await house.run("eats")
    assert eaten.error is not None
    assert "MemoryError" in str(eaten.error)
    computed = await house.run("computes")
    assert computed.error is not None
    assert "was ended by SIGXCPU; it used up its processor time" in computed.error.message


async def test_a_flood_of_output_is_bounded_and_blocks_nothing(house: TaskHouse) -> None:
    job = await house.run("prints", megabytes=10)
    assert job.result == "done"
    lines = await house.lines(job)
    assert lines[-1] == "the end"
    assert any("are left out here" in line for line in lines)


async def test_a_lost_connection_interrupts_a_physical_job_and_what_ran_there_is_held_and_ended(
    house: TaskHouse, host: SshHost, tmp_path: Path
) -> None:
    note = tmp_path / "note"
    job = await house.submit("moves", note=str(note))
    pid = await pid_of(house, job.id)
    host.signal_connections(signal.SIGKILL)
    ended = await house.engine.wait(job.id, 15)
    assert ended.state is JobState.INTERRUPTED
    assert ended.error is not None
    assert ended.error.code == "worker_died"
    assert "is out of reach: ssh to " in ended.error.message
    await gone(pid)
    assert note.read_text() == "held"  # the relay asked the run to end before it killed it
    assert (await house.run("place")).error is None  # another connection


async def test_a_link_that_carries_nothing_is_given_up_on_both_sides(house: TaskHouse, host: SshHost) -> None:
    job = await house.submit("waits")
    pid = await pid_of(house, job.id)
    host.signal_connections(signal.SIGSTOP)
    try:
        ended = await house.ended(job)
        assert ended.error is not None
        assert "is out of reach: nothing was heard of " in ended.error.message
        await gone(pid)  # its relay has heard nothing of labd either
    finally:
        host.signal_connections(signal.SIGCONT)


async def test_a_host_with_another_key_is_refused_and_nothing_is_sent(state_dir: Path, host: SshHost) -> None:
    known = state_dir / "known_hosts"
    known.write_text(f"[127.0.0.1]:{host.port} {make_key(state_dir / 'other')}\n")
    options = (*host.options(), "-o", "StrictHostKeyChecking=no")  # the settings cannot weaken it
    settings = {"robot": host.environment(ssh_known_hosts=str(known), ssh_options=options)}
    async with task_house(state_dir, TASKS, settings) as house:
        with pytest.raises(EnvironmentOff, match="Host key verification failed"):
            await house.submit("place")


async def test_a_host_that_is_not_there_turns_off_its_environment_only(state_dir: Path, host: SshHost) -> None:
    settings = {"robot": host.environment(ssh_options=("-F", "none", "-p", "9"))}
    text = TASKS + "\n@task\ndef here():\n    return 1\n"
    async with task_house(state_dir, text, settings) as house:
        assert await house.result("here") == 1
        with pytest.raises(EnvironmentOff, match="Connection refused"):
            await house.submit("place")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"requires": ("numpy",)}, "labd installs nothing on another host"),
        ({"python": ">=3.10"}, "'>=3.10' is no path; on the host of ssh it must be one"),
    ],
)
def test_what_cannot_hold_on_another_host_is_a_fault_of_the_settings(given: dict[str, object], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        EnvironmentSettings(ssh="root@ot2", **given)  # type: ignore[arg-type]
