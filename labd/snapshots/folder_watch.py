"""The watch over the folder of snapshots: a scan at every interval, sooner after a change; what was mended there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from labd.clock import Clock
from labd.errors import LabdError
from labd.snapshots import file_events
from labd.snapshots.record import Record, State
from labd.snapshots.scan import Sighting, SnapshotKey, sight

if TYPE_CHECKING:
    from labd.snapshots.service import SnapshotService

SOON_S = 0.05  # what has just settled has done so at the next scan
AGAIN_AT_MOST_S = 3600.0
AGAIN_DOUBLINGS = 30
UNFINISHED = frozenset({State.FAILED, State.LOADED, State.VERIFIED})
MENDABLE = frozenset({State.QUARANTINED, State.FAILED})

log = structlog.get_logger("snapshots")


class FolderWatch:
    """When to scan.

    Args:
        service: Its settings are read anew each time, so that a reload is in force at once.
    """

    def __init__(self, service: SnapshotService, clock: Clock) -> None:
        self._service = service
        self._clock = clock
        self._changed = asyncio.Event()
        self.problem = ""
        """Why the system tells of no changes though it should."""

    def hurry(self) -> None:
        """Scan soon."""
        self._changed.set()

    async def scans(self) -> None:
        """Scan for ever."""
        while True:
            self._changed.clear()
            if self._service.settings.watch:
                try:
                    await self._service.scan()
                except LabdError as fault:  # such as a full disk; the next one takes in what is new
                    log.warning("snapshot.not_queued", customer="", problem=fault.message)
            await first_of(self._clock.sleep(self._pause_s()), self._changed.wait())

    def _pause_s(self) -> float:
        """Until the next scan; with file events no longer than until the first snapshot may have settled."""
        settings = self._service.settings
        pause_s = settings.orchestrator.scan_interval
        if settings.dataset.file_events and self._service.unsettled:
            left_s = settings.dataset.settle_s - max(self._service.unsettled.values())
            pause_s = min(pause_s, max(0.0, left_s) + SOON_S)
        return pause_s

    async def events(self) -> None:
        """Let changes of the folder hurry the next scan, where the settings say so; what is in the way is told once."""
        while True:
            settings, base = self._service.settings, Path(self._service.base_path)
            if not settings.dataset.file_events:
                self.problem = ""
            else:
                await self._listen(base)
            await self._clock.sleep(settings.orchestrator.scan_interval)

    async def _listen(self, base: Path) -> None:
        try:
            await first_of(file_events.hurry(base, self._told), self._until_other(base))
        except ModuleNotFoundError:
            self._is_off(f"{file_events.MISSING}; {base} is scanned at every interval all the same")
        except OSError as fault:
            text = f"the system tells no changes of {base}: {fault.strerror or fault}"
            self._is_off(f"{text}; it is scanned at every interval all the same")

    def _told(self) -> None:
        self.problem = ""
        self.hurry()

    async def _until_other(self, base: Path) -> None:
        """Return when a reload has made it another folder, or switched the events off."""
        service = self._service
        while service.settings.dataset.file_events and Path(service.base_path) == base:
            await self._clock.sleep(service.settings.orchestrator.scan_interval)

    def _is_off(self, problem: str) -> None:
        if problem != self.problem:
            log.warning("snapshot.events_off", problem=problem)
        self.problem = problem


def is_due(record: Record, now: float, first_s: float, at_least_s: float) -> bool:
    """Whether a snapshot that failed for what passes is tried again: sooner at first, then every hour.

    Not one that has served: a person may have gone back from it.

    Args:
        now: Seconds since 1970; a clock that was set back or far ahead makes nobody wait for long.
        first_s: Pause after the first failure; each one after it doubles it.
        at_least_s: No pause is shorter.
    """
    pause_s = max(at_least_s, min(AGAIN_AT_MOST_S, first_s * 2 ** min(record.body.asked, AGAIN_DOUBLINGS)))
    is_open = record.body.transient and record.state in UNFINISHED
    return is_open and abs(now - record.changed_at) >= pause_s


class Mending:
    """Finds damaged snapshots whose files are others than those that were refused, and quiet again.

    Why a marker does not count here: it lay there already when the files were damaged.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.unsettled: dict[SnapshotKey, float] = {}
        """Mended ones that are not quiet for long enough, and for how long they are."""
        self._quiet: dict[SnapshotKey, tuple[str, float]] = {}

    async def mended(
        self, records: Iterable[Record], settle_s: float, markers: frozenset[str]
    ) -> list[tuple[Record, Sighting]]:
        """Those that may be tried again; blocking work runs in a thread."""
        found = []
        self.unsettled = {}
        now_s = self._clock.monotonic()
        for record in [one for one in records if one.state in MENDABLE]:
            try:
                seen = await asyncio.to_thread(sight, record.key, record.path, markers)
            except OSError:
                continue  # its folder is gone; nothing is mended by that
            if seen.fingerprint == record.fingerprint:
                self._quiet.pop(record.key, None)
                continue
            fingerprint, since_s = self._quiet.get(record.key, ("", now_s))
            if fingerprint != seen.fingerprint:
                self._quiet[record.key] = (seen.fingerprint, now_s)
                since_s = now_s
            if now_s - since_s >= settle_s:
                self._quiet.pop(record.key, None)
                found.append((record, seen))
            else:
                self.unsettled[record.key] = now_s - since_s
        return found


async def first_of(*works: Coroutine[Any, Any, object]) -> None:
    """Wait for the first of several to end, end the others, and raise what that one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()
