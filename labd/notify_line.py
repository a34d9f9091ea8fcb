"""What one outlet of alerts is owed, and how it does; no I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import structlog

from labd.engine.alert_rules import RANK, Alert
from labd.engine.alerts import Told
from labd.notify_outlets import Outlet
from labd.notify_settings import NotifySettings, OutletSettings

log = structlog.get_logger()
AWAY_AFTER = 3
AWAY = "outlet_away"


class Owed(NamedTuple):
    """A message that an outlet should have; `due_at` is on the wall clock."""

    alert: Alert
    reminder: int
    due_at: float


def wants(name: str, outlet: OutletSettings, alert: Alert) -> bool:
    """Whether an alert is for an outlet; that it is away it need not hear itself."""
    if (alert.code, alert.subject) == (AWAY, subject_of(name)):
        return False
    return RANK[alert.severity] >= RANK[outlet.min_severity] and (not outlet.only or alert.code in outlet.only)


def owed(
    alerts: Iterable[Alert], told: Callable[[str], Told | None], settings: NotifySettings, now: float
) -> list[Owed]:
    """What an outlet is to be told, now or later.

    Args:
        alerts: Those that are for it.
        told: What it was told last, by key.
    """
    found: list[Owed] = []
    for alert in alerts:
        last = told(alert.key)
        if not alert.is_owed:
            continue
        if last is None:
            found.append(Owed(alert, 0, now))
        elif last.alert_id != alert.id:
            # The clock may have been set back meanwhile: never wait for longer than was meant.
            found.append(Owed(alert, 0, min(last.at, now) + settings.quiet_s))
        elif settings.remind_after_s > 0:
            found.append(Owed(alert, last.reminders + 1, min(last.at, now) + settings.remind_after_s))
    return found


class Line:
    """One outlet and how it does."""

    def __init__(self, name: str, settings: OutletSettings, outlet: Outlet) -> None:
        self.name = name
        self.settings = settings
        self.outlet = outlet
        self.failures = 0
        self.problem: str | None = None
        self.last_told_at: float | None = None
        self.tries: dict[str, int] = {}

    def took(self, key: str, now: float) -> None:
        """A message has gone through."""
        if self.failures >= AWAY_AFTER:
            log.info("alert.outlet_back", outlet=self.name, after_failures=self.failures)
        self.failures, self.problem, self.last_told_at = 0, None, now
        self.tries.pop(key, None)

    def refused(self, key: str, problem: str) -> None:
        """A message has not gone through; those behind it get their turn first."""
        self.failures += 1
        self.tries[key] = self.tries.get(key, 0) + 1
        if problem != self.problem:
            log.warning("alert.undelivered", outlet=self.name, key=key, problem=problem)
        self.problem = problem


def subject_of(name: str) -> str:
    """How an outlet is called as the subject of an alert."""
    return f"notify {name}"
