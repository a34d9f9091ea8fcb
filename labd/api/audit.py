"""`/api/v1/audit`: who did what, and whether the record is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from labd.api.endpoint import Call, Endpoint
from labd.clock import iso
from labd.engine.audit import AuditReport

if TYPE_CHECKING:
    from labd.engine.engine import Engine


class AuditQuery(msgspec.Struct):
    """A page of entries older than the entry `before`."""

    before: Annotated[int, Meta(ge=1, le=2**63 - 1)] | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class AuditEntryView(msgspec.Struct):
    """One act; `hash` covers the entry and the hash before it."""

    id: int
    at: str
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    prev_hash: str
    hash: str


class AuditPage(msgspec.Struct):
    """Entries, newest first; `next` is the `before` of the next page."""

    entries: list[AuditEntryView]
    next: int | None = None


def endpoints(engine: Engine) -> list[Endpoint]:
    """Routes of the audit."""

    async def page(call: Call) -> AuditPage:
        entries = await engine.audit_page(call.query.before, call.query.limit)
        shown = [
            AuditEntryView(
                entry.id,
                iso(entry.at) or "",
                entry.actor,
                entry.action,
                entry.subject,
                entry.details,
                entry.prev_hash,
                entry.hash,
            )
            for entry in entries
        ]
        return AuditPage(shown, entries[-1].id if len(entries) == call.query.limit else None)

    async def verify(call: Call) -> AuditReport:
        return await engine.audit_verify()

    tags = ("audit",)
    return [
        Endpoint("GET", "/api/v1/audit", page, "read", "Who did what", query=AuditQuery, answer=AuditPage, tags=tags),
        Endpoint(
            "GET", "/api/v1/audit/verify", verify, "read", "Check the chain of hashes", answer=AuditReport, tags=tags
        ),
    ]
