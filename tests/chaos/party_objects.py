"""The object store that files come from: moto's S3 behind a cable, since a killed moto would forget its files.

What was put is kept here too, as the source that the table is held against.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable
from pathlib import Path

from tests.acceptance.processes import toml
from tests.chaos.relay import Relay
from tests.fakes.object_stores import S3Lab

INGESTION = "chaos"
SECRET = "s3cr3t/+canary"


class Objects:
    """Satisfies `Party`; brings an ingestion `chaos` of JSON lines into the table `default.chaos`.

    Attributes:
        contents: Path -> the rows (their ids) of each version that was put, in order.
    """

    name = "objects"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lab = S3Lab(folder)
        self._relay = Relay(self._lab.port)
        self._secret = folder / "secret"
        self._silent = False
        self._lock = threading.Lock()
        self._row = 0
        self.contents: dict[str, list[list[int]]] = {}

    def start(self) -> None:
        """Serve, with an empty bucket."""
        self._secret.write_text(SECRET)
        self._secret.chmod(0o600)
        self._lab.start()
        self._relay.start()

    def settings(self) -> str:
        """`[ingest]` with its credentials and its one definition."""
        options = {"endpoint": f"http://127.0.0.1:{self._relay.port}", "access_key_id": "tester"}
        source = {"url": self._lab.url, "pattern": "**/*.jsonl", "credentials": "lab", "settle_s": 0}
        definition = f"ingest.definition.{INGESTION}"
        return (
            toml("ingest", task_retry_delay_seconds=0.2, simulated=True)
            + "[ingest.credentials.lab]\n"
            + "options = { " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items()) + " }\n"
            + f'secrets = {{ secret_access_key = "file:{self._secret}" }}\n'
            + toml(definition, name=INGESTION, changed="replace-rows")
            + toml(f"{definition}.source", **source)
            + toml(f"{definition}.format", type="jsonl")
            + toml(f"{definition}.limits", batch_files=7)
            + f'[{definition}.destination]\ntable = "{INGESTION}"\n'
        )  # fmt: skip

    def put(self, path: str, count: int) -> list[int]:
        """Write or overwrite a file with so many rows; ids that no other row has. Works while it is away for labd."""
        with self._lock:
            rows = list(range(self._row + 1, self._row + 1 + count))
            self._row += count
            self.contents.setdefault(path, []).append(rows)
            self._lab.put(path, lines(rows, path))
        return rows

    def away(self) -> None:
        """Cut or silent, in turns."""
        self._silent = not self._silent
        if self._silent:
            self._relay.hush()
        else:
            self._relay.cut()

    def back(self) -> None:
        """In reach, with every file."""
        self._relay.join()

    def end(self) -> None:
        """Gone, with every file."""
        self._relay.end()
        self._lab.stop()


def lines(rows: Iterable[int], path: str) -> bytes:
    """A file's content."""
    return b"".join(json.dumps({"id": row, "name": path}).encode() + b"\n" for row in rows)
