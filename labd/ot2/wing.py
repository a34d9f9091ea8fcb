"""How labd finds the OT-2 wing: the entry point `labd.wings: ot2`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labd.settings import Problems
from labd.wing import Host, Wing

if TYPE_CHECKING:
    from labd.ot2 import settings


class OT2Wing:
    """The factory; satisfies `labd.wing.WingFactory`."""

    name = "ot2"
    extra = ""
    modules: tuple[str, ...] = ()  # opentrons is never one of the daemon's own packages
    schema = None

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> settings.OT2WingSettings:
        """The robots of the table."""
        from labd.ot2 import settings

        return settings.parse(table, where, problems)

    def build(self, settings: settings.OT2WingSettings, host: Host) -> Wing:
        """The service, not yet started."""
        from labd.ot2.service import OT2Service

        return OT2Service(settings, host)


wing = OT2Wing()
