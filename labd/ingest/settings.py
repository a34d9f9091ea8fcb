"""The `[ingest]` table of labd.toml; the seed's names where it had some.

Secrets are references; what they name is looked up when it is used (`labd.ingest.access`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from labd.credentials import SecretReference
from labd.ingest import checks
from labd.ingest.definition import Definition, Name
from labd.ingest.record import destination_key
from labd.settings import Problems, read_table

OWN_CATALOG = "default"
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
NESTED = ("spark", "catalog", "credentials", "definition")
S = TypeVar("S", bound=msgspec.Struct)
MemoryMib = Annotated[int, Meta(ge=256, le=2**20)]


class CatalogSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ingest.catalog.NAME]`: an Iceberg catalogue, in PyIceberg's words."""

    type: Literal["sql", "rest", "hive", "glue", "dynamodb"] = "sql"
    uri: str = ""
    warehouse: str = ""
    properties: dict[str, str] = {}
    secrets: dict[str, SecretReference] = {}


class CredentialSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ingest.credentials.NAME]`: what it takes to read a source."""

    options: dict[str, str] = {}
    secrets: dict[str, SecretReference] = {}


class SparkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`[ingest.spark]`: the cluster of `engine = "spark"`."""

    url: str = ""
    """`sc://host:port`, or `local[*]` for one of its own; empty: there is none."""
    token: SecretReference | None = None
    conf: dict[str, str] = {}
    catalog: str = ""
    """Name of the catalogue in the cluster; empty takes the definition's."""
    environment: QueueName = "spark"
    idle_s: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    small_bytes: Annotated[int, Meta(ge=0)] = 64 * 2**20
    connect_timeout_s: Annotated[float, Meta(gt=0, le=600)] = 30.0


class IngestKeys(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keys of `[ingest]` itself."""

    default_work_queue: QueueName = "autoloader-default"
    high_memory_work_queue: QueueName = "autoloader-high-memory"
    flow_run_timeout_seconds: Annotated[float, Meta(gt=0, le=30 * 86400)] = 3600
    task_retry_delay_seconds: Annotated[float, Meta(ge=0, le=86400)] = 60
    max_task_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    memory_mib: MemoryMib = 1024
    high_memory_mib: MemoryMib = 4096
    environment: QueueName = "default"
    idle_s: Annotated[float, Meta(ge=1, le=86400)] = 300.0
    simulated: bool = False


class IngestSettings(IngestKeys, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole table."""

    spark: SparkSettings = SparkSettings()
    catalog: dict[str, CatalogSettings] = {}
    credentials: dict[str, CredentialSettings] = {}
    definition: dict[str, Definition] = {}

    @property
    def catalogs(self) -> frozenset[str]:
        """Names that a destination may have."""
        return frozenset(self.catalog) | {OWN_CATALOG}

    @property
    def max_attempts(self) -> int:
        """Tries of a run in all."""
        return self.max_task_retries + 1


def parse(table: Mapping[str, Any], where: str, problems: Problems) -> IngestSettings:
    """The settings of the table; faults go into `problems`, none are raised."""
    own = {key: value for key, value in table.items() if key not in NESTED}
    keys = read_table(IngestKeys, own, where, "ingest", problems)
    spark = _spark(table.get("spark", {}), where, problems)
    found = IngestSettings(
        **(msgspec.structs.asdict(keys) if keys is not None else {}), spark=spark,
        catalog=_named(CatalogSettings, table, "catalog", where, problems),
        credentials=_named(CredentialSettings, table, "credentials", where, problems),
        definition=_definitions(table, where, problems),
    )  # fmt: skip
    _check(found, where, problems)
    return found


def _spark(value: Any, where: str, problems: Problems) -> SparkSettings:
    if not isinstance(value, Mapping):
        problems.add(where, "ingest.spark", f"needs a table, got {value!r}")
        return SparkSettings()
    return read_table(SparkSettings, value, where, "ingest.spark", problems) or SparkSettings()


def _tables(table: Mapping[str, Any], key: str, where: str, problems: Problems) -> Iterator[tuple[str, Any]]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        problems.add(where, f"ingest.{key}", f"needs tables such as [ingest.{key}.NAME], got {value!r}")
        return
    for name, part in value.items():
        place = f"ingest.{key}.{name}"
        if not isinstance(part, Mapping):
            problems.add(where, place, f"needs a table [{place}], got {part!r}")
            continue
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            problems.add(where, place, "a name has letters, digits, dot, minus and underscore, at most 63")
            continue
        yield name, part


def _named(kind: type[S], table: Mapping[str, Any], key: str, where: str, problems: Problems) -> dict[str, S]:
    found: dict[str, S] = {}
    for name, part in _tables(table, key, where, problems):
        read = read_table(kind, part, where, f"ingest.{key}.{name}", problems)
        if read is not None:
            found[name] = read
    return found


def _definitions(table: Mapping[str, Any], where: str, problems: Problems) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    for name, part in _tables(table, "definition", where, problems):
        place = f"ingest.definition.{name}"
        if part.get("name", name) != name:
            problems.add(where, f"{place}.name", f"is {part['name']!r}; the table's own name counts, leave it out")
            continue
        read = read_table(Definition, {**part, "name": name}, where, place, problems)
        if read is not None:
            found[name] = read
    return found


def _check(found: IngestSettings, where: str, problems: Problems) -> None:
    """What fields alone do not show: secrets in plain text, definitions that cannot be, two on one table."""
    for kind, tables, key in (
        ("credentials", {name: part.options for name, part in found.credentials.items()}, "options"),
        ("catalog", {name: part.properties for name, part in found.catalog.items()}, "properties"),
        ("spark", {"": found.spark.conf}, "conf"),
    ):
        for name, values in tables.items():
            place = f"ingest.{kind}.{name}" if name else f"ingest.{kind}"
            for secret in checks.secret_keys(values):
                text = 'looks like a secret; put it into secrets as a reference such as "env:NAME"'
                problems.add(where, f"{place}.{key}.{secret}", text)
    for name, part in found.catalog.items():
        if re.search(r"://[^/@:]*:[^/@]+@", part.uri):
            text = "carries a password; put the whole uri into secrets as a reference"
            problems.add(where, f"ingest.catalog.{name}.uri", text)
        if part.type != "sql" and not part.uri and "uri" not in part.secrets and part.type in ("rest", "hive"):
            problems.add(where, f"ingest.catalog.{name}.uri", f"type {part.type} needs one")
    if found.spark.token is not None and not found.spark.url.startswith("sc://"):
        problems.add(where, "ingest.spark.token", "belongs to a url sc://host:port")
    known = checks.Known(
        catalogs=found.catalogs, credentials=frozenset(found.credentials), has_spark=bool(found.spark.url)
    )
    tables_of: dict[str, str] = {}
    for name, definition in found.definition.items():
        for fault in checks.faults(definition, known):
            key, _, problem = fault.partition(": ")
            problems.add(where, f"ingest.definition.{name}.{key}", problem)
        other = tables_of.setdefault(destination_key(definition).lower(), name)
        if other != name:
            text = f"table {destination_key(definition)} is that of {other}; two on one table cannot be"
            problems.add(where, f"ingest.definition.{name}.destination", text)
