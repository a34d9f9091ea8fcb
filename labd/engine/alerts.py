"""The book of alerts: what needs a person, who has seen it, and which outlet was told; on disk with the next commit.

Why no queue of messages: what an outlet is owed follows from the alerts that stand and from the id it was told last. An
outlet that was away for hours is told what is still true, each once, and a restart neither loses nor repeats anything.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from labd.clock import Clock, iso
from labd.engine.alert_rules import FAILED, RANK, Act, Alert, Clear, Raise, Sighting, rule_of
from labd.engine.job import Caller
from labd.engine.journal import Journal
from labd.errors import Conflict, NotFound

CURSOR = "alerts.cursor"
CURSOR_STEP = 5000
CLEARED_KEPT = 1000
Audit = Callable[[Caller, str, str, dict[str, Any]], None]
Publish = Callable[[str, dict[str, Any]], None]


class Told(msgspec.Struct):
    """What an outlet was told last of an alert."""

    alert_id: int
    at: float
    reminders: int = 0


class AlertBook:
    """All alerts, in memory and in the journal.

    Args:
        audit: Records who acknowledged.
        publish: Makes an event of the feed.
    """

    def __init__(self, journal: Journal, clock: Clock, audit: Audit, publish: Publish) -> None:
        self._journal = journal
        self._clock = clock
        self._audit = audit
        self._publish = publish
        self._alerts: dict[str, Alert] = {}
        self._told: dict[tuple[str, str], Told] = {}
        self._dirty: dict[str, None] = {}
        self._last_id = self._landed_id = 0
        self._cursor_stored = 0
        self._fresh = asyncio.Event()
        self.cursor = 0

    async def open(self, last_seq: int) -> None:
        """Read what is stored.

        Args:
            last_seq: Where the feed stands before anything of this daemon; a new book begins there, with no history.
        """
        for row in await self._journal.read("alerts"):
            values: list[Any] = [*row]
            values[8] = json.loads(row[8])
            alert = Alert(*values)
            self._alerts[alert.key] = alert
            self._last_id = max(self._last_id, alert.id)
        for key, channel, alert_id, at, reminders in await self._journal.read("alert_deliveries"):
            self._told[channel, key] = Told(alert_id, at, reminders)
        self._landed_id = self._last_id
        stored = await self._journal.fact(CURSOR)
        self._cursor_stored = self.cursor = last_seq if stored is None else min(int(stored), last_seq)
        if stored is None:
            self._journal.put_fact(CURSOR, self.cursor)

    def all(self) -> list[Alert]:
        """Every alert that is kept, the newest first."""
        return sorted(self._alerts.values(), key=lambda alert: -alert.id)

    @property
    def by_key(self) -> dict[str, Alert]:
        """For the rules; not to be changed."""
        return self._alerts

    def find(self, key: str) -> Alert:
        """One alert.

        Raises:
            NotFound: There is none of that key.
        """
        alert = self._alerts.get(key)
        if alert is None:
            raise NotFound(f"no alert has the key {key[:200]}; `labctl alert list --all` shows them", alert=key[:200])
        return alert

    def apply(self, acts: Iterable[Act]) -> None:
        """Put decisions of the rules in force; `stage` writes them."""
        for act in acts:
            if isinstance(act, Clear):
                self._clear(self._alerts[act.key])
            elif isinstance(act, Raise):
                self._raise(act.seen)
            else:
                alert = self._alerts[act.seen.key]
                alert.message, alert.count, alert.jobs = act.seen.message, act.seen.count, list(act.seen.jobs)
                self._dirty[alert.key] = None

    def _raise(self, seen: Sighting) -> None:
        now = self._clock.wall()
        before = self._alerts.get(seen.key)
        self._last_id += 1
        raised_at = before.raised_at if before is not None and before.is_open else now
        alert = Alert(
            seen.key, self._last_id, seen.code, seen.subject, rule_of(seen.code).severity, seen.message, seen.state,
            seen.count, list(seen.jobs), raised_at, now,
        )  # fmt: skip
        self._alerts[seen.key] = alert
        self._changed(alert, "alert.raised")

    def _clear(self, alert: Alert) -> None:
        alert.cleared_at = self._clock.wall()
        self._changed(alert, "alert.cleared")

    def _changed(self, alert: Alert, kind: str) -> None:
        self._dirty[alert.key] = None
        facts = {"key": alert.key, "id": alert.id, "severity": alert.severity, "message": alert.message}
        self._publish(kind, facts)

    def stage(self, cursor: int) -> bool:
        """Write what has changed, with the event up to which it is true, in one transaction.

        Why together: a daemon that is killed in between sees the same events again and comes to the same book.

        Returns:
            Whether there was anything to write.
        """
        self.cursor = cursor
        if not self._dirty and cursor - self._cursor_stored < CURSOR_STEP:
            return False
        for key in self._dirty:
            alert = self._alerts[key]
            self._journal.execute(
                "put_alert", alert.key, alert.id, alert.code, alert.subject, alert.severity, alert.message, alert.state,
                alert.count, json.dumps(alert.jobs), alert.raised_at, alert.changed_at, alert.cleared_at,
                alert.acked_at, alert.acked_by, alert.acked_note,
            )  # fmt: skip
        if self._dirty:
            self._prune()
        self._dirty.clear()
        self._cursor_stored = cursor
        self._journal.put_fact(CURSOR, cursor)
        return True

    async def land(self) -> None:
        """Return when what was staged is on disk (a full disk does not hold it up), and let it be told.

        Why told only then: a message whose alert is lost in a crash would have an id that another alert gets.
        """
        last_id = self._last_id
        await self._journal.settle()
        self._landed_id = max(self._landed_id, last_id)
        fresh, self._fresh = self._fresh, asyncio.Event()
        fresh.set()

    def tellable(self) -> list[Alert]:
        """What stands on disk and nobody has acknowledged, oldest first."""
        found = [alert for alert in self._alerts.values() if alert.is_owed and alert.id <= self._landed_id]
        return sorted(found, key=lambda alert: alert.id)

    def _prune(self) -> None:
        cleared = [alert for alert in self._alerts.values() if not alert.is_open]
        if len(cleared) <= CLEARED_KEPT:
            return
        for alert in sorted(cleared, key=lambda alert: alert.id)[:-CLEARED_KEPT]:
            del self._alerts[alert.key]
            self._journal.execute("delete_alert", alert.key)
            for place in [place for place in self._told if place[1] == alert.key]:
                del self._told[place]

    async def acknowledge(self, key: str, caller: Caller, by: str = "", note: str = "") -> Alert:
        """Somebody has seen it: no outlet is told any more, until it changes. On disk when it returns.

        What speaks of failed jobs is over then, since nothing else would end it. A second acknowledgement changes
        nothing; the first name stays.

        Raises:
            NotFound: There is no such alert.
            Conflict: It is over.
            StoreFull: It is in force, and on disk only when there is space again.
        """
        alert = self.find(key)
        if not alert.is_open:
            raise Conflict(f"alert {key} is over since {iso(alert.cleared_at)}; nothing is to be done", alert=key)
        if alert.acked_at is not None:
            return alert
        alert.acked_at, alert.acked_by, alert.acked_note = self._clock.wall(), by or caller.name, note or None
        self._audit(caller, "alert.acknowledge", key, {"by": alert.acked_by, "note": note, "id": alert.id})
        self._changed(alert, "alert.acknowledged")
        if alert.code == FAILED:
            self._clear(alert)
        self.stage(self.cursor)
        await self._journal.commit()
        return alert

    def told(self, channel: str, key: str) -> Told | None:
        """What an outlet was told last of an alert."""
        return self._told.get((channel, key))

    async def record_told(self, channel: str, alert_id: int, key: str, reminders: int) -> None:
        """An outlet has taken a message; on disk when it returns, on a full disk as soon as there is space.

        Why not in front of the message: a daemon that dies in between tells it twice, under the same id, instead of
        never.
        """
        told = self._told[channel, key] = Told(alert_id, self._clock.wall(), reminders)
        self._journal.execute("put_alert_delivery", key, channel, alert_id, told.at, reminders)
        await self._journal.settle()

    @property
    def fresh(self) -> asyncio.Event:
        """Set when changes of the book have landed the next time; take it before looking at the book."""
        return self._fresh

    def statistics(self) -> dict[str, float]:
        """Figures for /metrics."""
        standing = [alert for alert in self._alerts.values() if alert.is_open]
        figures = {f"alerts_open_{name}": 0.0 for name in RANK}
        for alert in standing:
            figures[f"alerts_open_{alert.severity}"] += 1
        return {**figures, "alerts_unacknowledged": float(sum(alert.is_owed for alert in standing))}
