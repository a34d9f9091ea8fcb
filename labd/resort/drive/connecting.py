"""What `connect` does to the motor, step by step: nothing moves, and torque is never dropped unasked.

Runs in the owner thread of the bus.
"""

from __future__ import annotations

from labd.errors import ModeMismatch
from labd.resort.drive.drive_settings import DriveSettings
from labd.resort.drive.exchange import Exchange
from labd.resort.drive.lanes import Bus
from labd.resort.drive.looks import Motion
from labd.resort.drive.modes import Modes, changes, remedy
from labd.resort.drive.servo import DynamixelServo
from labd.resort.registers import hardware_error_words


def make_ready(x: Exchange, servo: DynamixelServo, settings: DriveSettings, *, configure: bool) -> tuple[str, ...]:
    """Mode right, watchdog off, profile set, goal := present, torque on; what was changed, in words.

    Without torque a wrong mode is set unasked: nothing is locked, and nothing can fall that hangs by torque.

    Raises:
        ModeMismatch: A wrong mode under torque, without `configure`.
        DeviceFault: A latched hardware error; torque could not be switched on.
    """
    notes = servo.take_changes()
    motion = servo.read_motion(x)
    if motion.hardware_error and not motion.torque_enabled:
        words = hardware_error_words(motion.hardware_error)
        raise servo.fault(
            f"hardware error ({', '.join(words)}) is latched and torque is off; find the cause, then cycle its power",
            hardware_errors=words,
        )
    modes = servo.read_modes(x)
    if modes != modes.wanted(settings.operating_mode):
        if motion.torque_enabled and not configure:
            raise mismatch(servo, settings, modes, motion)
        notes += _configure(x, servo, settings, modes, motion)
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
    problem = servo.watchdog_problem()
    return tuple(notes if problem is None else [*notes, f"WARNING: {problem}"])


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


def mismatch(servo: DynamixelServo, settings: DriveSettings, modes: Modes, motion: Motion) -> ModeMismatch:
    """The refusal of a motor in modes that labd does not drive; says what would put it right."""
    wanted = modes.wanted(settings.operating_mode)
    return ModeMismatch(
        f"servo {servo.servo_id} on {settings.port}: {modes.in_words()}, labd drives it in {wanted.in_words()}; "
        f"{remedy(modes, wanted, motion.torque_enabled)}",
        servo_id=servo.servo_id,
        port=settings.port,
        operating_mode=modes.operating,
        wanted_operating_mode=wanted.operating,
        drive_mode=modes.drive,
        wanted_drive_mode=wanted.drive,
        torque_enabled=motion.torque_enabled,
    )


def _configure(x: Exchange, servo: DynamixelServo, settings: DriveSettings, modes: Modes, motion: Motion) -> list[str]:
    notes = []
    if motion.torque_enabled:
        servo.set_torque(x, False)
        notes.append("torque was switched off for the change")
    wanted = modes.wanted(settings.operating_mode)
    if modes.drive != wanted.drive:
        servo.write(x, "drive_mode", wanted.drive)
    if modes.operating != wanted.operating:
        servo.write(x, "operating_mode", wanted.operating)
    servo.identify(x)
    now = servo.read_modes(x)
    if now != wanted:
        raise servo.fault(
            f"{now.in_words()} after labd set {wanted.in_words()}; is something else writing to the motor?"
        )
    return notes + [f"changed {change}" for change in changes(modes, wanted)]
