"""What the API answers about snapshots beside `SnapshotView`."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.snapshots.record import SnapshotView
from labd.snapshots.retention import Verdict


class CustomerView(msgspec.Struct):
    """Who serves a customer's readers, and what else of it is in the store; `switched_at` is ISO 8601."""

    customer: str
    alias: str
    active: str | None
    database: str | None
    previous: str | None
    switched_at: str | None
    versions: list[str]


class Skipped(msgspec.Struct):
    """A folder that is no snapshot, and why."""

    path: str
    reason: str


class ScanView(msgspec.Struct):
    """What one look at the folder found; `unsettled` tells for how many seconds each has been quiet."""

    base_path: str
    new: list[str]
    unsettled: dict[str, float]
    skipped: list[Skipped]
    customers: int
    listed: int
    problem: str


class HealthView(msgspec.Struct):
    """The store's own figures, null where it does not tell them, beside the limits of the settings."""

    engine: str
    simulated: bool
    ok: bool
    waits_for: list[str]
    reachable: bool
    problem: str
    version: str
    edition: str
    heap_percent: float | None
    heap_threshold_percent: float
    page_cache_percent: float | None
    page_cache_ratio: str
    pagecache_threshold_percent: float
    databases: int | None
    max_databases: int
    disk_free_bytes: int | None
    unknown: list[str]
    base_path: str
    scanned_at: str | None
    scan_problem: str
    skipped: list[Skipped]


class QueryAnswer(msgspec.Struct):
    """Rows of one query, all of one database; `more` if the limit cut them."""

    customer: str
    alias: str
    database: str
    columns: list[str]
    rows: list[list[Any]]
    more: bool
    took_s: float


class Cleanup(msgspec.Struct):
    """What a cleanup would drop, and what becomes of each database and why."""

    dropped: list[str]
    verdicts: list[Verdict]


class Laid(msgspec.Struct):
    """Snapshots that were laid down, and as which jobs they are loaded."""

    base_path: str
    snapshots: list[SnapshotView]
    jobs: list[int]
