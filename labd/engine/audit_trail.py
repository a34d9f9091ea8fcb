"""Writes the audit through the journal and reads it back."""

from __future__ import annotations

from typing import Any

from labd.clock import Clock
from labd.engine import audit
from labd.engine.audit import AuditChain, AuditEntry, AuditReport
from labd.engine.job import Caller
from labd.engine.journal import Journal

PAGE = 5000


class AuditTrail:
    """The chain of one journal; its head is in memory, so entries get their place when they are made."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock
        self._chain = AuditChain()

    async def open(self) -> None:
        """Go on from the newest entry on disk."""
        last = await self._journal.read("last_audit")
        if last:
            self._chain = AuditChain(last[0][0], last[0][1])

    def add(self, actor: Caller, action: str, subject: str, details: dict[str, Any]) -> None:
        """Record who did what; durable with the next commit."""
        self._journal.execute("add_audit", *self._chain.row(self._clock.wall(), actor.name, action, subject, details))

    async def page(self, before: int | None, limit: int) -> list[AuditEntry]:
        """Entries before an id, newest first."""
        await self._journal.settle()
        found = await self._journal.read("audit_page", before if before is not None else 2**62, limit)
        return [audit.entry(row) for row in found]

    async def verify(self) -> AuditReport:
        """Follow the whole chain, a page at a time."""
        await self._journal.settle()
        total, head, last_id = 0, audit.GENESIS, 0
        while True:
            found = await self._journal.read("audit_after", last_id, PAGE)
            report = audit.verify(found, head, last_id)
            total += report.entries
            if not report.ok or not found:
                return AuditReport(report.ok, total, report.head if found else head, report.broken_at, report.problem)
            head, last_id = report.head, found[-1][0]

    @property
    def head(self) -> str:
        """The newest hash."""
        return self._chain.head

    @property
    def entries(self) -> int:
        """How many entries there are."""
        return self._chain.last_id
