"""Iceberg catalogues and tables: found, made with namespace and partitions, described, dropped.

Why `DurableCatalog`: a commit to a catalogue in a file is a row of SQLite, which is synced, that points to files, which
nobody syncs; after a power cut the row could name a file that is empty. So those of a local table are synced before.
The row itself: SQLite commits by deleting its journal, and syncs the folder after that only with `synchronous = EXTRA`.
Without it the journal may be back after a power cut, and SQLite takes the commit back that labd has counted as done
(sqlite.org, "PRAGMA synchronous").
Why a deadline on every request: PyIceberg asks a REST catalogue without one, and a silent server would hold a run.
"""

from __future__ import annotations

import json
import os
import re
import urllib.parse
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg import transforms
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NoSuchNamespaceError,
    NoSuchTableError,
    TableAlreadyExistsError,
    UnauthorizedError,
)
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.types import IcebergType, ListType, MapType, StructType
from requests.adapters import HTTPAdapter
from sqlalchemy import event

from labd.ingest.remote_refusal import Refusal

Json = dict[str, Any]
FILE, VERSION, BATCH, RESCUED = "_labd_file", "_labd_version", "_labd_batch", "_rescued_data"
OWN_COLUMNS = (FILE, VERSION, BATCH, RESCUED)
REQUEST_S = 30.0
METRICS = "write.metadata.metrics.column."
MADE_WITH = {
    "format-version": "2",
    "commit.manifest-merge.enabled": "true",  # thousands of small commits do not leave thousands of manifests
    "commit.manifest.min-count-to-merge": "30",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "100",
    "write.parquet.compression-codec": "zstd",
    f"{METRICS}{FILE}": "full",  # cut short, all URLs of a source would be the same to a filter
    f"{METRICS}{VERSION}": "counts",
    f"{METRICS}{RESCUED}": "counts",
}
PARTITION = re.compile(
    r"(?:(identity|years?|months?|days?|hours?|bucket|truncate)\s*\((?:\s*(\d+)\s*,)?\s*([^(),]+?)\s*\)|([^(),]+))"
)
_catalogs: dict[str, Catalog] = {}


class DurableCatalog(SqlCatalog):
    """A catalogue in a database, whose tables' files are synced before the row that names them is committed."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _sync_all)
            self.engine.dispose()  # of the connection that came before

    @staticmethod
    def _write_metadata(metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:
        SqlCatalog._write_metadata(metadata, io, metadata_path)
        sync_files([metadata_path])


class _Patient(HTTPAdapter):
    def send(self, *args: Any, **options: Any) -> Any:
        options["timeout"] = options.get("timeout") or REQUEST_S
        return super().send(*args, **options)


def _sync_all(connection: Any, _: object) -> None:
    """See the head of this module."""
    connection.execute("PRAGMA synchronous = EXTRA")


def sync_files(locations: Iterable[str]) -> None:
    """Bring files of a local table to the disk, and their names; others are the object store's matter."""
    folders = set()
    for location in locations:
        path = local_path(location)
        if path is not None:
            _sync(path)
            folders.add(str(Path(path).parent))
    for folder in folders:
        _sync(folder)


def local_path(location: str) -> str | None:
    """The path of `file:///...` or `/...`; None if it is anywhere else."""
    if location.startswith("file:"):
        return urllib.request.url2pathname(urllib.parse.urlparse(location).path)
    return location if location.startswith("/") else None


def _sync(path: str) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def catalog_of(access: Json) -> Catalog:
    """The catalogue, kept for the next call; `access` has the shape of `port.CatalogAccess`."""
    key = json.dumps(access, sort_keys=True)
    found = _catalogs.get(key)
    if found is None:
        properties = {**access.get("properties", {}), **access.get("secrets", {})}
        name = str(access["name"])
        if properties.get("type") == "sql":
            found = DurableCatalog(name, **properties)
        else:
            found = load_catalog(name, **properties)
            session = getattr(found, "_session", None)
            if session is not None:
                session.mount("http://", _Patient())
                session.mount("https://", _Patient())
        _catalogs[key] = found
    return found


def forget_catalogs() -> None:
    """Open each of them anew at its next use: a connection whose disk has failed once may never work again."""
    for catalog in _catalogs.values():
        if isinstance(catalog, SqlCatalog):
            catalog.engine.dispose()
    _catalogs.clear()


def identifier(table: Json) -> tuple[str, ...]:
    """Namespace levels and name."""
    return (*str(table["namespace"]).split("."), str(table["table"]))


def full_name(table: Json) -> str:
    """For messages, such as `default.lab.readings`."""
    return f"{table['catalog']['name']}.{table['namespace']}.{table['table']}"


def find_table(table: Json) -> Table | None:
    """The table as it is now; None if there is none."""
    try:
        return catalog_of(table["catalog"]).load_table(identifier(table))
    except (NoSuchTableError, NoSuchNamespaceError):
        return None
    except (UnauthorizedError, ForbiddenError) as fault:
        raise Refusal("table_refused", f"{full_name(table)}: the catalogue refuses: {fault}") from fault


def make_table(table: Json, columns: pa.Schema) -> Table | None:
    """Make a table with its namespace; None where somebody else has made it meanwhile."""
    catalog, name = catalog_of(table["catalog"]), identifier(table)
    for depth in range(1, len(name)):
        try:
            catalog.create_namespace_if_not_exists(name[:depth])
        except NamespaceAlreadyExistsError:
            continue
    schema = assign_fresh_schema_ids(Catalog._convert_schema_if_needed(columns))
    spec = partition_spec(table, schema)
    try:
        return catalog.create_table(name, schema, partition_spec=spec, properties=made_with(schema.column_names))
    except TableAlreadyExistsError:
        return None


def made_with(columns: Iterable[str]) -> dict[str, str]:
    """Properties of a new table; Iceberg in Java refuses one that measures a column which the table has not."""
    there = set(columns)
    return {key: text for key, text in MADE_WITH.items() if not key.startswith(METRICS) or key[len(METRICS) :] in there}


def partition_spec(table: Json, schema: Schema) -> PartitionSpec:
    """Read `partition_by`: `region`, `days(ts)`, `bucket(16, id)`, `truncate(4, name)`."""
    fields = []
    for number, text in enumerate(table.get("partition_by", ()), 1000):
        parts = PARTITION.fullmatch(str(text).strip())
        kind, width, column = ("", None, "") if parts is None else (parts[1], parts[2], parts[3] or parts[4])
        what = f"{full_name(table)}: partition_by {text!r}"
        if parts is None or (kind in ("bucket", "truncate")) != (width is not None):
            raise Refusal(
                "table_refused", f"{what} is not known; say column, years(c), months(c), days(c), hours(c), "
                "bucket(16, c) or truncate(4, c)"
            )  # fmt: skip
        try:
            field = schema.find_field(column.strip())
        except ValueError:
            known = ", ".join(schema.column_names)
            raise Refusal("table_refused", f"{what} names no column of the table; it has {known}") from None
        transform, ending = _transform(kind or "identity", int(width or 0))
        if not transform.can_transform(field.field_type):
            raise Refusal("table_refused", f"{what} does not work on a {words_of(field.field_type)}")
        name = field.name if ending is None else f"{field.name}_{ending}"
        fields.append(PartitionField(source_id=field.field_id, field_id=number, transform=transform, name=name))
    return PartitionSpec(*fields)


def _transform(kind: str, width: int) -> tuple[Any, str | None]:
    """The transform and how Spark ends the field's name."""
    if kind in ("bucket", "truncate"):
        return (transforms.BucketTransform(width), "bucket") if kind == "bucket" else (
            transforms.TruncateTransform(width), "trunc")  # fmt: skip
    made = {
        "year": transforms.YearTransform, "month": transforms.MonthTransform,
        "day": transforms.DayTransform, "hour": transforms.HourTransform,
    }.get(kind.rstrip("s"))  # fmt: skip
    return (transforms.IdentityTransform(), None) if made is None else (made(), kind.rstrip("s"))


def arrow_schema(schema: Schema) -> pa.Schema:
    """The table's columns as Arrow has them, with field ids for Parquet."""
    return schema_to_pyarrow(schema)


def user_columns(schema: Schema) -> list[Json]:
    """All columns but labd's own, as `port.Column`."""
    return [
        {"name": field.name, "type": words_of(field.field_type)}
        for field in schema.fields
        if field.name not in OWN_COLUMNS
    ]


def words_of(kind: IcebergType) -> str:
    """A type in Iceberg's words, without field ids: `struct<a: long, b: list<string>>`."""
    if isinstance(kind, StructType):
        return "struct<" + ", ".join(f"{one.name}: {words_of(one.field_type)}" for one in kind.fields) + ">"
    if isinstance(kind, ListType):
        return f"list<{words_of(kind.element_type)}>"
    if isinstance(kind, MapType):
        return f"map<{words_of(kind.key_type)}, {words_of(kind.value_type)}>"
    return str(kind)


def drop_table(table: Json) -> bool:
    """Drop a table with its files; False if there was none."""
    catalog = catalog_of(table["catalog"])
    found = find_table(table)
    if found is None:
        return False
    catalog.purge_table(identifier(table))
    return True
