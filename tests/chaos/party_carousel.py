"""The carousel: the virtual bus as a process of its own behind a pseudo-terminal whose link can vanish.

Its record of every frame is the witness. Unplugged, the motor goes on and its watchdog stops it, as a real one would
whose adapter was pulled.
"""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.processes import Bus

QUICK = {"speed": 50, "acceleration": 400, "watchdog_period_s": 0.5}


class Carousel:
    """Satisfies `Party`."""

    name = "carousel"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.bus = Bus(folder)

    @property
    def record(self) -> Path:
        """Every packet and every change of the motor, a JSON object a line."""
        return self.bus.record

    def start(self) -> None:
        """The motor has power."""
        self.bus.start()

    def settings(self) -> str:
        """`[resort]`."""
        return self.bus.settings(**QUICK)

    def away(self) -> None:
        """The adapter is pulled."""
        self.bus.do("unplug")

    def back(self) -> None:
        """It is plugged in again; the path of the link stays."""
        if not self.bus.do("state").get("path"):
            self.bus.do("plug")

    def end(self) -> None:
        """The motor's process ends."""
        self.bus.end()
