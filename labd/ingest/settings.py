"""The `[ingest]` table of labd.toml; the seed's names where it had some.

Secrets are references; what they name is looked up when it is used (`labd.ingest.access`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labd.credentials import SecretReference
from labd.ingest import checks
from labd.ingest.definition import Definition
from labd.settings import Problems, read_table

OWN_CATALOG = "default"
Text = Annotated[str, Meta(min_length=1, max_length=2000)]
QueueName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
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
    raise NotImplementedError
