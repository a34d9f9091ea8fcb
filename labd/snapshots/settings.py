"""The `[snapshots]` table of labd.toml, with the keys of an older `config.yaml`: `neo4j`, `dataset`, `orchestrator`.

Why those names: a file that is there already is carried over key by key. What is new stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from labd.credentials import SecretReference
from labd.settings import Problems, read_table

Percent = Annotated[float, Meta(gt=0, le=100)]
Port = Annotated[int, Meta(ge=1, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=7 * 86400)]
Count = Annotated[int, Meta(ge=1, le=10_000)]
_SHELL = re.compile(r"\$\{(\w+)\}")


class Neo4jSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the graph server is; used with `engine = "neo4j"`."""

    host: Annotated[str, Meta(min_length=1, max_length=253)] = "localhost"
    arrow_port: Port = 8491
    bolt_port: Port = 7687
    user: Annotated[str, Meta(min_length=1, max_length=128)] = "neo4j"
    password: SecretReference | None = None
    tls: bool = False
    tls_ca: str | None = None
    concurrency: Annotated[int, Meta(ge=1, le=64)] = 10
    loader: Literal["auto", "arrow", "bolt"] = "auto"
    answer_timeout_s: Seconds = 30.0


class DatasetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where snapshots are laid down, and when one counts as complete."""

    base_path: Annotated[str, Meta(min_length=1)] = "data"
    settle_s: Annotated[float, Meta(ge=0, le=86400)] = 10.0
    markers: tuple[Annotated[str, Meta(pattern=r"^[^/]{1,100}$")], ...] = ("_SUCCESS",)
    full_scan_s: Seconds = 3600.0
    file_events: bool = False
    roles: dict[Literal["id", "labels", "source", "target", "type"], Annotated[str, Meta(min_length=1)]] = {}


class OrchestratorSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How snapshots go through the store."""

    max_concurrent_loads: Annotated[int, Meta(ge=1, le=64)] = 1
    scan_interval: Annotated[float, Meta(ge=1, le=86400)] = 30.0
    max_databases: Count = 50
    heap_threshold_percent: Percent = 85.0
    pagecache_threshold_percent: Percent = 90.0
    gate_on_unknown: Literal["wait", "pass"] = "pass"
    health_interval_s: Annotated[float, Meta(ge=0.1, le=3600)] = 15.0
    wait_alarm_s: Seconds = 900.0
    max_retries: Annotated[int, Meta(ge=0, le=100)] = 3
    retry_backoff_base: Annotated[float, Meta(gt=0, le=3600)] = 2.0
    load_timeout_s: Seconds = 4 * 3600.0
    keep: Annotated[int, Meta(ge=1, le=1000)] = 2
    band_percent: Annotated[float, Meta(ge=0, le=10_000)] = 20.0
    canary_s: Annotated[float, Meta(ge=0, le=86400)] = 0.0
    canary_interval_s: Annotated[float, Meta(ge=0.05, le=3600)] = 1.0
    switch: bool = True


class Assertion(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Cypher statement whose first value must be `equals`; of one customer, or of all."""

    cypher: Annotated[str, Meta(min_length=1, max_length=10_000)]
    equals: bool | int | float | str = True
    customer: str | None = None


class QuerySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of `labctl snapshot query` and of the checks."""

    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    row_limit: Annotated[int, Meta(ge=1, le=100_000)] = 1000


class SnapshotSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole table."""

    engine: Literal["embedded", "neo4j"] = "embedded"
    watch: bool = True
    allow_simulate: bool = False
    queue: str = "standard"
    neo4j: Neo4jSettings = Neo4jSettings()
    dataset: DatasetSettings = DatasetSettings()
    orchestrator: OrchestratorSettings = OrchestratorSettings()
    query: QuerySettings = QuerySettings()
    assertions: tuple[Assertion, ...] = ()
    canaries: tuple[Assertion, ...] = ()

    def __post_init__(self) -> None:
        if self.engine == "neo4j" and self.neo4j.password is None:
            raise ValueError('neo4j.password: engine = "neo4j" needs one, such as "env:NEO4J_PASSWORD"')
        if self.orchestrator.canary_s and not self.canaries:
            raise ValueError(
                "orchestrator.canary_s: there are no canaries to watch; add [[snapshots.canaries]] or set it to 0"
            )


def parse(table: Mapping[str, Any], where: str, problems: Problems) -> SnapshotSettings:
    """The settings of the table; faults go into `problems`, none are raised.

    A password as older files have it, `${NEO4J_PASSWORD}`, is taken for `env:NEO4J_PASSWORD`.
    """
    neo4j = table.get("neo4j")
    if isinstance(neo4j, Mapping) and isinstance(neo4j.get("password"), str):
        shell = _SHELL.fullmatch(neo4j["password"])
        if shell is not None:
            table = {**table, "neo4j": {**neo4j, "password": f"env:{shell[1]}"}}
    return read_table(SnapshotSettings, table, where, "snapshots", problems) or SnapshotSettings()
