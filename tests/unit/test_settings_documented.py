"""`etc/labd.toml` documents every key with its default, and no other key; the demo's settings have no fault."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import pytest

from labd.ingest import definition as ingestion
from labd.ingest import settings as ingest
from labd.inventory import settings as inventory
from labd.notify_settings import NotifyKeys, OutletSettings
from labd.ot2 import settings as ot2
from labd.resort import settings as resort
from labd.settings import load
from labd.settings_types import (
    DEFAULT_QUEUES,
    AccessSettings,
    ApiSettings,
    EngineSettings,
    EnvironmentSettings,
    HostSettings,
    MongoSettings,
    MqttSettings,
    QueueSettings,
    ScheduleSettings,
    TasksSettings,
    TopSettings,
)
from labd.snapshots import settings as snapshots

ROOT = Path(__file__).resolve().parents[2]
TABLES: dict[str, type[msgspec.Struct]] = {
    "": TopSettings,
    "host": HostSettings,
    "api": ApiSettings,
    "access": AccessSettings,
    "engine": EngineSettings,
    **{f"queue.{name}": QueueSettings for name in DEFAULT_QUEUES},
    "tasks": TasksSettings,
    "env.colours": EnvironmentSettings,
    "mqtt": MqttSettings,
    "mongo": MongoSettings,
    "notify": NotifyKeys,
    "notify.ops": OutletSettings,
    "schedule.morning-check": ScheduleSettings,
    "resort": resort.ResortSettings,
    "resort.limits": resort.Limits,
    "resort.simulated": resort.SimulatedOptions,
    "ot2": ot2.OT2Settings,
    "ot2.simulated": ot2.SimulatedOptions,
    "inventory": inventory.InventorySettings,
    "inventory.reservoir.red": inventory.ReservoirSettings,
    "snapshots": snapshots.SnapshotSettings,
    "snapshots.neo4j": snapshots.Neo4jSettings,
    "snapshots.dataset": snapshots.DatasetSettings,
    "snapshots.orchestrator": snapshots.OrchestratorSettings,
    "snapshots.query": snapshots.QuerySettings,
    "snapshots.assertions": snapshots.Assertion,
    "snapshots.canaries": snapshots.Assertion,
    "ingest": ingest.IngestKeys,
    "ingest.spark": ingest.SparkSettings,
    "ingest.catalog.lake": ingest.CatalogSettings,
    "ingest.credentials.lake": ingest.CredentialSettings,
    "ingest.definition.readings": ingestion.Definition,
    "ingest.definition.readings.source": ingestion.Source,
    "ingest.definition.readings.format": ingestion.Format,
    "ingest.definition.readings.schema": ingestion.SchemaRule,
    "ingest.definition.readings.destination": ingestion.Destination,
    "ingest.definition.readings.schedule": ingestion.Schedule,
    "ingest.definition.readings.quality": ingestion.Quality,
    "ingest.definition.readings.alerts": ingestion.Alerts,
    "ingest.definition.readings.limits": ingestion.Limits,
}
TABLES_OF_TABLES = {("inventory", "reservoir"), ("ingest.definition.readings", "name")}


def documented() -> Iterator[tuple[str, str, Any, bool]]:
    """Table, key, value and whether the text says another default, for every option of the file."""
    table, said = "", ""
    for line in (ROOT / "etc" / "labd.toml").read_text().splitlines():
        if line.startswith("# "):
            said += line
            continue
        option = line.removeprefix("#").strip()
        if option.startswith("["):
            table = option.strip("[]")
        elif match := re.match(r"(\w+) = ", option):
            yield table, match.group(1), tomllib.loads(option)[match.group(1)], "Default: " in said
        said = ""


OPTIONS = list(documented())


def test_every_key_is_documented_and_every_documented_key_is_real() -> None:
    written = {(table, key) for table, key, _, _ in OPTIONS}
    nested = {
        name.rpartition(".")[::2] for name in TABLES if name.startswith(("resort.", "ot2.", "snapshots.", "ingest."))
    }
    real = {(table, field.name) for table, kind in TABLES.items() for field in msgspec.structs.fields(kind)}
    assert written == real - TABLES_OF_TABLES - {(table, key) for table, _, key in [(a, "", b) for a, b in nested]}


@pytest.mark.parametrize(("table", "key", "value", "other_default"), OPTIONS, ids=lambda value: str(value)[:20])
def test_a_documented_value_is_allowed_and_the_default(table: str, key: str, value: Any, other_default: bool) -> None:
    kind = TABLES[table]
    field = next(field for field in msgspec.structs.fields(kind) if field.name == key)
    read = msgspec.convert(value, get_type_hints(kind, include_extras=True)[key])
    if field.required:
        return
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if table.startswith("queue."):
        default = getattr(DEFAULT_QUEUES[table.removeprefix("queue.")], key)
    if other_default:
        assert default in (None, ""), f"{table}.{key} has a default of its own: {default!r}"
    else:
        assert read == default


@pytest.mark.parametrize("name", ["labd.toml", "labd.demo.toml"])
def test_the_settings_that_come_with_labd_have_no_fault(name: str) -> None:
    class Wing:
        def __init__(self, parse: Any) -> None:
            self.parse = parse

    settings = load(
        {
            "resort": Wing(resort.parse),
            "ot2": Wing(ot2.parse),
            "inventory": Wing(inventory.parse),
            "snapshots": Wing(snapshots.parse),
            "ingest": Wing(ingest.parse),
        },
        config=ROOT / "etc" / name,
        environ={},
        uid=0,
    )
    if name == "labd.demo.toml":
        assert [wing.driver for wing in settings.wings["resort"].carousels.values()] == ["simulated"]
        assert [robot.driver for robot in settings.wings["ot2"].robots.values()] == ["simulated"]
    else:
        assert settings.given == {
            table: {}
            for table in ("host", "api", "access", "engine", "tasks", *(f"queue.{name}" for name in DEFAULT_QUEUES))
        }
