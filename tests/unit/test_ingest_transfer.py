"""Definitions of an older loader as labd's own: each row told, nothing secret kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.engine.cron import check_fields
from labd.errors import BadRequest
from labd.ingest import transfer
from labd.ingest.checks import Known, faults
from labd.ingest.seed_definition import LeftOut, convert
from labd.ingest.seed_schedule import NoSchedule, cron_of
from labd.ingest.seed_source import NoSource, read_source
from labd.ingest.seed_types import NoColumns, read_columns
from labd.ingest.transfer import Prepared

DATA = Path(__file__).parent.parent / "data"
DUMPS = ["ingestions.json", "ingestions.csv"]


def dump(name: str, **options: Any) -> list[Prepared]:
    return transfer.prepare(transfer.read((DATA / name).read_text(encoding="utf-8")), **options)


def row(**fields: Any) -> dict[str, Any]:
    return {
        "id": "1", "name": "a", "status": "active", "source_type": "s3", "source_path": "s3://b/p/",
        "format_type": "json", "destination_catalog": "default", "destination_database": "lake",
        "destination_table": "t", **fields,
    }  # fmt: skip


@pytest.mark.parametrize("name", DUMPS)
def test_every_row_of_a_dump_is_converted_or_says_why_not(name: str) -> None:
    found = {one.name: one for one in dump(name)}
    assert {one.name: one.reason for one in found.values() if one.definition is None} == {
        "legacy orc": "format_type 'orc': labd reads json, csv, parquet and avro",
        "second-writer": "table default/lake.device_events is that of Device-events already; two never write one table",
        "bad table": "destination_table 'drop table; --': labd's tables have letters, digits and _, no digit in front",
    }
    taken = [one.definition for one in found.values() if one.definition is not None]
    assert [one.name for one in taken] == [
        "Device-events", "Orders-Uni", "telemetry", "assays", "Device-events-00000006",
    ]  # fmt: skip
    for definition in taken:
        assert list(faults(definition, Known())) == []
    states = {one.name: one.state for one in found.values() if one.definition is not None}
    assert set(states.items()) >= {("Device-events", "active"), ("telemetry", "paused")}


def test_the_csv_dump_says_what_the_json_dump_says() -> None:
    for one, other in zip(dump(DUMPS[0]), dump(DUMPS[1]), strict=True):
        assert (one.name, one.reason, one.secrets) == (other.name, other.reason, other.secrets)
        if one.definition is not None and other.definition is not None:
            kept = [msgspec.structs.replace(both.definition, extra={}) for both in (one, other)]  # type: ignore[type-var]
            assert kept[0] == kept[1]


@pytest.mark.parametrize("name", DUMPS)
def test_no_secret_of_a_dump_is_in_what_is_kept_or_told(name: str) -> None:
    text = (DATA / name).read_text(encoding="utf-8").lower()
    assert text.count("canary") >= 6
    assert "canary" not in json.dumps(msgspec.to_builtins(dump(name))).lower()


def test_what_an_older_row_said_stands_in_the_words_of_labd() -> None:
    by_name = {one.name: one for one in dump(DUMPS[0])}
    orders = by_name["Orders-Uni"].definition
    assert orders is not None
    assert (orders.format.delimiter, orders.format.quote, orders.format.header) == (";", "'", True)
    assert orders.format.null_values == ("", "NA")
    assert orders.schedule is not None
    assert (orders.schedule.cron, orders.schedule.timezone) == ("15 6 * * *", "Europe/Berlin")
    assert (orders.schema.mode, orders.schema.evolution) == ("evolve", "freeze")
    assert orders.destination.partition_by == ("country",)
    assert orders.source.pattern == "2025/*/*.csv"
    assert orders.extra["format_options"] == {"timestampformat": "yyyy-MM-dd"}
    assert orders.extra["z_ordering_columns"] == ["order_id"]
    events = by_name["Device-events"].definition
    assert events is not None
    assert events.format.type == "jsonl"
    assert events.quality.min_rows == 100
    assert events.extra["name"] == "Device events"
    assays = by_name["assays"].definition
    assert assays is not None
    assert [(one.name, one.type) for one in assays.schema.columns] == [
        ("id", "long"), ("well", "string"), ("volume", "decimal(10, 2)"), ("at", "timestamptz"),
        ("tags", "list<string>"),
    ]  # fmt: skip
    twin = by_name["Device-events-00000006"].definition
    assert twin is not None
    assert twin.format.type == "json"


def test_rows_with_the_same_credentials_share_one_name_for_them() -> None:
    by_name = {one.name: one for one in dump(DUMPS[0])}
    named = {name: one.definition.source.credentials for name, one in by_name.items() if one.definition is not None}
    assert named == {
        "Device-events": "Device-events", "Orders-Uni": "Device-events", "telemetry": "telemetry", "assays": "assays",
        "Device-events-00000006": None,
    }  # fmt: skip
    assert by_name["Device-events"].secrets == ("access_key_id", "secret_access_key")
    assert by_name["assays"].secrets == ("service_account_key",)


def test_a_catalogue_of_labd_can_take_the_place_of_their_own() -> None:
    definition, reading = convert(row(destination_catalog="iceberg_prod"), catalog="default")
    assert definition.destination.catalog == "default"
    assert reading.extra["destination_catalog"] == "iceberg_prod"
    assert "catalogue iceberg_prod becomes default" in reading.notes


def test_definitions_as_the_older_api_showed_them_are_taken_as_well() -> None:
    nested = {
        "name": "shop", "cluster_id": "c1", "on_schema_change": "ignore",
        "source": {"type": "s3", "path": "s3://b/data/", "file_pattern": "*.csv", "credentials": {"secret_key": "x1"}},
        "format": {"type": "csv", "options": {"header": True}, "schema": {"inference": "auto"}},
        "destination": {"catalog": "default", "database": "db", "table": "t", "partitioning": {"enabled": False}},
        "schedule": {"frequency": "daily", "time": "04:30", "timezone": "UTC"}, "quality": {"row_count_threshold": 5},
    }  # fmt: skip
    (found,) = transfer.prepare(nested)
    assert found.definition is not None
    assert found.definition.schedule is not None
    assert found.definition.schedule.cron == "30 4 * * *"
    assert (found.definition.quality.min_rows, found.definition.schema.mode) == (5, "infer")
    assert found.secrets == ("secret_access_key",)


@pytest.mark.parametrize(
    ("kind", "path", "url", "options"),
    [
        ("s3", "s3a://bucket/a/b", "s3://bucket/a/b/", {}),
        ("S3", "bucket", "s3://bucket/", {}),
        ("azure_blob", "abfss://c@acct.dfs.core.windows.net/x/y", "az://c/x/y/", {"account": "acct"}),
        ("azure", "https://acct.blob.core.windows.net/c/x?sig=abc", "az://c/x/", {"account": "acct"}),
        ("azure_blob", "container/x", "az://container/x/", {}),
        ("gcs", "gs://b/x", "gs://b/x/", {}),
        ("local", "/data/in/", "file:///data/in", {}),
    ],
)
def test_places_are_written_as_labd_writes_them(kind: str, path: str, url: str, options: dict[str, str]) -> None:
    found = read_source(kind, path, None)
    assert (found.url, found.options) == (url, options)
    assert found.secrets == (("sas_token",) if "sig=" in path else ())
    assert "abc" not in str(found)


@pytest.mark.parametrize(
    ("kind", "path", "part"),
    [
        ("ftp", "x", "labd reads s3"), ("s3", " ", "empty"), ("s3", "gs://b", "do not agree"),
        ("s3", "s3://key:secret@b/p", "carries a user"), ("s3", "https://b.s3.amazonaws.com/p?X-Amz=1", "web address"),
        ("s3", "s3:///", "no bucket"), ("gcs", "gs://b/x?token=1", "signature"),
    ],
)  # fmt: skip
def test_places_that_are_none_are_refused_without_showing_them(kind: str, path: str, part: str) -> None:
    with pytest.raises(NoSource) as told:
        read_source(kind, path, None)
    assert part in str(told.value)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize(
    ("credentials", "options", "secrets"),
    [
        ({"aws_region": "eu", "aws_access_key_id": "AK"}, {"region": "eu"}, ("access_key_id",)),
        ('{"endpoint_url": "http://m:9000"}', {"endpoint": "http://m:9000"}, ()),
        ({"endpoint_url": "http://u:p@m:9000"}, {}, ("endpoint_url",)),
        ("not json at all", {}, ("access_key_id", "secret_access_key")),
        ({"anonymous": True}, {"anonymous": "true"}, ()),
        ({"region": "eu west; x"}, {}, ("region",)),
        ({"odd_new_key": "v"}, {}, ("odd_new_key",)),
        ({}, {}, ()),
        (None, {}, ()),
    ],
)
def test_only_plain_words_of_credentials_are_kept(
    credentials: Any, options: dict[str, str], secrets: tuple[str, ...]
) -> None:
    found = read_source("s3", "b/p", credentials)
    assert (found.options, found.secrets) == (options, secrets)
    assert bool(found.digest) == bool(secrets)


@pytest.mark.parametrize(
    ("frequency", "time", "cron", "expected"),
    [
        ("hourly", None, None, "0 * * * *"), ("daily", "06:15", None, "15 6 * * *"), ("daily", None, None, "0 0 * * *"),
        ("weekly", "23:05:00", None, "5 23 * * 0"), ("monthly", "1:00", None, "0 1 1 * *"),
        ("custom", None, "*/5 * * * *", "*/5 * * * *"), (None, None, "1 2 * * *", "1 2 * * *"), ("", "", "", None),
        ("manual", None, "1 2 * * *", None),
    ],
)  # fmt: skip
def test_frequencies_become_cron_fields(frequency: Any, time: Any, cron: Any, expected: str | None) -> None:
    found = cron_of(frequency, time, cron)
    assert found == expected
    if found is not None:
        assert check_fields(found) == found


@pytest.mark.parametrize(
    ("frequency", "time"), [("daily", "25:00"), ("daily", "noon"), ("yearly", None), ("custom", 1)]
)
def test_frequencies_that_are_none_are_refused(frequency: str, time: Any) -> None:
    with pytest.raises(NoSchedule):
        cron_of(frequency, time, None)


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"name": ""}, "name is empty"), ({"format_type": "xml"}, "format_type 'xml'"),
        ({"schedule_frequency": "custom", "schedule_cron": "99 * * * *"}, "its schedule cannot be read"),
        ({"schedule_frequency": "daily", "schedule_timezone": "Mars/Base"}, "its schedule cannot be read"),
        ({"on_schema_change": "panic"}, "on_schema_change 'panic'"), ({"format_options": "[1]"}, "no object"),
        ({"row_count_threshold": "many"}, "no number"), ({"destination_database": "a b"}, "namespace"),
        ({"schema_inference": "manual", "schema_json": "{bad"}, "no JSON"),
        ({"schema_inference": "manual", "schema_json": {"a": "interval"}}, "column a: type 'interval'"),
    ],
)  # fmt: skip
def test_rows_that_cannot_be_taken_name_the_field(fields: dict[str, Any], part: str) -> None:
    with pytest.raises(LeftOut) as told:
        convert(row(**fields))
    assert part in str(told.value)


def test_types_of_spark_are_those_of_iceberg() -> None:
    inner = {"type": "struct", "fields": [{"name": "odd name", "type": "short"}, {"name": "b", "type": "date"}]}
    given = [
        {"name": "m", "type": {"type": "map", "keyType": "string", "valueType": inner}},
        {"name": "v", "data_type": "VARCHAR(20)"}, {"name": "d", "type": "decimal"},
        {"name": "t", "type": "timestamp_ntz"},
    ]  # fmt: skip
    assert [one.type for one in read_columns(given)] == [
        "map<string, struct<`odd name`: int, b: date>>", "string", "decimal(10, 0)", "timestamp",
    ]  # fmt: skip
    deep: Any = "string"
    for _ in range(30):
        deep = {"type": "array", "elementType": deep}
    with pytest.raises(NoColumns, match="nested deeper"):
        read_columns([{"name": "deep", "type": deep}])


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "empty"), ("{", "no JSON"), ("[]", "no `ingestions`"), ('{"format": "other"}', "'other' is no"),
        ('{"format": "labd-ingestions", "version": 9, "ingestions": [1]}', "has version 9"),
        ("a,b\n1,2,3\n", "CSV row 2"), ('a,"b\n', "no CSV"),
    ],
)  # fmt: skip
def test_documents_that_are_none_are_refused(text: str, part: str) -> None:
    with pytest.raises(BadRequest) as told:
        transfer.prepare(transfer.read(text))
    assert part in told.value.message


def test_what_labd_exported_comes_back_as_it_was() -> None:
    definition, _ = convert(row())
    document = {
        "format": transfer.FORMAT, "version": 1,
        "ingestions": [
            {"state": "paused", "definition": msgspec.to_builtins(definition)}, {"definition": {"name": "x"}}, 3,
        ],
    }  # fmt: skip
    found = transfer.prepare(transfer.read(json.dumps(document)))
    assert found[0].definition == definition
    assert (found[0].state, found[0].key) == ("paused", "")
    assert [one.definition for one in found[1:]] == [None, None]
    assert "missing required field" in found[1].reason
