"""A changed settings file on the running daemon: over HTTP, over SIGHUP, and with a fault in it."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from labd.errors import LabdError
from tests.acceptance.processes import FAST, SLOW, Daemon, toml
from tests.acceptance.waiting import eventually


def reload(daemon: Daemon) -> list[str]:
    """What the API says has changed."""
    answer: list[str] = daemon.client.reload()["changed"]
    return answer


def test_a_changed_carousel_is_in_force_at_once_and_what_needs_a_restart_is_named(
    daemons: Callable[..., Daemon],
) -> None:
    daemon = daemons(toml("resort", driver="simulated", **FAST)).start().ready()
    daemon.configure(
        toml("resort", driver="simulated", **{**FAST, "hotels": ["A", "B"], "offset_deg": 90.0, "speed": 40})
    )
    assert reload(daemon) == ["resort.hotels", "resort.offset_deg", "resort.speed"]
    status = daemon.resort()
    assert (status["hotels"], status["speed"], round(status["position_deg"])) == ({"A": 0.0, "B": 180.0}, 40, 270)
    assert daemon.ended(daemon.client.submit("resort.activate_hotel", {"hotel": "B"})["id"])["result"]["hotel"] == "B"

    daemon.configure(toml("resort", driver="simulated", **FAST, servo_id=2, baud_rate=115200, stall_s=2.0))
    changed = reload(daemon)
    assert "resort.servo_id (in force after a restart)" in changed
    assert "resort.baud_rate (in force after a restart)" in changed
    assert "resort.stall_s" in changed
    assert (daemon.resort()["servo_id"], daemon.resort()["hotels"].keys()) == (1, {"A", "B", "C", "D"})


def test_a_faulty_file_changes_nothing_at_all(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("resort", driver="simulated", **FAST)).start().ready()
    daemon.configure(toml("resort", driver="simulated", speed=-1, hotels=["X"]))
    with pytest.raises(LabdError, match=r"labd.toml: resort\.speed"):
        reload(daemon)
    assert (daemon.resort()["speed"], len(daemon.resort()["hotels"])) == (FAST["speed"], 4)


def test_sighup_in_mid_move_waits_with_the_angles_until_the_carousel_rests(daemons: Callable[..., Daemon]) -> None:
    daemon = daemons(toml("resort", driver="simulated", **SLOW)).start().ready()
    job = daemon.client.submit("resort.move_to_angle", {"degrees": 45})
    daemon.moving()
    daemon.configure(toml("resort", driver="simulated", **FAST, offset_deg=-45.0))
    daemon.send(signal.SIGHUP)
    eventually(lambda: daemon.events("settings.reloaded"), 5.0, "the reload")
    assert daemon.job(job["id"])["state"] == "running"
    assert daemon.resort()["position_deg"] < 60
    assert daemon.ended(job["id"])["result"]["position_deg"] == pytest.approx(45, abs=1)
    assert daemon.resort()["position_deg"] == pytest.approx(90, abs=1)
    assert daemon.resort()["speed"] == FAST["speed"]
