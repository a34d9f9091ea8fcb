"""What may go wrong at the start: one clear line, the right exit code, and nothing on disk is harmed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import FAST, ROOT, Daemon, script, toml

RESORT = toml("resort", driver="simulated", **FAST)
WITHOUT_DRIVERS = """
import importlib.util, sys
sys.modules["dynamixel_sdk"] = sys.modules["serial"] = None
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in ("dynamixel_sdk", "serial") else find(name, *rest)
from labd.__main__ import main
sys.exit(main())
"""


def refused(daemon: Daemon) -> tuple[int, str]:
    """A start that must fail: exit code, and what it told on standard error."""
    done = subprocess.run(
        daemon.command, cwd=ROOT, env=daemon.env, capture_output=True, text=True, timeout=30, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def one_line(told: str) -> str:
    """The one line for a person; log lines are JSON and do not count."""
    lines = [line for line in told.splitlines() if not line.startswith("{")]
    assert len(lines) == 1 and lines[0].startswith("labd: "), told
    return lines[0]


def test_a_second_daemon_on_the_same_state_is_refused_by_name_and_pid(
    daemons: Callable[..., Daemon], state_dir: Path
) -> None:
    first = daemons(RESORT).start()
    second = daemons(RESORT, folder=state_dir)
    second.socket = state_dir / "other.sock"
    code, told = refused(second)
    assert code == 1
    line = one_line(told)
    assert f"pid {first.pid}" in line and f"labd on {os.uname().nodename}" in line
    assert first.client.health().strip() == "ok"


@pytest.mark.parametrize("damage", ["not a database", "a torn page"])
def test_a_damaged_database_is_one_line_and_stays_as_it_is(daemons: Callable[..., Daemon], damage: str) -> None:
    daemon = daemons(RESORT).start()
    for _ in range(20):
        daemon.client.submit("resort.get_motor_health")
    daemon.end()
    database = daemon.state / "labd.db"
    content = bytearray(database.read_bytes())
    if damage == "a torn page":
        content[4096:8192] = b"\xa5" * 4096
    else:
        content[:16] = b"\x00" * 16
    database.write_bytes(content)
    code, told = refused(daemon)
    assert code == 1
    line = one_line(told)
    assert str(database) in line and "restore" in line
    assert database.read_bytes() == content


def test_a_newer_database_is_one_line_and_stays_as_it_is(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT).start()
    daemon.end()
    database = daemon.state / "labd.db"
    opened = sqlite3.connect(database)
    opened.execute("PRAGMA user_version = 999")
    opened.close()
    content = database.read_bytes()
    code, told = refused(daemon)
    assert code == 1
    assert "has schema 999, this labd knows up to" in one_line(told)
    assert database.read_bytes() == content


def test_faulty_settings_end_with_78_and_every_fault(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(
        '[resort]\nspeeed = 3\nbaud_rate = 5\n[queue.standard]\npriority = 77\n[engine]\ndrain_s = "long"\n'
        '[schedule.pulse]\ntask = "resort.go_home"\ninterval_s = 0.5\n'
    )
    code, told = refused(daemon)
    assert code == 78
    faults = ("resort.speeed", "speed", "baud_rate", "queue.standard.priority", "engine.drain_s", "pulse.interval_s")
    assert [fault for fault in faults if fault not in told] == []
    assert not daemon.state.exists()
    done = subprocess.run(
        [*script("labd"), "check", "--config", str(daemon.config)], cwd=ROOT, env=daemon.env, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert [fault for fault in faults if fault not in done.stdout] == []


def test_check_says_that_good_settings_have_no_fault(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT)
    done = subprocess.run(
        [*script("labd"), "check", "--show-origin", "--config", str(daemon.config)], cwd=ROOT, env=daemon.env,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0
    assert "no fault found" in done.stdout and f"({daemon.config})" in done.stdout


def test_without_the_extra_the_daemon_serves_and_says_how_to_install_it(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(RESORT)
    launcher = daemon.folder / "launcher.py"
    launcher.write_text(WITHOUT_DRIVERS)
    command = [sys.executable, str(launcher), *daemon.command[daemon.command.index("run") :]]
    daemon.run_instead = command
    daemon.start()
    status = daemon.labctl.json("status")
    wing = next(wing for wing in status["wings"] if wing["name"] == "resort")
    assert wing["state"] == "off" and "dynamixel_sdk" in wing["reason"]
    assert wing["install"] == "pip install 'labd[resort]'"
    assert "labd[resort]" in daemon.labctl.ok("status")
    assert "pip install 'labd[resort]'" in str(daemon.events("wing.off"))
    assert daemon.labctl("resort", "activate", "A")[0] == 4
