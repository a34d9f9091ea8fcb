"""What runs on the cluster's workers: reads files with the same readers as the arrow engine, each whole or not at all.

Why not Spark's own readers: they know neither a line's number nor fields without a column, tell of a broken file by
failing all of the read, and cannot be held to the version that was listed. Files are spread over the cluster; one file
is read by one worker. The workers need Python 3.11, pyarrow, and for object stores obstore; the readers come from here.

A file's last row is its report: all columns null but the file's URL and the report as JSON text in `_labd_told`.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
TOLD = "_labd_told"
TASK = "task"


def looker(source: Json, format_: Json, rule: Json, table: list[Json] | None) -> Callable[[Any], Iterator[Any]]:
    """For `mapInArrow`: the columns of every file, as one JSON text a file."""

    def look(tasks: Iterator[Any]) -> Iterator[Any]:
        import pyarrow as pa

        for file in _files(tasks):
            begun = time.monotonic()
            try:
                found = _look(source, format_, rule, table, file)
            except Exception as raised:  # noqa: BLE001 one file's fault is told, the others go on
                found = _fault(raised)
            told = {"path": file["path"], **found, "duration_s": time.monotonic() - begun}
            yield pa.record_batch([pa.array([json.dumps(told)])], [TOLD])

    return look


def reader(source: Json, format_: Json, rule: Json, columns: list[Json], number: int) -> Callable[[Any], Iterator[Any]]:
    """For `mapInArrow`: the rows of every file, and its report."""

    def read(tasks: Iterator[Any]) -> Iterator[Any]:
        from labd.ingest.remote_sources import url_of

        schema = _schema(columns)
        for file in _files(tasks):
            url = url_of(source, file["path"])
            counts = {"rows": 0, "rescued": 0}
            begun = time.monotonic()
            fault: Json | None = None
            try:
                for batch in _rows(source, format_, rule, columns, file, counts):
                    yield _whole(schema, batch, url, file["version"], number, None)
            except Exception as raised:  # noqa: BLE001 one file's fault is told, the others go on
                fault = _fault(raised)
            told = {"path": file["path"], "version": file["version"], "state": "loaded", **counts, **(fault or {})}
            told["duration_s"] = time.monotonic() - begun
            yield _whole(schema, None, url, file["version"], number, json.dumps(told))

    return read


class _Left(Exception):
    """A file that is not read; carries what its report says."""

    def __init__(self, told: Json) -> None:
        super().__init__(told["state"])
        self.told = told


def _files(tasks: Iterator[Any]) -> Iterator[Json]:
    for batch in tasks:
        for text in batch.column(0).to_pylist():
            yield json.loads(text)


def _fault(raised: Exception) -> Json:
    from labd.ingest.remote_faults import FileFault

    if isinstance(raised, _Left):
        return raised.told
    if isinstance(raised, Refusal):
        return {"state": "refused", "refusal": raised.code, "text": raised.text, "details": raised.details}
    if isinstance(raised, FileFault):
        return {"state": "quarantined", "fault": raised.to_wire()}
    message = f"{type(raised).__name__}: {raised}"[:500]
    return {"state": "quarantined", "fault": {"code": "unreadable", "message": message, "place": ""}}


def _look(source: Json, format_: Json, rule: Json, table: list[Json] | None, file: Json) -> Json:
    from labd.ingest.remote_formats import open_file

    with tempfile.TemporaryDirectory(prefix="labd-read-") as folder:
        fetched, facts, content = _fetch(source, file, folder)
        try:
            with open_file(content, format_, rule, table, scratch=_scratch(folder)) as opened:
                found = {"state": "loaded", "columns": opened.columns, "untyped": opened.untyped, **facts}
            _check(fetched, facts)
            return found
        finally:
            fetched.close()


def _rows(
    source: Json, format_: Json, rule: Json, columns: list[Json], file: Json, counts: dict[str, Any]
) -> Iterator[Any]:
    from labd.ingest.remote_formats import open_file

    with tempfile.TemporaryDirectory(prefix="labd-read-") as folder:
        fetched, facts, content = _fetch(source, file, folder)
        counts |= facts
        try:
            with open_file(content, format_, rule, columns, scratch=_scratch(folder)) as opened:
                for batch in opened.batches(columns):
                    if batch.num_rows:
                        yield batch
                counts |= {"rows": opened.rows, "rescued": opened.rescued}
            _check(fetched, facts)
        finally:
            fetched.close()


def _fetch(source: Json, file: Json, folder: str) -> tuple[Any, Json, Any]:
    """The listed version of a file.

    Raises:
        _Left: It is not there, may not be read, or is the same that was loaded before.
    """
    from labd.ingest.remote_formats import Content
    from labd.ingest.remote_sources import open_source

    fetched = open_source(source).fetch(file, folder)
    facts = {"size_bytes": fetched.size_bytes, "sha256": fetched.sha256}
    if fetched.state == "denied":
        raise _Left({"state": "quarantined", "fault": {"code": "denied", "message": fetched.message, "place": ""}})
    if fetched.state != "ready":
        raise _Left({"state": fetched.state})
    expected = file.get("seen_sha256")
    if expected and fetched.sha256 != expected:
        fetched.close()
        raise _Left({"state": "changed"})
    if file.get("known_sha256") and fetched.sha256 == file["known_sha256"]:
        fetched.close()
        raise _Left({"state": "same", **facts})
    return fetched, facts, Content(file["path"], fetched.file, fetched.data)


def _check(fetched: Any, facts: Json) -> None:
    state = fetched.check()
    if state != "ready":
        raise _Left({"state": state, **facts})


def _scratch(folder: str) -> Path:
    path = Path(folder) / "scratch"
    path.mkdir()
    return path


def _schema(columns: list[Json]) -> Any:
    from labd.ingest.remote_columns import arrow_schema

    return arrow_schema(columns)


def _whole(schema: Any, batch: Any, url: str, version: str, number: int, told: str | None) -> Any:
    """Rows with where they come from; one row of nothing but that and the report where there is no batch.

    Why always: the report must be told apart by file, and what the table does not have is left out when written.
    """
    import pyarrow as pa

    count = 1 if batch is None else batch.num_rows
    given = [pa.nulls(1, field.type) for field in schema] if batch is None else batch.columns
    names = [*schema.names, "_labd_file", "_labd_version", "_labd_batch", TOLD]
    own = [pa.array([url] * count), pa.array([version] * count), pa.array([number] * count, pa.int64())]
    return pa.record_batch([*given, *own, pa.array([told] * count, pa.string())], names)
