"""What Neo4j takes of a snapshot's parquet files: names and types of its columns, row group by row group.

Why types are made alike here and not left to the server: its Arrow import knows `string` and not `large_string`, 64-bit
numbers and no others, and says nothing of dictionaries; what it is not told to hold it answers with an internal error
after an hour. So whole numbers become int64, floats double, text `string`; what Neo4j has no property type for
(decimals, structs, maps, bytes) is refused by name before anything is made.
Source: Neo4j Graph Data Science manual, "Projecting graphs using Apache Arrow", tables of columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyarrow import types

from labd.errors import DatasetRefused
from labd.snapshots.port import Dataset, Kind, Table

IdType = Literal["INTEGER", "STRING"]
ARROW_ROLES: Mapping[Kind, Mapping[str, str]] = {
    "node": {"id": "nodeId", "labels": "labels"},
    "relationship": {"source": "sourceNodeId", "target": "targetNodeId", "type": "relationshipType"},
}
ENDS = ("id", "source", "target")
ID_PROPERTY = "__originalId__"  # the manual's; told always, because clients' texts name another
READ_AHEAD_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work for one stream: one row group."""

    table: Table
    file: Path
    row_group: int
    rows: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How a dataset is sent.

    Args:
        id_property: Under which every node keeps its id: the name of the id columns where all have the same.
    """

    id_type: IdType
    id_property: str
    nodes: Sequence[Unit]
    relationships: Sequence[Unit]


def plan(dataset: Dataset) -> Plan:
    """Read all footers; blocks.

    Raises:
        DatasetRefused: There is no node, a column has a type that Neo4j has not, or two id columns are not of one kind.
    """
    if not any(table.kind == "node" for table in dataset.tables):
        raise DatasetRefused("the snapshot holds no table of nodes; nothing could be loaded")
    names = {table.roles["id"] for table in dataset.tables if table.kind == "node"}
    id_property = names.pop() if len(names) == 1 else ID_PROPERTY
    found: dict[IdType, str] = {}
    units: dict[Kind, list[Unit]] = {"node": [], "relationship": []}
    for table in dataset.tables:
        for path in table.files:
            try:
                with pq.ParquetFile(path) as file:
                    schema, footer = file.schema_arrow, file.metadata
            except (pa.ArrowException, OSError) as fault:
                raise DatasetRefused(f"{path}: {_first(fault)}; write the file again", file=str(path)) from fault
            for role in ENDS:
                if role in table.roles:
                    found.setdefault(_id_type(table, schema, role), f"{_place(table)}.{table.roles[role]}")
            Shape(table, schema, id_property)
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                if group.num_rows:
                    unit = Unit(table, path, number, group.num_rows, group.total_byte_size)
                    units[table.kind].append(unit)
    if len(found) > 1:
        raise DatasetRefused(
            f"ids are whole numbers in {found['INTEGER']} and text in {found['STRING']}; Neo4j takes one kind, "
            "write them all as the same"
        )
    return Plan(next(iter(found), "INTEGER"), id_property, units["node"], units["relationship"])


class Shape:
    """The columns of one file, and what they are called and cast to on the way.

    Raises:
        DatasetRefused: See `plan`.
    """

    def __init__(self, table: Table, schema: Any, id_property: str) -> None:
        self.table = table
        roles = {column: role for role, column in table.roles.items()}
        reserved = {*ARROW_ROLES[table.kind].values(), *({id_property} if table.kind == "node" else set())}
        self._parts: list[tuple[str, str, Any, bool]] = []
        for field in schema:
            role = roles.get(field.name)
            if role is None and field.name in reserved:
                raise DatasetRefused(
                    f"{_place(table)}: a property cannot be called {field.name!r}, the import needs that; rename it",
                    table=table.name, column=field.name,
                )  # fmt: skip
            name = ARROW_ROLES[table.kind][role] if role is not None else field.name
            self._parts.append((field.name, name, _goal(table, field.name, field.type), role is not None))
        self._named = table.name if table.kind == "relationship" and "type" not in table.roles else None
        self.common_labels = [table.name] if table.kind == "node" and "labels" not in table.roles else []
        fields = [pa.field(name, goal) for _, name, goal, _ in self._parts]
        if self._named is not None:
            fields.append(pa.field("relationshipType", pa.string()))
        self.schema = pa.schema(fields)
        self.columns = [column for column, *_ in self._parts]

    def make(self, batch: Any) -> Any:
        """The batch as Neo4j takes it.

        Raises:
            DatasetRefused: An id is missing or negative, a value does not fit.
        """
        columns = []
        for place, (column, name, goal, is_role) in enumerate(self._parts):
            values = batch.column(place)
            if is_role and values.null_count:
                raise DatasetRefused(
                    f"{_place(self.table)}: {column} is empty in {values.null_count} of {len(values)} rows; "
                    "every row needs one", table=self.table.name, column=column,
                )  # fmt: skip
            if values.type != goal:
                try:
                    values = pc.cast(values, goal)
                except pa.ArrowException as fault:
                    raise DatasetRefused(
                        f"{_place(self.table)}: {column} does not fit {goal}: {_first(fault)}",
                        table=self.table.name, column=column,
                    ) from fault  # fmt: skip
            if name == "nodeId" and types.is_int64(goal) and len(values) and (least := pc.min(values).as_py()) < 0:
                raise DatasetRefused(
                    f"{_place(self.table)}: {column} is {least}; Neo4j takes ids from 0 on", table=self.table.name,
                    column=column,
                )  # fmt: skip
            columns.append(values)
        if self._named is not None:
            columns.append(pa.repeat(pa.scalar(self._named, pa.string()), len(batch)))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def batches(unit: Unit, id_property: str, rows: int) -> Iterator[tuple[Shape, Any]]:
    """The batches of one row group, with their shape; holds one batch and what parquet decodes of it."""
    with pq.ParquetFile(unit.file, pre_buffer=False, buffer_size=READ_AHEAD_BYTES) as file:
        shape = Shape(unit.table, file.schema_arrow, id_property)
        for batch in file.iter_batches(rows, row_groups=[unit.row_group], use_threads=False):
            yield shape, shape.make(batch.select(shape.columns))


def _id_type(table: Table, schema: Any, role: str) -> IdType:
    kind = _plain_type(schema.field(table.roles[role]).type)
    if types.is_integer(kind):
        return "INTEGER"
    if types.is_string(kind):
        return "STRING"
    raise DatasetRefused(
        f"{_place(table)}: {table.roles[role]} is {kind}; ids are whole numbers or text", table=table.name,
        column=table.roles[role],
    )  # fmt: skip


def _goal(table: Table, column: str, kind: Any) -> Any:
    found = _plain_type(kind)
    if found is None:
        raise DatasetRefused(
            f"{_place(table)}: {column} is {kind}, for which Neo4j has no property type; write it as text or numbers",
            table=table.name, column=column,
        )  # fmt: skip
    return found


def _plain_type(kind: Any) -> Any:
    """The type that Neo4j takes for one of Arrow's; None for none."""
    if types.is_dictionary(kind):
        return _plain_type(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return pa.string()
    if types.is_integer(kind):
        return pa.int64()
    if types.is_floating(kind):
        return pa.float64()
    if types.is_boolean(kind):
        return kind
    if types.is_date(kind):
        return pa.date32()
    if types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = _plain_type(kind.value_type)
        return pa.list_(inner) if inner is not None and not types.is_nested(inner) else None
    return None


def _place(table: Table) -> str:
    return f"{table.kind}s/{table.name}"


def _first(fault: BaseException) -> str:
    return (str(fault).strip().splitlines() or [type(fault).__name__])[0][:200]
