"""The run that labd made on a robot, remembered on disk: the only one that it ever plays, pauses or stops."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from labd.ot2.robot import RunStatus, RunView

UNANSWERED_AT_MOST = 16


class Store(Protocol):
    """The part of the engine that keeps small facts."""

    async def store_value(self, key: str, value: Any) -> None:
        """Durable when it returns; None removes it."""
        ...

    async def stored_value(self, key: str) -> Any:
        """The value, or None."""
        ...


class OwnRunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept.

    Args:
        run_id: None while the robot has not answered yet which run it made.
        protocol_id: On the robot; a run of it that never played is ours even if its id was lost.
        air: Which aspirates draw air, where the robot's commands do not tell.
    """

    job_id: int
    protocol_id: str
    run_id: str | None = None
    file: str = ""
    air: tuple[bool, ...] | None = None


class OwnRun:
    """The record of one robot."""

    def __init__(self, device: str, store: Store) -> None:
        self._key = f"ot2:{device}:run"
        self._unanswered_key = f"ot2:{device}:unanswered"
        self._store = store
        self.record: OwnRunRecord | None = None
        self._unanswered: tuple[str, ...] = ()

    @property
    def run_id(self) -> str | None:
        """Id of the run, once it is known."""
        return None if self.record is None else self.record.run_id

    async def load(self) -> None:
        """Take back what an earlier daemon left."""
        value = await self._store.stored_value(self._key)
        if value is not None:
            self.record = msgspec.convert(value, OwnRunRecord)
        self._unanswered = tuple(await self._store.stored_value(self._unanswered_key) or ())

    async def begin(self, record: OwnRunRecord) -> None:
        """As `keep`, before the robot is asked to make another run.

        Why what was asked for before is remembered: a request that was never answered may still lie on its way, and
        the run that comes of it in the end is labd's and nobody else's.
        """
        before = self.record
        if before is not None and before.run_id is None and before.protocol_id not in self._unanswered:
            self._unanswered = (*self._unanswered, before.protocol_id)[-UNANSWERED_AT_MOST:]
            await self._store.store_value(self._unanswered_key, list(self._unanswered))
        await self.keep(record)

    async def keep(self, record: OwnRunRecord | None) -> None:
        """On disk when it returns.

        Raises:
            StoreFull: It is not; nothing may move.
        """
        self.record = record
        await self._store.store_value(self._key, None if record is None else msgspec.to_builtins(record))

    def is_mine(self, view: RunView) -> bool:
        """Whether labd made that run."""
        record = self.record
        if record is not None and view.run_id == record.run_id:
            return True
        return self.is_what_was_asked_for(view) or (never_played(view) and view.protocol_id in self._unanswered)

    def is_what_was_asked_for(self, view: RunView) -> bool:
        """Whether it is the run of the record, whose id the robot has not told yet."""
        record = self.record
        if record is None or record.run_id is not None:
            return False
        return never_played(view) and view.protocol_id == record.protocol_id


def never_played(view: RunView) -> bool:
    """A run that stands as it was made: nothing of it has moved."""
    return view.status is RunStatus.IDLE and not view.actions and view.started_at is None
