"""The worker child on every interpreter of this machine, over a socket pair, without site packages."""

from __future__ import annotations

import hashlib
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import interpreters
from tests.fakes.worker_child import PATIENCE_S, WorkerChild, lend

TASKS = """
import asyncio, dataclasses, enum, logging, os, signal, sys, threading
from typing import Dict, List, Optional, Union
import labd
from labd import ask, call, consume, current_job_id, flow, get_run_logger, log, progress, task


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclasses.dataclass
class Well:
    name: str
    volume_ul: float = 1.0
    color: Optional[Color] = None


@task
def add(a: int, b: int = 2):
    return a + b


@task
def fill(wells: List[Well], color: Color = Color.RED, note: Union[int, str, None] = None):
    assert type(wells[0]) is Well and type(color) is Color
    return {"volume_ul": sum(well.volume_ul for well in wells), "wells": wells, "color": color, "note": note}


@task
def talk():
    print("printed")
    log("logged", "warning")
    get_run_logger().info("hotel %s", "B")
    logging.getLogger("some.library").error("from a library")
    for number in range(1000):
        progress(number + 1, 1000, "step")
    return current_job_id()


@task
def block():
    try:
        log("started")
        threading.Event().wait()
    finally:
        log("brought to rest")


@task
def spin():
    log("started")
    while True:
        pass


@task
async def block_async():
    try:
        log("started")
        await asyncio.Event().wait()
    finally:
        log("brought to rest")


@task
def keep_on():
    try:
        log("started")
        threading.Event().wait()
    except labd.Cancelled:
        return "finished all the same"


@task(effect="physical", consumes={"red": "R", "blue": 5})
def paint(R: float):
    consume(red=R)
    try:
        consume({"blue": 5, "3/B1": -1.5})
    except labd.StockRefused as refused:
        return [refused.code, str(refused)]


@task
async def paint_async():
    await consume.awaited(red=1.0)
    consume(red=2.0)


@flow
def steps():
    first = call("add", a=1)
    both = call.many([("add", {"a": 5}), (add, {"a": 6})])
    sure = ask("Plate loaded?", choices=["yes", "no"], deadline_s=60, on_deadline="hold")
    return [first, both, sure]


@task
async def steps_async():
    async def inner():
        return call("add", a=1)
    return await asyncio.gather(inner(), inner())


@task
def careful():
    try:
        return call("add", a=1)
    except Exception:
        return "swallowed"
    finally:
        call("add", a=99)


@task
def careless():
    try:
        call("add", a=1)
    except:
        return "swallowed"


@task
def copes():
    try:
        return call("add", a=1)
    except labd.CallFailed as fault:
        return [fault.code, fault.message]


@task(effect="physical")
def physical():
    call("add", a=1)


@task
def leave(code: int = 3):
    sys.exit(code)


@task
async def leave_async():
    sys.exit(4)


@task
def fail():
    raise ValueError("no tips left")


@task
def fail_for_good():
    fault = ValueError("wrong plate")
    fault.retryable = False
    raise fault


@task
def odd():
    return {"plates": [1, object()]}


@task
def nan():
    return [1.0, float("nan")]


@task
def big(count: int):
    return "x" * count


@task
def fork():
    if os.fork() == 0:
        return "the copy"
    os.wait()
    return "the worker"


@task
def close_output():
    sys.stdout.close()
    sys.stdout = sys.__stdout__ = open(os.devnull, "w")


@task
def change_folder():
    os.chdir("/")


@task
def read_input():
    return sys.stdin.read()


@task
def eat():
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, (256 * 2**20, resource.RLIM_INFINITY))
    eaten = []
    while True:
        eaten.append("x" * 2**20)


@task
def segfault():
    os.kill(os.getpid(), signal.SIGSEGV)
"""
BROKEN = "from labd import task\n\n@task\ndef broken(:\n    pass\n"
RAISING = "from labd import task\nimport nothing_of_this_name\n"
MIXED = """from labd import task

@task
def fine(): return 1

@task
def stars(*names): return names

@task
def add(x): return x

@task
def number(z: complex): return z
"""


@pytest.fixture(params=interpreters.found())
def python(request: pytest.FixtureRequest) -> str:
    return interpreters.found()[request.param]


@pytest.fixture(scope="session")
def lent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lend(tmp_path_factory.mktemp("lend"))


@pytest.fixture
def child(python: str, lent: Path, tmp_path: Path) -> Iterator[WorkerChild]:
    (tmp_path / "a.py").write_text(TASKS)
    child = WorkerChild(python, lent, tmp_path / "output")
    assert child.receive()["type"] == "ready"
    child.send(type="load", files=[str(tmp_path / "a.py")], modules=[])
    assert child.receive()["faults"] == []
    yield child
    child.close()


def test_it_says_ready_and_ends_when_told(python: str, lent: Path, tmp_path: Path) -> None:
    child = WorkerChild(python, lent, tmp_path / "output")
    ready = child.receive()
    version = subprocess.run([python, "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert ready == {"type": "ready", "python": version, "pid": child.process.pid, "protocol": 1}
    child.send(type="something new", key=1)
    child.send(type="exit", key=1)
    assert child.line() == b""
    assert child.close() == 0
    assert child.output.read_bytes() == b""


def test_files_are_loaded_and_faults_are_told_by_file_and_line(python: str, lent: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    sources = {"a.py": TASKS, "broken.py": BROKEN, "raising.py": RAISING, "one/a.py": MIXED}
    for name, source in sources.items():
        (tmp_path / name).write_text(source)
    child = WorkerChild(python, lent, tmp_path / "output")
    child.receive()
    child.send(type="load", files=[str(tmp_path / name) for name in [*sources, "gone.py"]], modules=["no.such"])
    loaded = child.receive()
    child.send(type="exit")
    assert child.close() == 0
    tasks = {task["name"]: task for task in loaded["tasks"]}
    assert tasks["fine"]["file"] == str(tmp_path / "one/a.py")
    assert tasks["fine"]["sha256"] == hashlib.sha256(MIXED.encode()).hexdigest()
    assert tasks["block_async"]["is_async"] and not tasks["add"]["is_async"]
    faults = {(Path(fault["file"]).name, fault["line"]): fault["message"] for fault in loaded["faults"]}
    assert faults.pop(("broken.py", 4)).startswith("SyntaxError: ")
    assert faults == {
        ("raising.py", 2): "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ("a.py", 6): "task stars: *names cannot be checked at submission; name every parameter",
        ("a.py", 9): f"task add is already defined in {tmp_path}/a.py:{tasks['add']['line']}; give one of them a name=",
        ("a.py", 12): "task number: parameter z: complex cannot come as JSON; use int, float, str, bool, list, dict,"
        " Optional, Union, Literal, an Enum or a dataclass",
        ("gone.py", 0): "cannot be read: No such file or directory",
        ("no.such", 0): "ModuleNotFoundError: No module named 'no'",
    }


def test_arguments_become_what_the_function_takes(child: WorkerChild) -> None:
    assert child.run("add", {"a": 1}) == {"type": "done", "result": 3}
    wells = [{"name": "A1", "volume_ul": 3, "color": "blue"}, {"name": "A2"}]
    assert child.run("fill", {"wells": wells, "note": "x"})["result"] == {
        "volume_ul": 4.0,
        "wells": [{"name": "A1", "volume_ul": 3.0, "color": "blue"}, {"name": "A2", "volume_ul": 1.0, "color": None}],
        "color": "red",
        "note": "x",
    }
    error = child.run("fill", {"wells": [], "color": "green"})["error"]
    assert (error["code"], error["retryable"]) == ("invalid_arguments", False)
    assert child.run("nobody")["error"]["code"] == "unknown_task"


def test_log_print_loggers_and_progress_arrive(child: WorkerChild) -> None:
    assert child.run("talk") == {"type": "done", "result": 101}
    lines = [(one["level"], one["text"]) for one in child.said if one["type"] == "log"]
    assert lines == [("warning", "logged"), ("info", "hotel B"), ("error", "from a library")]
    steps = [one for one in child.said if one["type"] == "progress"]
    assert steps[-1] == {"type": "progress", "done": 1000.0, "total": 1000.0, "text": "step"}
    assert len(steps) < 500
    assert child.output.read_text() == "printed\n"


def test_steps_suspend_and_replay_in_order(child: WorkerChild) -> None:
    first = child.run("steps")
    assert first.keys() == {"type", "calls"} and first["type"] == "suspend"
    assert [(call["ordinal"], call["task"], call["args"]) for call in first["calls"]] == [(0, "add", {"a": 1})]
    recorded = [recorded_as(first["calls"][0], 3)]
    both = child.run("steps", steps=recorded)["calls"]
    assert [(call["ordinal"], call["args"]) for call in both] == [(1, {"a": 5}), (2, {"a": 6})]
    half = child.run("steps", steps=[*recorded, recorded_as(both[1], 8)])["calls"]
    assert half == [both[0]]
    recorded += [recorded_as(both[0], 7), recorded_as(both[1], 8)]
    question = child.run("steps", steps=recorded)["ask"]
    assert {key: question[key] for key in ("ordinal", "question", "kind", "choices", "deadline_s", "on_deadline")} == {
        "ordinal": 3, "question": "Plate loaded?", "kind": "choice", "choices": ["yes", "no"], "deadline_s": 60,
        "on_deadline": "hold",
    }  # fmt: skip
    recorded.append({**question, "kind": "ask", "result": "yes"})
    assert child.run("steps", steps=recorded) == {"type": "done", "result": [3, [7, 8], "yes"]}


def recorded_as(call: dict[str, Any], result: Any) -> dict[str, Any]:
    return {"ordinal": call["ordinal"], "kind": "call", "task": call["task"], "hash": call["hash"], "result": result}


def test_steps_of_an_async_body(child: WorkerChild) -> None:
    first = child.run("steps_async")["calls"]
    second = child.run("steps_async", steps=[recorded_as(first[0], 3)])["calls"]
    assert [call["ordinal"] for call in (*first, *second)] == [0, 1]
    recorded = [recorded_as(first[0], 3), recorded_as(second[0], 4)]
    assert child.run("steps_async", steps=recorded) == {"type": "done", "result": [3, 4]}


def test_another_path_is_a_step_mismatch(child: WorkerChild) -> None:
    call = child.run("careful")["calls"][0]
    other = recorded_as({**call, "task": "mix", "hash": "0" * 64}, 1)
    error = child.run("careful", steps=[other])["error"]
    assert (error["code"], error["retryable"]) == ("step_mismatch", False)
    assert "step 0 is recorded as call('mix'), and the body now asks for call('add')" in error["message"]
    error = child.run("add", {"a": 1}, steps=[recorded_as(call, 3)])["error"]
    assert error["code"] == "step_mismatch"
    assert "the body ended after 0 steps, but step 0 is recorded as call('add')" in error["message"]


def test_a_swallowed_wait_fails_and_says_why(child: WorkerChild) -> None:
    error = child.run("careless")["error"]
    assert (error["code"], error["retryable"]) == ("suspension_swallowed", False)
    assert child.run("add", {"a": 1})["result"] == 3


def test_a_failed_child_job_raises_in_the_body(child: WorkerChild) -> None:
    call = child.run("copes")["calls"][0]
    step = {**recorded_as(call, None), "error": {"code": "stop_latched", "message": "the stop is latched"}}
    assert child.run("copes", steps=[step])["result"] == ["stop_latched", "the stop is latched"]
    after = child.run("careful", steps=[step])["calls"]  # its `finally` asks for another step
    assert [(call["ordinal"], call["args"]) for call in after] == [(1, {"a": 99})]


def test_a_physical_body_cannot_wait(child: WorkerChild) -> None:
    error = child.run("physical")["error"]
    assert "call() inside of physical, a physical task: its body would run again from its top" in error["message"]


def test_a_debit_holds_the_body_until_it_is_answered(child: WorkerChild) -> None:
    number = child.start("paint", {"R": 120})
    assert child.receive() == {"type": "consume", "run": number, "ordinal": 1, "volumes_ul": {"red": 120.0}}
    child.send(type="consumed", run=number, ordinal=2)  # an answer to what was not asked changes nothing
    assert select.select([child.socket], (), (), 0.1)[0] == []
    child.send(type="consumed", run=number, ordinal=1)
    assert child.receive()["volumes_ul"] == {"blue": 5.0, "3/B1": -1.5}
    child.send(type="consumed", run=number, ordinal=2, error={"code": "insufficient_stock", "message": "too little"})
    assert child.end(number) == {"type": "done", "result": ["insufficient_stock", "too little"]}
    number = child.start("paint_async")
    for ordinal in (1, 2):
        assert child.receive()["ordinal"] == ordinal
        child.send(type="consumed", run=number, ordinal=ordinal)
    assert child.end(number)["type"] == "done"


@pytest.mark.parametrize("task", ["block", "block_async", "spin"])
def test_a_cancel_ends_a_body_at_once(child: WorkerChild, task: str) -> None:
    number = child.start(task)
    assert child.receive()["text"] == "started"
    child.send(type="cancel", run=number)
    assert child.end(number) == {"type": "cancelled"}
    assert [one["text"] for one in child.said] == ([] if task == "spin" else ["brought to rest"])
    child.send(type="cancel", run=number)
    assert child.run("add", {"a": 1})["result"] == 3


def test_a_cancel_before_the_start_and_one_that_the_body_declines(child: WorkerChild) -> None:
    child.send(type="cancel", run=1)
    assert child.run("block") == {"type": "cancelled"}
    child.send(type="cancel", run=2)
    assert child.run("block_async") == {"type": "cancelled"}
    assert child.said == []
    number = child.start("keep_on")
    assert child.receive()["text"] == "started"
    child.send(type="cancel", run=number)
    assert child.end(number) == {"type": "done", "result": "finished all the same"}


def test_what_a_body_raises_is_told_with_its_own_frames(child: WorkerChild) -> None:
    error = child.run("fail")["error"]
    assert (error["type"], error["code"], error["retryable"]) == ("ValueError", "task_failed", True)
    assert error["message"] == "fail (job 101) raised ValueError: no tips left"
    assert 'raise ValueError("no tips left")' in error["traceback"] and "labd/worker" not in error["traceback"]
    assert child.run("fail_for_good")["error"]["retryable"] is False
    assert child.run("leave")["error"]["message"] == "leave (job 103) called sys.exit(3)"
    assert child.run("leave_async")["error"]["message"] == "leave_async (job 104) called sys.exit(4)"


def test_results_that_cannot_go_through_and_big_ones_that_can(child: WorkerChild) -> None:
    error = child.run("odd")["error"]
    assert (error["code"], error["retryable"]) == ("result_invalid", False)
    assert "result['plates'][1] is of type object, which JSON cannot hold" in error["message"]
    assert "result[1] is nan, which JSON cannot hold" in child.run("nan")["error"]["message"]
    assert len(child.run("big", {"count": 5_000_000})["result"]) == 5_000_000
    error = child.run("big", {"count": 17_000_000})["error"]
    assert error["code"] == "result_too_large" and "16.2 MiB of JSON, and at most 16 MiB go through" in error["message"]


def test_rude_bodies_do_not_hurt_the_next_run(child: WorkerChild) -> None:
    assert child.run("fork")["result"] == "the worker"
    assert child.run("close_output")["type"] == "done"
    assert child.run("change_folder")["type"] == "done"
    assert child.run("read_input")["result"] == ""
    assert child.run("add", {"a": 1})["result"] == 3


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA holds nothing elsewhere")
def test_a_body_out_of_memory_fails_and_gives_it_back(child: WorkerChild) -> None:
    error = child.run("eat")["error"]
    assert (error["type"], error["code"]) == ("MemoryError", "task_failed") and "in eat" in error["traceback"]
    assert len(child.run("big", {"count": 5_000_000})["result"]) == 5_000_000


def test_a_broken_line_ends_the_worker_with_a_reason(child: WorkerChild) -> None:
    child.socket.sendall(b"{not json\n")
    assert child.line() == b""
    assert child.process.wait(PATIENCE_S) == 70
    assert child.output.read_text().startswith("labd worker: the daemon sent a line that is not JSON")


def test_a_closed_channel_ends_a_body_that_would_never_end(child: WorkerChild) -> None:
    child.start("spin")
    assert child.receive()["text"] == "started"
    assert child.close() == 1


def test_sigterm_and_a_crash_leave_where_the_body_stood(child: WorkerChild) -> None:
    child.start("spin")
    assert child.receive()["text"] == "started"
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(PATIENCE_S) == -signal.SIGTERM
    assert "in spin" in child.output.read_text()


def test_a_segmentation_fault_leaves_where_the_body_stood(child: WorkerChild) -> None:
    child.start("segfault")
    assert child.line() == b""
    assert child.process.wait(PATIENCE_S) == -signal.SIGSEGV
    assert "in segfault" in child.output.read_text()


def test_over_pipes_prints_do_not_touch_the_protocol(python: str, lent: Path, tmp_path: Path) -> None:
    """As over ssh: the channel is stdin and stdout, and what a body prints goes to stderr."""
    (tmp_path / "a.py").write_text(TASKS)
    boot = f"import sys; sys.path.insert(0, {str(lent)!r}); from labd.worker.main import main; main(0, 1)"
    lines = (
        b'{"type":"load","files":["' + os.fsencode(tmp_path / "a.py") + b'"]}\n'
        b'{"type":"run","run":1,"job":7,"attempt":1,"task":"talk","args":{}}\n'
        b'{"type":"run","run":2,"job":8,"attempt":1,"task":"read_input","args":{}}\n{"type":"exit"}\n'
    )
    with subprocess.Popen([python, "-S", "-X", "utf8", "-c", boot], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdin and process.stdout and process.stderr
        process.stdin.write(lines)
        process.stdin.flush()
        answers = process.stdout.readlines()
        assert answers[-2:] == [b'{"type":"done","result":7,"run":1}\n', b'{"type":"done","result":"","run":2}\n']
        assert process.stderr.read() == b"printed\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_body_that_holds_the_interpreter_dies_with_its_parent(python: str, lent: Path) -> None:
    """The reader's thread cannot run while C code keeps the interpreter; the kernel can."""
    parent = (
        "import os, subprocess, sys; "
        "boot = 'import sys; sys.path.insert(0, sys.argv[1]); from labd.worker.main import _die_with_parent; "
        '_die_with_parent(); print(1, flush=True); import re; re.match("(a+)+$", "a" * 60 + "b")\'; '
        "child = subprocess.Popen([sys.argv[1], '-S', '-c', boot, sys.argv[2]], stdout=subprocess.PIPE); "
        "child.stdout.read(1); print(child.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", parent, python, str(lent)], stdout=subprocess.PIPE, check=False)
    pid = int(done.stdout)
    watch = pidfd(pid)
    if watch is not None:
        ended = select.select([watch], [], [], PATIENCE_S)[0]
        if not ended:
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)
        assert ended, f"process {pid} lived on without its parent"


def pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None
