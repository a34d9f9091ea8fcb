"""Answers as people or programs want them: table, JSON, CSV, and a line that shows progress.

Why rich is imported inside: it costs more time than the rest of labctl together, and `labctl status` never needs it.
"""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

Row = Sequence[str]


def to_json(value: Any) -> str:
    """The API's own objects, unchanged."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def to_csv(columns: Sequence[str], rows: Iterable[Row]) -> str:
    """CSV with a head line; cells that a spreadsheet would run as a formula are marked as text."""
    import csv
    import io

    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([f"'{cell}" if cell[:1] in ("=", "@", "\t") else cell for cell in row])
    return out.getvalue().rstrip("\n")


def to_table(columns: Sequence[str], rows: Sequence[Row], stream: TextIO | None = None) -> str:
    """A table: drawn by rich on a terminal that is wide enough, else plain columns."""
    stream = stream or sys.stdout
    if not rows:
        return "nothing to show"
    if stream.isatty():
        return _rich_table(columns, rows) or plain_table(columns, rows)
    return plain_table(columns, rows)


def plain_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    """Columns parted by two blanks; the last one is not padded."""
    lines = [[printable(cell) for cell in row] for row in (columns, *rows)]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(columns))]
    text = []
    for line in lines:
        cells = [cell + " " * (widths[at] - _width(cell)) for at, cell in enumerate(line)]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def cell(value: Any) -> str:
    """Any value of the API as the text of one cell."""
    if value is None:
        return ""
    if value is True or value is False:
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, list | tuple) and all(isinstance(one, str | int | float) for one in value):
        return ",".join(map(str, value))
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def pairs(value: Mapping[str, Any], indent: str = "") -> str:
    """`key: value` lines."""
    return "\n".join(f"{indent}{key}: {printable(cell(one))}" for key, one in value.items())


def instant(text: str | None) -> str:
    """An instant of the API without its fraction; the zone stays UTC and is said."""
    if not text:
        return ""
    return text[:19].replace("T", " ") + "Z"


def printable(text: str) -> str:
    """Text from elsewhere without control characters: a job's name must not drive the reader's terminal."""
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Cf") else sign for sign in text)


class ProgressLine:
    """One line on standard error that is written over as long as it is a terminal; elsewhere one line per change."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._shown = ""

    def show(self, text: str, ticking: str = "") -> None:
        """The present state; `ticking` (seconds passed) is shown on a terminal only."""
        text = printable(text)
        if self._live:
            line = f"{text} {ticking}".rstrip()
            self._stream.write("\r" + line + " " * max(0, len(self._shown) - len(line)))
            self._shown = line
        elif text != self._shown:
            self._stream.write(text + "\n")
            self._shown = text
        self._stream.flush()

    def clear(self) -> None:
        """Make room for the answer."""
        if self._live and self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._stream.flush()
        self._shown = ""


def progress_text(job: Mapping[str, Any]) -> str:
    """How far a job is, in one line."""
    text = f"job {job['id']} {job['task']}: {job['state']}"
    if job["state"] == "queued" and job.get("attempt"):
        text += f" (attempt {job['attempt']} of {job['max_attempts']} failed, another follows)"
    asks = job.get("asks")
    if asks and job["state"] == "waiting":
        kinds = f" ({answers(asks)})" if answers(asks) else ""
        return printable(f"{text}: {asks['question']}{kinds}; `labctl job answer {job['id']} VALUE`")
    progress = job.get("progress")
    if progress and job["state"] in ("running", "cancelling", "waiting"):
        done, total = progress.get("done"), progress.get("total")
        if total:
            text += f" {bar(done / total)} {_number(done)}/{_number(total)}"
        elif done is not None:
            text += f" {_number(done)}"
        if progress.get("text"):
            text += f" {progress['text']}"
    return printable(text)


def _float(value: float) -> str:
    """Six digits, as a reading has; a large number in full, since its digits are a count or an instant."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if 1e5 <= abs(value) < 1e15 else f"{value:g}"


def answers(asks: Mapping[str, Any]) -> str:
    """What may be answered to a question, in the words that `labctl job answer` takes; empty: any text."""
    if asks.get("kind") == "yes_no":
        return "yes | no"
    if asks.get("kind") != "number":
        return " | ".join(asks.get("choices") or [])
    low = "" if asks.get("minimum") is None else f"{cell(asks['minimum'])} <= "
    high = "" if asks.get("maximum") is None else f" <= {cell(asks['maximum'])}"
    return f"{low}number{high} {asks.get('unit') or ''}".rstrip()


def _number(value: float) -> str:
    """Whole numbers in full: rows of a load are counted in millions."""
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


def bar(share: float, width: int = 20) -> str:
    """A bar of plain signs."""
    filled = round(max(0.0, min(1.0, share)) * width)
    return "[" + "#" * filled + "." * (width - filled) + "]"


def _rich_table(columns: Sequence[str], rows: Sequence[Row]) -> str:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console

    console = Console()
    fixed = sum(max(_width(row[at]) for row in (columns, *rows)) + 2 for at in range(len(columns) - 1))
    if fixed + _LAST_COLUMN_AT_LEAST > console.width:
        return ""  # folding every cell to a few signs is worse than long lines
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(columns):
        table.add_column(name, overflow="fold", no_wrap=at < len(columns) - 1)
    for row in rows:
        table.add_row(*(Text(printable(one), style=_COLOURS.get(one, "")) for one in row))
    with console.capture() as capture:
        console.print(table)
    return capture.get().rstrip("\n")


_LAST_COLUMN_AT_LEAST = 8
_COLOURS = {
    "succeeded": "green",
    "running": "cyan",
    "failed": "red",
    "interrupted": "bold magenta",
    "cancelling": "yellow",
    "cancelled": "yellow",
    "waiting": "cyan",
}


def _width(text: str) -> int:
    return sum(0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF") for sign in text)
