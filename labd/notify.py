"""Tells the outlets of `[notify]` what needs a person: who is owed what, when it is tried again, and what is noted.

At least once: the note that an outlet has taken a message follows the message, so a daemon that dies in between tells
it twice, under the same `id`. What was never taken is tried again while it is true, and dropped when it is not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

import structlog

from labd.api.alerts import OutletTrial, OutletView
from labd.clock import Clock, iso
from labd.engine.alerts import AlertBook
from labd.errors import NotFound
from labd.mqtt import MqttDoor
from labd.notify_line import AWAY, AWAY_AFTER, Line, Owed, owed, subject_of, wants
from labd.notify_outlets import AppriseOutlet, Message, MqttOutlet, Outlet, Undelivered, WebhookOutlet, place_of
from labd.notify_settings import NotifySettings

log = structlog.get_logger()
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
LOOK_AGAIN_S = 5.0


class AlertDelivery:
    """Delivers alerts.

    Args:
        outlets: By name, as in the settings; `outlets_of` makes them.
        is_missing: Whether an alert's cause was not there at the last look; such a one is not told.
        host: Stands in every message.
    """

    def __init__(
        self, settings: NotifySettings, outlets: Mapping[str, Outlet], book: AlertBook,
        is_missing: Callable[[str], bool], host: str, clock: Clock, random: Random,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._book = book
        self._is_missing = is_missing
        self._host = host
        self._clock = clock
        self._random = random
        self._lines = {name: Line(name, settings.outlets[name], outlet) for name, outlet in outlets.items()}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to tell; what stands and was not told before goes out at once."""
        self._tasks = [
            asyncio.create_task(self._serve(line), name=f"notify-{name}") for name, line in self._lines.items()
        ]

    async def stop(self) -> None:
        """Tell nothing more; what is owed is told by the next daemon. A second call does nothing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in self._lines.values():
            await line.outlet.close()

    def attention(self) -> list[dict[str, str]]:
        """What needs a person: outlets that take nothing."""
        return [
            {"code": AWAY, "subject": subject_of(line.name), "state": "away",
             "message": f"alerts cannot be told to {line.name} ({place_of(line.settings)}), {line.failures} tries: "
                        f"{line.problem}; `labctl alert test {line.name}` tries it"}
            for line in self._lines.values() if line.failures >= AWAY_AFTER
        ]  # fmt: skip

    def views(self) -> list[OutletView]:
        """All outlets by name."""
        return [
            OutletView(
                line.name, line.settings.kind, place_of(line.settings), line.settings.only, line.settings.min_severity,
                line.failures, line.problem, iso(line.last_told_at),
            )
            for line in self._lines.values()
        ]  # fmt: skip

    async def test(self, name: str | None = None) -> list[OutletTrial]:
        """Send a test message to one outlet or to all, now, whatever they want and however they do.

        Raises:
            NotFound: There is no such outlet, or none at all.
        """
        if name is not None and name not in self._lines:
            known = ", ".join(self._lines) or "none is configured, see [notify] in labd.toml"
            raise NotFound(f"no outlet {name[:80]}; outlets: {known}", outlet=name[:80])
        if not self._lines:
            raise NotFound("no outlet is configured; see [notify] in labd.toml")
        chosen = [line for line in self._lines.values() if name is None or line.name == name]
        return list(await asyncio.gather(*(self._test(line) for line in chosen)))

    async def _test(self, line: Line) -> OutletTrial:
        now = iso(self._clock.wall())
        text = f"a test of the outlet {line.name}; nothing is wrong"
        message = Message(
            0, f"test:{line.name}", "test", line.name, "info", text, self._host, now, now, test=True
        )  # fmt: skip
        result = OutletTrial(line.name, line.settings.kind, place_of(line.settings), True)
        try:
            await line.outlet.send(message)
        except Undelivered as fault:
            result.delivered, result.problem = False, str(fault)
        return result

    async def _serve(self, line: Line) -> None:
        """One outlet, for as long as the daemon lives."""
        while True:
            await line.outlet.ready()
            fresh = self._book.fresh
            next_, wait_s = self._next(line)
            if next_ is None:
                await self._pause(fresh, wait_s)
                continue
            try:
                await line.outlet.send(self._message(next_))
            except Undelivered as fault:
                line.refused(next_.alert.key, str(fault))
            except Exception as fault:  # the supervisor of an outlet: it is tried again, the log has the traceback
                log.error("alert.outlet_failed", outlet=line.name, exc_info=fault)
                line.refused(next_.alert.key, type(fault).__name__)
            else:
                line.took(next_.alert.key, self._clock.wall())
                log.info("alert.told", outlet=line.name, key=next_.alert.key, id=next_.alert.id)
                await self._book.record_told(line.name, next_.alert.id, next_.alert.key, next_.reminder)
                continue
            await self._clock.sleep(self._wait_s(line.failures))

    def _wait_s(self, failures: int) -> float:
        longest_s = min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 16), LONGEST_WAIT_S)
        return longest_s * (0.5 + 0.5 * self._random.random())

    def _next(self, line: Line) -> tuple[Owed | None, float | None]:
        """What is due first, or how long it takes until something is; None: until the book changes."""
        now = self._clock.wall()
        mine = [alert for alert in self._book.tellable() if wants(line.name, line.settings, alert)]
        there = [alert for alert in mine if not self._is_missing(alert.key)]
        found = owed(there, lambda key: self._book.told(line.name, key), self._settings, now)
        due = [each for each in found if each.due_at <= now]
        if due:
            return min(due, key=lambda each: (line.tries.get(each.alert.key, 0), each.alert.id)), None
        waits = [each.due_at - now for each in found]
        if len(there) < len(mine):
            waits.append(LOOK_AGAIN_S)
        return None, min(waits, default=None)

    async def _pause(self, fresh: asyncio.Event, wait_s: float | None) -> None:
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(fresh.wait())]
        if wait_s is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep(wait_s)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _message(self, next_: Owed) -> Message:
        alert = next_.alert
        return Message(
            alert.id, alert.key, alert.code, alert.subject, alert.severity, alert.message, self._host,
            iso(alert.raised_at), iso(alert.changed_at), alert.count, next_.reminder,
        )  # fmt: skip


def outlets_of(settings: NotifySettings, door: MqttDoor | None, clock: Clock, version: str) -> dict[str, Outlet]:
    """The outlets of the settings, not yet connected.

    Args:
        door: The MQTT door, None where it is off.
    """
    found: dict[str, Outlet] = {}
    for name, outlet in settings.outlets.items():
        if outlet.kind == "webhook":
            found[name] = WebhookOutlet(outlet, clock, f"labd/{version}")
        elif outlet.kind == "apprise":
            found[name] = AppriseOutlet(outlet)
        elif door is not None:
            found[name] = MqttOutlet(door.publish_alert, door.connection.connected)
        else:
            found[name] = MqttOutlet(_no_door, asyncio.Event())
    return found


async def _no_door(code: str, payload: bytes) -> None:
    raise ConnectionError("the MQTT door is off; `labctl status` says why")
