"""The part of the engine that the resort wing uses, in memory; `faulty_store` makes its facts refuse to be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from labd.engine.job import Caller, Cause
from labd.errors import StoreFull


class FakeEngine:
    """Keeps what it was told, for tests to look at."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}
        self.faulty_store = False
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.audited: list[tuple[str, str, dict[str, Any]]] = []
        self.gates: dict[str, Callable[[], Cause | None]] = {}
        self.cancelled: list[tuple[str, str]] = []
        self.held: list[tuple[str, str]] = []
        self.wakes = 0

    async def store_value(self, key: str, value: Any) -> None:
        if self.faulty_store:
            raise StoreFull("/nowhere: no space left on the device; nothing was accepted")
        if value is None:
            self.facts.pop(key, None)
        else:
            self.facts[key] = value

    async def stored_value(self, key: str) -> Any:
        return self.facts.get(key)

    def publish(self, kind: str, data: dict[str, Any], job_id: int | None = None) -> None:
        self.published.append((kind, data))

    def audit(self, actor: Caller, action: str, subject: str, details: dict[str, Any]) -> None:
        self.audited.append((actor.name, action, details))

    def add_gate(self, resource: str, gate: Callable[[], Cause | None]) -> None:
        self.gates[resource] = gate

    def wake(self) -> None:
        self.wakes += 1

    def cancel_holding(self, resource: str, caller: Caller, reason: str, error_code: str) -> list[int]:
        self.cancelled.append((resource, error_code))
        return [7]

    def hold_queued(self, resource: str, code: str, reason: str) -> list[int]:
        self.held.append((resource, code))
        return []
