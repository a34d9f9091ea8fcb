"""The graph server behind its two cables, and the share where producers lay down snapshots.

Why the emulated server: labd needs databases and aliases, which Neo4j's Community edition does not have; a load of the
emulator takes milliseconds, so that a round stays short. What it holds is read from its catalogue, not from labd.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.acceptance.processes import toml
from tests.chaos.relay import Relay
from tests.fakes.neo4j_catalogue import Catalogue
from tests.fakes.neo4j_rig import neo4j_rig
from tests.fakes.snapshot_yard import lay_down

FIRST_TIMESTAMP = 1_700_000_000
KEPT_WORDS = 500
QUICK = {"scan_interval": 1, "health_interval_s": 0.5, "retry_backoff_base": 0.1, "band_percent": 10_000.0, "keep": 2}


class Share:
    """A folder of snapshots, and labd's own graph store on it; `away` is a network share that is gone.

    Satisfies `Party`.
    """

    name = "share"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.base = folder / "snapshots"
        self._gone = folder / "unmounted"
        self._lock = threading.Lock()
        self._timestamp = FIRST_TIMESTAMP

    def start(self) -> None:
        """An empty share."""
        self.base.mkdir()

    def settings(self) -> str:
        """`[snapshots]` with the embedded store."""
        return (
            toml("snapshots", engine="embedded", allow_simulate=True)
            + toml("snapshots.dataset", base_path=str(self.base), settle_s=0)
            + toml("snapshots.orchestrator", **QUICK)
        )

    def lay_down(self, customer: str, nodes: int = 20, relationships: int = 10) -> str:
        """A whole snapshot, newer than all before, with its marker; its timestamp. Works while the share is away."""
        with self._lock:
            self._timestamp += 1
            base = self.base if self.base.exists() else self._gone
            lay_down(base, customer, str(self._timestamp), nodes, relationships)
            return str(self._timestamp)

    def away(self) -> None:
        """The folder is not there."""
        with self._lock:
            if self.base.exists():
                self.base.rename(self._gone)

    def back(self) -> None:
        """It is there again, with everything in it."""
        with self._lock:
            if self._gone.exists():
                self._gone.rename(self.base)

    def end(self) -> None:
        """Nothing runs."""


class Neo4j(Share):
    """The share, and the emulated server that it is loaded into; `away` is the server's.

    Attributes:
        catalogue: What the server holds: databases, aliases.
    """

    name = "neo4j"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.catalogue = Catalogue(keep_rows=False)
        self.catalogue.statements = deque(maxlen=KEPT_WORDS)  # type: ignore[assignment]
        self.catalogue.calls = deque(maxlen=KEPT_WORDS)  # type: ignore[assignment]
        self._password = folder / "password"
        self._running = ExitStack()
        self._relays: list[Relay] = []
        self._silent = False
        self.bolt_port = 0

    def start(self) -> None:
        """Serve on both ports."""
        super().start()
        self._password.write_text(self.catalogue.password)
        self._password.chmod(0o600)
        rig = self._running.enter_context(neo4j_rig(self.catalogue))
        self.bolt_port = rig.address.bolt_port
        self._relays = [Relay(rig.address.bolt_port).start(), Relay(rig.address.arrow_port).start()]

    def settings(self) -> str:
        """`[snapshots]` with the server."""
        bolt, arrow = self._relays
        where: dict[str, Any] = {"host": "127.0.0.1", "bolt_port": bolt.port, "arrow_port": arrow.port}
        return super().settings().replace('"embedded"', '"neo4j"') + toml(
            "snapshots.neo4j", password=f"file:{self._password}", concurrency=2, answer_timeout_s=2.0, **where
        )

    def away(self) -> None:
        """Cut or silent, in turns."""
        self._silent = not self._silent
        for relay in self._relays:
            if self._silent:
                relay.hush()
            else:
                relay.cut()

    def back(self) -> None:
        """In reach, with what it held."""
        for relay in self._relays:
            relay.join()

    def end(self) -> None:
        """It ends."""
        for relay in self._relays:
            relay.end()
        self._running.close()
