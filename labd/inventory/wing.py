"""How labd finds the inventory wing: the entry point `labd.wings: inventory`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.engine.schema import Schema
from labd.inventory.tables import SCHEMA
from labd.settings import Problems
from labd.wing import Host, Wing

if TYPE_CHECKING:
    from labd.inventory import settings


class InventoryWing:
    """The factory; satisfies `labd.wing.WingFactory`.

    The wing needs no package beside labd's own, so it is off only where the settings have no `[inventory]`.
    """

    name = "inventory"
    extra = ""
    modules: tuple[str, ...] = ()
    schema: Schema | None = SCHEMA

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> settings.InventorySettings | None:
        """The reservoirs of the table."""
        from labd.inventory import settings

        return settings.parse(table, where, problems)

    def build(self, settings: settings.InventorySettings, host: Host) -> Wing:
        """The service, not yet started."""
        from labd.inventory.service import InventoryService

        return InventoryService(settings, host)


wing = InventoryWing()
