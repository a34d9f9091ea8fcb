"""Footers of parquet files: rows, columns and their types, without reading a row; and a writer for demo data.

Why here and nowhere else in the daemon: pyarrow takes a second and 60 MiB to import, so it is imported when the first
footer is read, and a host that loads no snapshots never does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


class Unreadable(Exception):
    """A file that is no whole parquet file; the text says why."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file says of itself.

    Args:
        columns: Name -> Arrow type as text, in the order of the file.
        keys: Columns that can identify a node: whole numbers or text.
        texts: Columns of text, whatever their encoding.
        text_lists: Columns of lists of text.
    """

    rows: int
    size_bytes: int
    columns: Mapping[str, str]
    keys: frozenset[str]
    texts: frozenset[str]
    text_lists: frozenset[str]


def footer(path: Path) -> Footer:
    """Read the footer of one file; blocks.

    Raises:
        Unreadable: It is cut short, damaged, encrypted, or cannot be opened; or two columns share a name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        size_bytes = path.stat().st_size
        with pq.ParquetFile(path) as file:
            rows, schema = file.metadata.num_rows, file.schema_arrow
    except (pa.ArrowException, OSError) as fault:
        raise Unreadable(_reason(fault)) from fault
    if rows < 0:
        raise Unreadable(f"its footer claims {rows} rows")
    columns = {field.name: str(field.type) for field in schema}
    if len(columns) < len(schema):
        twice = next(name for name in columns if schema.names.count(name) > 1)
        raise Unreadable(f"two columns are called {twice!r}")
    texts = frozenset(field.name for field in schema if _is_text(field.type))
    return Footer(
        rows=rows,
        size_bytes=size_bytes,
        columns=columns,
        keys=texts | {field.name for field in schema if pa.types.is_integer(field.type)},
        texts=texts,
        text_lists=frozenset(
            field.name
            for field in schema
            if (pa.types.is_list(field.type) or pa.types.is_large_list(field.type)) and _is_text(field.type.value_type)
        ),
    )


class Writer:
    """One parquet file, written some rows at a time.

    Args:
        columns: Name -> `text`, `list of text`, or Arrow's own name of a type.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        text = {"text": pa.string(), "list of text": pa.list_(pa.string())}
        self._table_of = pa.table
        self._schema = pa.schema([(name, text.get(kind) or pa.type_for_alias(kind)) for name, kind in columns.items()])
        self._file = pq.ParquetWriter(path, self._schema)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, columns: Sequence[Sequence[Any]]) -> None:
        """Rows, column by column."""
        self._file.write_table(self._table_of([list(column) for column in columns], schema=self._schema))


def package_fault() -> str | None:
    """Why parquet files cannot be read on this host, None if they can."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as fault:
        return f"pyarrow is missing ({fault}); pip install 'labd[graph]'"
    return None


def _is_text(kind: Any) -> bool:
    """Text in one of Arrow's ways of holding it."""
    from pyarrow import types

    if types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _reason(fault: Exception) -> str:
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return str(fault).splitlines()[0][:200]
