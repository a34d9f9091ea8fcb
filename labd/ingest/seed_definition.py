"""One row of an older `ingestions` table as a definition of labd.

The columns are those of the table of the IOMETE Autoloader (its migrations up to `on_schema_change`), some under other
names that they had for a while. What a row says and labd has no word for is kept in `extra` and told, or is refused.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

import msgspec

from labd.engine.cron import CronFault, check_fields, zone
from labd.ingest import checks
from labd.ingest.definition import Definition
from labd.ingest.seed_schedule import NoSchedule, cron_of
from labd.ingest.seed_source import NoSource, read_source
from labd.ingest.seed_types import NoColumns, read_columns

Row = Mapping[str, Any]
USED = frozenset({
    "name", "status", "source_type", "source_path", "source_file_pattern", "source_credentials", "format_type",
    "format_options", "schema_inference", "schema_evolution_enabled", "schema_json", "on_schema_change",
    "destination_catalog", "destination_database", "destination_table", "partitioning_enabled", "partitioning_columns",
    "schedule_frequency", "schedule_time", "schedule_timezone", "schedule_cron", "row_count_threshold",
    "quality_row_count_threshold", "alerts_enabled", "quality_alerts_enabled", "spark_connect_token",
})  # fmt: skip
_NO = ("false", "f", "0", "no")
IDLE: dict[str, tuple[str, ...]] = {
    "write_mode": ("append",), "schema_version": ("1",), "schedule_mode": ("scheduled",), "z_ordering_enabled": _NO,
    "backfill_enabled": _NO, "schedule_backfill_enabled": _NO, "on_failure_enabled": _NO,
}  # fmt: skip
"""What says nothing that labd would not do."""
CSV_WORDS = {
    "delimiter": "delimiter", "sep": "delimiter", "quote": "quote", "escape": "escape", "comment": "comment",
}  # fmt: skip
CODECS = {"none": "none", "uncompressed": "none", "gzip": "gzip", "gz": "gzip", "bzip2": "bz2", "bz2": "bz2",
          "lz4": "lz4", "zstd": "zstd", "zst": "zstd"}  # fmt: skip
EVOLUTION: dict[str, tuple[str, str]] = {
    "ignore": ("infer", "additive-auto"), "fail": ("evolve", "freeze"),
    "append_new_columns": ("evolve", "additive-auto"), "sync_all_columns": ("evolve", "additive-auto"),
}  # fmt: skip
_IN_VALUE = re.compile(r"(token|password|passwd|pwd|secret|sig|signature|key)=|://[^/\s]*@", re.IGNORECASE)


class LeftOut(ValueError):
    """A row that is not taken over; the text says why."""


class Reading(msgspec.Struct):
    """A definition under way, and what is to be said of it."""

    extra: dict[str, Any]
    notes: list[str] = []
    secrets: tuple[str, ...] = ()
    digest: str = ""


def convert(row: Row, *, catalog: str | None = None, engine: str = "arrow") -> tuple[Definition, Reading]:
    """The definition; its credentials are still to be named.

    Args:
        catalog: A catalogue of labd for it, instead of the row's own.

    Raises:
        LeftOut: With the reason.
    """
    reading = Reading({})
    try:
        source = read_source(_text(row, "source_type"), _text(row, "source_path"), row.get("source_credentials"))
        reading.notes += source.notes
        reading.secrets, reading.digest = source.secrets, source.digest
        kept = {
            "name": name_of(row, reading),
            "source": {"url": source.url, "pattern": _pattern(row, reading), "options": source.options},
            "format": _format(row, reading),
            "schema": _schema(row, reading),
            "destination": _destination(row, catalog, reading),
            "engine": engine,
            "quality": {"min_rows": _threshold(row)},
            "alerts": _alerts(row),
            "schedule": _schedule(row, reading),
            "tags": ["imported"],
        }
    except (NoSource, NoColumns) as fault:
        raise LeftOut(str(fault)) from None
    _keep_rest(row, reading)
    kept["extra"] = reading.extra
    try:
        definition = msgspec.convert(kept, Definition)
    except msgspec.ValidationError as fault:
        raise LeftOut(str(fault)) from None
    for problem in checks.destination_faults(definition.destination):
        raise LeftOut(problem)
    return definition, reading


def name_of(row: Row, reading: Reading) -> str:
    """A name as labd takes it, near what the row says; the row's own is kept."""
    given = _text(row, "name")
    plain = unicodedata.normalize("NFKD", given).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9._]+", "-", plain).strip("-._")[:63].rstrip("-._")
    if not name:
        name = f"ingestion-{re.sub(r'[^A-Za-z0-9]', '', str(row.get('id') or ''))[:8] or 'unnamed'}"
    if name != given:
        reading.notes.append(f"the name {given[:80]!r} becomes {name}")
        reading.extra["name"] = given[:200]
    return name


def _text(row: Row, name: str) -> str:
    value = row.get(name)
    if value in (None, ""):
        raise LeftOut(f"{name} is empty")
    return str(value).strip()


def _pattern(row: Row, reading: Reading) -> str:
    """The older loader compared the end of the whole path, so `*.json` meant every folder below."""
    given = str(row.get("source_file_pattern") or "").strip()
    if not given or given in ("*", "**"):
        return "**/*"
    pattern = given if "/" in given else f"**/{given}"
    if pattern != given:
        reading.notes.append(f"the pattern {given} becomes {pattern}, as it was meant: in every folder below")
    return pattern


def _format(row: Row, reading: Reading) -> dict[str, Any]:
    kind = _text(row, "format_type").lower()
    options = {str(key).lower(): value for key, value in _object(row, "format_options").items() if value is not None}
    if kind in ("json", "jsonl", "ndjson"):
        kind = "json" if _is_true(options.pop("multiline", False)) else "jsonl"
    elif kind not in ("csv", "parquet", "avro"):
        raise LeftOut(f"format_type {kind[:40]!r}: labd reads json, csv, parquet and avro")
    made: dict[str, Any] = {"type": kind}
    options.pop("multiline", None)  # JSON is done; the others are read so in any case
    if kind == "csv":
        made["header"] = _is_true(options.pop("header", False))
        made |= {word: str(options.pop(key)) for key, word in CSV_WORDS.items() if key in options}
    null = options.pop("nullvalue", None)
    if null is not None:
        made["null_values"] = list(dict.fromkeys(["", str(null)]))
    for key in ("encoding", "charset"):
        if key in options:
            made["encoding"] = str(options.pop(key))
    codec = str(options.pop("compression", "") or "").lower()
    if codec in CODECS:
        made["compression"] = CODECS[codec]
    elif codec:
        options["compression"] = codec
    options.pop("inferschema", None)
    if options:
        reading.extra["format_options"] = options
        reading.notes.append(f"format_options {', '.join(sorted(options))}: no counterpart, kept in extra")
    return made


def _schema(row: Row, reading: Reading) -> dict[str, Any]:
    given = row.get("schema_json")
    has_columns = given not in (None, "", {}, [], "null")
    if has_columns:
        columns = [{"name": one.name, "type": one.type} for one in read_columns(given)]
        if str(row.get("schema_inference") or "").lower() == "manual" or not _evolves(row):
            return {"mode": "fixed", "columns": columns}
        mode, evolution = _evolution(row, reading)
        return {"mode": mode, "evolution": evolution, "hints": {one["name"]: one["type"] for one in columns}}
    mode, evolution = _evolution(row, reading)
    return {"mode": mode, "evolution": evolution}


def _evolves(row: Row) -> bool:
    rule = str(row.get("on_schema_change") or "").lower()
    return rule not in ("", "ignore") if rule else _is_true(row.get("schema_evolution_enabled", True))


def _evolution(row: Row, reading: Reading) -> tuple[str, str]:
    rule = str(row.get("on_schema_change") or "").lower()
    if not rule:
        return ("evolve" if _is_true(row.get("schema_evolution_enabled", True)) else "infer"), "additive-auto"
    if rule == "sync_all_columns":
        reading.notes.append("on_schema_change sync_all_columns: new columns are added, labd never drops one")
    if rule not in EVOLUTION:
        raise LeftOut(f"on_schema_change {rule[:40]!r}: it is none of {', '.join(EVOLUTION)}")
    return EVOLUTION[rule]


def _destination(row: Row, catalog: str | None, reading: Reading) -> dict[str, Any]:
    own = _text(row, "destination_catalog")
    if catalog is not None and catalog != own:
        reading.notes.append(f"catalogue {own[:60]} becomes {catalog}")
        reading.extra["destination_catalog"] = own
    columns = _list(row, "partitioning_columns") if _is_true(row.get("partitioning_enabled")) else []
    table = _text(row, "destination_table")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", table):
        raise LeftOut(f"destination_table {table[:60]!r}: labd's tables have letters, digits and _, no digit in front")
    return {
        "catalog": catalog or own, "namespace": _text(row, "destination_database"), "table": table,
        "partition_by": [str(one) for one in columns],
    }  # fmt: skip


def _schedule(row: Row, reading: Reading) -> dict[str, Any] | None:
    try:
        cron = cron_of(row.get("schedule_frequency"), row.get("schedule_time"), row.get("schedule_cron"))
        if cron is None:
            return None
        timezone = str(row.get("schedule_timezone") or "UTC")
        zone(timezone)
        return {"cron": check_fields(cron), "timezone": timezone}
    except (NoSchedule, CronFault, ValueError) as fault:
        raise LeftOut(f"its schedule cannot be read: {fault}") from None


def _threshold(row: Row) -> int | None:
    for name in ("row_count_threshold", "quality_row_count_threshold"):
        if row.get(name) not in (None, ""):
            try:
                return max(0, int(float(row[name])))
            except ValueError:
                raise LeftOut(f"{name} {str(row[name])[:40]!r} is no number") from None
    return None


def _alerts(row: Row) -> dict[str, bool]:
    given = row.get("alerts_enabled", row.get("quality_alerts_enabled"))
    return {} if given in (None, "") or _is_true(given) else {"quarantine": False, "changed": False, "schema": False}


def _keep_rest(row: Row, reading: Reading) -> None:
    """What labd has no word for, without anything that looks like a secret."""
    kept: list[str] = []
    for name, value in row.items():
        if name in USED or value in (None, "", [], {}) or _word(value) in IDLE.get(name, ()):
            continue
        if isinstance(value, str) and value in ("[]", "{}", "null"):
            continue
        value = _parsed(value)
        if any(checks.secret_keys({name: value})) or _IN_VALUE.search(json.dumps(value, default=str)):
            reading.notes.append(f"{name} holds a secret and was left out")
            continue
        reading.extra[str(name)] = value
        kept.append(str(name))
    if row.get("spark_connect_token") not in (None, ""):
        reading.notes.append("spark_connect_token was left out; set it as `token` of [ingest.spark]")
    if kept:
        reading.notes.append(f"no counterpart, kept in extra: {', '.join(sorted(kept))}")


def _parsed(value: Any) -> Any:
    """JSON text of a dump as what it says; instants and the like as text."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value if isinstance(value, str | int | float | bool | list | dict) else str(value)


def _object(row: Row, name: str) -> Mapping[str, Any]:
    value = _parsed(row.get(name) or {})
    if not isinstance(value, Mapping):
        raise LeftOut(f"{name} is no object")
    return value


def _list(row: Row, name: str) -> list[Any]:
    value = _parsed(row.get(name) or [])
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        raise LeftOut(f"{name} is no list")
    return value


def _is_true(value: Any) -> bool:
    return _word(value) in ("true", "1", "t", "yes", "on")


def _word(value: Any) -> str:
    return str(value).strip().lower()
