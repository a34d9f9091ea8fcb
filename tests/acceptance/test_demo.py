"""`labd demo`, the first thing a new user runs."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labd.demo import TOUR
from tests.acceptance.processes import ROOT, environment, script
from tests.acceptance.waiting import eventually


@pytest.fixture
def demo(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo while it serves, with its output in `demo.txt`."""
    with (state_dir / "demo.txt").open("w") as out:
        process = subprocess.Popen(
            [*script("labd"), "demo"], cwd=ROOT, env=environment(state_dir, TMPDIR=str(state_dir)), text=True,
            stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def test_demo_exit_takes_the_whole_tour_and_ends_with_0(state_dir: Path) -> None:
    done = subprocess.run(
        [*script("labd"), "demo", "--exit"], cwd=ROOT, env=environment(state_dir, TMPDIR=str(state_dir)),
        capture_output=True, text=True, timeout=55, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for step in TOUR:
        if step.command:
            assert f"$ labctl {step.command}" in done.stdout
    for shown in ("hotel: D", "STOPPED, torque is off", "stop reset by demo", "every step succeeded"):
        assert shown in done.stdout
    assert [path.name for path in state_dir.glob("labd-demo-*")] == []


def test_ctrl_c_ends_a_serving_demo_and_its_daemon(demo: subprocess.Popen[str], state_dir: Path) -> None:
    told = state_dir / "demo.txt"
    eventually(lambda: "serves until Ctrl-C" in told.read_text(), 45.0, "the end of the tour")
    children = psutil.Process(demo.pid).children(recursive=True)
    assert any("run" in child.cmdline() for child in children)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(20.0) == 0, told.read_text()
    assert psutil.wait_procs(children, timeout=2.0)[1] == []
    assert "Traceback" not in told.read_text()
