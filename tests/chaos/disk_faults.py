"""Every harm to the disk, the power and the clock, by name."""

from __future__ import annotations

from tests.chaos.port import Fault
from tests.chaos.power_loss import PowerLoss


def faults() -> list[Fault]:
    """New ones, for one world."""
    return [PowerLoss()]
