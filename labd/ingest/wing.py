"""How labd finds the ingest wing: the entry point `labd.wings: ingest`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.engine.schema import Schema
from labd.settings import Problems
from labd.wing import Host, Wing

if TYPE_CHECKING:
    from labd.ingest import settings

SCHEMA = Schema("ingest", "labd.ingest.sql")


class IngestWing:
    """The factory; satisfies `labd.wing.WingFactory`."""

    name = "ingest"
    extra = "ingest"
    modules: tuple[str, ...] = ()  # those of the arrow engine are looked for in its environment
    schema = SCHEMA

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> settings.IngestSettings:
        """Engines, catalogues, credentials and the definitions that stand there."""
        from labd.ingest import settings

        return settings.parse(table, where, problems)

    def build(self, settings: settings.IngestSettings, host: Host) -> Wing:
        """The service, not yet started."""
        from labd.ingest.service import IngestService

        return IngestService(settings, host)


wing = IngestWing()
