"""Files of text, read in blocks: every block is parsed once for its columns, and kept if its values can be used.

Why whole files before the first row: a column or a fault may be in the last line. What was parsed is kept in memory,
then in a file of Arrow's, so that a clean file is parsed once; a block is parsed again only where its types turned out
otherwise than the table's, such as `007` in a column of text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from labd.ingest.remote_columns import arrow_schema, fits
from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_text import Text
from labd.ingest.remote_types import merge, normal, to_arrow, to_word
from labd.ingest.remote_values import match_names

Json = dict[str, Any]
MIB = 2**20
BLOCK_BYTES = 16 * MIB
LEAST_BLOCK_BYTES = MIB
COLUMNS_AT_MOST = 10_000


@dataclass
class Block:
    """A part of the text with whole records. `lines` says which line a row is on, None where all lines are rows;
    `bad` are lines that are no records. Without `table` the rows have to be parsed again.
    """

    offset: int
    size: int
    line: int
    types: dict[str, Any] = field(default_factory=dict)
    table: Any = None
    spilled: Path | None = None
    lines: Sequence[int] | None = None
    bad: list[tuple[int, str]] = field(default_factory=list)
    rows: int = 0
    newlines: int = -1
    """Ends of lines in it; -1 where they were not counted."""


class Dialect(Protocol):
    """What differs between JSON lines and CSV."""

    start: int
    """Where the first record is."""
    line: int
    """Which line that is."""
    names: list[str]
    """Of a header; empty where there is none."""

    def cut(self, data: bytes) -> int:
        """Where the last whole record of a part ends; 0 if there is none."""
        ...

    def parse(self, data: bytes, offset: int, line: int, known: dict[str, Any], *, last: bool) -> Iterator[Block]:
        """Blocks of the data, with types, and the rows if they could be had; none if it has to be cut again.

        `last`: Nothing comes after the data.
        """
        ...

    def fit(self, data: bytes, block: Block, schema: Any) -> Iterator[tuple[Any, int]]:
        """The rows of a block as batches of a schema, with the number of rescued ones."""
        ...


def line_faults(data: bytes, line: int, limit_bytes: int) -> None:
    """Refuse text that is not UTF-8 and lines that are too long."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as fault:
            at = data.count(b"\n", 0, fault.start)
            column = fault.start - (data.rfind(b"\n", 0, fault.start) + 1)
            message = f"byte 0x{data[fault.start]:02x} is no UTF-8; set the format's encoding"
            raise FileFault("wrong_encoding", message, f"line {line + at}, byte {column + 1}") from fault
    if len(data) > limit_bytes:
        for number, text in enumerate(data.split(b"\n"), line):
            if len(text) > limit_bytes:
                raise too_long(len(text), limit_bytes, number)


def too_long(found: int, limit_bytes: int, line: int) -> FileFault:
    """The fault of a line beyond the limit."""
    message = f"a line of {found} bytes or more, the limit is {limit_bytes}; raise line_limit_bytes"
    return FileFault("line_too_long", message, f"line {line}")


class Blocks:
    """A file of text whose blocks are known."""

    def __init__(
        self, text: Text, dialect: Dialect, format_: Json, rule: Json, table: list[Json] | None, scratch: Path,
        memory_bytes: int,
    ) -> None:  # fmt: skip
        self._text = text
        self._dialect = dialect
        self._scratch = scratch
        self._limit = int(format_.get("line_limit_bytes", BLOCK_BYTES))
        self._room = memory_bytes
        self._block_bytes = max(LEAST_BLOCK_BYTES, min(BLOCK_BYTES, memory_bytes // 8))
        self._blocks: list[Block] = []
        self._known = known_types(rule, table)
        self._types: dict[str, Any] = dict.fromkeys(dialect.names, pa.null())
        try:
            self._read()
        except BaseException:
            self.close()
            raise
        self.columns, self.untyped = told_columns(self._types, self._known, rule)

    def _read(self) -> None:
        offset, line, end = self._dialect.start, self._dialect.line, self._text.size
        any_record = any_line = False
        while offset < end:
            data, begun = self._next(offset, line), offset
            line_faults(data, line, self._limit)
            for block in self._dialect.parse(data, offset, line, self._known, last=offset + len(data) >= end):
                for name, kind in block.types.items():
                    self._types[name] = merge(self._types[name], kind) if name in self._types else kind
                any_record = any_record or block.rows > 0
                any_line = any_line or bool(block.bad)
                self._blocks.append(block)
                self._keep(block)
                newlines = (
                    block.newlines
                    if block.newlines >= 0
                    else data.count(b"\n", block.offset - begun, block.offset - begun + block.size)
                )
                offset, line = block.offset + block.size, line + newlines
        if any_line and not any_record:
            text = "no line of the file is a record, so it has another format; check it against the definition's"
            raise FileFault("wrong_format", text, f"line {self._blocks[0].bad[0][0]}")

    def _next(self, offset: int, line: int) -> bytes:
        """The next part that ends with a record."""
        count = self._block_bytes
        while True:
            data = self._text.read(offset, count)
            if offset + len(data) >= self._text.size:
                return data
            if not data:
                raise FileFault("truncated", "the file has become shorter while it was read", f"byte {offset}")
            cut = self._dialect.cut(data)
            if cut:
                return data[:cut]
            if len(data) > self._limit:
                raise too_long(len(data), self._limit, line)
            count *= 2

    def _keep(self, block: Block) -> None:
        """Keep the rows in memory while there is room, then in a file."""
        if block.table is None:
            return
        size = block.table.nbytes
        if size <= self._room:
            self._room -= size
            return
        block.spilled = self._scratch / f"block-{id(self)}-{len(self._blocks)}.arrow"
        with pa.OSFile(str(block.spilled), "wb") as file, pa.ipc.new_file(file, block.table.schema) as writer:
            writer.write_table(block.table)
        block.table = None

    def batches(self, columns: list[Json]) -> Iterator[tuple[Any, int]]:
        """Batches that fit, each with the number of its rescued rows."""
        schema = arrow_schema(columns)
        for block in self._blocks:
            kept = block
            if block.spilled is not None:
                with pa.OSFile(str(block.spilled), "rb") as file:
                    table = pa.ipc.open_file(file).read_all()
                kept = Block(**(block.__dict__ | {"table": table}))
            yield from self._dialect.fit(self._text.read(block.offset, block.size), kept, schema)

    def close(self) -> None:
        """Give back memory and files."""
        for block in self._blocks:
            if block.spilled is not None:
                block.spilled.unlink(missing_ok=True)
        self._blocks.clear()
        self._text.close()


def known_types(rule: Json, table: list[Json] | None) -> dict[str, Any]:
    """Types that need not be inferred: the table's, those of a fixed rule, and hints."""
    known = {name: to_arrow(word) for name, word in (rule.get("hints") or {}).items()}
    if rule.get("mode") == "fixed":
        known |= {column["name"]: to_arrow(column["type"]) for column in rule["columns"]}
    return known | {column["name"]: to_arrow(column["type"]) for column in table or []}


def refuse_columns(count: int) -> None:
    """No table has so many, and what is done with them takes more than time and memory allow.

    Raises:
        FileFault: `too_large`, with both numbers.
    """
    if count > COLUMNS_AT_MOST:
        text = f"the file has {count} columns, at most {COLUMNS_AT_MOST} are taken; are they values, not names?"
        raise FileFault("too_large", text)


def told_columns(types: dict[str, Any], known: dict[str, Any], rule: Json) -> tuple[list[Json], list[str]]:
    """What `OpenFile.columns` and `untyped` say."""
    if rule.get("mode") == "fixed":
        return [dict(column) for column in rule["columns"]], []
    refuse_columns(len(types))
    columns: list[Json] = []
    untyped: list[str] = []
    taken: set[str] = set()
    names = match_names(list(types), list(known))
    for name, kind in types.items():
        target = names.get(name)
        if target is None and name.lower() in taken:
            continue
        if target is not None and fits(kind, known[target]):
            kind = known[target]
        word = to_word(normal(kind))
        if word is None and rule.get("mode") == "infer":
            word = "string"
        if word is None:
            untyped.append(name)
        else:
            columns.append({"name": target or name, "type": word})
            taken.add((target or name).lower())
    return columns, untyped


def open_body(
    content: Any, format_: Json, rule: Json, table: list[Json] | None, scratch: Path, memory_bytes: int
) -> Blocks:
    """A file of text."""
    from labd.ingest.remote_text import open_text

    kind = format_["type"]
    text = open_text(
        content, format_.get("compression", "auto"), format_.get("encoding", "utf-8"), scratch, memory_bytes
    )
    try:
        if kind == "csv":
            from labd.ingest.remote_csv import Csv

            return Blocks(text, Csv(text, format_, rule), format_, rule, table, scratch, memory_bytes)
        from labd.ingest.remote_json import JsonLines

        if kind == "json":
            from labd.ingest.remote_document import as_lines

            text = as_lines(text, format_, memory_bytes)
            format_ = format_ | {"line_limit_bytes": max(text.size, 1)}
        return Blocks(text, JsonLines(text, rule, kind == "json"), format_, rule, table, scratch, memory_bytes)
    except BaseException:
        text.close()
        raise
