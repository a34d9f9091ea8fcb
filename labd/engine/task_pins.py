"""Pinned tasks: a task that runs one code only, by the SHA-256 of its file, until somebody unpins it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from labd.engine.job import Caller
from labd.errors import TaskPinned

KEY = "task_pins"


class Store(Protocol):
    """The part of the engine that keeps small facts."""

    async def store_value(self, key: str, value: Any) -> None:
        """Durable when it returns."""
        ...

    async def stored_value(self, key: str) -> Any:
        """The value, or None."""
        ...


class Pin(msgspec.Struct):
    """Which code, who said so and when (seconds since 1970)."""

    sha256: str
    by: str
    at: float
    file: str = ""
    commit: str | None = None


class TaskPins:
    """All pins, in memory and in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pins: dict[str, Pin] = {}

    async def open(self) -> None:
        """Read what was stored."""
        self._pins = msgspec.convert(await self._store.stored_value(KEY) or {}, dict[str, Pin])

    def get(self, task: str) -> Pin | None:
        """The pin of a task."""
        return self._pins.get(task)

    def all(self) -> list[tuple[str, Pin]]:
        """Every pin, by task."""
        return sorted(self._pins.items())

    async def pin(self, task: str, code: dict[str, Any], caller: Caller, at: float) -> Pin:
        """Let a task run this code only; durable when it returns. A second call pins to the code of now."""
        pin = Pin(code["sha256"], caller.name, at, code["file"], code.get("commit"))
        await self._put({**self._pins, task: pin})
        return pin

    async def unpin(self, task: str) -> bool:
        """Let a task run whatever its file holds; False if it was not pinned."""
        if task not in self._pins:
            return False
        await self._put({name: pin for name, pin in self._pins.items() if name != task})
        return True

    async def _put(self, pins: dict[str, Pin]) -> None:
        await self._store.store_value(KEY, msgspec.to_builtins(pins) or None)
        self._pins = pins

    def check(self, task: str, digest: str) -> None:
        """Refuse code that is not the pinned one.

        Raises:
            TaskPinned: Names both codes and what to do.
        """
        pin = self._pins.get(task)
        if pin is not None and pin.sha256 != digest:
            raise TaskPinned(
                f"{task} is pinned to the code {pin.sha256[:12]} of {pin.file} by {pin.by}; the file now holds "
                f"{digest[:12]}; put the old file back, or `labctl task unpin {task}`",
                task=task, pinned=pin.sha256, found=digest,
            )  # fmt: skip

    def precheck(self, task: str, digest: str) -> Callable[[dict[str, Any]], None]:
        """`check` as the engine calls it at submission."""
        return lambda args: self.check(task, digest)
