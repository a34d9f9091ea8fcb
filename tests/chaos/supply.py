"""The one shim and the one power supply of each world, which all faults of disk, power and clock share."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.port import World
from tests.chaos.power_model import Power
from tests.chaos.shim import Shim

_shims: dict[Path, Shim] = {}
_supplies: dict[Path, Power] = {}


def shim_of(world: World) -> Shim:
    """Between the daemon and its disk and clock from its next start on.

    Raises:
        Unable: It cannot be built here.
    """
    if world.folder not in _shims:
        _shims[world.folder] = Shim(world.folder / "shim", world.daemon.state)
    shim = _shims[world.folder]
    world.daemon.environment.update(shim.environment)
    return shim


def power_of(world: World) -> Power:
    """The supply, with all writes logged; before the daemon's first start.

    Raises:
        Unable: As `shim_of`.
    """
    shim = shim_of(world)
    if world.folder not in _supplies:
        shim.record(True)
        _supplies[world.folder] = Power(shim)
        _supplies[world.folder].take_base()
    return _supplies[world.folder]


def forget(world: World) -> None:
    """The world is over; a second call does nothing."""
    _shims.pop(world.folder, None)
    _supplies.pop(world.folder, None)
