"""Words of the hardware."""

import enum


class PauseType(enum.Enum):
    PAUSE = 0
    DELAY = 1
