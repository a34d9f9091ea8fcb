"""What was last seen of one motor: its state in units, its warnings as they appear, its watchdog's trips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from labd.clock import Clock
from labd.resort.drive.drive_settings import DriveSettings, warnings_of
from labd.resort.drive.looks import Motion, ServoState
from labd.resort.drive.servo import DynamixelServo


class Sight:
    """The newest look at a motor; touches no bus.

    Args:
        settings: Those in force, asked for at each look.
        tell: Takes the events of warnings.
    """

    def __init__(
        self,
        servo: DynamixelServo,
        clock: Clock,
        settings: Callable[[], DriveSettings],
        tell: Callable[[str, dict[str, Any]], None],
    ) -> None:
        self.state: ServoState | None = None
        self.trips = 0
        self._servo = servo
        self._clock = clock
        self._settings = settings
        self._tell = tell
        self._warned: frozenset[str] = frozenset()

    def take(self, motion: Motion) -> ServoState:
        """A look; a warning is told when it appears, not as long as it lasts."""
        settings = self._settings()
        state = self._servo.state(motion, self._clock.wall(), self.trips, settings.watchdog_period_s)
        assert self._servo.identity is not None
        warnings = warnings_of(state, settings, self._servo.identity.model)
        self.state = replace(state, warnings=tuple(warnings.values()))
        for kind in warnings.keys() - self._warned:
            self._tell("device.warning", {"warning": kind, "problem": warnings[kind]})
        self._warned = frozenset(warnings)
        return self.state

    def count_trip(self) -> int:
        """One more trip of the watchdog, which was cleared; how many since labd started."""
        self.trips += 1
        if self.state is not None:
            watchdog = replace(self.state.watchdog, trips=self.trips, tripped=False)
            self.state = replace(self.state, watchdog=watchdog)
        return self.trips
