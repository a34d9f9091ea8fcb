"""Which keys of a changed `[resort]` table are in force at once, and which only after a restart."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labd.resort.settings import Limits, ResortSettings, SimulatedOptions
from labd.resort.settings_change import change_of

NOW = ResortSettings()
OTHER: dict[str, Any] = {
    "device": "/dev/ttyUSB9",
    "driver": "simulated",
    "baud_rate": 1_000_000,
    "servo_id": 9,
    "mode": "position",
    "hotels": ("A", "B"),
    "hotel_angles": {"A": 5.0},
    "offset_deg": 12.0,
    "direction": -1,
    "home_deg": 3.0,
    "tolerance_deg": 2.0,
    "speed": 5.0,
    "acceleration": 30.0,
    "watchdog_period_s": 0.6,
    "lease_s": 0.2,
    "move_timeout_s": 100.0,
    "stall_s": 2.0,
    "auto_connect": False,
    "hold_torque_at_exit": False,
    "queue": "low-priority",
    "limits": Limits(temperature_celsius=50.0),
    "simulated": SimulatedOptions(seed=2),
}
RESTART = {"device", "driver", "baud_rate", "servo_id", "mode", "queue", "simulated"}


def test_every_key_is_tried() -> None:
    assert OTHER.keys() == {field.name for field in msgspec.structs.fields(ResortSettings)}


@pytest.mark.parametrize("key", OTHER)
def test_a_key_is_live_or_named_as_waiting_for_a_restart(key: str) -> None:
    change = change_of(NOW, msgspec.structs.replace(NOW, **{key: OTHER[key]}), 870.0)
    waits = key in RESTART
    assert (change.live, change.restart) == (() if waits else (key,), (key,) if waits else ())
    assert getattr(change.settings, key) == (getattr(NOW, key) if waits else OTHER[key])


def test_a_limit_beyond_that_of_the_tasks_waits() -> None:
    change = change_of(NOW, msgspec.structs.replace(NOW, move_timeout_s=900.0, speed=4.0), 870.0)
    assert (change.live, change.restart) == (("speed",), ("move_timeout_s",))
    assert (change.settings.move_timeout_s, change.settings.speed) == (None, 4.0)


def test_nothing_changed_is_nothing_to_do() -> None:
    change = change_of(NOW, ResortSettings(), 870.0)
    assert (change.live, change.restart, change.settings) == ((), (), NOW)
