"""In which modes labd drives a motor, what is wrong with others, and what `connect --configure` does about it: pure.

Why the drive mode counts as much as the operating mode: a time-based profile takes labd's velocity for milliseconds,
and torque by goal update would undo a stop with the next goal. Both lie in the EEPROM, locked while torque is on.
"""

from __future__ import annotations

from dataclasses import dataclass

from labd.resort.registers import DRIVE_MODE_TIME_BASED, DRIVE_MODE_TORQUE_BY_GOAL, OperatingMode

UNWANTED_DRIVE_MODES = {
    DRIVE_MODE_TIME_BASED: "time-based profile",
    DRIVE_MODE_TORQUE_BY_GOAL: "torque on by goal update",
}
CONFIGURE = "`labctl resort connect --configure`"
CONNECT = "`labctl resort connect`"


@dataclass(frozen=True, slots=True)
class Modes:
    """Operating Mode (11) and Drive Mode (10) of a motor."""

    operating: int
    drive: int = 0

    def wanted(self, operating: int) -> Modes:
        """As labd drives it: that operating mode, and the drive mode without what cannot be driven."""
        return Modes(operating, self.drive & ~sum(UNWANTED_DRIVE_MODES))

    def in_words(self) -> str:
        """Both modes; the drive mode only where it says something."""
        words = [word for bit, word in UNWANTED_DRIVE_MODES.items() if self.drive & bit]
        drive = f" and drive mode 0x{self.drive:02x} ({', '.join(words)})" if words else ""
        return f"operating mode {_operating(self.operating)}{drive}"


def changes(found: Modes, wanted: Modes) -> list[str]:
    """What must be written, in words: from what to what."""
    told = []
    if found.drive != wanted.drive:
        words = [word for bit, word in UNWANTED_DRIVE_MODES.items() if (found.drive ^ wanted.drive) & bit]
        told.append(f"drive mode from 0x{found.drive:02x} to 0x{wanted.drive:02x} (no {', no '.join(words)})")
    if found.operating != wanted.operating:
        told.append(f"operating mode from {_operating(found.operating)} to {_operating(wanted.operating)}")
    return told


def remedy(found: Modes, wanted: Modes, torque_enabled: bool | None) -> str:
    """The command that puts it right, and all that this command does."""
    what = " and ".join(changes(found, wanted))
    if torque_enabled:
        return (
            f"torque is on and locks the mode; {CONFIGURE} switches torque off (support what hangs on it), sets "
            f"{what}, then switches torque on where it stands"
        )
    return f"torque is off; {CONNECT} sets {what}, then switches torque on where it stands"


def plan(found: Modes | None, operating: int, torque_enabled: bool | None) -> str:
    """What `connect --configure` will do; `found` is None where the motor was not seen yet."""
    if found is None:
        return (
            f"a motor in other modes than {Modes(operating).in_words()} gets its torque switched off, then those modes"
        )
    what = " and ".join(changes(found, found.wanted(operating)))
    if not what:
        return f"the motor is in {found.in_words()}, as labd drives it; nothing is configured"
    first = "switches torque off (support what hangs on it), " if torque_enabled else ""
    return f"{first}sets {what}, then switches torque on where it stands"


def _operating(mode: int) -> str:
    names = {int(known): known.name.lower() for known in OperatingMode}
    return f"{mode} ({names.get(mode, 'unknown')})"
