"""How labd finds the snapshots wing: the entry point `labd.wings: snapshots`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.engine.schema import Schema
from labd.settings import Problems
from labd.wing import Host, Wing

if TYPE_CHECKING:
    from labd.snapshots import settings

SCHEMA = Schema("snapshots", "labd.snapshots.sql")


class SnapshotsWing:
    """The factory; satisfies `labd.wing.WingFactory`."""

    name = "snapshots"
    extra = "graph"
    modules: tuple[str, ...] = ("pyarrow",)
    schema = SCHEMA

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> settings.SnapshotSettings:
        """The store, the folder and the rules."""
        from labd.snapshots import settings

        return settings.parse(table, where, problems)

    def build(self, settings: settings.SnapshotSettings, host: Host) -> Wing:
        """The service, not yet started."""
        from labd.snapshots.service import SnapshotService

        return SnapshotService(settings, host)


wing = SnapshotsWing()
