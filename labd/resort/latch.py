"""The stop latch of one carousel: motion stays refused until somebody resets it by name.

It stands in memory and in three places on disk: labd's store, a file in the state folder and one in the runtime folder.
At start any of them is enough to be latched. Setting it takes memory at once and the three places as they
can; each is tried again until it lands. A reset counts only once all three are empty.

Why three: the store may be full or damaged, the state folder read-only; the runtime folder is memory, so it outlives
a killed daemon but no power cut. A file that cannot be read counts as latched.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from labd.clock import Clock
from labd.errors import LabdError, Unavailable
from labd.resort.latch_file import LatchFile, LatchRecord, record_of

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 5.0


class Store(Protocol):
    """The part of the engine that keeps small facts."""

    async def store_value(self, key: str, value: Any) -> None:
        """Durable when it returns; None removes it."""
        ...

    async def stored_value(self, key: str) -> Any:
        """The value, or None."""
        ...


class StopLatch:
    """The latch of one carousel.

    Args:
        device: Name of the carousel; makes the names of key and files.
        store: labd's durable facts.
        state_dir: Outlives a power cut.
        runtime_dir: Outlives the daemon.
        on_change: Called after anything changed, in the event loop.
    """

    def __init__(
        self, device: str, store: Store, state_dir: Path, runtime_dir: Path, clock: Clock, on_change: Callable[[], None]
    ) -> None:
        self.device = device
        self.key = f"resort:{device}:stop_latch"
        self.record: LatchRecord | None = None
        self.known = False
        self._store = store
        self._clock = clock
        self._on_change = on_change
        name = f"resort-{device}.stop-latched"
        self._files = {"state": LatchFile(state_dir / name), "runtime": LatchFile(runtime_dir / name)}
        self._landed: set[str] = set()
        self._problems: dict[str, str] = {}
        self._presses = 0
        self._writers: set[asyncio.Task[None]] = set()
        self._durable = asyncio.Event()

    @property
    def latched(self) -> bool:
        """Whether motion is refused."""
        return self.record is not None

    @property
    def survives_power_cut(self) -> bool:
        """The latch is in the store or in the state folder."""
        return bool(self._landed & {"store", "state"})

    @property
    def survives_restart(self) -> bool:
        """The latch is somewhere on disk."""
        return bool(self._landed)

    @property
    def note(self) -> str:
        """What a person should know of where the latch stands."""
        if not self.latched or self.survives_power_cut:
            return ""
        why = (
            "; ".join(f"{place}: {problem}" for place, problem in sorted(self._problems.items()))
            or "still being written"
        )
        if self.survives_restart:
            return f"the stop is latched, but a power cut would not be survived ({why}); labd goes on trying"
        return (
            f"the stop is latched in memory only, neither a restart of labd nor a power cut would be survived ({why})"
        )

    def now(self) -> float:
        """The instant, for those who compare with that of the latch."""
        return self._clock.wall()

    async def load(self) -> None:
        """Read all three places; any of them is enough. Then the others are written too."""
        found: dict[str, LatchRecord] = {}
        for place, file in self._files.items():
            record = await asyncio.to_thread(file.read)
            if record is not None:
                found[place] = record
        value = await self._store.stored_value(self.key)
        if value is not None:
            found["store"] = record_of(value)
        if found and self.record is None:
            self.record = max(found.values(), key=lambda record: record.at)
        self._landed |= set(found)
        self.known = True
        if self.record is not None:
            self._write_everywhere()
        self._on_change()

    def set(self, by: str, reason: str) -> LatchRecord:
        """Latch in memory and begin to write; a second stop keeps the first record. Never blocks."""
        self._presses += 1
        if self.record is None:
            self.record = LatchRecord(by, self._clock.wall(), reason)
            self._landed.clear()
            self._problems.clear()
            self._durable.clear()
        self._write_everywhere()
        self._on_change()
        return self.record

    async def wait_durable(self, timeout_s: float) -> bool:
        """Whether a power cut would be survived, after waiting a while for it."""
        if self.survives_power_cut:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._durable.wait()
        return self.survives_power_cut

    async def reset(self) -> None:
        """Empty all three places, then memory.

        Raises:
            Unavailable: A place could not be emptied, or a new stop came meanwhile; it stays latched.
        """
        presses = self._presses
        await self._end_writers()
        problems: list[str] = []
        for place, file in self._files.items():
            self._landed.discard(place)
            try:
                await _in_thread(file.remove)
            except OSError as fault:
                problems.append(f"{file.path}: {fault.strerror or fault}")
        if not problems:
            self._landed.discard("store")
            try:
                await self._store.store_value(self.key, None)
            except LabdError as fault:
                problems.append(fault.message)
        if problems or presses != self._presses:
            self._write_everywhere()
            why = "; ".join(problems) or "it was stopped again meanwhile"
            raise Unavailable(f"resort {self.device}: the stop stays latched ({why}); reset again when that is mended")
        self.record = None
        self._problems.clear()
        self._durable.clear()
        self._on_change()

    async def close(self) -> None:
        """End the writers; what has not landed yet is lost with the daemon."""
        await self._end_writers()

    async def _end_writers(self) -> None:
        writers = list(self._writers)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)

    def _write_everywhere(self) -> None:
        record = self.record
        busy = {writer.get_name() for writer in self._writers if not writer.cancelling()}
        for place in ("state", "runtime", "store"):
            if record is None or place in self._landed or place in busy:
                continue
            writer = asyncio.get_running_loop().create_task(self._write(place, record), name=place)
            self._writers.add(writer)
            writer.add_done_callback(self._writers.discard)

    async def _write(self, place: str, record: LatchRecord) -> None:
        delay_s = FIRST_RETRY_S
        while True:
            try:
                if place == "store":
                    await self._store.store_value(self.key, record.to_wire())
                else:
                    await _in_thread(partial(self._files[place].write, record))
            except (OSError, LabdError) as fault:
                self._problems[place] = fault.message if isinstance(fault, LabdError) else str(fault)
                self._on_change()
                await self._clock.sleep(delay_s)
                delay_s = min(2 * delay_s, LONGEST_RETRY_S)
                continue
            self._landed.add(place)
            self._problems.pop(place, None)
            if self.survives_power_cut:
                self._durable.set()
            self._on_change()
            return


async def _in_thread(work: Callable[[], None]) -> None:
    """Run blocking file work; when cancelled, wait for its end all the same.

    Why: a cancelled `to_thread` leaves its thread running. A writer cancelled by a reset would otherwise put the
    file back after the reset removed it.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not warn of it
        raise
