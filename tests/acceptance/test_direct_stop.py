"""A stop past a dead daemon: what it knows of the motor, and that the next labd starts stopped."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import Bus, Daemon


@pytest.fixture
def dead(daemons: Callable[..., Daemon], bus: Bus, state_dir: Path) -> Daemon:
    """A daemon that was killed, whose status nobody ever asked for from the command line."""
    daemon = daemons(bus.settings(watchdog_period_s=0.8)).start().ready()
    daemon.kill()
    return daemon


def test_the_dead_mans_period_is_known_from_the_note_that_labd_left(dead: Daemon) -> None:
    shutil.rmtree(Path(dead.labctl.env["HOME"]) / ".cache", ignore_errors=True)
    shutil.copy(dead.runtime / "resort-main.json", dead.socket.parent)  # beside the socket, as a service has it
    code, _, err = dead.labctl("resort", "stop")
    assert code == 3
    assert "the motor's own watchdog ends a move within 0.8 s" in err


def test_after_a_direct_stop_labd_starts_stopped_until_a_reset_by_name(dead: Daemon, bus: Bus) -> None:
    code, out, err = dead.labctl(
        "--json", "resort", "stop", "--direct", "--reason", "plate fell", "--config", str(dead.config),
        LABD_STATE_DIR=str(dead.state),
    )  # fmt: skip
    assert code == 0, err
    answer = json.loads(out)
    assert answer["confirmed"] and answer["latched_in"] == str(dead.state / "resort-main.stop-latched")
    dead.start()
    status = dead.resort()
    assert status["stop_latched"] and status["latch"]["reason"] == "plate fell"
    code, _, err = dead.labctl("resort", "activate", "B")
    assert code == 4 and "labctl resort reset" in err
    assert not bus.servo()["torque"]
    assert "motion is allowed again" in dead.labctl.ok("resort", "reset", "--by", "alice", "--reason", "clear")
    assert not (dead.state / "resort-main.stop-latched").exists()
    dead.ready()


def test_a_direct_stop_that_a_hanging_daemon_keeps_out_is_latched_all_the_same(
    daemons: Callable[..., Daemon], bus: Bus
) -> None:
    daemon = daemons(bus.settings()).start().ready()
    daemon.labctl.ok("resort", "status")
    daemon.send(signal.SIGSTOP)
    code, out, err = daemon.labctl("resort", "stop", "--direct")
    assert code == 3 and "CUT POWER" in out + err
    assert f"latched in {daemon.state}/resort-main.stop-latched" in out
    daemon.kill()
    daemon.start()
    assert daemon.resort()["stop_latched"]
