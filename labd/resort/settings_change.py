"""What of a changed `[resort]` table is in force at once, and what only after a restart: pure, values in, values out.

Why a list of what needs a restart and not of what does not: these are the keys that say which motor this is and how it
is wired. Everything else is read anew for each move, each reading or each answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from labd.resort.settings import ResortSettings

RESTART_KEYS = ("device", "driver", "baud_rate", "servo_id", "mode", "queue", "simulated")


@dataclass(frozen=True, slots=True)
class SettingsChange:
    """From the settings in force to those of a changed file.

    Args:
        settings: The new ones, with the old values of what needs a restart.
        live: Keys that differ and may be in force at once.
        restart: Keys that differ and need a restart.
    """

    settings: ResortSettings
    live: tuple[str, ...]
    restart: tuple[str, ...]


def change_of(now: ResortSettings, fresh: ResortSettings, longest_move_s: float) -> SettingsChange:
    """Tell the keys apart.

    Args:
        longest_move_s: What the tasks in force leave a move; a longer `move_timeout_s` needs a restart.
    """
    names = [field.name for field in msgspec.structs.fields(ResortSettings)]
    differ = [name for name in names if getattr(now, name) != getattr(fresh, name)]
    restart = [name for name in differ if name in RESTART_KEYS]
    if "move_timeout_s" in differ and (fresh.move_timeout_s or 0.0) > longest_move_s:
        restart.append("move_timeout_s")
    kept = {name: getattr(now, name) for name in restart}
    live = tuple(name for name in differ if name not in restart)
    return SettingsChange(msgspec.structs.replace(fresh, **kept), live, tuple(restart))
