"""What a peer is to the bench: where it comes from, how it is started, what it says to keep, and its client."""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.peers.services import Services

APPS = Path(__file__).with_name("apps")
ROOT = Path(__file__).resolve().parents[3]
ANSWER_S = 720.0


@dataclass
class Place:
    """One round's folder, interpreter and processes."""

    folder: Path
    python: Path
    services: Services
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def stamps(self) -> Path:
        """Where the client listens to the bodies."""
        return self.folder / "stamps"

    def command(self, name: str) -> str:
        """A command of the peer's environment."""
        return str(self.python.with_name(name))


class Peer:
    """One row of the table.

    `durable`: an acknowledged job and a recorded result outlive a power cut. `counts`: how many jobs are measured at
    most, where 5,000 would take minutes. `servers` and `workers` name the processes; a kill takes the workers.
    """

    key: str
    title: str
    app: str
    environment: str
    requirements: tuple[str, ...]
    debian: tuple[str, ...] = ()
    durable: bool
    durability: str
    settings: str
    bulk: str
    counts: int = 5_000
    stamps_at_most: int = 200
    servers: tuple[str, ...] = ()
    workers: tuple[str, ...] = ("worker",)
    is_killed: bool = True
    calls: int = 0

    def prepare(self, place: Place) -> None:
        """What is made once, before the first start: a cluster, a schema."""

    def start_servers(self, place: Place) -> None:
        """The servers it needs; returns when they answer."""

    def start_workers(self, place: Place) -> None:
        """What runs the jobs."""

    def stop_workers(self, place: Place) -> None:
        """So that submissions are measured alone."""
        place.services.kill(list(self.workers))

    def end(self, place: Place) -> None:
        """All of it."""
        place.services.kill()

    def variables(self, place: Place) -> Mapping[str, str]:
        """What its client and its workers find in their environment, beside `environ`."""
        return {}

    def environ(self, place: Place) -> dict[str, str]:
        """The environment of everything of this peer."""
        dropped = ("LABD_", "PREFECT_", "VIRTUAL_ENV", "PYTHON")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
        ours = {
            "PYTHONPATH": str(APPS), "PEERS_FOLDER": str(place.folder), "PEERS_APPS": str(APPS),
            "PEERS_STAMPS": str(place.stamps), "HOME": str(place.folder), "DO_NOT_TRACK": "1",
        }  # fmt: skip
        path = f"{place.python.parent}{os.pathsep}{kept.get('PATH', '')}"
        return {**kept, **ours, "PATH": path, **self.variables(place)}


class Client:
    """The driver of a peer, in the peer's interpreter."""

    def __init__(self, peer: Peer, place: Place) -> None:
        self._log = (place.folder / "client.log").open("ab")
        self._process = subprocess.Popen(
            [str(place.python), str(APPS / "driver.py"), peer.app],
            cwd=place.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            env=peer.environ(place),
        )  # fmt: skip
        self._path = place.folder / "client.log"
        self._answer(60.0)

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """One order.

        Raises:
            RuntimeError: The driver failed; has the end of its log.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
        self._process.stdin.flush()
        answer = self._answer(ANSWER_S)
        if "failed" in answer:
            raise RuntimeError(f"{do}: {answer['failed']}")
        return answer

    def _answer(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            raise RuntimeError(f"no answer within {limit_s:.0f} s; {self._tail()}")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the client ended; {self._tail()}")
        return dict(json.loads(line))

    def _tail(self) -> str:
        return f"its log ends with\n{self._path.read_text(errors='replace')[-2000:]}"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()
