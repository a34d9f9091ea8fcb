"""What `connect` does to the motor, step by step: nothing moves, and torque is never dropped unasked.

Runs in the owner thread of the bus.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from labd.errors import ModeMismatch
from labd.resort.drive import DriveSettings
from labd.resort.exchange import Exchange
from labd.resort.lanes import Bus
from labd.resort.looks import Motion
from labd.resort.registers import (
    DRIVE_MODE_TIME_BASED,
    DRIVE_MODE_TORQUE_BY_GOAL,
    OperatingMode,
    hardware_error_words,
)
from labd.resort.servo import DynamixelServo

MODE_WORDS: Mapping[int, str] = MappingProxyType({int(mode): mode.name.lower() for mode in OperatingMode})
# A time-based profile reads labd's velocity as milliseconds; torque by goal undoes a stop with the next goal.
UNWANTED_DRIVE_MODES = DRIVE_MODE_TIME_BASED | DRIVE_MODE_TORQUE_BY_GOAL


def make_ready(x: Exchange, servo: DynamixelServo, settings: DriveSettings, *, configure: bool) -> tuple[str, ...]:
    """Mode right, watchdog off, profile set, goal := present, torque on; what was changed, in words.

    Raises:
        ModeMismatch: A wrong mode without `configure`.
        DeviceFault: A latched hardware error; torque could not be switched on.
    """
    notes: list[str] = []
    motion = servo.read_motion(x)
    if motion.hardware_error and not motion.torque_enabled:
        words = hardware_error_words(motion.hardware_error)
        raise servo.fault(
            f"hardware error ({', '.join(words)}) is latched and torque is off; find the cause, then cycle its power",
            hardware_errors=words,
        )
    drive_mode, operating_mode = servo.read_mode(x)
    wanted_drive_mode = drive_mode & ~UNWANTED_DRIVE_MODES
    if operating_mode != settings.operating_mode or drive_mode != wanted_drive_mode:
        if not configure:
            raise _mismatch(servo, settings, drive_mode, operating_mode, motion)
        notes += _configure(x, servo, settings, drive_mode, operating_mode, motion)
        motion = servo.read_motion(x)
    if motion.tripped:
        servo.recover_from_trip(x, settings.profile_velocity, settings.profile_acceleration)
        notes.append("a tripped watchdog was cleared")
    servo.clear_watchdog(x)
    servo.write_profile(x, settings.profile_velocity, settings.profile_acceleration)
    if not motion.torque_enabled:
        servo.goal_at_present(x)
        servo.set_torque(x, True)
        notes.append("torque was switched on, with goal := present position")
    elif not motion.moving and abs(motion.goal - motion.position) > settings.tolerance_steps:
        servo.goal_at_present(x)
        notes.append(
            f"the motor was pressing towards {motion.goal} at {motion.position} steps; its goal is the present now"
        )
    elif motion.moving:
        notes.append(f"the motor is moving towards {motion.goal} steps by an order that is not of this labd")
    return tuple(notes)


def settle_watchdog(
    x: Exchange, bus: Bus, servo: DynamixelServo, settings: DriveSettings, motion: Motion
) -> str | None:
    """Put a watchdog right that an earlier labd left behind: tripped, or armed with a move still going on.

    Why an armed one must not stay: the packets of this labd would feed it, and a move would go on that nobody watches.

    Returns:
        What was found, None where all was well.
    """
    if not motion.watchdog:
        return None
    found = "tripped" if motion.tripped else "armed"
    if motion.torque_enabled and not bus.is_latched(servo.servo_id):
        if motion.tripped:
            servo.recover_from_trip(x, settings.profile_velocity, settings.profile_acceleration)
        else:
            servo.goal_at_present(x)
            servo.clear_watchdog(x)
    elif not motion.torque_enabled:
        servo.clear_watchdog(x)
    return found


def _mismatch(
    servo: DynamixelServo, settings: DriveSettings, drive_mode: int, operating_mode: int, motion: Motion
) -> ModeMismatch:
    found = f"operating mode {operating_mode} ({MODE_WORDS.get(operating_mode, 'unknown')})"
    if drive_mode & UNWANTED_DRIVE_MODES:
        found += f" and drive mode 0x{drive_mode:02x}"
    wanted = f"{settings.operating_mode} ({MODE_WORDS.get(settings.operating_mode, 'unknown')})"
    torque = "torque is on and locks the mode" if motion.torque_enabled else "torque is off"
    falls = "switches torque off (support what hangs on it), " if motion.torque_enabled else ""
    return ModeMismatch(
        f"servo {servo.servo_id} on {settings.port}: {found}, labd drives it in {wanted}, and {torque}; "
        f"`labctl resort connect --configure` {falls}sets the mode, then switches torque on at the present position",
        servo_id=servo.servo_id,
        port=settings.port,
        operating_mode=operating_mode,
        wanted_operating_mode=settings.operating_mode,
        drive_mode=drive_mode,
        torque_enabled=motion.torque_enabled,
    )


def _configure(
    x: Exchange, servo: DynamixelServo, settings: DriveSettings, drive_mode: int, operating_mode: int, motion: Motion
) -> list[str]:
    notes = []
    if motion.torque_enabled:
        servo.set_torque(x, False)
        notes.append("torque was switched off for the change")
    wanted_drive_mode = drive_mode & ~UNWANTED_DRIVE_MODES
    if drive_mode != wanted_drive_mode:
        servo.write(x, "drive_mode", wanted_drive_mode)
        notes.append(f"drive mode 0x{drive_mode:02x} became 0x{wanted_drive_mode:02x}")
    if operating_mode != settings.operating_mode:
        servo.write(x, "operating_mode", settings.operating_mode)
        notes.append(
            f"operating mode {operating_mode} ({MODE_WORDS.get(operating_mode, 'unknown')}) became "
            f"{settings.operating_mode} ({MODE_WORDS.get(settings.operating_mode, 'unknown')})"
        )
    servo.identify(x)
    now = servo.read_mode(x)
    if now != (wanted_drive_mode, settings.operating_mode):
        raise servo.fault(f"drive mode and operating mode read {now} after they were set; is the EEPROM locked?")
    return notes
