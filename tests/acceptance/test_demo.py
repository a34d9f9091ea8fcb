"""`labd demo`, the first thing a new user runs: with opentrons, and where nothing can be installed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from labd.demo import TOUR
from tests.acceptance.processes import ROOT, environment, script
from tests.acceptance.waiting import eventually
from tests.fakes import opentrons_env


@pytest.fixture
def demo(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """The demo while it serves, with its output in `demo.txt`."""
    with (state_dir / "demo.txt").open("w") as out:
        process = subprocess.Popen(
            [*script("labd"), "demo"], cwd=ROOT, env=environment(state_dir, TMPDIR=str(state_dir), UV_OFFLINE="1"),
            text=True, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def take_tour(state_dir: Path, **variables: str) -> str:
    """Its output, from a home of its own; it left nothing behind."""
    done = subprocess.run(
        [*script("labd"), "demo", "--exit"], cwd=ROOT, env=environment(state_dir, TMPDIR=str(state_dir), **variables),
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in state_dir.glob("labd-demo-*")] == []
    return done.stdout


@pytest.mark.timeout(1000)  # opentrons is downloaded where it is not cached
def test_demo_exit_takes_the_whole_tour_and_ends_with_0(state_dir: Path) -> None:
    opentrons_env.interpreter()  # a skip by name where it cannot be had; what it fetched is in the cache
    told = take_tour(state_dir, **real_caches())
    for step in TOUR:
        if not step.command.startswith("@"):
            assert f"$ labctl {step.command.partition('{')[0]}" in told
    for shown in (
        "hotel: D", "STOPPED, torque is off", "stop reset by demo", "Is the plate of hotel C on the robot?",
        "loaded: yes", "env sync ot2\n    ot2: ready", "three_colours.py: ok", "command_count: 38", "total_ul: 250",
        "R 200 + Y 100 + B 80 + G 0 = 380 ul; a well takes at most 300 ul", "05:00:00Z", "every step succeeded.",
        "and no failure", "was whole already", "customer1: rolled back", "red: restock +15.00 ml",
        "three files of 20 readings arrived", "! thursday.jsonl.gz", "kill -9 ", "0 too often, 0 missing",
        "mix_color_with_inventory took it",
        "Insufficient stock for: yellow (available: 45.0 ul, required: 50.0 ul). Please restock before proceeding.",
    ):  # fmt: skip
        assert shown in told


def test_the_tour_goes_on_where_nothing_can_be_installed(state_dir: Path) -> None:
    nothing = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(state_dir / "uv"), "PIP_NO_INDEX": "1"}
    told = take_tour(state_dir, **nothing)
    names = [step.command.partition("{")[0] for step in TOUR if "ot2" in (step.makes, step.needs)]
    last = told[told.index("every step succeeded, but 6 were left out: ") :]
    assert len(names) == 6
    assert all(f"labctl {name}" in last for name in names)
    assert "labd demo: environment ot2 could not be made: " in last
    assert "status: succeeded" in told  # the virtual robot reads the protocol by itself


def real_caches() -> dict[str, str]:
    """Where uv and pip keep what they fetched: the demo is run with another home."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {"UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(caches / "uv")), "PIP_CACHE_DIR": str(caches / "pip")}


@pytest.mark.timeout(200)
def test_ctrl_c_ends_a_serving_demo_and_its_daemon(demo: subprocess.Popen[str], state_dir: Path) -> None:
    told = state_dir / "demo.txt"
    eventually(lambda: "serves until Ctrl-C" in told.read_text(), 150.0, "the end of the tour")
    url, token = told.read_text().rpartition("the token to log in with:\n")[2].split()[:2]
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=10) as page:
        assert b"<title>labd" in page.read()
    bearer = urllib.request.Request(f"{url}api/v1/status", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(bearer, timeout=10) as status:
        assert json.load(status)["simulated"] is True
    children = psutil.Process(demo.pid).children(recursive=True)
    assert any("run" in child.cmdline() for child in children)
    demo.send_signal(signal.SIGINT)
    assert demo.wait(20.0) == 0, told.read_text()
    assert psutil.wait_procs(children, timeout=2.0)[1] == []
    assert "Traceback" not in told.read_text()
