"""A reader that asks a customer's graph without a pause, while the demo lets another version serve."""

from __future__ import annotations

import threading
from typing import Any

CUSTOMER = "customer1"
CYPHER = "MATCH (person:Person) RETURN count(person)"


class DemoReader:
    """Asks in a thread of its own, from `start` to `stop`.

    Attributes:
        seen: Database -> how often it answered, in the order of the first answers.
        fault: The first failure; a swap must not make one.
    """

    def __init__(self, host: str) -> None:
        self.seen: dict[str, int] = {}
        self.fault = ""
        self._host = host
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> str:
        """Ask no more.

        Returns:
            What it saw, in one line.
        """
        self._over.set()
        self._thread.join()
        answers = ", then ".join(f"{count} by {database}" for database, count in self.seen.items())
        return f"the reader had {sum(self.seen.values())} answers ({answers}) and {self.fault or 'no failure'}"

    def _read(self) -> None:
        from labctl import Client
        from labd.errors import LabdError

        client = Client(self._host)
        while not self._over.is_set():
            try:
                answer: dict[str, Any] = client.query_snapshot(CUSTOMER, CYPHER)
            except LabdError as fault:
                self.fault = self.fault or fault.message
                return
            database = str(answer["database"])
            self.seen[database] = self.seen.get(database, 0) + 1
