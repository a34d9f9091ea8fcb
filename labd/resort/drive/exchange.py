"""What a function in a lane may do: single transactions on one line, with a bounded number of tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from labd.errors import DeviceCorrupt, DeviceLost, DeviceTimeout

if TYPE_CHECKING:
    from labd.resort.drive.lanes import Bus

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Reply:
    """Data of one status packet; `alert` says that a hardware error is latched."""

    data: bytes
    alert: bool


class Line(Protocol):
    """One half-duplex line; called from one thread only. Every call is one transaction and one try.

    Errors are `DeviceTimeout`, `DeviceCorrupt` (worth another try), `DeviceFault` (the servo refused) and `DeviceLost`
    (the line has closed itself).
    """

    name: str
    written_at: float
    quiet_s: float

    def open(self) -> None:
        """Open for this process alone."""
        ...

    def close(self) -> None:
        """Close; a second call does nothing."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is open as far as is known."""
        ...

    def fileno(self) -> int | None:
        """What to poll for a hang-up; None where there is nothing."""
        ...

    def drain(self, wait_s: float) -> bool:
        """Read away what arrives within `wait_s`; whether there was anything."""
        ...

    def ping(self, servo_id: int) -> int:
        """Model number."""
        ...

    def read(self, servo_id: int, address: int, length: int) -> Reply:
        """Registers."""
        ...

    def write(self, servo_id: int, address: int, data: bytes, *, answered: bool = True) -> Reply:
        """Set registers."""
        ...


class Exchange:
    """What a function in a lane may do with the bus: transactions with a bounded number of tries."""

    def __init__(self, bus: Bus, tries: int) -> None:
        self._bus = bus
        self._tries = tries

    def ping(self, servo_id: int) -> int:
        """Model number."""
        return self._try(lambda line: line.ping(servo_id))

    def read(self, servo_id: int, address: int, length: int) -> Reply:
        """`length` bytes from `address`."""
        return self._try(lambda line: line.read(servo_id, address, length))

    def write(self, servo_id: int, address: int, data: bytes, *, answered: bool = True) -> Reply:
        """Bytes to `address`; every register is set to a state, so a second write does no harm.

        Raises:
            StopLatched: The write could move the motor, and a stop is latched.
        """
        self._bus.refuse_if_latched(servo_id, address, data)
        return self._try(lambda line: line.write(servo_id, address, data, answered=answered), (servo_id, address, data))

    def _try(self, transaction: Callable[[Line], T], write: tuple[int, int, bytes] | None = None) -> T:
        for left in range(self._tries - 1, -1, -1):
            self._bus.before_transaction()
            if not self._bus.line.is_open:
                raise self._bus.not_open()
            if write is not None:  # a stop may have come in since the last try
                self._bus.refuse_if_latched(*write)
            try:
                return transaction(self._bus.line)
            except (DeviceTimeout, DeviceCorrupt) as fault:
                self._bus.quiet_line()
                if not left:
                    fault.message += f", {self._tries} tries; check power, cable, baud rate and servo id"
                    fault.args = (fault.message,)
                    raise
            except DeviceLost as fault:
                self._bus.line_lost(fault)
                raise
        raise AssertionError("tries is at least 1")
