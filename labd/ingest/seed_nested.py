"""Definitions as the older HTTP API showed them, nested, as rows of its table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELDS: dict[tuple[str, ...], str] = {
    ("source", "type"): "source_type", ("source", "path"): "source_path",
    ("source", "file_pattern"): "source_file_pattern", ("source", "credentials"): "source_credentials",
    ("format", "type"): "format_type", ("format", "options"): "format_options",
    ("format", "schema", "inference"): "schema_inference",
    ("format", "schema", "evolution_enabled"): "schema_evolution_enabled",
    ("format", "schema", "schema_json"): "schema_json",
    ("destination", "catalog"): "destination_catalog", ("destination", "database"): "destination_database",
    ("destination", "table"): "destination_table", ("destination", "write_mode"): "write_mode",
    ("destination", "partitioning", "enabled"): "partitioning_enabled",
    ("destination", "partitioning", "columns"): "partitioning_columns",
    ("destination", "optimization", "z_ordering_enabled"): "z_ordering_enabled",
    ("destination", "optimization", "z_ordering_columns"): "z_ordering_columns",
    ("schedule", "mode"): "schedule_mode", ("schedule", "frequency"): "schedule_frequency",
    ("schedule", "time"): "schedule_time", ("schedule", "timezone"): "schedule_timezone",
    ("schedule", "cron_expression"): "schedule_cron", ("schedule", "backfill", "enabled"): "backfill_enabled",
    ("schedule", "backfill", "start_date"): "backfill_start_date",
    ("quality", "row_count_threshold"): "row_count_threshold", ("quality", "alerts_enabled"): "alerts_enabled",
    ("quality", "alert_recipients"): "alert_recipients",
}  # fmt: skip


def is_nested(row: Mapping[str, Any]) -> bool:
    """Whether it is one of these; labd's own definitions have a `url` there."""
    source = row.get("source")
    return isinstance(source, Mapping) and "path" in source


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the table; what has none keeps its name."""
    heads = {path[0] for path in FIELDS}
    found = {name: value for name, value in row.items() if name not in heads}
    for path, column in FIELDS.items():
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            found[column] = value
    metadata = found.pop("metadata", None)
    return {**found, **metadata} if isinstance(metadata, Mapping) else found
