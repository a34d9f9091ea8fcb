"""Splits rows by the partitions of a table.

Why not PyIceberg's own: it computes all transforms but identity with a package in Rust (pyiceberg-core) that is no part
of a plain installation. Times are floored by Arrow; buckets and truncations are computed once for each different value.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.partitioning import PartitionField, PartitionFieldValue, PartitionKey, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import DayTransform, HourTransform, IdentityTransform, MonthTransform, YearTransform
from pyiceberg.types import IcebergType

MICROS_AN_HOUR = 3_600_000_000
EPOCH_YEAR = 1970


def split(rows: pa.Table, spec: PartitionSpec, schema: Schema) -> Iterator[tuple[PartitionKey | None, pa.Table]]:
    """The rows of each partition with its key; all of them without one where the table has no partitions."""
    if spec.is_unpartitioned():
        yield None, rows
        return
    names = [f"_partition_{number}" for number in range(len(spec.fields))]
    marked = rows
    for name, field in zip(names, spec.fields, strict=True):
        marked = marked.append_column(name, partition_values(rows, field, schema))
    groups = marked.select(names).group_by(names).aggregate([]).to_pylist()
    for group in groups:
        values = [PartitionFieldValue(field, group[name]) for field, name in zip(spec.fields, names, strict=True)]
        key = PartitionKey(field_values=values, partition_spec=spec, schema=schema)
        if len(groups) == 1:
            yield key, rows
            return
        mask: pc.Expression | None = None
        for name in names:
            column = pc.field(name)
            one = column.is_null(nan_is_null=False) if group[name] is None else _equal(column, group[name])
            mask = one if mask is None else mask & one
        yield key, marked.filter(mask).select(rows.column_names)


def _equal(column: pc.Expression, value: Any) -> pc.Expression:
    """Whether it is this value; NaN is a value like another one here."""
    return pc.is_nan(column) if value != value else column == pc.scalar(value)


def partition_values(rows: pa.Table, field: PartitionField, schema: Schema) -> pa.ChunkedArray:
    """What a partition field makes of each row."""
    source = schema.find_field(field.source_id)
    path = str(schema.find_column_name(field.source_id)).split(".")
    column = rows.column(path[0])
    for name in path[1:]:
        column = pc.struct_field(column, name)
    transform = field.transform
    if isinstance(transform, IdentityTransform):
        return column
    if isinstance(transform, (YearTransform, MonthTransform)):
        years = pc.subtract(pc.cast(pc.year(column), pa.int32()), EPOCH_YEAR)
        if isinstance(transform, YearTransform):
            return years
        months = pc.cast(pc.month(column), pa.int32())
        return pc.subtract(pc.add(pc.multiply(years, 12), months), 1)
    if isinstance(transform, DayTransform):
        day = column if pa.types.is_date(column.type) else pc.floor_temporal(column, unit="day")
        return pc.cast(pc.cast(day, pa.date32()), pa.int32())
    if isinstance(transform, HourTransform):
        micros = pc.cast(pc.floor_temporal(column, unit="hour"), pa.int64())
        return pc.cast(pc.divide(micros, MICROS_AN_HOUR), pa.int32())
    return _each_value(column, transform.transform(source.field_type), transform.result_type(source.field_type))


def _each_value(column: pa.ChunkedArray, change: Any, result: IcebergType) -> pa.ChunkedArray:
    """A transform in Python, once for each different value; dates and times as the numbers that Iceberg has."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    kind = column.type
    if pa.types.is_date32(kind):
        column = column.cast(pa.int32())
    elif pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        column = column.cast(pa.int64())
    encoded = column.combine_chunks().dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    made = pa.array([change(value) for value in encoded.dictionary.to_pylist()], schema_to_pyarrow(result))
    return pa.chunked_array([made.take(encoded.indices)])
