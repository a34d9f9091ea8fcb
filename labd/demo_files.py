"""The producer of the demo: files of readings that arrive in a folder, good ones, a broken one and a changed one.

Every row has a number of its own, so that the table can be held against the files row by row.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

INGESTION = "readings"
MANY, ROWS = 200, 20
SENSORS = ("inlet", "outlet", "bath")


class DemoFiles:
    """What has arrived.

    Args:
        folder: Where they arrive; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.numbers: Counter[int] = Counter()
        self._next = 1
        folder.mkdir(exist_ok=True)

    def arrive(self, what: str) -> str:
        """Lay down `three` files, a `broken` one, a `changed` one or `many`; returns a line about it."""
        if what == "three":
            for name in ("monday.jsonl", "tuesday.jsonl", "wednesday.jsonl"):
                self._write(name, ROWS)
            return f"three files of {ROWS} readings arrived in {self.folder}"
        if what == "broken":
            self._put("thursday.jsonl.gz", b"\x1f\x8b\x08\x00cut short")
            self._write("friday.jsonl", ROWS)
            return "two more arrived, and one of them was cut short on its way"
        if what == "changed":
            self._write("monday.jsonl", 2 * ROWS)
            return f"monday.jsonl was written anew, with {2 * ROWS} readings"
        for number in range(MANY):
            self._write(f"minute-{number:03}.jsonl", ROWS)
        return f"{MANY} files arrived at once"

    def compare(self, numbers: Counter[int]) -> tuple[bool, str]:
        """Whether a table has each row that ever arrived exactly once, and a line about it."""
        twice = sum(1 for count in (numbers - self.numbers).values() if count)
        missing = sum((self.numbers - numbers).values())
        text = f"{sum(self.numbers.values())} rows arrived, {sum(numbers.values())} are in the table: "
        return numbers == self.numbers, text + f"{twice} too often, {missing} missing"

    def _write(self, name: str, rows: int) -> None:
        lines = []
        for _ in range(rows):
            lines.append(json.dumps(self._reading(self._next)))
            self.numbers[self._next] += 1
            self._next += 1
        self._put(name, "\n".join(lines).encode() + b"\n")

    def _reading(self, number: int) -> dict[str, Any]:
        return {"number": number, "sensor": SENSORS[number % len(SENSORS)], "celsius": 20 + number % 70 / 10}

    def _put(self, name: str, content: bytes) -> None:
        """Whole or not at all, as a good producer does it."""
        part = self.folder / f".{name}.part"
        part.write_bytes(content)
        part.replace(self.folder / name)
