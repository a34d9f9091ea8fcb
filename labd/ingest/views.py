"""What the API answers about ingestions; instants are ISO 8601, `runs` have the fields of an older loader's table."""

from __future__ import annotations

from typing import Any

import msgspec

from labd.clock import iso
from labd.engine.job import JobView
from labd.ingest.definition import Column, Definition
from labd.ingest.port import FileFault, FileReport, SchemaChange
from labd.ingest.record import Counts, FileCounts, FileMark, LedgerFile, Record, Run, RunError, SchemaVersion


class IngestionView(msgspec.Struct):
    """One ingestion; `waits` are schema changes that a person must allow, `files` counts by state."""

    id: str
    name: str
    status: str
    origin: str
    definition: Definition
    destination: str
    created_at: str | None
    created_by: str
    updated_at: str | None
    next_run_at: str | None
    last_run_id: int | None
    going_run_id: int | None
    schema_version: int
    columns: list[Column]
    exactly_once: bool
    last_new_file_at: str | None
    files: dict[FileMark, FileCounts]
    waits: str
    simulated: bool


class RunView(msgspec.Struct):
    """One run. `files_processed` are those whose content is in the table, `files_failed` those that a person should
    look at; `records` are rows that went in, `counts` has all figures.
    """

    id: int
    ingestion_id: str
    ingestion: str
    status: str
    trigger: str
    started_at: str | None
    ended_at: str | None
    duration_s: float | None
    files_discovered: int
    files_processed: int
    files_failed: int
    records: int
    rescued: int
    bytes_read: int
    bytes_written: int
    error_count: int
    errors: list[RunError]
    counts: Counts
    denied: list[tuple[str, str]]
    seconds: dict[str, float]
    full: bool
    by: str
    job_id: int | None
    simulated: bool


class FileView(msgspec.Struct):
    """One file of the ledger; `path` is below the source's URL."""

    path: str
    state: FileMark
    version: str
    size_bytes: int
    modified_at: str | None
    seen_at: str | None
    loaded_at: str | None
    rows: int
    rescued: int
    duration_s: float
    attempts: int
    run: int | None
    batch: int | None
    sha256: str | None
    fault: FileFault | None


class SchemaVersionView(msgspec.Struct):
    """Columns of the table since a run, and what brought them."""

    version: int
    columns: list[Column]
    changes: list[SchemaChange]
    run: int
    path: str
    at: str | None


class SchemaView(msgspec.Struct):
    """The columns as they are, all versions, newest first, and changes that wait for a person."""

    ingestion: str
    columns: list[Column]
    versions: list[SchemaVersionView]
    waits: list[SchemaChange]


class ListedFile(msgspec.Struct):
    """A file of the source, and what the ledger says of this version: `new`, `changed`, or its state."""

    path: str
    size_bytes: int
    modified_at: str | None
    state: str


class Estimate(msgspec.Struct):
    """What a run would do. `seconds` is a guess by `basis`; `runs_per_month` of its schedule, in 30 days."""

    ingestion: str
    listed: int
    unsettled: int
    files: int
    size_bytes: int
    new: int
    changed: int
    batches: int
    seconds: float
    basis: str
    denied: list[tuple[str, str]] = []
    runs_per_month: int | None = None


class Preview(msgspec.Struct):
    """Rows as a run would load them; nothing was written."""

    ingestion: str
    columns: list[Column]
    rows: list[list[Any]]
    files: list[FileReport]
    changes: list[SchemaChange]
    listed: int


class Operation(msgspec.Struct):
    """One step of what was asked for; `done` is None where nothing was done yet."""

    operation: str
    detail: str
    done: bool | None = None


class Refresh(msgspec.Struct):
    """What a refresh does, or would do."""

    ingestion: str
    mode: str
    dry_run: bool
    operations: list[Operation]
    files: int
    size_bytes: int
    seconds: float
    basis: str
    warnings: list[str]
    job: JobView | None = None


class Backfill(msgspec.Struct):
    """Files of a span of time: `files` is what would be loaded, the first of them; `loaded` were in already."""

    ingestion: str
    dry_run: bool
    listed: int
    matching: int
    loaded: int
    count: int
    size_bytes: int
    files: list[ListedFile]
    job: JobView | None = None


class Retried(msgspec.Struct):
    """How many files the next run takes again, and its job."""

    ingestion: str
    files: int
    job: JobView | None = None


class Deleted(msgspec.Struct):
    """What is out of service; `job` drops its table, where that was asked for twice."""

    ingestion: str
    id: str
    table: str
    table_kept: bool
    job: JobView | None = None


class Imported(msgspec.Struct):
    """What became of one definition: `created`, `would_create`, `there` (taken before), `waits` (for the settings) or
    `left_out`. `files` is how many the older loader has taken in.
    """

    name: str
    verdict: str
    reason: str = ""
    notes: list[str] = []
    key: str = ""
    id: str | None = None
    status: str | None = None
    destination: str | None = None
    credentials: str | None = None
    files: int | None = None


class Needed(msgspec.Struct):
    """A table of the settings that imported ingestions name; `toml` is what to fill in."""

    name: str
    secrets: list[str]
    ingestions: list[str]
    is_set: bool
    toml: str


class ImportAnswer(msgspec.Struct):
    """Each definition of the document, and what the settings must have for them."""

    dry_run: bool
    ingestions: list[Imported]
    credentials: list[Needed]
    catalogs: list[str]


def run_view(record: Record, run: Run) -> RunView:
    """A run as on the wire."""
    counts, body = run.counts, run.body
    took_s = None if run.ended_at is None else round(run.ended_at - run.started_at, 6)
    return RunView(
        id=run.id, ingestion_id=record.id, ingestion=record.name, status=run.state.value, trigger=run.trigger,
        started_at=iso(run.started_at), ended_at=iso(run.ended_at), duration_s=took_s, files_discovered=counts.found,
        files_processed=counts.good, files_failed=counts.bad, records=counts.rows, rescued=counts.rescued,
        bytes_read=counts.bytes_in, bytes_written=counts.bytes_out, error_count=len(body.errors) + body.more_errors,
        errors=body.errors, counts=counts, denied=body.denied, seconds=body.seconds, full=body.full, by=body.by,
        job_id=run.job_id, simulated=body.simulated,
    )  # fmt: skip


def file_view(file: LedgerFile) -> FileView:
    """A file as on the wire."""
    return FileView(
        path=file.path, state=file.state, version=file.version, size_bytes=file.size_bytes,
        modified_at=iso(file.modified_at), seen_at=iso(file.seen_at), loaded_at=iso(file.loaded_at), rows=file.rows,
        rescued=file.rescued, duration_s=file.duration_s, attempts=file.attempts, run=file.run, batch=file.batch,
        sha256=file.sha256, fault=file.fault,
    )  # fmt: skip


def schema_view(version: SchemaVersion) -> SchemaVersionView:
    """A version as on the wire."""
    return SchemaVersionView(
        version.version, version.columns, version.changes, version.run, version.path, iso(version.at)
    )
