"""How a snapshot becomes tables of the embedded store: one label a node, typed ends, one type a key.

Runs in the store's child process: the standard library, pyarrow, and the tree of errors.

The mapping:
- A node lies in the table of its folder's name if that is among its labels, else in that of its first label, else, if
  it has none, again in that of its folder. `MATCH (n:Person)` finds the nodes of that table.
- Where a node of a table has several labels, the table has a property `labels` with all of them:
  `MATCH (n) WHERE 'Employee' IN n.labels`. What is a second label only is no table, and `MATCH (n:Employee)` says so.
  Where a label is the table of some nodes and a second one of others, `MATCH (n:Employee)` finds the former only; the
  counts of the port have both.
- The key of a table is the id column and keeps its name; whole numbers are INT64, text is STRING, all tables alike.
- A relationship's table is its type's; the labels of its ends are found by id (`dataset_ends.py`).

What it cannot hold is refused by name: ids that are missing, twice, or shared by two labels; ends that are no node;
keys of two kinds; a type called like a label; columns that differ between folders of one label; types without a place.

Why parts: where a file's rows all belong into one table as they are, the store reads that very file; else its rows are
sorted into scratch files first, and those are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from labd.errors import DatasetRefused
from labd.snapshots import dataset_ends, dataset_rows, dataset_types
from labd.snapshots.dataset_ends import Ends

LABELS = "labels"
Told = Callable[[str, int], None]


@dataclass(frozen=True, slots=True)
class Source:
    """One folder of a snapshot, in the words of the port."""

    kind: str
    name: str
    files: tuple[str, ...]
    roles: Mapping[str, str]
    rows: int

    @property
    def subject(self) -> str:
        """For messages."""
        return f"{'nodes' if self.kind == 'node' else 'relationships'}/{self.name}"

    def refused(self, reason: str, **details: Any) -> DatasetRefused:
        """A refusal that names the folder."""
        return DatasetRefused(f"{self.subject}: {reason}", table=self.subject, **details)


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of one folder that go into one table of the store.

    Args:
        into: The label or type.
        keys: The columns of the id, or of source and target.
        labels: The column that becomes the property `labels`.
        columns: Property -> type in the store.
        ends: The labels of source and target.
    """

    source: Source
    into: str
    files: tuple[str, ...]
    keys: tuple[str, ...]
    rows: int
    labels: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    ends: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a folder: what they are in the store, and as what they are written where they are sorted."""

    kinds: Mapping[str, Any]
    properties: Mapping[str, str]
    anew: bool
    """Whether pyarrow must write them anew, for a type or a packing that the store does not read."""


def key_type(sources: Sequence[Source]) -> str:
    """INT64 or STRING, the same for every id and end.

    Raises:
        DatasetRefused: Some are numbers and some are text.
    """
    found: dict[str, tuple[Source, str]] = {}
    for source in sources:
        schema = _schema(source)
        for role in ("id", "source", "target"):
            column = source.roles.get(role)
            if column is not None:
                kind = "STRING" if dataset_types.is_text(schema.field(column).type) else "INT64"
                found.setdefault(kind, (source, column))
    if len(found) > 1:
        (one, first), (other, second) = found["INT64"], found["STRING"]
        raise other.refused(
            f"column {second!r} is text, column {first!r} of {one.subject} whole numbers; all keys must be alike",
            column=second,
        )
    return next(iter(found))


def node_parts(source: Source, scratch: Path, told: Told) -> list[Part]:
    """Where the nodes of a folder go."""
    columns = _columns(source)
    column = source.roles.get("labels")
    of_text, several = _labels(source, column)
    into = sorted(set(of_text.values()))
    keys = (source.roles["id"],)
    kept = column if several else None
    if several and any(name.lower() == LABELS for name in (*columns.properties, *keys)):
        raise source.refused("nodes have several labels, and a column called 'labels' is something else", column=LABELS)
    if len(into) == 1 and (not columns.anew or not source.rows):
        files = source.files if source.rows else ()
        return [Part(source, into[0], files, keys, source.rows, kept, columns.properties)]
    number_of = {text: into.index(label) for text, label in of_text.items()}
    one = pa.scalar(0, pa.int64())

    def number(batch: Any) -> Any:
        if column is None or len(into) == 1:
            return pa.repeat(one, batch.num_rows)
        return dataset_rows.numbered(batch[column], number_of)

    written = {name: columns.kinds[name] for name in (*keys, *([kept] if kept else []), *columns.properties)}
    parts = _sorted(source, scratch, written, [column] if column else [], number, dataset_rows.BATCH_ROWS, told)
    return [
        Part(source, into[key], (str(part.path),), keys, part.rows, kept, columns.properties)
        for key, part in sorted(parts.items())
    ]


def relationship_parts(source: Source, ends: Ends, scratch: Path, told: Told) -> list[Part]:
    """Where the relationships of a folder go."""
    columns = _columns(source)
    column = source.roles.get("type")
    of_text, _ = _labels(source, column)
    into = sorted(set(of_text.values()))
    keys = (source.roles["source"], source.roles["target"])
    if not source.rows:
        return [Part(source, into[0], (), keys, 0, None, columns.properties, (ends.labels[0], ends.labels[0]))]
    known = [ends.one_label(source.files, key) for key in keys]
    if len(into) == 1 and not columns.anew and known[0] is not None and known[1] is not None:
        both = ends.labels[known[0]], ends.labels[known[1]]
        return [Part(source, into[0], source.files, keys, source.rows, None, columns.properties, both)]
    number_of = {text: into.index(name) for text, name in of_text.items()}
    wide = len(ends.labels)

    def number(batch: Any) -> Any:
        if column is None or len(into) == 1:
            first: Any = pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
        else:
            first = dataset_rows.numbered(batch[column], number_of)
        for key in keys:
            found = ends.numbers(batch[key])
            if found.null_count:
                raise _dangling(source, key, batch[key], found)
            first = pc.add(pc.multiply(first, wide), found)
        return first

    written = {name: columns.kinds[name] for name in (*keys, *columns.properties)}
    parts = _sorted(source, scratch, written, [column] if column else [], number, ends.batch_rows, told)
    return [
        Part(
            source, into[key // wide // wide], (str(part.path),), keys, part.rows, None, columns.properties,
            (ends.labels[key // wide % wide], ends.labels[key % wide]),
        )
        for key, part in sorted(parts.items())
    ]  # fmt: skip


def _dangling(source: Source, key: str, ids: Any, found: Any) -> DatasetRefused:
    value = ids.filter(pc.is_null(found))[0].as_py()
    if value is None:
        return source.refused(f"column {key!r} has a row without a value; both ends are needed", column=key)
    return source.refused(f"column {key!r} has {value!r}, and no node has that id", column=key, value=value)


def _labels(source: Source, column: str | None) -> tuple[dict[str, str], bool]:
    """The label (or type) for every text of a column, and whether there are nodes with several."""
    if column is None or not source.rows:
        return {"": source.name}, False
    if not dataset_types.is_list(_schema(source).field(column).type):
        text = dataset_rows.one_text(source.files, column)
        if text is not None:
            return {text: text}, False
    try:
        found = dataset_rows.distinct(source.files, column)
    except dataset_rows.TooMany as fault:
        raise source.refused(f"{fault}, and each would be a table", column=column) from None
    sets = {text: [label for label in text.split(dataset_rows.SEPARATOR) if label] for text in found}
    of_text = {
        text: source.name if source.name in labels or not labels else labels[0] for text, labels in sets.items()
    }  # fmt: skip
    return of_text, any(len(labels) > 1 for labels in sets.values())


def _columns(source: Source) -> _Columns:
    taken = set(source.roles.values())
    kinds: dict[str, Any] = {}
    properties: dict[str, str] = {}
    anew = False
    for part in _schema(source):
        kinds[part.name] = part.type
        if part.name in taken:
            continue
        try:
            found = dataset_types.fit(part.type)
        except dataset_types.Unfit as fault:
            raise source.refused(
                f"column {part.name!r} is {fault}, which the store cannot hold", column=part.name
            ) from None
        properties[part.name] = found.name
        if found.anew is not None:
            kinds[part.name], anew = found.anew, True
    return _Columns(kinds, properties, anew or dataset_rows.unread_column(source.files) is not None)


def _sorted(
    source: Source, scratch: Path, written: Mapping[str, Any], more: list[str], number: Callable[[Any], Any], rows: int,
    told: Told,
) -> dict[int, dataset_rows.Sorted]:  # fmt: skip
    read = list(dict.fromkeys([*written, *more]))
    try:
        return dataset_rows.sort_rows(
            dataset_rows.batches(source.files, read, rows),
            number,
            written,
            scratch,
            lambda done: told(source.name, done),
        )
    except dataset_rows.TooMany as fault:
        raise source.refused(str(fault)) from None
    except pa.ArrowInvalid as fault:
        raise source.refused(f"a value cannot be held ({str(fault).splitlines()[0][:200]})") from fault


def ends_of(parts: Sequence[Part], *, whole_numbers: bool) -> Ends:
    """How the ends of relationships find their labels.

    Raises:
        DatasetRefused: Two labels share an id.
    """
    files: dict[str, list[tuple[Sequence[str], str]]] = {}
    for part in parts:
        files.setdefault(part.into, []).append((part.files, part.keys[0]))
    try:
        return dataset_ends.ends_of(files, whole_numbers=whole_numbers)
    except dataset_ends.Ambiguous as fault:
        raise DatasetRefused(f"nodes: {fault}; relationships could not tell which is meant") from None


def _schema(source: Source) -> Any:
    return pq.read_schema(source.files[0])
