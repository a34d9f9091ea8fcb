"""Reads the files of a batch, each whole or not at all, and gives their rows to whoever takes them.

Why files are opened some at a time: a new table's columns are those of the first files together, not of the first one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from labd import progress
from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_files import Fetched
from labd.ingest.remote_formats import Content, OpenFile, open_file
from labd.ingest.remote_plan import Plan
from labd.ingest.remote_sources import fetch_all, open_source, url_of

Json = dict[str, Any]
MIB = 2**20
WINDOW_FILES = 200
WINDOW_BYTES = 16 * MIB
OPEN_SHARE = 16
"""The first open file of a window may take this part of the memory, the second half of it, the third a third."""
SMALLEST_SHARE = MIB // 4
TOLD_EVERY_S = 0.5


@dataclass(frozen=True)
class Origin:
    """What labd's columns say of the rows of one file."""

    url: str
    version: str
    number: int


class Sink(Protocol):
    """Where rows go."""

    def take(self, batches: Iterator[pa.RecordBatch], origin: Origin | None, check: Callable[[], None]) -> None:
        """All rows of a file or none: `batches` and, after the last, `check` may raise `FileFault`."""
        ...

    def is_full(self) -> bool:
        """No more files are wanted."""
        ...


@dataclass
class _Waiting:
    """An open file whose rows have not been read yet."""

    file: Json
    fetched: Fetched
    opened: OpenFile
    spent_s: float


class BatchReader:
    """The files of one batch; see `labd.ingest.port.Batch`."""

    def __init__(self, batch: Json, plan: Plan, scratch: Path, memory_bytes: int) -> None:
        self._batch = batch
        self._plan = plan
        self._scratch = scratch
        self._memory_bytes = memory_bytes
        self._reports: dict[str, Json] = {}

    def read(self, sink: Sink) -> list[Json]:
        """Read them all; their reports (`port.FileReport`) in the batch's order.

        Raises:
            Refusal: The source as a whole, or the rule for columns, refuses.
        """
        files: list[Json] = list(self._batch["files"])
        window: list[_Waiting] = []
        window_bytes = 0
        told_at = time.monotonic()
        source = open_source(self._batch["source"])
        for done, fetched in enumerate(fetch_all(source, files, str(self._scratch)), 1):
            share = self._memory_bytes // OPEN_SHARE // (1 + len(window))
            waiting = self._open(files[done - 1], fetched, share)
            if waiting is not None:
                window.append(waiting)
                window_bytes += fetched.size_bytes
            if len(window) >= WINDOW_FILES or window_bytes >= WINDOW_BYTES:
                self._read_window(window, sink)
                window, window_bytes = [], 0
            if time.monotonic() - told_at > TOLD_EVERY_S:
                told_at = time.monotonic()
                progress(done, len(files), fetched.path)
            if sink.is_full():
                break
        self._read_window(window, sink)
        return [self._reports[file["path"]] for file in files if file["path"] in self._reports]

    def _open(self, file: Json, fetched: Fetched, memory_bytes: int) -> _Waiting | None:
        began = time.monotonic()
        if fetched.state != "ready":
            state = "quarantined" if fetched.state == "denied" else fetched.state
            self._settle(file, fetched, began, state, {"code": fetched.state, "message": fetched.message, "place": ""})
            return None
        if file.get("known_sha256") and fetched.sha256 == file["known_sha256"]:
            self._settle(file, fetched, began, "same")
            fetched.close()
            return None
        try:
            opened = open_file(
                Content(file["path"], path=fetched.file, data=fetched.data), self._batch["format"],
                self._batch["schema"], self._plan.known, scratch=self._scratch,
                memory_bytes=max(memory_bytes, SMALLEST_SHARE),
            )  # fmt: skip
        except FileFault as fault:
            self._settle(file, fetched, began, "quarantined", fault.to_wire())
            fetched.close()
            return None
        return _Waiting(file, fetched, opened, time.monotonic() - began)

    def _read_window(self, window: list[_Waiting], sink: Sink) -> None:
        try:
            if window:
                self._plan.take([(one.file["path"], one.opened.columns) for one in window])
            for one in window:
                if not self._plan.pending:  # else nothing goes in, and only the columns of the others are looked at
                    self._read_file(one, sink)
        finally:
            for one in window:
                one.opened.close()
                one.fetched.close()

    def _read_file(self, one: _Waiting, sink: Sink) -> None:
        began = time.monotonic() - one.spent_s
        origin = None
        if self._batch["provenance"]:
            url = url_of(self._batch["source"], one.file["path"])
            origin = Origin(url, str(one.file["version"]), int(self._batch["number"]))

        def check() -> None:
            state = one.fetched.check()
            if state != "ready":
                raise FileFault(state, "it was replaced, written to or removed while it was read")

        try:
            sink.take(one.opened.batches(self._plan.columns), origin, check)
        except FileFault as fault:
            state = fault.code if fault.code in ("changed", "vanished") else "quarantined"
            self._settle(one.file, one.fetched, began, state, fault.to_wire())
            return
        self._settle(one.file, one.fetched, began, "loaded", None, one.opened.rows, one.opened.rescued)

    def _settle(
        self, file: Json, fetched: Fetched, began: float, state: str, fault: Json | None = None, rows: int = 0,
        rescued: int = 0,
    ) -> None:  # fmt: skip
        self._reports[file["path"]] = {
            "path": file["path"], "version": file["version"], "state": state, "rows": rows, "rescued": rescued,
            "size_bytes": fetched.size_bytes, "sha256": fetched.sha256, "fault": fault,
            "duration_s": round(time.monotonic() - began, 6),
        }  # fmt: skip
