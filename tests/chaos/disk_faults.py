"""Every harm to the disk, the power and the clock, by name.

Why the mounts first: what is on the state folder's file system before it is mounted is not seen behind it.
"""

from __future__ import annotations

from tests.chaos.clock_step import ClockStep
from tests.chaos.disk_ailing import DiskError, DiskSlow
from tests.chaos.disk_space import DiskFull, DiskReadOnly
from tests.chaos.port import Fault
from tests.chaos.power_loss import PowerLoss


def faults() -> list[Fault]:
    """New ones, for one world; `prepare` in this order, and `end` each when the daemon has ended for good."""
    return [DiskFull(), DiskReadOnly(), DiskSlow(), DiskError(), PowerLoss(), ClockStep()]
