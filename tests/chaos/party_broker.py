"""The broker: a real Mosquitto, killed and started again on the same port with what it kept.

Why it saves with every change: what it acknowledged has to outlive its kill, as it does at a broker of a lab that was
set up with care; else a lost request would be its fault, and nobody could tell.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from tests.acceptance.processes import toml
from tests.chaos.relay import free_port
from tests.fakes.broker import DEADLINE_S, PASSWORDS, Broker

DEVICE = "chaos"


class KillableBroker(Broker):
    """On a port that nobody takes while it is dead."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        conf = folder / "conf"
        before, self.port = self.port, free_port()
        text = conf.read_text().replace(f"listener {before} ", f"listener {self.port} ").replace("log_type all\n", "")
        conf.write_text(f"{text}autosave_on_changes true\nautosave_interval 1\nlog_type error\nlog_type warning\n")

    def kill(self) -> None:
        """At once, as a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(DEADLINE_S)
            self._process = None

    @property
    def is_up(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None


class BrokerParty:
    """Satisfies `Party`."""

    name = "broker"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.broker = KillableBroker(folder / "mosquitto")
        self._password = folder / "password"

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.broker.port

    def start(self) -> None:
        """Serve."""
        self._password.write_text(PASSWORDS["labd"])
        self._password.chmod(0o600)
        asyncio.run(self.broker.start())

    def settings(self) -> str:
        """`[mqtt]`; alice may operate."""
        table = {"broker": "127.0.0.1", "port": self.port, "device_id": DEVICE, "username": "labd"}
        table |= {"password": f"file:{self._password}", "reconnect_s": 0.5, "keepalive_s": 5}
        return toml("mqtt", **table) + toml("mqtt.users", alice=["read", "operate"])

    def away(self) -> None:
        """Killed."""
        self.broker.kill()

    def back(self) -> None:
        """Started again on the same port."""
        if not self.broker.is_up:
            asyncio.run(self.broker.start())

    def end(self) -> None:
        """Ended in good order."""
        with contextlib.suppress(OSError):
            self.broker.stop()
