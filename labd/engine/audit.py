"""The record of who did what, as a chain of hashes: an entry names the hash of the one before it.

Why: a changed or missing entry breaks every later hash. Somebody who can write the whole file can forge the whole
chain; the head is therefore also written to the log at each start and end, where it can be compared.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import msgspec

GENESIS = "0" * 64


class AuditEntry(msgspec.Struct):
    """One act; `hash` covers all other fields."""

    id: int
    at: float
    actor: str
    action: str
    subject: str
    details: dict[str, Any]
    prev_hash: str
    hash: str


class AuditReport(msgspec.Struct):
    """What a check of the chain found."""

    ok: bool
    entries: int
    head: str
    broken_at: int | None = None
    problem: str | None = None


def entry_hash(entry_id: int, at: float, actor: str, action: str, subject: str, details: str, prev_hash: str) -> str:
    """SHA-256 over the fields as one JSON list; `details` as stored, so no re-encoding can change it."""
    text = msgspec.json.encode([entry_id, repr(at), actor, action, subject, details, prev_hash])
    return hashlib.sha256(text).hexdigest()


class AuditChain:
    """The head of the chain, from which the next row follows."""

    def __init__(self, last_id: int = 0, head: str = GENESIS) -> None:
        self.last_id = last_id
        self.head = head

    def row(self, at: float, actor: str, action: str, subject: str, details: dict[str, Any]) -> tuple[Any, ...]:
        """The next row; the chain moves on."""
        text = msgspec.json.encode(details, order="sorted").decode()
        entry_id = self.last_id + 1
        digest = entry_hash(entry_id, at, actor, action, subject, text, self.head)
        row = (entry_id, at, actor, action, subject, text, self.head, digest)
        self.last_id, self.head = entry_id, digest
        return row


def verify(rows: Iterable[tuple[Any, ...]], head: str = GENESIS, last_id: int = 0) -> AuditReport:
    """Follow the chain over rows in order of id; stops at the first break."""
    count = 0
    for row in rows:
        entry_id, at, actor, action, subject, details, prev_hash, stored = row
        problem = None
        if entry_id != last_id + 1:
            problem = f"entries {last_id + 1} to {entry_id - 1} are missing"
        elif prev_hash != head:
            problem = "it does not follow the entry before it"
        elif entry_hash(entry_id, at, actor, action, subject, details, prev_hash) != stored:
            problem = "its content was changed"
        if problem is not None:
            return AuditReport(False, count, head, entry_id, f"entry {entry_id}: {problem}")
        count, head, last_id = count + 1, stored, entry_id
    return AuditReport(True, count, head)


def entry(row: tuple[Any, ...]) -> AuditEntry:
    """A row as a value."""
    return AuditEntry(row[0], row[1], row[2], row[3], row[4], msgspec.json.decode(row[5]), row[6], row[7])
