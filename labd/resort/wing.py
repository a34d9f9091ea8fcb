"""How labd finds the resort wing: the entry point `labd.wings: resort`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.settings import Problems
from labd.wing import Host, Wing

if TYPE_CHECKING:
    from labd.resort import settings


class ResortWing:
    """The factory; satisfies `labd.wing.WingFactory`.

    Why the service is imported when it is built: `labd check` reads the settings on a host without dynamixel_sdk.
    """

    name = "resort"
    extra = "resort"
    modules: tuple[str, ...] = ("dynamixel_sdk",)
    schema = None

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> settings.ResortWingSettings:
        """The carousels of the table."""
        from labd.resort import settings

        return settings.parse(table, where, problems)

    def build(self, settings: settings.ResortWingSettings, host: Host) -> Wing:
        """The service, not yet started."""
        from labd.resort.service import ResortService

        return ResortService(settings, host)


wing = ResortWing()
