"""The stop latch as a small JSON file; what cannot be read is a latch all the same."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from labd.clock import from_iso, iso


@dataclass(frozen=True, slots=True)
class LatchRecord:
    """Who pressed stop, when (seconds since 1970) and why."""

    by: str
    at: float
    reason: str = ""

    def to_wire(self) -> dict[str, Any]:
        """As stored and as on the wire."""
        return {"by": self.by, "at": iso(self.at), "reason": self.reason}


def record_of(value: Any) -> LatchRecord:
    """A stored latch; whatever cannot be understood is a latch all the same."""
    try:
        return LatchRecord(str(value["by"]), from_iso(value["at"]), str(value.get("reason", "")))
    except (KeyError, TypeError, ValueError, AttributeError):
        return LatchRecord("somebody", 0.0, "the stored stop latch cannot be read")


class LatchFile:
    """The latch as a file; made and removed with fsync of the file and its folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> LatchRecord | None:
        """The latch, None if there is no file."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as fault:
            return LatchRecord("somebody", 0.0, f"{self.path}: {fault.strerror or fault}")
        try:
            return record_of(msgspec.json.decode(text))
        except msgspec.DecodeError:
            return record_of(None)

    def write(self, record: LatchRecord) -> None:
        """Durable when it returns.

        Raises:
            OSError: The disk is full or read-only; an empty file may be there, which reads as latched.
        """
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, msgspec.json.encode(record.to_wire()) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._sync_folder()

    def remove(self) -> None:
        """Gone for good when it returns; nothing happens if it was not there."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
