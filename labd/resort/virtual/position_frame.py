"""How a virtual servo reads its shaft: direction, Homing Offset, and the turns that were folded away.

Why the shaft is kept apart from its reading: a reboot or a torque-on folds Present Position into one turn while nothing
turns, and a check that trusts only the record must see both.
"""

from __future__ import annotations

from labd.resort.registers import DRIVE_MODE_REVERSE, STEPS_PER_TURN, OperatingMode
from labd.resort.virtual.control_table import ControlTable

QUARTER_TURN = 1024


class PositionFrame:
    """Present Position = the shaft's own steps, reversed or not, plus an origin.

    Args:
        table: Drive Mode, Homing Offset and Operating Mode are read from it.
    """

    def __init__(self, table: ControlTable) -> None:
        self._table = table
        self._origin = 0.0

    def shaft_of(self, position: float) -> float:
        """The shaft's own angle in steps, whatever offset, direction and folding make of it."""
        return self._sign() * (position - self._origin)

    def fold(self, position: float) -> float:
        """The reading with whole turns taken away: at least the offset, less than a turn above it."""
        position = round(position)
        turns = (position - self._offset()) // STEPS_PER_TURN
        self._origin -= turns * STEPS_PER_TURN
        return float(position - turns * STEPS_PER_TURN)

    def change(self, name: str, value: int, position: float) -> float:
        """Write `homing_offset` or `drive_mode`; gives the new reading of the same shaft."""
        shaft, offset = self.shaft_of(position), self._offset()
        self._table[name] = value
        self._origin += self._offset() - offset
        return self._sign() * shaft + self._origin

    def _sign(self) -> int:
        return -1 if self._table["drive_mode"] & DRIVE_MODE_REVERSE else 1

    def _offset(self) -> int:
        """Homing Offset as far as it counts: in mode 3 one beyond a quarter turn is ignored."""
        offset = self._table["homing_offset"]
        ignored = self._table["operating_mode"] == OperatingMode.POSITION and abs(offset) > QUARTER_TURN
        return 0 if ignored else offset
