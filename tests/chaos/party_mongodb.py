"""MongoDB: FerretDB over its files, killed and started again; and the stock that is shown in it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo.database import Database

from tests.acceptance.processes import toml
from tests.chaos.party_robot import SLOT, WELLS
from tests.chaos.relay import free_port
from tests.fakes.mongo_server import PASSWORD, MongoTestServer

CAPACITY_UL = 1e9
OVER_MQTT = "green"  # nobody but the asker at the broker touches it


class MongoParty:
    """Satisfies `Party`."""

    name = "mongodb"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.server = MongoTestServer(folder / "ferretdb")
        self.server.port = free_port()
        self._password = folder / "password"

    def start(self) -> None:
        """Serve."""
        self._password.write_text(PASSWORD)
        self._password.chmod(0o600)
        asyncio.run(self.server.start())

    def settings(self) -> str:
        """`[inventory]` with its reservoirs, and `[mongo]`, which shows them."""
        text = toml("inventory", simulated=True, threshold_ul=0, low_ul=0, evaporation_rate_ul_per_hour=0)
        for key, well in WELLS.items():
            text += toml(f"inventory.reservoir.{key}", slot=SLOT, well=well, capacity_ul=CAPACITY_UL)
        for key in ("blue", OVER_MQTT):
            text += toml(f"inventory.reservoir.{key}", capacity_ul=CAPACITY_UL)
        return text + toml(
            "mongo", url=self.server.blinded, password=f"file:{self._password}", database=self.server.database,
            poll_s=0.2, reconnect_s=0.5, answer_timeout_s=10.0,
        )  # fmt: skip

    @contextmanager
    def looked_at(self) -> Iterator[Database[dict[str, Any]]]:
        """The database as a lab's program sees it."""
        with self.server.client() as client:
            yield client[self.server.database]

    def away(self) -> None:
        """Killed."""
        self.server.kill()

    def back(self) -> None:
        """Started again on the same port, with what it kept."""
        if not self.server.is_up:
            asyncio.run(self.server.start())

    def end(self) -> None:
        """Killed; nothing is kept after a test."""
        self.server.kill()
