"""Frequency and time of an older schedule as cron fields."""

from __future__ import annotations

import re
from typing import Any

_TIME = re.compile(r"^(\d{1,2}):(\d{2})(?::\d{2})?$")


class NoSchedule(ValueError):
    """A frequency or a time that is none."""


def cron_of(frequency: Any, time: Any, cron: Any) -> str | None:
    """Five fields, None for by hand only; daily without a time is midnight, weekly is Sunday, as it was.

    Raises:
        NoSchedule: With the value.
    """
    kind = str(frequency or "").strip().lower()
    if kind in ("", "none", "manual"):
        return str(cron).strip() if cron and not kind else None
    if kind in ("custom", "cron"):
        if not cron:
            raise NoSchedule("schedule_frequency is custom and schedule_cron is empty")
        return str(cron).strip()
    if kind == "hourly":
        return "0 * * * *"
    days = {"daily": "* * *", "weekly": "* * 0", "monthly": "1 * *"}.get(kind)
    if days is None:
        raise NoSchedule(f"schedule_frequency {kind[:40]!r} is none of hourly, daily, weekly, monthly, custom")
    found = _TIME.match(str(time or "00:00").strip())
    if found is None or int(found[1]) > 23 or int(found[2]) > 59:
        raise NoSchedule(f"schedule_time {str(time)[:40]!r} is no HH:MM")
    return f"{int(found[2])} {int(found[1])} {days}"
