"""Tasks as their author and their users meet them: a folder of plain functions, a real daemon, real `labctl`.

What one broken task file, one bad argument, one crashing or deaf body does to itself and to nobody else, what a flow
says while it waits, and what a `kill -9` of the daemon leaves.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from labctl import AsyncOrchestratorClient, OrchestratorClient
from labctl.routes import Request
from labd.errors import Conflict, InvalidArguments, TaskTimeout, WorkerDied
from tests.acceptance.processes import Daemon, toml
from tests.acceptance.waiting import eventually

COLOURS = '''
"""The colours of a lab."""
import enum
import os
import sys
import time
from typing import List, Optional

from labd import ask, call, current_job_id, flow, get_run_logger, log, progress, task


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


@task(bounds={"R": (0, 300)})
def mix_color(R: int, mix_well: str = "A1", speed: Speed = Speed.SLOW, tips: Optional[List[str]] = None) -> dict:
    """Mix a colour."""
    print(f"mixing {R} ul in {mix_well}")
    return {"R": R, "well": mix_well, "speed": speed.value, "tips": tips}


@task
def prepare(reagent: str):
    get_run_logger().info("%s is ready for job %s", reagent, current_job_id())
    return f"{reagent} ready"


@flow(retries=2, retry_delay_seconds=0)
def workflow(colour: str):
    ready = call("prepare", reagent=colour)
    volume = ask(f"How much {colour}?", unit="ul", minimum=1, maximum=300)
    loaded = ask("Plate loaded?", choices=["yes", "no"])
    mixed = call.many([(mix_color, {"R": int(volume)}), ("prepare", {"reagent": "water"})])
    return [ready, volume, loaded, mixed[0]["R"], mixed[1]]


@task(cache_key=True, cache_ttl_s=3600)
def slow_sum(numbers: list):
    return [sum(numbers), time.monotonic_ns()]


@task
def exits():
    print("the last word")
    os._exit(3)


@task
def segfaults():
    import ctypes
    print("before the crash")
    ctypes.string_at(0)


@task
def prints(megabytes: int):
    line = "x" * 1023 + "\\n"
    for _ in range(megabytes * 1024):
        sys.stdout.write(line)
    print("the end")


@task
def deaf():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    progress(1, text=str(os.getpid()))
    while True:
        try:
            time.sleep(100)
        except BaseException:
            pass


@task
def sits():
    progress(1, text=str(os.getpid()))
    time.sleep(300)


@task(effect="physical")
def moves():
    progress(1, text=str(os.getpid()))
    time.sleep(300)
'''
GATED = """
import os
import time
from labd import progress, task

@task
def gated(gate: str):
    progress(1, text="at the gate")
    while not os.path.exists(gate):
        time.sleep(0.005)
    return "VERSION"
"""


def settings(folder: Path) -> str:
    """One folder of task files, looked at often; bodies that do not listen get a short grace."""
    tables = [toml("tasks", folders=[str(folder)], poll_s=0.1), toml("env.default", grace_s=0.3, size=6)]
    return "".join([*tables, toml("engine", drain_s=1.0)])


def make_folder(state_dir: Path) -> Path:
    """The folder with the tasks of all tests below."""
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "colours.py").write_text(COLOURS)
    return folder


@pytest.fixture(scope="module")
def lab() -> Iterator[Daemon]:
    """One daemon for the tests that leave it as it was."""
    folder = Path(tempfile.mkdtemp(prefix="labd-"))
    daemon = Daemon(folder, settings(make_folder(folder)))
    try:
        yield daemon.start()
    finally:
        daemon.end()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def own(state_dir: Path, daemons: Callable[..., Daemon]) -> Daemon:
    """A daemon for one test, whose task files it changes or which it kills."""
    return daemons(settings(make_folder(state_dir))).start()


def went(daemon: Daemon, job_id: int) -> str:
    """The text of the first progress of a job, as soon as it is told."""

    def text() -> str:
        progress = daemon.job(job_id)["progress"] or {}
        return str(progress.get("text", ""))

    return eventually(text, 15.0, f"progress of job {job_id}")


def asks(daemon: Daemon, job_id: int, question: str) -> None:
    """Wait until a job asks this."""
    eventually(
        lambda: ((daemon.job(job_id)["asks"] or {}).get("question")) == question, 15.0, f"{question} of job {job_id}"
    )  # fmt: skip


def test_words_of_the_command_line_become_checked_arguments(lab: Daemon) -> None:
    job = lab.labctl.json("task", "run", "mix_color", "R=120", "mix_well=B2", "speed=fast", 'tips=["A1","A2"]')
    assert job["result"] == {"R": 120, "well": "B2", "speed": "fast", "tips": ["A1", "A2"]}
    assert job["code"]["file"].endswith("tasks.d/colours.py")
    assert len(job["code"]["sha256"]) == 64
    assert "mixing 120 ul in B2" in lab.labctl.ok("job", "logs", job["id"])


@pytest.mark.parametrize(
    ("word", "args", "problem"),
    [
        ("R=many", {"R": "many"}, "argument R = 'many': Expected `int`, got `str`"),
        ("R=301", {"R": 301}, "argument R = 301: Expected `int` <= 300"),
        ("R=1.5", {"R": 1.5}, "argument R = 1.5: Expected `int`, got `float`"),
        ("speed=warp", {"R": 1, "speed": "warp"}, "argument speed = 'warp': Invalid enum value 'warp'"),
    ],
)
def test_a_wrong_type_is_refused_with_one_error_at_every_door(
    lab: Daemon, word: str, args: dict[str, Any], problem: str
) -> None:
    words = [word] if "R" in word else ["R=1", word]
    code, _, err = lab.labctl("task", "run", "mix_color", *words)
    assert (code, f"mix_color: {problem}" in err) == (2, True), err

    told: list[str] = []
    with pytest.raises(InvalidArguments) as client:
        lab.client.submit("mix_color", args)
    told.append(client.value.message)
    for path, body in (("/api/v1/jobs", {"task": "mix_color", "args": args}), ("/execute/mix_color", args)):
        with pytest.raises(InvalidArguments) as door:
            lab.client.ask(Request("POST", path, {}, body))
        told.append(door.value.message)
    assert len(set(told)) == 1 and told[0] in err


def test_a_missing_and_an_unknown_argument_are_named(lab: Daemon) -> None:
    code, _, err = lab.labctl("task", "run", "mix_color")
    assert (code, "R" in err) == (2, True)
    code, _, err = lab.labctl("task", "run", "mix_color", "R=1", "mixwell=B2")
    assert (code, "mixwell" in err) == (2, True)


def test_the_orchestrator_client_and_execute_give_the_result(lab: Daemon) -> None:
    with OrchestratorClient(lab.host) as client:
        assert client.execute_task("mix_color", R=3)["R"] == 3
        with pytest.raises(WorkerDied, match="ended with exit code 3"):
            client.execute_task("exits")
    with OrchestratorClient(lab.host, timeout_s=0.1) as client:
        with pytest.raises(TaskTimeout, match=r"job \d+ \(sits\) is still running and goes on") as going:
            client.execute_task("sits")
        lab.client.cancel(going.value.details["job"])
    answer = lab.client.ask(Request("POST", "/execute/mix_color", {}, {"R": 4}))
    assert (answer["status"], answer["result"]["R"]) == ("success", 4)


async def test_tasks_run_side_by_side_through_the_client_for_asyncio(lab: Daemon) -> None:
    async with AsyncOrchestratorClient(lab.host) as client:
        done = await asyncio.gather(*(client.execute_task("mix_color", R=red) for red in range(5)))
        assert [one["R"] for one in done] == [0, 1, 2, 3, 4]
        with pytest.raises(InvalidArguments, match="argument R = 'x'"):
            await client.execute_task("mix_color", R="x")


def test_the_orchestrator_client_follows_a_task_across_a_killed_daemon(own: Daemon) -> None:
    (own.folder / "tasks.d" / "gated.py").write_text(GATED)
    gate = own.folder / "gate"
    eventually(lambda: own.client.task("gated"), 10.0, "the new file")
    with ThreadPoolExecutor(1) as threads, OrchestratorClient(own.host) as client:
        result = threads.submit(client.execute_task, "gated", gate=str(gate))
        job_id = eventually(lambda: own.client.jobs()["jobs"], 10.0, "the job")[0]["id"]
        went(own, job_id)
        own.kill()
        gate.touch()
        own.start()
        assert result.result(30.0) == "VERSION"
        assert [job["id"] for job in own.client.jobs()["jobs"]] == [job_id]


def test_a_flow_waits_for_its_calls_and_answers_and_says_so(lab: Daemon) -> None:
    labctl = lab.labctl
    job_id = labctl.json("task", "run", "workflow", "colour=red", "--no-wait")["id"]
    asks(lab, job_id, "How much red?")
    why = labctl.ok("job", "why", job_id)
    assert f"It asks: How much red? (1 <= number <= 300 ul) - `labctl job answer {job_id} VALUE`" in why
    code, _, err = labctl("job", "answer", job_id, "301")
    assert (code, "300" in err) == (2, True)
    labctl.ok("job", "answer", job_id, "120")
    asks(lab, job_id, "Plate loaded?")
    labctl.ok("job", "answer", job_id, "yes")
    job = lab.ended(job_id)
    assert job["result"] == ["red ready", 120, "yes", 120, "water ready"]
    steps = labctl.json("job", "steps", job_id)["steps"]
    assert [(step["kind"], step["done"]) for step in steps] == [
        ("call", True), ("ask", True), ("ask", True), ("call", True), ("call", True)
    ]  # fmt: skip
    children = [lab.job(step["job_id"]) for step in steps if step["kind"] == "call"]
    assert {child["parent_id"] for child in children} == {job_id}
    assert f"red is ready for job {children[0]['id']}" in labctl.ok("job", "logs", children[0]["id"])


def test_a_question_is_answered_once_and_the_second_hears_who_was_first(lab: Daemon) -> None:
    job_id = lab.client.submit("workflow", {"colour": "blue"})["id"]
    asks(lab, job_id, "How much blue?")
    lab.labctl.ok("job", "answer", job_id, "5")
    asks(lab, job_id, "Plate loaded?")
    lab.labctl.ok("job", "answer", job_id, "no")
    lab.ended(job_id)
    first = next(step for step in lab.client.steps(job_id) if step["what"] == "Plate loaded?")["by"]
    with pytest.raises(Conflict, match=rf"Plate loaded\? was answered by {first} at \d{{4}}-") as second:
        lab.client.answer(job_id, "yes")
    assert second.value.details["answer"] == "no"
    code, _, err = lab.labctl("job", "answer", job_id, "yes")
    assert (code, f"was answered by {first} at" in err) == (4, True)


def test_a_recorded_result_is_given_again_shown_as_such_and_bypassed(lab: Daemon) -> None:
    labctl = lab.labctl
    first = labctl.json("task", "run", "slow_sum", "numbers=[1,2,3]")
    again = labctl.json("task", "run", "slow_sum", "numbers=[1,2,3]")
    assert (again["result"], again["cached_from"]) == (first["result"], first["id"])
    assert again["id"] != first["id"]
    why = labctl.ok("job", "why", again["id"])
    assert f"recorded one of job {first['id']}" in why and "--no-cache" in why
    anew = labctl.json("task", "run", "slow_sum", "numbers=[1,2,3]", "--no-cache")
    assert (anew["cached_from"], anew["result"] != first["result"]) == (None, True)
    assert labctl.json("job", "submit", "slow_sum", "numbers=[1,2,3]", "--no-cache", "--wait")["cached_from"] is None
    assert labctl.json("job", "submit", "slow_sum", "numbers=[1,2,3]", "--wait")["cached_from"] is not None


@pytest.mark.parametrize(
    ("task", "ending", "word"),
    [("exits", "ended with exit code 3", "the last word"), ("segfaults", "was ended by SIGSEGV", "before the crash")],
)
def test_a_task_that_takes_its_worker_down_fails_alone_and_says_how(
    lab: Daemon, task: str, ending: str, word: str
) -> None:
    sibling = lab.client.submit("sits")
    went(lab, sibling["id"])
    code, out, err = lab.labctl("task", "run", task)
    assert (code, ending in out + err) == (1, True)
    [job] = lab.client.jobs(task=task, limit=1)["jobs"]
    assert (job["error"]["code"], job["error"]["details"]["ending"]) == ("worker_died", ending)
    assert ending in job["error"]["message"] and word in lab.labctl.ok("job", "logs", job["id"])
    assert lab.job(sibling["id"])["state"] == "running"
    assert lab.labctl.json("task", "run", "mix_color", "R=1")["state"] == "succeeded"
    lab.client.cancel(sibling["id"])
    assert lab.ended(sibling["id"])["state"] == "cancelled"


def test_a_hundred_megabytes_of_output_end_as_a_readable_log(lab: Daemon) -> None:
    job = lab.labctl.json("task", "run", "prints", "megabytes=100")
    assert job["state"] == "succeeded"
    text = lab.labctl.ok("job", "logs", job["id"])
    assert len(text) < 2_000_000
    assert text.rstrip().endswith("the end") and "bytes in about 102" in text


def test_a_deaf_task_is_cancelled_all_the_same(lab: Daemon) -> None:
    job = lab.client.submit("deaf")
    worker = psutil.Process(int(went(lab, job["id"])))
    lab.labctl.ok("job", "cancel", job["id"], "--reason", "enough")
    assert lab.ended(job["id"])["state"] == "cancelled"
    assert psutil.wait_procs([worker], timeout=5.0)[1] == []


def test_a_broken_file_is_named_by_file_and_line_and_the_others_go_on(own: Daemon) -> None:
    broken = own.folder / "tasks.d" / "broken.py"
    broken.write_text("from labd import task\n\n@task\ndef cut(:\n    pass\n")
    code, out, _ = own.labctl("task", "reload")
    assert (code, f"{broken}:4: SyntaxError" in out) == (6, True)
    code, out, err = own.labctl("task", "list")
    assert (code, "mix_color" in out, f"{broken}:4: SyntaxError" in err) == (0, True, True), err
    assert f"attention: {broken}:4: SyntaxError" in own.labctl("status")[1]
    assert own.labctl.json("task", "run", "mix_color", "R=1")["state"] == "succeeded"


def test_a_changed_file_is_taken_up_and_what_runs_ends_on_the_old_code(own: Daemon) -> None:
    path, gate = own.folder / "tasks.d" / "gated.py", own.folder / "gate"
    path.write_text(GATED.replace("VERSION", "old"))
    eventually(lambda: own.client.task("gated"), 10.0, "the new file")
    before = own.client.submit("gated", {"gate": str(gate)})
    assert went(own, before["id"]) == "at the gate"
    old = own.client.task("gated")["code"]["sha256"]
    path.write_text(GATED.replace("VERSION", "new"))
    eventually(lambda: own.client.task("gated")["code"]["sha256"] != old, 10.0, "the changed file")
    gate.touch()
    after = own.ended(own.client.submit("gated", {"gate": str(gate)})["id"])
    assert (own.ended(before["id"])["result"], after["result"]) == ("old", "new")
    assert own.job(before["id"])["code"]["sha256"] == old != after["code"]["sha256"]


def test_a_pinned_task_refuses_other_code_until_it_is_unpinned(own: Daemon) -> None:
    labctl, path = own.labctl, own.folder / "tasks.d" / "colours.py"
    labctl.ok("task", "pin", "mix_color")
    assert labctl.json("task", "pin")["pins"][0]["task"] == "mix_color"
    path.write_text(COLOURS.replace("Mix a colour.", "Mix any colour."))
    labctl.ok("task", "reload")
    code, _, err = labctl("task", "run", "mix_color", "R=1")
    assert (code, "labctl task unpin mix_color" in err) == (4, True)
    assert labctl.json("task", "run", "prepare", "reagent=ink")["result"] == "ink ready"
    path.write_text(COLOURS)
    labctl.ok("task", "reload")
    labctl.ok("task", "run", "mix_color", "R=1")
    path.write_text(COLOURS + "\n")
    labctl.ok("task", "reload")
    labctl.ok("task", "unpin", "mix_color")
    labctl.ok("task", "run", "mix_color", "R=1")


def test_a_killed_daemon_leaves_no_worker_and_the_states_of_the_design(own: Daemon) -> None:
    repeatable, physical = own.client.submit("sits"), own.client.submit("moves")
    flow = own.client.submit("workflow", {"colour": "green"})
    workers = [psutil.Process(int(went(own, job["id"]))) for job in (repeatable, physical)]
    asks(own, flow["id"], "How much green?")
    own.kill()
    assert psutil.wait_procs(workers, timeout=5.0)[1] == []

    own.start()
    assert own.job(physical["id"])["state"] == "interrupted"
    eventually(lambda: own.job(repeatable["id"])["state"] == "running", 15.0, "the repeatable job's second run")
    assert own.job(flow["id"])["state"] == "waiting"
    own.labctl.ok("job", "answer", flow["id"], "7")
    asks(own, flow["id"], "Plate loaded?")
    own.labctl.ok("job", "answer", flow["id"], "yes")
    assert own.ended(flow["id"])["result"] == ["green ready", 7, "yes", 7, "water ready"]
    own.client.cancel(repeatable["id"])
    assert own.ended(repeatable["id"])["state"] == "cancelled"
