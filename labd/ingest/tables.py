"""Rows of the ledger's tables to values, and values to the JSON text that its statements take."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from labd.ingest.definition import Column
from labd.ingest.port import BatchReport, FileFault, FileRef, FileReport, SchemaChange
from labd.ingest.record import BatchRecord, FileCounts, FileMark, LedgerFile, OldFile, SchemaVersion, Seen, encode

_entry = msgspec.json.Decoder(tuple[str, str, int, float]).decode
entries = msgspec.json.Decoder(list[tuple[str, str, int, float]]).decode
"""Of a page of a listing."""
versions = msgspec.json.Decoder(dict[str, str]).decode
"""Of paths that the ledger knows."""
_fault = msgspec.json.Decoder(FileFault).decode
_report = msgspec.json.Decoder(BatchReport).decode


def seen(row: tuple[Any, ...]) -> Seen:
    """A row of `compare`."""
    listed, version, state, run, batch, sha256, rows, loaded_at, attempts = row
    path, new_version, size_bytes, modified_at = _entry(listed)
    if version is None:
        return Seen(path, new_version, size_bytes, modified_at)
    old = OldFile(version, FileMark(state), run, batch, sha256, rows, loaded_at, attempts)
    return Seen(path, new_version, size_bytes, modified_at, old)


def waiting(row: tuple[Any, ...]) -> Seen:
    """A row of `waiting`."""
    path, version, size_bytes, modified_at, state, run, batch, sha256, rows, loaded_at, attempts = row
    old = OldFile(version, FileMark(state), run, batch, sha256, rows, loaded_at, attempts)
    return Seen(path, version, size_bytes, modified_at, old)


def ledger_file(row: tuple[Any, ...]) -> LedgerFile:
    """A row of `files`."""
    path, version, state, *rest, fault = row
    fields = (path, version, FileMark(state), *rest, None if fault is None else _fault(fault))
    return LedgerFile(*fields)


def batch(row: tuple[Any, ...]) -> BatchRecord:
    """A row of `batches`."""
    approved = msgspec.json.decode(row[11], type=list[str])
    fields = (*row[:11], approved, None if row[12] is None else _report(row[12]))
    return BatchRecord(*fields)


def composition(refs: Iterable[FileRef]) -> str:
    """Files of a batch as they are kept."""
    return encode([
        (ref.path, ref.version, ref.size_bytes, ref.modified_at, ref.policy, ref.known_sha256) for ref in refs
    ])  # fmt: skip


def refs(text: str) -> list[FileRef]:
    """And back."""
    return [FileRef(*fields) for fields in msgspec.json.decode(text)]


def listed(files: Iterable[Seen]) -> str:
    """As a page of a listing has them."""
    return encode([(file.path, file.version, file.size_bytes, file.modified_at) for file in files])


def reports(files: Iterable[FileReport]) -> str:
    """What became of files, for `settle`."""
    return encode([
        (
            file.path, file.version, file.state, file.rows, file.rescued, file.sha256,
            _fault_text(file), file.duration_s,
        ) for file in files
    ])  # fmt: skip


def _fault_text(file: FileReport) -> str | None:
    if file.fault is not None:
        return encode(file.fault)
    if file.state == "quarantined":  # the database wants a reason for every one
        return encode(FileFault("unknown", "the engine gave no reason"))
    return None


def counts(rows: Iterable[tuple[Any, ...]]) -> dict[FileMark, FileCounts]:
    """Rows of `counts`."""
    return {FileMark(state): FileCounts(files, count, size) for state, files, count, size in rows}


def schema(row: tuple[Any, ...]) -> SchemaVersion:
    """A row of `schemas`."""
    version, columns, changes, run, number, path, at = row
    return SchemaVersion(
        version, msgspec.json.decode(columns, type=list[Column]),
        msgspec.json.decode(changes, type=list[SchemaChange]), run, number, path, at,
    )  # fmt: skip
