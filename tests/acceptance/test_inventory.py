"""The seed's maintenance day on a daemon as a user runs it, with kill -9 in between: nothing lost, nothing invented."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.processes import Daemon, toml

TABLE = toml("inventory", simulated=True)


@pytest.fixture
def daemon(daemons: Callable[..., Daemon]) -> Daemon:
    return daemons(TABLE).start()


def levels_ml(daemon: Daemon) -> dict[str, float]:
    return {
        one["key"]: round(one["level_ul"] / 1000, 2) for one in daemon.labctl.json("inventory", "show")["reservoirs"]
    }


def test_the_seeds_maintenance_day_survives_a_killed_daemon(daemon: Daemon, tmp_path: Path) -> None:
    labctl = daemon.labctl
    labctl.ok("inventory", "init", "5", "6", "7")
    assert labctl("inventory", "check", "6.5")[0] == 6
    labctl.ok("inventory", "restock", "10", "5", "8", "lab_tech_1")
    daemon.kill()
    daemon.start()
    assert levels_ml(daemon) == {"red": 15.0, "yellow": 11.0, "blue": 15.0}
    labctl.ok("task", "run", "restock-maintenance/restock-maintenance", "yellow_volume=2000", "operator=ben")
    daemon.kill()
    daemon.start()
    assert levels_ml(daemon) == {"red": 15.0, "yellow": 13.0, "blue": 15.0}
    assert labctl("inventory", "check", "2.0")[0] == 0
    out = labctl.ok("inventory", "verify")
    assert "every balance and every reservation agrees" in out
    labctl.ok("inventory", "export", str(tmp_path / "stock.json"))
    code, _, err = labctl("inventory", "restock", "1", "1", "1")
    assert code == 2 and "operator missing" in err
    moved = labctl.json("inventory", "history", "--kind", "restock")["movements"]
    assert sorted({one["actor"] for one in moved} - {"lab_tech_1", "ben"}) == [moved[-1]["actor"]]


def test_the_status_names_the_wing_and_what_is_low(daemon: Daemon) -> None:
    daemon.labctl.ok("inventory", "init", "1", "15", "15")
    out = daemon.labctl.ok("status")
    assert "wing inventory: on" in out and "below 5000.0 ul; `labctl inventory restock red=VOLUME" in out


def test_maintenance_in_one_go(daemon: Daemon) -> None:
    daemon.labctl.ok("inventory", "init", "1", "15", "15")
    code, out, err = daemon.labctl("inventory", "maintenance", "--yes", "--operator", "cron")
    assert code == 0, err
    assert levels_ml(daemon)["red"] == 15.0
    assert "All colors adequately stocked" in out
