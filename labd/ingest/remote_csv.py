"""CSV: pyarrow's reader with the known types, without them where a value does not fit, row by row where one is ragged.

Why a ragged row is rescued as a whole: a separator too many moves every value after it, so none of them can be trusted.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from labd.ingest.remote_blocks import MIB, Block, refuse_columns
from labd.ingest.remote_columns import fits
from labd.ingest.remote_faults import FileFault
from labd.ingest.remote_fit import fit, fit_batch, rescued_text
from labd.ingest.remote_text import Text
from labd.ingest.remote_types import normal
from labd.ingest.remote_values import match_names

Json = dict[str, Any]
_HEAD_BYTES = 1 * MIB
_WHOLE = re.compile(r"[+-]?\d+\Z").pattern.replace("\\Z", "$")
DIGITS_OF_LONG = 19


class Csv:
    """Rows of a file with one dialect; the header has been read."""

    def __init__(self, text: Text, format_: Json, rule: Json) -> None:
        self._quote = str(format_.get("quote", '"'))
        self._escape = str(format_.get("escape", ""))
        self._delimiter = str(format_.get("delimiter", ","))
        self._comment = str(format_.get("comment", "")).encode()
        self._nulls = [str(word) for word in format_.get("null_values", ("",))]
        self._formats = [str(form) for form in format_.get("timestamp_formats", ())]
        self._texts = not rule.get("infer_types", True)
        self._strict = rule.get("mode") == "fixed"
        self._over_lines = False
        """Whether values may go over several lines: then the ends of rows are looked for, which is slow."""
        self.start, self.line = text.start, 1
        self._skip(text, int(format_.get("skip_rows", 0)))
        self.names = self._header(text, bool(format_.get("header", True)), rule)
        refuse_columns(len(self.names))

    def _skip(self, text: Text, lines: int) -> None:
        while lines > 0 and self.start < text.size:
            data = text.read(self.start, _HEAD_BYTES)
            found = min(lines, data.count(b"\n"))
            end = 0
            for _ in range(found):
                end = data.index(b"\n", end) + 1
            self.start += end if found else len(data)
            self.line += found
            lines -= found

    def _header(self, text: Text, told: bool, rule: Json) -> list[str]:
        """The names of the columns; moves `start` behind the header."""
        head = text.read(self.start, _HEAD_BYTES)
        while head and (not head.split(b"\n", 1)[0].strip() or (self._comment and head.startswith(self._comment))):
            end = head.find(b"\n") + 1 or len(head)
            self.start, self.line, head = self.start + end, self.line + 1, head[end:]
        if not head.strip():
            self.start = text.size
            return []
        end = self._first(head) or len(head)
        try:
            row = next(csv.reader([head[:end].decode()], **self._python_dialect()))
        except (UnicodeDecodeError, csv.Error) as fault:
            code = "wrong_encoding" if isinstance(fault, UnicodeDecodeError) else "malformed"
            raise FileFault(code, f"the first row cannot be read: {fault}", f"line {self.line}") from fault
        if not told:
            fixed = [column["name"] for column in rule.get("columns") or ()] if self._strict else []
            return fixed if len(fixed) == len(row) else [f"column_{place}" for place in range(1, len(row) + 1)]
        self.start += end
        self.line += head.count(b"\n", 0, end)
        return _unique([name.strip() for name in row])

    def _first(self, head: bytes) -> int:
        """Where the first row ends."""
        end = head.find(b"\n") + 1
        while end and self._open_quote(head[:end]):
            end = head.find(b"\n", end) + 1
        return end

    def _python_dialect(self) -> Json:
        quoting = csv.QUOTE_MINIMAL if self._quote else csv.QUOTE_NONE
        return {"delimiter": self._delimiter, "quotechar": self._quote or None, "quoting": quoting, "strict": False,
                "escapechar": self._escape or None}  # fmt: skip

    def _open_quote(self, data: bytes) -> bool:
        if not self._quote:
            return False
        if self._escape and self._escape != self._quote:
            data = re.sub(re.escape(self._escape.encode()) + b".", b"", data, flags=re.DOTALL)
        return data.count(self._quote.encode()) % 2 == 1

    def cut(self, data: bytes) -> int:
        """After the last line's end that is not within quotes, once there was a value over several lines.

        Why twice: counting quotes is fast, and right but for a quote amid a value (`5" pipe`); then values are read.
        """
        end = data.rfind(b"\n") + 1
        if not self._over_lines and not self._open_quote(data[data.rfind(b"\n", 0, max(0, end - 1)) + 1 : end]):
            return end
        self._over_lines = bool(self._quote)
        while end and self._open_quote(data[:end]):
            quote = data.rfind(self._quote.encode(), 0, end)
            end = data.rfind(b"\n", 0, quote) + 1 if quote > 0 else 0
        if end or not self._quote:
            return end
        masked = self._masked(data)
        unclosed = re.search(self._opening(), masked)
        return masked.rfind(b"\n", 0, unclosed.start() if unclosed else len(masked)) + 1

    def _opening(self) -> bytes:
        return rb"(?:\A|(?<=[\r\n" + re.escape(self._delimiter.encode()) + rb"]))" + re.escape(self._quote.encode())

    def _masked(self, data: bytes) -> bytes:
        """The data with quoted values overwritten, so that every line's end left ends a row."""
        if not self._quote:
            return data
        quote = re.escape(self._quote.encode())
        inner = rb"(?:[^" + quote + rb"]|" + quote + quote + rb")*"
        if self._escape and self._escape != self._quote:
            escape = re.escape(self._escape.encode())
            inner = rb"(?:" + escape + rb".|[^" + quote + escape + rb"]|" + quote + quote + rb")*"
        pattern = self._opening() + inner + quote + rb"(?!" + quote + rb")"
        return re.sub(pattern, lambda match: b"x" * len(match[0]), data, flags=re.DOTALL)

    def parse(self, data: bytes, offset: int, line: int, known: dict[str, Any], *, last: bool) -> Iterator[Block]:
        """One block with types and rows; none if a value goes over its end."""
        names = {name: known[target] for name, target in match_names(self.names, list(known)).items()}
        told = {name: _readable(kind) for name, kind in names.items()}
        for name in self.names:
            if name not in names and (self._texts or self._strict):
                told[name] = pa.string()
        block = Block(offset, len(data), line)
        table = self._read(data, told, block, guess=not last)
        if table is None:
            self._over_lines = True
            return
        columns = [
            self._settled(table.column(place), names.get(name)) for place, name in enumerate(self.names)
        ]  # and one table of them: a table for each column would take the square of their number
        table = pa.Table.from_arrays(columns, names=self.names) if columns else table
        inexact = [name for name in self.names if name not in names and _inexact(table.column(name))]
        if inexact:
            texts = self._read(data, told | dict.fromkeys(inexact, pa.string()), block)
            for name in inexact:
                table = table.set_column(
                    self.names.index(name), name, _long_integers(texts.column(name)) or table.column(name)
                )
        tail = table.slice(max(0, table.num_rows - 1)).to_pylist()
        if any("\n" in value for row in tail for value in row.values() if isinstance(value, str)) and (
            self._open_quote(data)
        ):
            raise FileFault("truncated", "the last value in quotes has no end", f"from line {line}")
        block.types = {field.name: normal(field.type) for field in table.schema}
        block.table, block.rows = table, table.num_rows
        yield block

    def _read(self, data: bytes, told: dict[str, Any], block: Block, *, guess: bool = False) -> Any:
        """The rows as pyarrow reads them: with the types told, else inferred where they are refused.

        With `guess` None where rows and lines differ in a way that may come from a value over several lines.
        """
        guess = guess and not self._over_lines and bool(self._quote) and self._quote.encode() in data
        if self._comment:
            data = b"\n".join(b"" if row.startswith(self._comment) else row for row in data.split(b"\n"))
        for types in (told, {name: kind for name, kind in told.items() if pa.types.is_string(kind)}):
            for careful in (False, True):
                try:
                    table = self._tried(data, types, block, careful=careful)
                    return None if guess and block.lines is not None else table
                except pa.ArrowInvalid as fault:
                    last = fault
                    if guess and "conversion error" not in str(fault):
                        return None
                    if "conversion error" in str(fault):
                        break
        raise FileFault("malformed", f"CSV: {str(last)[:300]}", f"from line {block.line}") from last

    def _tried(self, data: bytes, types: Json, block: Block, *, careful: bool) -> Any:
        ragged: list[str] = []
        if not data[:80].strip() and not data.strip():
            return pa.table({name: pa.nulls(0) for name in self.names})
        quoted = bool(self._quote) and self._quote.encode() in data
        over_lines = quoted and (careful or self._over_lines)
        table = self._converted(data, types, ragged if careful else None, over_lines=over_lines)
        block.newlines = data.count(b"\n") if block.newlines < 0 else block.newlines
        block.bad, block.lines = _places(data, block, table.num_rows, ragged)
        if block.lines is not None and quoted and not over_lines:
            table = self._converted(data, types, None, over_lines=True)
            block.bad, block.lines = _places(data, block, table.num_rows, ragged)
        return table

    def _converted(self, data: bytes, types: Json, ragged: list[str] | None, *, over_lines: bool) -> Any:
        """The rows, those in `ragged` left out.

        Why without `over_lines` first: looking for values over several lines halves the speed; if there are as many
        rows as lines there was none.
        """

        def skip(row: Any) -> str:
            ragged.append(row.text)  # type: ignore[union-attr]
            return "skip"

        careful = ragged is not None
        size = len(data) + 1 if careful else MIB
        return pa.csv.read_csv(
            pa.BufferReader(data),
            read_options=pa.csv.ReadOptions(
                column_names=self.names, use_threads=not careful and len(data) > MIB, block_size=max(size, 64)
            ),
            parse_options=pa.csv.ParseOptions(
                delimiter=self._delimiter, quote_char=self._quote or False, escape_char=self._escape or False,
                double_quote=bool(self._quote), newlines_in_values=over_lines,
                invalid_row_handler=skip if careful else None,
            ),
            convert_options=pa.csv.ConvertOptions(
                check_utf8=False, column_types=types, null_values=self._nulls, strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                timestamp_parsers=[*self._formats, pa.csv.ISO8601],
            ),
        )  # fmt: skip

    def _settled(self, column: Any, kind: Any) -> Any:
        """Text as what is wanted, if all of it is that."""
        if kind is None or not pa.types.is_string(column.type) or pa.types.is_string(kind):
            return column
        parts = [fit(chunk, kind, text=True, formats=self._formats) for chunk in column.chunks]
        return column if any(bad for _, bad in parts) else pa.chunked_array([fitted for fitted, _ in parts], kind)

    def fit(self, data: bytes, block: Block, schema: Any) -> Iterator[tuple[Any, int]]:
        """The rows of a block as batches of a schema, with the number of rescued ones."""
        table = block.table
        wanted = match_names(self.names, schema.names[:-1])
        again = [
            field.name
            for field in table.schema
            if not _as_written(field.type, schema.field(wanted[field.name]).type if field.name in wanted else None)
        ]
        if again:
            told = {field.name: field.type for field in table.schema if not pa.types.is_null(field.type)}
            told = {name: _readable(kind) for name, kind in told.items()} | dict.fromkeys(again, pa.string())
            table = self._read(data, told, block)
        number_of = self._number_of(block, data)
        begun = 0
        for batch in table.to_batches():
            yield fit_batch(batch, schema, text=True, number_of=_from(number_of, begun), formats=self._formats)
            begun += batch.num_rows
        if block.bad:
            texts = [rescued_text({"_raw": raw}, {"_line": line} if line else {}) for line, raw in block.bad]
            columns = [pa.nulls(len(texts), field.type) for field in list(schema)[:-1]]
            yield pa.RecordBatch.from_arrays([*columns, pa.array(texts, pa.string())], schema=schema), len(texts)

    def _number_of(self, block: Block, data: bytes) -> Callable[[int], Json]:
        """The line of a row; where values go over lines they are counted when somebody asks."""
        if block.lines is None:
            return lambda row: {"_line": block.line + row}

        def number(row: int) -> Json:
            if not block.lines:
                taken = {line for line, _ in block.bad}
                block.lines = self._counted(data, block.line, taken)
            return {"_line": block.lines[row]} if row < len(block.lines) else {}

        return number

    def _counted(self, data: bytes, line: int, taken: set[int]) -> list[int]:
        """The line on which each row begins."""
        lines, masked, begin = [], self._masked(data), 0
        while begin < len(data):
            end = masked.find(b"\n", begin) + 1 or len(data)
            row = data[begin:end]
            if row.strip() and line not in taken and not (self._comment and row.startswith(self._comment)):
                lines.append(line)
            line += row.count(b"\n")
            begin = end
        return lines


def _unique(names: list[str]) -> list[str]:
    """Names with a number where one is empty or comes again."""
    found: list[str] = []
    taken: set[str] = set()
    for place, name in enumerate(names, 1):
        made, count = name or f"column_{place}", 2
        while made.lower() in taken:
            made, count = f"{name or 'column'}_{count}", count + 1
        taken.add(made.lower())
        found.append(made)
    return found


def _readable(kind: Any) -> Any:
    """What pyarrow's reader is told for a type."""
    types = pa.types
    if types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or types.is_binary(kind):
        return pa.string()
    return pa.string() if types.is_time(kind) or types.is_fixed_size_binary(kind) else kind


def _as_written(source: Any, target: Any) -> bool:
    """Whether a parsed value is as good for a target as its text; not for `007` as text."""
    types = pa.types
    if types.is_null(source) or types.is_string(source):
        return True
    if target is None:
        return False
    if normal(source).equals(target):
        return True
    inexact = types.is_string(target) or types.is_decimal(target) or types.is_boolean(source) or types.is_time(source)
    return not inexact and fits(normal(source), target)


def _inexact(column: Any) -> bool:
    """Whether a column of doubles may have been integers beyond 64 bits."""
    if not pa.types.is_floating(column.type):
        return False
    largest = pc.max(pc.abs(column)).as_py()
    return largest is not None and 2.0**63 <= largest < float("inf")


def _long_integers(column: Any) -> Any:
    """Texts as a decimal if all of them are whole numbers; None if not."""
    if not pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(column), _WHOLE)).as_py():
        return None
    try:
        return pc.utf8_trim_whitespace(column).cast(pa.decimal128(38, 0))
    except pa.ArrowInvalid:
        return column


def _places(
    data: bytes, block: Block, rows: int, ragged: list[str]
) -> tuple[list[tuple[int, str]], Sequence[int] | None]:
    """The lines of ragged rows, and of the others: None where row follows line, empty where they must be counted."""
    line = block.line
    total = block.newlines + (0 if data.endswith(b"\n") or not data else 1)
    if not ragged and total == rows:
        return [], None
    bad, at = [], 0
    for raw in ragged:
        found = data.find(raw.encode(), at)
        bad.append((line + data.count(b"\n", 0, found) if found >= 0 else 0, raw))
        at = max(found, at) + 1
    return bad, []


def _from(number_of: Callable[[int], Json], begun: int) -> Callable[[int], Json]:
    return lambda row: number_of(begun + row)
