"""Task files as a user has them: written into a folder, run with labctl, pinned; no worker outlives its daemon."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.processes import Daemon, toml

TASKS = """
import os, time
from labd import progress, task

@task(bounds={"R": (0, 300)})
def mix_color(R: int, mix_well: str = "A1") -> dict:
    "Mix a colour."
    print(f"mixing {R} ul in {mix_well}")
    return {"R": R, "well": mix_well}

@task
def sits(worker_file: str):
    if os.fork() == 0:
        time.sleep(300)
    with open(worker_file, "w") as file:
        file.write(str(os.getpid()))
    progress(1, text="sitting")
    time.sleep(300)
"""


@pytest.fixture
def daemon(state_dir: Path) -> Iterator[Daemon]:
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "colours.py").write_text(TASKS)
    house = Daemon(state_dir, toml("tasks", folders=[str(folder)], poll_s=0) + toml("env.none", python=">=3.30"))
    house.start()
    yield house
    house.end()


def test_a_task_file_is_run_changed_pinned_and_mended(daemon: Daemon) -> None:
    labctl, path = daemon.labctl, daemon.folder / "tasks.d" / "colours.py"
    assert '"R": 120' in labctl.ok("--json", "task", "run", "mix_color", "R=120", "mix_well=B2")
    code, _, err = labctl("task", "run", "mix_color", "R=301")
    assert (code, "argument R = 301: Expected `int` <= 300" in err) == (2, True)
    assert "R (integer 0 to 300, needed)" in labctl.ok("task", "show", "mix_color")
    assert "mix_color is pinned to" in labctl.ok("task", "pin", "mix_color")
    assert "mix_color" in labctl.ok("task", "pin")

    path.write_text(TASKS.replace("Mix a colour.", "Mix any colour."))
    assert labctl.ok("task", "reload") == "2 tasks in 1 files\n"
    code, _, err = labctl("task", "run", "mix_color", "R=1")
    assert (code, "labctl task unpin mix_color" in err) == (4, True)
    labctl.ok("task", "unpin", "mix_color")
    labctl.ok("task", "run", "mix_color", "R=1")

    path.write_text("def cut(:\n")
    code, out, _ = labctl("task", "reload")
    assert (code, f"{path}:1: SyntaxError" in out) == (6, True)
    code, out, err = labctl("env", "list")
    assert (code, "environment none needs Python >=3.30" in out, "SyntaxError" in err) == (6, True, True)


def test_no_worker_outlives_a_killed_daemon(daemon: Daemon) -> None:
    note = daemon.folder / "worker.pid"
    job = daemon.client.submit("sits", {"worker_file": str(note)})
    for event in daemon.client.events(after=0, kinds=["job.progress"]):
        if event["job_id"] == job["id"]:
            break
    worker = psutil.Process(int(note.read_text()))
    [grandchild] = worker.children(recursive=True)
    daemon.kill()
    assert psutil.wait_procs([worker], timeout=5.0)[1] == []
    daemon.start()
    assert psutil.wait_procs([grandchild], timeout=5.0)[1] == [], "what a task started ends with the next start"
    assert daemon.client.job(job["id"])["state"] in ("queued", "running")
    daemon.client.cancel(job["id"])
    assert daemon.ended(job["id"])["state"] == "cancelled"
