"""What a virtual servo does by itself in time, and what follows from a write: registers and motor drive each other.

Why events are worked off in order of time and not when somebody looks: a watchdog that expired half a second ago has
stopped the motor half a second ago, wherever the profile would have led since. `next_event_s` tells the bus when to
look again; it is None while nothing can happen by itself, so that an idle bus sleeps.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from labd.clock import Clock, SystemClock
from labd.resort.registers import (
    BUS_WATCHDOG_UNIT_S,
    DRIVE_MODE_TORQUE_BY_GOAL,
    MODELS,
    HardwareError,
    Model,
    OperatingMode,
    steps_per_s_of_velocity,
)
from labd.resort.virtual import physics
from labd.resort.virtual.control_table import ControlTable
from labd.resort.virtual.measurements import measure
from labd.resort.virtual.motor import Motor, Surroundings
from labd.resort.virtual.position_frame import PositionFrame
from labd.resort.virtual.profiles import POSITION_MODES, profile_of_move, speed_of_mode

OnEvent = Callable[[Any, str, dict[str, Any]], None]


@dataclass(slots=True)
class Counts:
    """What an independent check asks for."""

    moves: int = 0
    arrivals: int = 0
    goal_writes: int = 0
    torque_writes: int = 0
    watchdog_trips: int = 0
    reboots: int = 0


class LivingServo:
    """Registers, motor and time of one servo, without a face to the bus.

    Args:
        model_number: As a ping tells it; one of `registers.MODELS`.
        servo_id: 0 to 252.
        firmware: Version; decides on watchdog, fast reads and startup configuration.
        position: Steps at power-on.
        clock: The bus puts its own in.
        on_event: Called with (servo, event, facts) on every change of torque, goal, motion, watchdog and health.
    """

    def __init__(
        self,
        model_number: int = 1060,
        servo_id: int = 1,
        *,
        firmware: int = 52,
        position: int = 0,
        clock: Clock | None = None,
        on_event: OnEvent | None = None,
    ) -> None:
        self.model: Model = MODELS[model_number]
        self.firmware = firmware
        self.clock: Clock = clock or SystemClock()
        self.on_event: OnEvent = on_event or (lambda servo, event, facts: None)
        self.counts = Counts()
        self.lock = threading.RLock()
        self.table = ControlTable(self.model, firmware)
        self.table["id"] = servo_id
        now = self.clock.monotonic()
        surroundings = Surroundings(supply_v=self.model.nominal_voltage_v)
        self.motor = Motor(
            physics.resting(float(position), now),
            physics.Warmth(now, 30.0, surroundings.ambient_celsius),
            surroundings,
            steps_per_s_of_velocity(self.model.velocity_limit),
        )
        self._frame = PositionFrame(self.table)
        self._fed_s = now
        self._aim: tuple[int, float] | None = None
        """Mode and goal of the move that is under way."""
        self._shut_down = False
        self._backup: dict[str, int] | None = None
        self.registered: tuple[int, bytes] | None = None
        """Address and bytes of a Reg Write that waits for Action."""
        self._power_on(now)

    def attach(self, clock: Clock, on_event: OnEvent, lock: threading.RLock) -> None:
        """Live by the bus's clock and lock, and tell the bus what happens."""
        with lock:
            self.lock = lock
            celsius, position = self.motor.warmth.celsius, self.motor.position_at(self.clock.monotonic())
            self.clock, self.on_event = clock, on_event
            now = clock.monotonic()
            self.motor.warmth = physics.Warmth(now, celsius, celsius)
            self.motor.rest(position, now)
            self._fed_s = now

    @property
    def servo_id(self) -> int:
        """Its id on the bus."""
        return self.table["id"]

    # Time.

    def next_event_s(self) -> float | None:
        """The monotonic moment at which something happens by itself; None if nothing will."""
        moments: list[float | None] = [self.motor.overload_s(), self.motor.touch_s(), self._trip_s()]
        if self.motor.motion.segments:
            moments.append(self.motor.motion.end_s)
        if not self.table["hardware_error_status"] & HardwareError.OVERHEATING:
            moments.append(self.motor.warmth.time_above(self.table["temperature_limit"]))
        known = [moment for moment in moments if moment is not None and math.isfinite(moment)]
        return min(known, default=None)

    def advance(self) -> float:
        """Work off, in order, all that has happened up to now; gives now."""
        with self.lock:
            now = self.clock.monotonic()
            moment = self.next_event_s()
            while moment is not None and moment <= now:
                self._happen(moment)
                moment = self.next_event_s()
            self._show(now)
            return now

    def _trip_s(self) -> float | None:
        """When the Bus Watchdog stops the motor if nobody speaks; None where it is off or torque is."""
        watchdog = self.table["bus_watchdog"]
        return self._fed_s + watchdog * BUS_WATCHDOG_UNIT_S if self.motor.torque and watchdog > 0 else None

    def _happen(self, now: float) -> None:
        """One thing by itself, at its own moment; each removes its own cause, so that `advance` comes to an end."""
        motor = self.motor
        trip, overload, touch = self._trip_s(), motor.overload_s(), motor.touch_s()
        if trip is not None and now >= trip:
            self._trip(now)
        elif overload is not None and now >= overload:
            motor.block = replace(motor.block, told=True) if motor.block else None
            self._latch(now, HardwareError.OVERLOAD)
        elif touch is not None and now >= touch:
            motor.run_into_wall(now)
            self.on_event(self, "blocked", {"position": round(motor.position_at(now)), "at_s": now})
        elif motor.motion.segments and now >= motor.motion.end_s:
            motor.motion = physics.resting(motor.motion.rest, now)
            motor.load_changed(now)
            if motor.block is None:
                self._end_move("arrived", now)
                self.on_event(self, "at_rest", {"position": round(motor.position_at(now)), "at_s": now})
        else:
            self._latch(now, HardwareError.OVERHEATING)

    def _trip(self, now: float) -> None:
        """The Bus Watchdog: stop, -1, profile cleared. Source: e-Manual, "Bus Watchdog(98)"."""
        self.counts.watchdog_trips += 1
        self.table["bus_watchdog"] = -1
        self.table["profile_velocity"] = self.table["profile_acceleration"] = 0
        self.on_event(self, "watchdog_tripped", {"position": round(self.motor.position_at(now)), "at_s": now})
        if self.model.watchdog_stops_motor(self.firmware):
            self.motor.halt(now)
            self._end_move("watchdog", now)

    # Writes.

    def _apply(self, name: str, value: int, now: float) -> None:
        """One checked write and what follows from it."""
        table, before = self.table, self.table[name]
        if name == "torque_enable":
            self.counts.torque_writes += 1
            self._set_torque(value, now, "write")
        elif name in ("homing_offset", "drive_mode"):
            self._reframe(name, value, now)
        elif name == "operating_mode":
            table[name] = value
            if value != before:
                table.reset_for_mode()
                if value == OperatingMode.POSITION:
                    self._fold(now)
                self._show(now)
                table["goal_position"] = table["present_position"]
        elif name.startswith("goal_"):
            table[name] = value
            self.counts.goal_writes += 1
            if not self.motor.torque and self.has_newest_features and table["drive_mode"] & DRIVE_MODE_TORQUE_BY_GOAL:
                self._set_torque(1, now, "goal")
            self.on_event(self, "goal", {"register": name, "value": value, "torque": table["torque_enable"]})
            self._drive(now)
        else:
            table[name] = value
            if name == "bus_watchdog":
                self.on_event(self, "watchdog_set", {"value": value})

    @property
    def has_newest_features(self) -> bool:
        """Startup configuration, torque by goal and fast reads came with one firmware."""
        since = self.model.fast_read_since_firmware
        return since is not None and self.firmware >= since

    def _set_torque(self, value: int, now: float, cause: str) -> None:
        """Torque on or off.

        A shut-down motor takes the write and stays off: the e-Manual names no error for it, so a host has to read
        back. The stored goal is driven to when torque comes on, the worst that a motor could do to a host that forgot
        to set the goal first.
        """
        if value and self._shut_down:
            self.on_event(self, "torque_refused", {"cause": "shutdown"})
            return
        before = self.motor.torque
        self.table["torque_enable"] = value
        self.motor.torque = bool(value)
        self.on_event(self, "torque", {"value": value, "cause": cause, "changed": before != bool(value), "at_s": now})
        if value and not before:
            if self.table["operating_mode"] == OperatingMode.POSITION:
                self._fold(now)
            self._drive(now)
        elif before and not value:
            self.motor.coast(now)
            self._end_move("torque_off" if cause == "write" else cause, now)

    def _drive(self, now: float) -> None:
        """Set the motor going towards its goals."""
        table, motor = self.table, self.motor
        motor.ceiling = abs(table["goal_pwm"]) / 885
        if not motor.torque or table["bus_watchdog"] == -1:
            return
        position, mode = motor.position_at(now), table["operating_mode"]
        if mode in POSITION_MODES:
            goal: float | None = float(table["goal_position"])
            speed, acceleration = profile_of_move(table, abs(table["goal_position"] - position))
        else:
            goal = None
            speed, acceleration = speed_of_mode(table)
        aim = (mode, speed if goal is None else goal)
        far = bool(speed) if goal is None else abs(goal - position) >= 0.5
        if far and aim != self._aim:
            self._end_move("replaced", now)
            self._aim = aim
            self.counts.moves += 1
            facts = {"start": round(position), "goal": table["goal_position"] if goal is not None else None}
            self.on_event(self, "move_started", {**facts, "operating_mode": mode, "at_s": now})
        elif not far:
            self._end_move("held", now)
        if motor.set_going(goal, speed, acceleration, now):
            self.on_event(self, "blocked", {"position": round(position), "at_s": now})

    # Inside.

    def _power_on(self, now: float) -> None:
        """What power-on does besides defaults."""
        self._shut_down = False
        self.registered = None
        self._fold(now)
        self.table["goal_position"] = self.table["present_position"]
        self._show(now)

    def _fold(self, now: float) -> None:
        """Take whole turns away from Present Position."""
        self.motor.rest(self._frame.fold(self.motor.position_at(now)), now)
        self._show(now)

    def _reframe(self, name: str, value: int, now: float) -> None:
        """Another Homing Offset or direction: the shaft stays, its reading changes."""
        self.motor.rest(self._frame.change(name, value, self.motor.position_at(now)), now)

    def _end_move(self, how: str, now: float) -> None:
        """Count and tell the end of a move; nothing where none was going."""
        if self._aim is None:
            return
        self._aim = None
        if how == "arrived":
            self.counts.arrivals += 1
        self.on_event(self, "move_ended", {"how": how, "position": round(self.motor.position_at(now)), "at_s": now})

    def _latch(self, now: float, bits: int) -> None:
        """Hardware errors stay until a reboot."""
        fresh = bits & ~self.table["hardware_error_status"]
        if not fresh:
            return
        self.table["hardware_error_status"] |= fresh
        self.on_event(self, "hardware_error", {"bits": fresh, "at_s": now})
        if fresh & self.table["shutdown"]:
            self._shut_down = True
            if self.motor.torque:
                self._set_torque(0, now, "shutdown")

    def _show(self, now: float) -> None:
        """Put what can be measured into the registers."""
        measure(self.table, self.motor, now)
        voltage, table = self.table["present_input_voltage"], self.table
        if not table["min_voltage_limit"] <= voltage <= table["max_voltage_limit"]:
            self._latch(now, HardwareError.INPUT_VOLTAGE)
        if self._shut_down:
            table["led"] = int(now) % 2
