"""The record of a snapshot: its states, and what is known of it. Values and rules, no I/O.

discovered -> settled -> gated -> loading -> loaded -> verified -> active -> superseded -> dropping -> dropped
                                     |          |                   |
                                     +- failed  +- held <-----------+ (a canary sang)
                                                     `-> approved -> active, or rejected -> dropped
discovered -> quarantined: it cannot be loaded, however often it is tried
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from labd.clock import iso
from labd.snapshots.scan import SnapshotKey
from labd.snapshots.verification import Difference


class State(StrEnum):
    """Where a snapshot stands."""

    SETTLED = "settled"  # complete on disk, its job is made
    GATED = "gated"  # waits for the store to be able to take it
    LOADING = "loading"  # its database is half made
    LOADED = "loaded"  # its database is whole
    VERIFIED = "verified"  # and is what the snapshot says
    ACTIVE = "active"  # the alias points at it
    SUPERSEDED = "superseded"  # a newer one serves, or it was never loaded because a newer one was there
    HELD = "held"  # a check failed: a person approves or rejects
    REJECTED = "rejected"  # a person said no
    DROPPING = "dropping"  # its database is going
    DROPPED = "dropped"  # its database is gone
    FAILED = "failed"  # no tries left; `labctl snapshot load` tries again
    QUARANTINED = "quarantined"  # its files cannot be read


WHOLE = frozenset({State.LOADED, State.VERIFIED, State.ACTIVE, State.SUPERSEDED, State.HELD})
"""States in which the database, if there is one, is whole."""
WANTED = frozenset({State.SETTLED, State.GATED, State.LOADING, State.LOADED, State.VERIFIED})
"""States in which something is still to be done by a job."""
UNDECIDED = frozenset({State.SETTLED, State.GATED, State.LOADING, State.LOADED})
"""States in which nobody knows yet whether it can serve."""
OVERTAKING = frozenset({State.VERIFIED, State.ACTIVE})
"""States in which older ones that nobody has asked for need not be loaded any more."""


class Body(msgspec.Struct, omit_defaults=True):
    """What no statement asks for."""

    path: str
    files: int = 0
    size_bytes: int = 0
    nodes: int | None = None
    relationships: int | None = None
    labels: dict[str, int] = {}
    types: dict[str, int] = {}
    load_s: float | None = None
    loaded_bytes: int | None = None
    differences: list[Difference] = []
    approved_by: str | None = None
    approved_reason: str | None = None
    approved_canaries: list[str] = []
    way_back: str | None = None
    problem: str | None = None
    job_id: int | None = None
    no_switch: bool = False
    tries: int = 0
    asked: int = 0
    """How often a person, a mended file or a fault that has passed has asked for another job."""
    wished: bool = False
    """A person has asked for this very version: it is loaded whatever newer ones there are."""
    transient: bool = False
    """Its last job failed for what passes, such as a store or a folder that is away: a later scan tries again."""


class Record(msgspec.Struct):
    """One snapshot; instants are seconds since 1970 (UTC)."""

    customer: str
    timestamp: str
    state: State
    database: str | None
    fingerprint: str
    discovered_at: float
    changed_at: float
    pinned: bool
    body: Body

    @property
    def key(self) -> SnapshotKey:
        """Which snapshot."""
        return SnapshotKey(self.customer, self.timestamp)

    @property
    def number(self) -> int:
        """The timestamp; the newest of a customer has the largest."""
        return int(self.timestamp)

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.body.path)

    def to_row(self) -> tuple[Any, ...]:
        """In the order of the statement `put_record`."""
        return (
            self.customer, self.timestamp, self.timestamp.zfill(19), self.state.value, self.database, self.fingerprint,
            self.discovered_at, self.changed_at, int(self.pinned), msgspec.json.encode(self.body).decode(),
        )  # fmt: skip


def from_row(row: tuple[Any, ...]) -> Record:
    """The record of a row."""
    return Record(
        row[0], row[1], State(row[3]), row[4], row[5], row[6], row[7], bool(row[8]),
        msgspec.json.decode(row[9], type=Body),
    )  # fmt: skip


class Customer(msgspec.Struct):
    """What a customer's readers get: timestamps of the version that serves and of the one before."""

    customer: str
    alias: str
    active: str | None = None
    previous: str | None = None
    switched_at: float | None = None


class SnapshotView(msgspec.Struct):
    """A snapshot on the wire; instants are ISO 8601."""

    customer: str
    timestamp: str
    state: State
    alias: str
    database: str | None
    pinned: bool
    path: str
    files: int
    size_bytes: int
    nodes: int | None
    relationships: int | None
    labels: dict[str, int]
    types: dict[str, int]
    load_s: float | None
    differences: list[Difference]
    approved_by: str | None
    approved_reason: str | None
    problem: str | None
    job_id: int | None
    discovered_at: str
    changed_at: str
    simulated: bool


def view(record: Record, alias: str, simulated: bool) -> SnapshotView:
    """As the API and the command line show it."""
    body = record.body
    return SnapshotView(
        record.customer, record.timestamp, record.state, alias, record.database, record.pinned, body.path, body.files,
        body.size_bytes, body.nodes, body.relationships, body.labels, body.types, body.load_s, body.differences,
        body.approved_by, body.approved_reason, body.problem, body.job_id, iso(record.discovered_at) or "",
        iso(record.changed_at) or "", simulated,
    )  # fmt: skip
