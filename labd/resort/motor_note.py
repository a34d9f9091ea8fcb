"""What must be known of a motor when labd is dead, as a small file in the runtime folder: `resort-<name>.json`.

Why a file and not only the API: `labctl resort stop` needs port, servo and the dead-man's period at the one moment
when nobody can be asked. It is left behind when labd ends, and written anew whenever one of its facts changes.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import structlog

from labd.resort.settings import ResortSettings

log = structlog.get_logger("resort")


@dataclass(frozen=True, slots=True)
class MotorNote:
    """Facts of one carousel's motor.

    `watchdog_stops_motor` is None until the motor was seen; False where nothing ends a move once labd is dead.
    `state_dir` is where a stop latch outlives a power cut.
    """

    device: str
    port: str
    baud_rate: int
    servo_id: int
    driver: str
    watchdog_period_s: float
    watchdog_stops_motor: bool | None
    state_dir: str


def note_of(
    device: str, settings: ResortSettings, port: str, watchdog_stops_motor: bool | None, state_dir: str
) -> MotorNote:
    """The facts of a carousel on a port."""
    return MotorNote(
        device=device,
        port=os.path.abspath(port),  # noqa: PTH100 - a link by-id stays one
        baud_rate=settings.baud_rate,
        servo_id=settings.servo_id,
        driver=settings.driver,
        watchdog_period_s=settings.watchdog_period_s,
        watchdog_stops_motor=watchdog_stops_motor,
        state_dir=state_dir,
    )


class MotorNoteFile:
    """The file; a folder that cannot be written is told in the log and is no error."""

    def __init__(self, runtime_dir: Path, device: str) -> None:
        self.path = runtime_dir / f"resort-{device}.json"
        self._written: MotorNote | None = None

    def write(self, note: MotorNote) -> None:
        """Put it in place as a whole; nothing where it says so already."""
        if note == self._written:
            return
        fresh = self.path.with_suffix(f".{os.getpid()}")
        try:
            fresh.write_bytes(msgspec.json.encode(asdict(note)) + b"\n")
            fresh.chmod(0o644)
            fresh.replace(self.path)
        except OSError as fault:
            log.warning("device.note_not_stored", device=note.device, error=str(fault))
            return
        self._written = note
