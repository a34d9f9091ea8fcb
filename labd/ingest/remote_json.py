"""JSON lines: pyarrow's reader where it takes a block, smaller blocks where it refuses, and line by line at last.

Why not only pyarrow: one wrong value makes it refuse a whole block, it reads integers beyond 64 bits as doubles, and it
takes several objects on a line. A refused block is halved until what is wrong is in a small part, so a file with few
bad lines is nearly as fast as a clean one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from labd.ingest.remote_blocks import Block
from labd.ingest.remote_fit import fit, fit_batch, rescued_column
from labd.ingest.remote_text import Text
from labd.ingest.remote_types import merge, normal
from labd.ingest.remote_values import DEEPEST, Record, fit_value, load, match_names, time_kind, too_deep, type_of

Json = dict[str, Any]
SMALL_BYTES = 64 * 1024
SNIFFED_LINES = 20
WINDOW_BYTES = 2048
ROWS_AT_ONCE = 4096


class JsonLines:
    """One object on every line."""

    def __init__(self, text: Text, rule: Json, document: bool) -> None:
        self.start = text.start
        self.line = 1
        self.names: list[str] = []
        self._nested: dict[str, Any] = {}
        """Types of nested columns with texts that pyarrow would take for times."""
        self._texts = not rule.get("infer_types", True)
        self._key = "_row" if document else "_line"

    def cut(self, data: bytes) -> int:
        """After the last line's end."""
        return data.rfind(b"\n") + 1

    def parse(self, data: bytes, offset: int, line: int, known: dict[str, Any], *, last: bool) -> Iterator[Block]:
        """Blocks with types; those that are clean with their rows."""
        try:
            table = self._inferred(data, known)
        except RecursionError:
            table = None
        newlines = data.count(b"\n")
        lines = None if table is None else _row_lines(data, newlines, line, table.num_rows)
        if table is not None and lines is not None:
            types = {field.name: normal(field.type) for field in table.schema}
            yield Block(
                offset, len(data), line, types, table, lines=lines or None, rows=table.num_rows, newlines=newlines
            )
        elif half := _half(data):
            yield from self.parse(data[:half], offset, line, known, last=False)
            yield from self.parse(data[half:], offset + half, line + data.count(b"\n", 0, half), known, last=last)
        else:
            yield self._looked_at(data, offset, line)

    def _inferred(self, data: bytes, known: dict[str, Any]) -> Any:
        """The rows as pyarrow reads them; None where it does not, or not exactly."""
        explicit = self._nested | {name: _readable(kind) for name, kind in known.items()}
        sniffed = _sniff(data, {name.lower() for name in known}, self._texts)
        times = {name: kind for name, kind in sniffed.items() if pa.types.is_timestamp(kind)}
        table = _read(data, explicit | times)
        if table is None and times:
            table = _read(data, explicit | dict.fromkeys(times, pa.string()))
        nested = {field.name: _timeless(field.type) for field in table.schema if _has_times(field)} if table else {}
        nested = {name: kind for name, kind in nested.items() if name not in known}
        if nested:
            self._nested |= nested
            table = _read(data, explicit | times | nested)
        if table is None:
            return None
        if times:  # pyarrow puts the columns that it was told first
            names = dict.fromkeys(table.schema.names)
            order = [name for name in sniffed if name in names]
            table = table.select([*order, *(name for name in names if name not in sniffed)])
        columns = []
        for place, field in enumerate(table.schema):
            column, kind = table.column(place), known.get(field.name)
            if kind is None:
                if self._texts and not (pa.types.is_string(field.type) or pa.types.is_null(field.type)):
                    return None
                if not _exact(column):
                    return None
                column = _dated(column)
            elif pa.types.is_string(field.type) and not pa.types.is_string(kind):
                column = _settled(column, kind)
            columns.append(column)
        return pa.Table.from_arrays(columns, names=table.schema.names) if columns else table

    def _looked_at(self, data: bytes, offset: int, line: int) -> Block:
        """A block as its lines are, one by one."""
        block = Block(offset, len(data), line)
        for number, text in _lines(data, line):
            record = load(text)
            if record is None:
                block.bad.append((number, ""))
                continue
            block.rows += 1
            for name, value in record.items():
                kind = pa.string() if self._texts and value is not None else normal(type_of(value))
                block.types[name] = merge(block.types[name], kind) if name in block.types else kind
        return block

    def fit(self, data: bytes, block: Block, schema: Any) -> Iterator[tuple[Any, int]]:
        """The rows of a block as batches of a schema, with the number of rescued ones."""
        table = block.table
        if table is not None and not _usable(table, schema):
            table = _read(data, _as_text_where_needed(table, schema))
            if table is not None and not _usable(table, schema):
                table = None
        if table is None:
            yield from self._one_by_one(data, block.line, schema)
            return
        number_of = self._number_of(block)
        begun = 0
        for batch in table.to_batches():
            yield fit_batch(batch, schema, text=False, number_of=_from(number_of, begun))
            begun += batch.num_rows

    def _number_of(self, block: Block) -> Callable[[int], Json]:
        lines, line = block.lines, block.line
        if lines is not None:
            return lambda row: {self._key: lines[row]}
        return lambda row: {self._key: line + row}

    def _one_by_one(self, data: bytes, line: int, schema: Any) -> Iterator[tuple[Any, int]]:
        rows: list[tuple[int, Record | None, str]] = []
        for number, text in _lines(data, line):
            rows.append((number, load(text), text))
            if len(rows) == ROWS_AT_ONCE:
                yield self._fitted(rows, schema)
                rows = []
        if rows:
            yield self._fitted(rows, schema)

    def _fitted(self, rows: list[tuple[int, Record | None, str]], schema: Any) -> tuple[Any, int]:
        fields = list(schema)[:-1]
        names = [field.name for field in fields]
        kinds = {field.name: field.type for field in fields}
        values: dict[str, list[Any]] = {name: [None] * len(rows) for name in names}
        rescued: dict[int, Json] = {}
        for row, (_, record, text) in enumerate(rows):
            if record is None:
                rescued[row] = {"_raw": text}
                continue
            left = dict(record.overridden or {})
            matched = match_names(list(record), names)
            for name, value in record.items():
                target = matched.get(name)
                if target is None:
                    fitted, good = None, value is None
                else:
                    fitted, good = fit_value(value, kinds[target])
                    values[target][row] = fitted
                if not good:
                    left[name] = value
            if left:
                rescued[row] = left
        columns = [pa.array(values[name], kinds[name]) for name in names]
        columns.append(rescued_column(len(rows), rescued, lambda row: {self._key: rows[row][0]}))
        return pa.RecordBatch.from_arrays(columns, schema=schema), len(rescued)


def _from(number_of: Callable[[int], Json], begun: int) -> Callable[[int], Json]:
    return lambda row: number_of(begun + row)


def _read(data: bytes, explicit: dict[str, Any]) -> Any:
    """A block by pyarrow; None if it refuses."""
    if _has_deep_line(data):
        return None
    schema = pa.schema([(name, kind) for name, kind in explicit.items() if kind is not None])
    options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer")
    reading = pa.json.ReadOptions(use_threads=len(data) > 2**20)
    try:
        table = pa.json.read_json(pa.BufferReader(data), read_options=reading, parse_options=options)
        table.validate()  # a list that begins with null comes out broken where its type was inferred (pyarrow 26)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
    if len(set(table.schema.names)) < table.num_columns or any(_deep(field.type, DEEPEST) for field in table.schema):
        return None
    absent = [name for name in explicit if name in table.schema.names and table.column(name).null_count == len(table)]
    return table.drop_columns(absent) if absent else table


def _has_deep_line(data: bytes) -> bool:
    """Whether a line is nested too deeply for pyarrow; only lines that fill a window can be, others are passed over."""
    begin = 0
    while begin + WINDOW_BYTES <= len(data):
        if data.find(b"\n", begin, begin + WINDOW_BYTES) >= 0:
            begin += WINDOW_BYTES
            continue
        end = data.find(b"\n", begin)
        end = len(data) if end < 0 else end
        if too_deep(data[data.rfind(b"\n", 0, begin) + 1 : end]):
            return True
        begin = end + 1
    return False


def _deep(kind: Any, left: int) -> bool:
    return left == 0 or any(_deep(kind.field(place).type, left - 1) for place in range(kind.num_fields))


def _readable(kind: Any) -> Any:
    """What pyarrow's reader is told for a type; None where it cannot be told."""
    types = pa.types
    if types.is_date(kind) or types.is_time(kind):
        return pa.string()
    if types.is_list(kind):
        inner = _readable(kind.value_type)
        return None if inner is None else pa.list_(inner)
    if types.is_struct(kind):
        fields = [(field.name, _readable(field.type)) for field in kind]
        return pa.struct([(name, inner) for name, inner in fields if inner is not None])
    if types.is_nested(kind) or isinstance(kind, pa.BaseExtensionType) or types.is_fixed_size_binary(kind):
        return None
    return pa.string() if types.is_binary(kind) else kind


def _has_times(field: Any) -> bool:
    kind = field.type
    return pa.types.is_nested(kind) and not _timeless(kind).equals(kind)


def _timeless(kind: Any) -> Any:
    """A type with text for the times in it."""
    types = pa.types
    if types.is_list(kind):
        return pa.list_(_timeless(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([(field.name, _timeless(field.type)) for field in kind])
    return pa.string() if types.is_timestamp(kind) else kind


def _exact(column: Any) -> bool:
    """Whether a column that was inferred can be believed: integers beyond 64 bits come as doubles."""
    kind = column.type
    if pa.types.is_floating(kind):
        largest = pc.max(pc.abs(column)).as_py()
        return largest is None or not largest >= 2.0**63
    if pa.types.is_list(kind):
        return _exact(pc.list_flatten(column))
    if pa.types.is_struct(kind):
        return all(_exact(pc.struct_field(column, [place])) for place in range(kind.num_fields))
    return True


def _dated(column: Any) -> Any:
    """Days where all instants are midnight: pyarrow's reader knows only seconds."""
    if not pa.types.is_timestamp(column.type) or column.type.unit != "s":
        return column
    try:
        return column.cast(pa.date32())
    except pa.ArrowInvalid:
        return column.cast(pa.timestamp("us"))


def _settled(column: Any, kind: Any) -> Any:
    """Text as what is wanted, if all of it is that."""
    parts = [fit(chunk, kind) for chunk in column.chunks]
    return column if any(bad for _, bad in parts) else pa.chunked_array([fitted for fitted, _ in parts], kind)


def _usable(table: Any, schema: Any) -> bool:
    wanted = match_names(table.schema.names, schema.names[:-1])
    targets = [schema.field(wanted[field.name]).type if field.name in wanted else None for field in table.schema]
    return all(_as_written(field.type, target) for field, target in zip(table.schema, targets, strict=True))


def _as_text_where_needed(table: Any, schema: Any) -> dict[str, Any]:
    """What pyarrow's reader is told so that its values are usable: the wanted types, and text for unwanted times."""
    wanted = match_names(table.schema.names, schema.names[:-1])
    told = {}
    for field in table.schema:
        target = schema.field(wanted[field.name]).type if field.name in wanted else None
        if target is not None and (not pa.types.is_temporal(field.type) or _as_written(field.type, target)):
            told[field.name] = _readable(target)
        elif pa.types.is_temporal(field.type):
            told[field.name] = pa.string()
    return told


def _as_written(source: Any, target: Any) -> bool:
    """Whether a parsed value is as good for a target as its text: not for `1.10` as text or with fixed digits."""
    types = pa.types
    if types.is_temporal(source):
        return target is not None and bool(types.is_timestamp(target) or types.is_date(target) or source.equals(target))
    if target is None:
        return True
    if types.is_string(target) or types.is_decimal(target):
        plain_number = types.is_integer(source) or types.is_boolean(source)
        return bool(plain_number or types.is_string(source) or types.is_null(source) or source.equals(target))
    if types.is_list(source) and types.is_list(target):
        return _as_written(source.value_type, target.value_type)
    if types.is_struct(source) and types.is_struct(target):
        names = match_names([field.name for field in source], [field.name for field in target])
        return all(_as_written(source.field(name).type, target.field(other).type) for name, other in names.items())
    return not types.is_map(target)


def _sniff(data: bytes, known: set[str], texts: bool) -> dict[str, Any]:
    """Columns of the first lines whose text is a time of a kind, and the kind."""
    if texts:
        return {}
    found: dict[str, Any] = {}
    begin = 0
    for _ in range(SNIFFED_LINES):
        end = data.find(b"\n", begin)
        record = load(data[begin : end if end >= 0 else len(data)].decode(errors="replace"))
        for name, value in (record or {}).items():
            if name.lower() not in known:
                kind = time_kind(value) if isinstance(value, str) else pa.null()
                found[name] = merge(found[name], kind) if name in found else kind
        begin = end + 1
        if end < 0:
            break
    return found


def _row_lines(data: bytes, newlines: int, line: int, rows: int) -> Sequence[int] | None:
    """The line of every row; an empty list where row follows line, None where rows are not lines."""
    if newlines + (0 if data.endswith(b"\n") else 1) == rows:
        return []
    numbers = [number for number, text in enumerate(data.split(b"\n"), line) if text.strip()]
    return numbers if len(numbers) == rows else None


def _lines(data: bytes, line: int) -> Iterator[tuple[int, str]]:
    for number, text in enumerate(data.split(b"\n"), line):
        if stripped := text.strip():
            yield number, stripped.decode()


def _half(data: bytes) -> int:
    """Where to part a block; 0 if it is small or one line."""
    if len(data) <= SMALL_BYTES:
        return 0
    half = data.find(b"\n", len(data) // 2) + 1
    return half if 0 < half < len(data) else data.rfind(b"\n", 0, len(data) // 2) + 1
