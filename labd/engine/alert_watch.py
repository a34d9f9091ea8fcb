"""Looks at what needs a person, and keeps the book of alerts true: on the clock, and soon after something has happened.

Why patience: what is gone for a moment (a motor that reconnects, a wing that has just started) is not gone; the alerts
of an earlier daemon have `START_PATIENCE_S` to show up again, else each restart would clear and raise them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from labd.clock import Clock
from labd.engine import alert_rules as rules
from labd.engine import store
from labd.engine.alerts import AlertBook
from labd.engine.events import EventFeed
from labd.engine.group import Event
from labd.engine.journal import Journal

log = structlog.get_logger()
LOOK_S = 5.0
BREATH_S = 0.25
START_PATIENCE_S = 30.0
QUIET_KINDS = frozenset({"job.submitted", "job.started", "job.succeeded", "job.progress"})
Attention = Callable[[], list[dict[str, Any]]]


class AlertWatch:
    """From the attention list and the event feed to the book.

    Args:
        attention: `{"code", "subject", "message", "state"?}` of each thing that needs a person now.
    """

    def __init__(self, book: AlertBook, feed: EventFeed, journal: Journal, attention: Attention, clock: Clock) -> None:
        self._book = book
        self._feed = feed
        self._journal = journal
        self._attention = attention
        self._clock = clock
        self._events: deque[Event] = deque()
        self._missing: dict[str, float] = {}
        self._rising: dict[str, float] = {}
        self._inherited: set[str] = set()
        self._seq = book.cursor
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to watch; the first look is at once, behind what happened since the last daemon looked."""
        self._inherited = {alert.key for alert in self._book.all() if alert.is_open}
        self._tasks = [
            asyncio.create_task(self._listen(), name="alerts-events"),
            asyncio.create_task(self._watch(), name="alerts"),
        ]

    async def stop(self) -> None:
        """Watch no more; what was seen is staged. A second call does nothing."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if tasks and self._journal.is_open:
            self._take_events()
            self._book.stage(self._seq)
            await self._journal.settle()

    async def _listen(self) -> None:
        """Put by what is for the book; everything that may have changed the attention list makes a look."""
        caught_up_at = self._feed.last_seq
        if self._book.cursor >= caught_up_at:
            self._news.set()
        async for event in self._feed.subscribe(self._book.cursor):
            if event.kind in rules.JOB_KINDS:
                self._events.append(event)
            else:
                self._seq = event.seq if not self._events else self._seq
            is_quiet = event.kind in QUIET_KINDS or event.kind.startswith("alert.")
            if event.seq >= caught_up_at and (not is_quiet or event.seq == caught_up_at):
                self._news.set()

    async def _watch(self) -> None:
        while True:
            await self._next_look()
            self._news.clear()
            try:
                await self.look()
            except Exception as fault:  # a wing's status that fails must not end all alerts
                log.error("alert.look_failed", exc_info=fault)
            await self._clock.sleep(BREATH_S)

    async def _next_look(self) -> None:
        now = self._clock.monotonic()
        ripe_s = [since + rules.rule_of(key.partition(":")[0]).hold_s - now for key, since in self._rising.items()]
        timer = asyncio.ensure_future(self._clock.sleep(max(0.0, min([LOOK_S, *ripe_s]))))
        news = asyncio.ensure_future(self._news.wait())
        try:
            await asyncio.wait({timer, news}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            news.cancel()

    async def look(self) -> None:
        """One look: first what has happened, then what stands; both are on disk together."""
        self._take_events()
        try:
            seen = rules.sightings(self._standing())
            self._book.apply(rules.of_attention(self._book.by_key, self._ripe(seen), self._over(seen)))
        finally:  # what has happened is written, whatever is wrong with the list
            is_changed = self._book.stage(self._seq)
        if is_changed:
            await self._book.land()

    def _standing(self) -> list[dict[str, Any]]:
        items = list(self._attention())
        if self._journal.full_reason is not None:
            text = store.standing_problem(self._journal.full_reason)
            items.append({"code": "store_full", "message": text, "subject": "store"})
        return items

    def _take_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            self._book.apply(rules.of_event(self._book.by_key, event))
            self._seq = max(self._seq, event.seq)

    def _ripe(self, seen: dict[str, rules.Sighting]) -> dict[str, rules.Sighting]:
        """What is raised already, or has stood for as long as it must before it is."""
        now = self._clock.monotonic()
        ripe: dict[str, rules.Sighting] = {}
        rising: dict[str, float] = {}
        for key, sighting in seen.items():
            alert = self._book.by_key.get(key)
            since = self._rising.get(key, now)
            if (alert is not None and alert.is_open) or now - since >= rules.rule_of(sighting.code).hold_s:
                ripe[key] = sighting
            else:
                rising[key] = since
        self._rising = rising
        return ripe

    def _over(self, seen: dict[str, rules.Sighting]) -> set[str]:
        """What has been missing for longer than its patience."""
        now = self._clock.monotonic()
        over: set[str] = set()
        missing: dict[str, float] = {}
        for key, alert in self._book.by_key.items():
            if key in seen:
                self._inherited.discard(key)
            elif alert.is_open:
                missing[key] = since = self._missing.get(key, now)
                patience_s = START_PATIENCE_S if key in self._inherited else rules.rule_of(alert.code).patience_s
                if now - since >= patience_s:
                    over.add(key)
        self._missing = missing
        return over

    def is_missing(self, key: str) -> bool:
        """The alert is open and its cause was not there at the last look; it is not told meanwhile."""
        return key in self._missing and self._book.by_key[key].code != rules.FAILED
