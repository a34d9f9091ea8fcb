"""One X-series servo: its registers as states to read and to reach. Runs in the owner thread of its bus.

Why the reads have different lengths (2, 1, 43, 3, 4, 8, 10, 12 bytes): the protocol numbers no packets, so a late reply
can only be told from the right one by its length; two reads of one length could be taken for each other. All of them
cover defined registers only, as a read across a gap may be refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from labd.errors import DeviceFault, DeviceTimeout
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.looks import Identity, Motion, ServoState, WatchdogState, sendable_goal
from labd.resort.drive.modes import Modes
from labd.resort.registers import (
    BUS_WATCHDOG_UNIT_S,
    MODELS,
    STEPS_PER_TURN,
    Model,
    OperatingMode,
    StatusError,
    degrees_of_steps,
    hardware_error_words,
    rpm_of_velocity,
)

IDENTITY = (0, 8)
MODE = (10, 4)
LIMITS = (44, 12)
TORQUE = (64, 2)
HARDWARE = (68, 3)
WATCHDOG = (98, 1)
MOTION = (104, 43)
STATUS_RETURN_LEVEL = 68
OUTSIDE_STEPS = 5
LOOKS_TO_REST = 200


class DynamixelServo:
    """One servo.

    Args:
        port: Name of its port, for messages.
    """

    def __init__(self, port: str, servo_id: int) -> None:
        self.servo_id = servo_id
        self._subject = f"servo {servo_id} on {port}"
        self._facts = {"servo_id": servo_id, "port": port}
        self.identity: Identity | None = None
        self.watchdog_supported = True
        self._changes: list[str] = []

    def fault(self, problem: str, **details: object) -> DeviceFault:
        """An error of this servo."""
        return DeviceFault(f"{self._subject}: {problem}", **self._facts, **details)

    @property
    def watchdog_stops_motor(self) -> bool:
        """Whether the motor's watchdog ends a move once nobody speaks."""
        identity = self._identity()
        return self.watchdog_supported and identity.model.watchdog_stops_motor(identity.firmware)

    def watchdog_problem(self) -> str | None:
        """What is wrong with the motor's dead-man, and what to do; None where it can be relied on."""
        if self.watchdog_stops_motor:
            return None
        identity = self._identity()
        motor = f"{identity.model.name} with firmware {identity.firmware}"
        advice = "nothing stops a move if this host dies; update the firmware, or keep a switch that cuts power at hand"
        if self.watchdog_supported:
            return f"the Bus Watchdog (98) of {motor} trips without stopping the motor: {advice}"
        return f"{motor} has no Bus Watchdog (98): {advice}"

    def changes(self) -> list[str]:
        """What `identify` changed and nobody has taken yet, in words."""
        return list(self._changes)

    def take_changes(self) -> list[str]:
        """The same; from now on it counts as told to a person."""
        changes, self._changes = self._changes, []
        return changes

    # -- reading -----------------------------------------------------------------------------------------------------

    def identify(self, x: Exchange) -> Identity:
        """Ping, model, firmware, modes and limits.

        Raises:
            DeviceFault: A model whose registers labd does not know.
        """
        number = x.ping(self.servo_id)
        if number not in MODELS:
            known = ", ".join(f"{model.name} ({model.number})" for model in MODELS.values())
            raise self.fault(f"model number {number} is not one labd drives; it knows {known}", model=number)
        model = MODELS[number]
        try:
            identity = x.read(self.servo_id, *IDENTITY).data
        except DeviceTimeout:
            # It answers pings and nothing else: Status Return Level 0. Level 2 makes it answer reads and writes.
            self._let_it_answer(x, 0)
            identity = x.read(self.servo_id, *IDENTITY).data
        level = x.read(self.servo_id, *HARDWARE).data[0]
        if level != 2:
            self._let_it_answer(x, level)
        mode = x.read(self.servo_id, *MODE).data
        limits = x.read(self.servo_id, *LIMITS).data
        self.identity = Identity(
            model=model,
            firmware=identity[6],
            drive_mode=mode[0],
            operating_mode=mode[1],
            velocity_limit=int.from_bytes(limits[0:4], "little"),
            maximum_steps=int.from_bytes(limits[4:8], "little", signed=True),
            minimum_steps=int.from_bytes(limits[8:12], "little", signed=True),
        )
        self.watchdog_supported = model.supports_watchdog(identity[6]) and self._has_watchdog(x)
        return self.identity

    def _let_it_answer(self, x: Exchange, level: int) -> None:
        x.write(self.servo_id, STATUS_RETURN_LEVEL, b"\x02", answered=False)
        self._changes.append(f"changed status return level from {level} to 2 (until its power is cut)")

    def _has_watchdog(self, x: Exchange) -> bool:
        try:
            x.read(self.servo_id, *WATCHDOG)
        except DeviceFault as fault:
            if fault.details.get("status_error") == StatusError.ACCESS_ERROR:
                return False
            raise
        return True

    def read_modes(self, x: Exchange) -> Modes:
        """Operating Mode and Drive Mode now; what is known of the motor follows."""
        mode = x.read(self.servo_id, *MODE).data
        self.identity = replace(self._identity(), drive_mode=mode[0], operating_mode=mode[1])
        return Modes(operating=mode[1], drive=mode[0])

    def read_motion(self, x: Exchange) -> Motion:
        """One look at a moving motor: two or three transactions, one more when a hardware error is latched."""
        registers = self._model().registers
        reply = x.read(self.servo_id, *MOTION)

        def value(name: str) -> int:
            register = registers[name]
            start = register.address - MOTION[0]
            return register.decode(reply.data[start : start + register.size])

        torque = x.read(self.servo_id, *TORQUE).data[0]
        watchdog = None
        if self.watchdog_supported:
            watchdog = registers["bus_watchdog"].decode(x.read(self.servo_id, *WATCHDOG).data)
        error = x.read(self.servo_id, *HARDWARE).data[2] if reply.alert else 0
        return Motion(
            position=value("present_position"),
            velocity=value("present_velocity"),
            moving=bool(value("moving")),
            goal=value("goal_position"),
            profile_velocity=value("profile_velocity"),
            profile_acceleration=value("profile_acceleration"),
            effort=value("present_current" if self._model().has_current else "present_load"),
            voltage=value("present_input_voltage"),
            temperature=value("present_temperature"),
            torque_enabled=bool(torque),
            watchdog=watchdog,
            hardware_error=error,
            alert=reply.alert,
        )

    def state(self, motion: Motion, read_at: float, trips: int, period_s: float) -> ServoState:
        """A look in units and words."""
        identity = self._identity()
        model = identity.model
        return ServoState(
            position_steps=motion.position,
            position_deg=degrees_of_steps(motion.position),
            velocity_rpm=rpm_of_velocity(motion.velocity),
            moving=motion.moving,
            torque_enabled=motion.torque_enabled,
            goal_steps=motion.goal,
            operating_mode=identity.operating_mode,
            drive_mode=identity.drive_mode,
            hardware_error=motion.hardware_error,
            hardware_errors=tuple(hardware_error_words(motion.hardware_error)),
            alert=motion.alert,
            temperature_celsius=float(motion.temperature),
            voltage_v=round(motion.voltage * 0.1, 1),
            current_ma=round(motion.effort * model.current_unit_ma, 2) if model.current_unit_ma is not None else None,
            load_percent=round(motion.effort * 0.1, 1) if model.has_load else None,
            watchdog=WatchdogState(
                supported=self.watchdog_supported,
                stops_motor=self.watchdog_stops_motor,
                armed=bool(motion.watchdog and motion.watchdog > 0),
                tripped=motion.tripped,
                trips=trips,
                period_s=period_s,
            ),
            model=model.number,
            model_name=model.name,
            firmware=identity.firmware,
            read_at=read_at,
        )

    # -- reaching a state --------------------------------------------------------------------------------------------

    def write(self, x: Exchange, name: str, value: int) -> None:
        """Set one register by name."""
        register = self._model().register(name)
        x.write(self.servo_id, register.address, register.encode(value))

    def write_profile(self, x: Exchange, velocity: int, acceleration: int) -> None:
        """Profile Acceleration and Profile Velocity in one packet, read back: 0 would mean as fast as it can."""
        data = acceleration.to_bytes(4, "little") + velocity.to_bytes(4, "little")
        self._until(
            x,
            lambda: x.write(self.servo_id, 108, data),
            lambda motion: (motion.profile_velocity, motion.profile_acceleration) == (velocity, acceleration),
            "profile",
        )

    def write_goal(self, x: Exchange, steps: int) -> Motion:
        """Goal Position, read back."""
        return self._until(
            x, lambda: self.write(x, "goal_position", steps), lambda motion: motion.goal == steps, f"goal {steps}"
        )

    def set_torque(self, x: Exchange, on: bool) -> Motion:
        """Torque on or off, read back."""
        return self._until(
            x,
            lambda: self.write(x, "torque_enable", int(on)),
            lambda motion: motion.torque_enabled is on,
            f"torque {'on' if on else 'off'}",
        )

    def arm_watchdog(self, x: Exchange, period_s: float) -> None:
        """Let the motor stop by itself when it hears nothing for `period_s`; nothing where it has no watchdog."""
        if self.watchdog_supported:
            counts = min(127, max(1, round(period_s / BUS_WATCHDOG_UNIT_S)))
            for _ in range(3):
                self.write(x, "bus_watchdog", counts)
                if x.read(self.servo_id, *WATCHDOG).data[0] == counts:
                    return
            raise self.fault(f"Bus Watchdog (98) was set to {counts} three times and does not read back")

    def clear_watchdog(self, x: Exchange) -> None:
        """Watchdog off, and its trip forgotten."""
        if self.watchdog_supported:
            self.write(x, "bus_watchdog", 0)

    def goal_at_present(self, x: Exchange) -> Motion:
        """Goal := present position, so that switching torque on, or going on, moves nothing."""
        motion = self.read_motion(x)
        identity = self._identity()
        low, high = identity.goal_range(identity.operating_mode)
        present = motion.position
        if identity.operating_mode == OperatingMode.POSITION and not motion.torque_enabled:
            present %= STEPS_PER_TURN  # torque on folds the position into one turn in this mode
        if not low - OUTSIDE_STEPS <= present <= high + OUTSIDE_STEPS:
            raise self.fault(
                f"stands at {present} steps, outside its position limits {low} to {high}, so holding it there is no "
                "legal goal and torque would move it; turn it back by hand",
                position_steps=present,
            )
        return self.write_goal(x, sendable_goal(min(max(present, low), high), low, high))

    def recover_from_trip(self, x: Exchange, velocity: int, acceleration: int) -> None:
        """Clear a tripped watchdog without a jerk.

        A trip zeroes the profile (0 is as fast as it can) and locks the goal. So the profile goes first, in case the
        motor takes up its old goal when the trip is cleared, then the clearing, then goal := present. All of it once
        the motor has run out, or it would turn back to where it was when the goal was taken. A motor that its faulty
        watchdog did not stop runs on, so there nothing is waited for.
        """
        for _ in range(LOOKS_TO_REST if self.watchdog_stops_motor else 0):
            if self.read_motion(x).velocity == 0:
                break
        try:
            self.write_profile(x, velocity, acceleration)
        except DeviceFault:
            pass  # a firmware that locks these too; written again below
        self.clear_watchdog(x)
        self.goal_at_present(x)
        self.write_profile(x, velocity, acceleration)

    def _until(
        self, x: Exchange, act: Callable[[], object], reached: Callable[[Motion], bool], what: str, tries: int = 3
    ) -> Motion:
        for _ in range(tries):
            act()
            motion = self.read_motion(x)
            if reached(motion):
                return motion
        raise self.fault(f"{what} was acknowledged {tries} times and does not read back (it reads {motion})")

    def _identity(self) -> Identity:
        if self.identity is None:
            raise self.fault("not identified yet; `labctl resort connect`")
        return self.identity

    def _model(self) -> Model:
        return self._identity().model
