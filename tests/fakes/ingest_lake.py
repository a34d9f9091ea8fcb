"""A lake in memory behind the engine's port: JSON lines of a folder go into tables, a commit a batch, with its token.

It breaks where a test says so: before its commit, after it, or by standing still in the middle.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from labd.errors import ClusterUnreachable, LabdError, QualityRefused, TableRefused
from labd.ingest.definition import Column
from labd.ingest.port import (
    Batch,
    BatchReport,
    FileFault,
    FileRef,
    FileReport,
    FoundFile,
    Page,
    Rows,
    Sample,
    SchemaChange,
    SourceAccess,
    TableFacts,
    TableName,
)


@dataclass
class Table:
    """Rows with the file they came from, and the reports of the commits by token."""

    uuid: str
    columns: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    commits: dict[str, BatchReport] = field(default_factory=dict)


class Lake:
    """Every table, and the engine over them; satisfies `TableEngine` and, with `engine`, the wing's pool.

    Attributes:
        before_commit, after_commit: Faults that the next loads meet there, taken from the front.
        gate: Loads wait for it right before their commit.
    """

    name = "arrow"

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.before_commit: list[LabdError] = []
        self.after_commit: list[LabdError] = []
        self.listing: list[LabdError] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.loads = 0
        self.batches: list[Batch] = []
        self.sources: list[SourceAccess] = []
        self.closed = False

    def engine(self, name: str, memory: str = "default", urgent: bool = False) -> Lake:
        """As the wing's pool."""
        return self

    def values(self, table: str, column: str = "id") -> list[Any]:
        """One column, sorted."""
        return sorted(row.get(column) for _, row in self.tables[table].rows)

    async def list_files(self, source: SourceAccess, cursor: str | None, after: str | None, count: int) -> Page:
        """All files of the folder whose names do not begin with a dot, by path."""
        self.sources.append(source)
        if self.listing:
            raise self.listing.pop(0)
        base = folder_of(source)
        found = []
        for path in sorted(base.rglob("*")):
            name = path.relative_to(base).as_posix()
            if path.is_file() and not path.name.startswith(".") and name > max(after or "", cursor or ""):
                found.append((name, version_of(path), path.stat().st_size, path.stat().st_mtime))
        page = found[:count]
        rest = page[-1][0] if len(found) > count else None
        return Page(json.dumps(page), len(page), rest)

    async def load(self, batch: Batch) -> BatchReport:
        """Read and commit; the same token once."""
        self.loads += 1
        self.batches.append(batch)
        table = self.tables.get(batch.table.table)
        if table is not None and batch.token in table.commits:
            return msgspec.structs.replace(table.commits[batch.token], state="already")
        if batch.expected_uuid is not None and (table is None or table.uuid != batch.expected_uuid):
            raise TableRefused(f"table {batch.table.table} is not the one that was written before")
        reports, rows, columns = _read(batch)
        changes = _changes(batch, table, columns)
        if changes:
            return BatchReport("approval", batch.token, changes=changes)
        loaded = [report for report in reports if report.state == "loaded"]
        limit = batch.quality.max_rescued_percent
        if limit is not None and rows and 100 * sum(r.rescued for r in loaded) / len(rows) > limit:
            raise QualityRefused(f"more than {limit:g} % of the rows were rescued")
        await self.gate.wait()
        if self.before_commit:
            raise self.before_commit.pop(0)
        if not loaded:
            return BatchReport("nothing", batch.token, reports)
        table = self.tables.setdefault(batch.table.table, Table(f"uuid-{batch.table.table}"))
        replaced = {f.path for f in batch.files if f.policy == "replace" and f.path in {r.path for r in loaded}}
        table.rows = [row for row in table.rows if row[0] not in replaced] + rows
        table.columns.update(columns)
        report = BatchReport(
            "committed", batch.token, reports, columns=[Column(*pair) for pair in table.columns.items()],
            rows=len(rows), bytes_in=sum(r.size_bytes for r in loaded), bytes_out=len(rows),
            snapshot_id=len(table.commits) + 1, table_uuid=table.uuid,
        )  # fmt: skip
        table.commits[batch.token] = report
        if self.after_commit:
            raise self.after_commit.pop(0)
        return report

    async def sample(self, batch: Batch, rows: int) -> Sample:
        """The first rows."""
        reports, found, columns = _read(batch)
        values = [[row.get(name) for name in columns] for _, row in found[:rows]]
        return Sample([Column(*pair) for pair in columns.items()], values, reports)

    async def describe(self, table: TableName) -> TableFacts | None:
        """A table as it stands."""
        found = self.tables.get(table.table)
        if found is None:
            return None
        columns = [Column(*pair) for pair in found.columns.items()]
        return TableFacts(found.uuid, "memory:", columns, len(found.rows), None, None, list(found.commits))

    async def find_tokens(self, table: TableName, tokens: list[str]) -> list[str]:
        """Those that are in."""
        found = self.tables.get(table.table)
        return [] if found is None else [token for token in tokens if token in found.commits]

    async def find_commits(self, table: TableName, ingestion: str) -> list[str]:
        """All: a table is written by one ingestion here."""
        found = self.tables.get(table.table)
        return [] if found is None else list(found.commits)

    async def find_files(self, table: TableName, numbers: list[int]) -> list[FoundFile] | None:
        """By the commits' reports; None where the batch was loaded without provenance."""
        batches = {batch.token: batch for batch in self.batches if batch.number in numbers}
        if not all(batch.provenance for batch in batches.values()):
            return None
        commits = self.tables[table.table].commits
        there = {path for path, _ in self.tables[table.table].rows}
        return [
            FoundFile(f"{batch.source.url.rstrip('/')}/{file.path}", file.version, batch.number, file.rows)
            for token, batch in batches.items() if token in commits
            for file in commits[token].files if file.state == "loaded" and file.path in there
        ]  # fmt: skip

    async def query(self, table: TableName, columns: list[str], where: str, limit: int) -> Rows:
        """All columns of the first rows."""
        found = self.tables[table.table]
        rows = [[row.get(name) for name in found.columns] for _, row in found.rows[:limit]]
        return Rows([Column(*pair) for pair in found.columns.items()], rows)

    async def drop(self, table: TableName) -> bool:
        """Forget it."""
        return self.tables.pop(table.table, None) is not None

    def pids(self) -> list[int]:
        """There are no processes."""
        return []

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


def lost() -> ClusterUnreachable:
    """What a call meets whose child was killed."""
    return ClusterUnreachable("ingest engine arrow: its process was ended by SIGKILL during load")


def folder_of(source: SourceAccess) -> Path:
    """The local folder of a URL."""
    return Path(unquote(urlsplit(source.url).path))


def version_of(path: Path) -> str:
    """Size, time and inode."""
    found = path.stat()
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ino}"


def write(path: Path, *rows: Any) -> Path:
    """A file of JSON lines, put there whole; what is text is a line as it stands."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    fresh.replace(path)
    return path


def _read(batch: Batch) -> tuple[list[FileReport], list[tuple[str, dict[str, Any]]], dict[str, str]]:
    reports: list[FileReport] = []
    rows: list[tuple[str, dict[str, Any]]] = []
    columns: dict[str, str] = {}
    for file in batch.files:
        report, found = _read_file(folder_of(batch.source), file)
        reports.append(report)
        rows += [(file.path, row) for row in found]
        for row in found:
            columns.update({name: "string" if isinstance(value, str) else "long" for name, value in row.items()})
    return reports, rows, columns


def _read_file(base: Path, file: FileRef) -> tuple[FileReport, list[dict[str, Any]]]:
    path = base / file.path
    if not path.exists():
        return FileReport(file.path, file.version, "vanished"), []
    if version_of(path) != file.version:
        return FileReport(file.path, file.version, "changed"), []
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    report = FileReport(file.path, file.version, "loaded", size_bytes=len(data), sha256=digest)
    if digest == file.known_sha256:
        report.state = "same"
        return report, []
    try:
        rows = [json.loads(line) for line in data.splitlines()]
    except ValueError as fault:
        report.state, report.fault = "quarantined", FileFault("wrong_format", str(fault), "line 1")
        return report, []
    report.rows = len(rows)
    report.rescued = sum("_rescued_data" in row for row in rows)
    return report, rows


def _changes(batch: Batch, table: Table | None, columns: dict[str, str]) -> list[SchemaChange]:
    if table is None or batch.schema.evolution == "additive-auto":
        return []
    added = [name for name in columns if name not in table.columns]
    if added and batch.schema.evolution == "freeze":
        raise TableRefused(f"column {added[0]} is not in table {batch.table.table}")
    changes = [SchemaChange(f"add {name} {columns[name]}", "add", name, columns[name]) for name in added]
    return [change for change in changes if change.key not in batch.approved]
