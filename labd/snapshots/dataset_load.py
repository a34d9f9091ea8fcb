"""Fills an embedded database with a snapshot, by the store's own COPY.

Runs in the store's child process: the standard library, pyarrow, and the tree of errors; the connection is handed in.

Why one COPY for everything of a table: a second COPY into relationships that are there already costs several times the
first. Why links with numbers for names: a path stands in the statement as text that may hold patterns; `in/7.parquet`,
seen from the scratch folder, never does.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from labd.errors import GraphRefused, GraphUnreachable, LabdError
from labd.snapshots import dataset_mapping, dataset_rows
from labd.snapshots.dataset_mapping import LABELS, Part, Source
from labd.snapshots.embedded_values import SEVERAL_LABELS
from labd.snapshots.names import quote

_TWICE = re.compile(r"duplicated primary key value (.*), which violates")
_NO_NODE = re.compile(r"Unable to find primary key value (.*)\.")
_MISSING = "Found NULL, which violates the non-null constraint"
DISK_FAULTS = ("IO exception", "No space left", "Disk quota", "Read-only file system", "Input/output error")
"""Ladybug's words, and the system's, for what is the matter with a disk and not with the data: it may pass."""
_OUT_OF_MEMORY = "Buffer manager exception"


class Connection(Protocol):
    """What is used of ladybug's connection."""

    def execute(self, query: str) -> Any:
        """Run a statement."""
        ...


class Meter(Protocol):
    """Hears how far the load is."""

    def begin(self, table: str, rows: int) -> None:
        """A table's rows go into the store from now on."""
        ...

    def end(self) -> None:
        """They are in."""
        ...

    def tell(self, table: str) -> None:
        """Something else is being done."""
        ...


def load(connection: Connection, scratch: Path, sources: Sequence[Source], meter: Meter) -> None:
    """Make all tables and fill them; the working folder must be `scratch`.

    Raises:
        DatasetRefused: The store cannot hold something; names folder, column and value.
        GraphRefused: It has no room in memory.
        GraphUnreachable: Its disk takes no more, or fails.
    """
    shutil.rmtree(scratch / "in", ignore_errors=True)
    (scratch / "in").mkdir(parents=True)
    filler = _Filler(connection, scratch, meter)
    nodes = [source for source in sources if source.kind == "node"]
    key = dataset_mapping.key_type(sources)

    def told(name: str, rows: int) -> None:
        meter.tell(f"{name}: {rows} rows sorted")

    node_parts: list[Part] = []
    for number, source in enumerate(nodes):
        node_parts += dataset_mapping.node_parts(source, scratch / f"n{number}", told)
    _check_names(node_parts)
    for label, parts in _grouped(node_parts).items():
        filler.nodes(label, key, parts)
    relationships = [source for source in sources if source.kind == "relationship"]
    if not relationships:
        return
    ends = dataset_mapping.ends_of(node_parts, whole_numbers=key == "INT64")
    filler.forget(node_parts)
    parts = []
    for number, source in enumerate(relationships):
        parts += dataset_mapping.relationship_parts(source, ends, scratch / f"r{number}", told)
    _check_names(parts)
    labels = {part.into.lower() for part in node_parts}
    for kind, of_kind in _grouped(parts).items():
        if kind.lower() in labels:
            raise of_kind[0].source.refused(
                f"type {kind!r} is called like a label; the store has one space for both names"
            )
        filler.relationships(kind, of_kind)
        filler.forget(of_kind)


def _check_names(parts: Iterable[Part]) -> None:
    """Refuse what no quotes hold, with the folder that brings it."""
    for part in parts:
        for name in (part.into, *part.keys, *part.columns):
            try:
                quote(name)
            except GraphRefused as fault:
                raise part.source.refused(fault.message, value=name) from None


def _grouped(parts: Iterable[Part]) -> dict[str, list[Part]]:
    groups: dict[str, list[Part]] = {}
    for part in parts:
        groups.setdefault(part.into, []).append(part)
    return groups


class _Filler:
    """Makes and fills tables, one statement after the other."""

    def __init__(self, connection: Connection, scratch: Path, meter: Meter) -> None:
        self._connection = connection
        self._scratch = scratch
        self._meter = meter
        self._links = 0

    def nodes(self, label: str, key_type: str, parts: Sequence[Part]) -> None:
        """The table of one label."""
        source = parts[0].source
        key = parts[0].keys[0]
        if any(part.keys[0] != key for part in parts):
            raise source.refused(f"label {label!r} comes with id columns of several names; call them alike")
        columns = _columns(parts)
        several = any(part.labels for part in parts)
        defined = [f"{quote(key)} {key_type}", *([f"{LABELS} STRING[]"] if several else [])]
        defined += [f"{quote(name)} {kind}" for name, kind in columns.items()]
        self._make(source, f"CREATE NODE TABLE {quote(label)} ({', '.join(defined)}, PRIMARY KEY ({quote(key)}))")
        if several:
            self._run(f"COMMENT ON TABLE {quote(label)} IS '{SEVERAL_LABELS}'")
        groups: dict[tuple[Any, ...], list[Part]] = {}
        for part in parts:
            groups.setdefault((part.labels, tuple(part.columns)), []).append(part)
        for group in groups.values():
            of = [quote(key)]
            if several:
                of.append(quote(group[0].labels) if group[0].labels else "CAST(NULL AS STRING[])")
            self._copy(label, group, of + _values(columns, group[0]), "")

    def relationships(self, kind: str, parts: Sequence[Part]) -> None:
        """The table of one type, with all pairs of labels that it joins."""
        columns = _columns(parts)
        pairs = list(dict.fromkeys(part.ends for part in parts if part.ends is not None))
        defined = [f"FROM {quote(source)} TO {quote(target)}" for source, target in pairs]
        defined += [f"{quote(name)} {type_name}" for name, type_name in columns.items()]
        self._make(parts[0].source, f"CREATE REL TABLE {quote(kind)} ({', '.join(defined)})")
        groups: dict[tuple[Any, ...], list[Part]] = {}
        for part in parts:
            groups.setdefault((part.ends, part.keys, tuple(part.columns)), []).append(part)
        for group in groups.values():
            source, target = group[0].ends or ("", "")
            of = [quote(key) for key in group[0].keys] + _values(columns, group[0])
            self._copy(kind, group, of, f" (from={_text(source)}, to={_text(target)})")

    def forget(self, parts: Iterable[Part]) -> None:
        """Give the room of sorted rows back."""
        for part in parts:
            for name in part.files:
                if Path(name).parent == self._scratch:
                    Path(name).unlink(missing_ok=True)

    def _make(self, source: Source, statement: str) -> None:
        try:
            self._run(statement)
        except RuntimeError as fault:
            if is_of_disk(str(fault)):
                raise _disk_fault(source, str(fault)) from fault
            raise source.refused(f"the store cannot make its table ({_first_line(fault)})") from fault

    def _copy(self, into: str, parts: Sequence[Part], columns: Sequence[str], options: str) -> None:
        names = [name for part in parts for name in part.files]
        if not names:
            return
        links = ", ".join(_text(self._link(name)) for name in names)
        name = parts[0].source.name
        self._meter.begin(name if name == into else f"{name}: {into}", sum(part.rows for part in parts))
        try:
            self._run(f"COPY {quote(into)} FROM (LOAD FROM [{links}] RETURN {', '.join(columns)}){options}")
        except RuntimeError as fault:
            raise self._refusal(str(fault), parts) from fault
        self._meter.end()

    def _link(self, name: str) -> str:
        self._links += 1
        link = self._scratch / "in" / f"{self._links}.parquet"
        link.symlink_to(name)
        return f"in/{self._links}.parquet"

    def _run(self, statement: str) -> None:
        self._connection.execute(statement).close()

    def _refusal(self, text: str, parts: Sequence[Part]) -> LabdError:
        """Ladybug's words for bad data in ours, with the column that has it."""
        source, keys = parts[0].source, parts[0].keys
        if match := _TWICE.search(text):
            return source.refused(
                f"column {keys[0]!r} has {match[1]} twice; ids must be unique", column=keys[0], value=match[1]
            )
        if match := _NO_NODE.search(text):
            key = _column_with(parts, match[1])
            return source.refused(f"column {key!r} has {match[1]}, and no node has that id", column=key, value=match[1])
        if _MISSING in text:
            return source.refused(f"column {' or '.join(map(repr, keys))} has a row without a value", column=keys[0])
        if is_of_disk(text):
            return _disk_fault(source, text)
        if _OUT_OF_MEMORY in text:
            return GraphRefused(f"embedded graph store: no room to load {source.subject}: {_first_line(text)}")
        return source.refused(f"the store cannot hold it ({_first_line(text)})")


def _column_with(parts: Sequence[Part], value: str) -> str:
    """Which of the two ends has a value that is no node; the first of both if they share it."""
    keys = parts[0].keys
    for key in keys:
        for batch in dataset_rows.batches([name for part in parts for name in part.files], [key]):
            if value in {str(found) for found in batch.column(0).to_pylist()}:
                return key
    return keys[0]


def _columns(parts: Sequence[Part]) -> dict[str, str]:
    """All properties of a table; two folders may bring different ones, but not one in two types."""
    columns: dict[str, str] = {}
    first: dict[str, Source] = {}
    for part in parts:
        for name, kind in part.columns.items():
            if columns.setdefault(name, kind) != kind:
                raise part.source.refused(
                    f"{name!r} is {kind} here and {columns[name]} in {first[name].subject}; both make {part.into!r}",
                    column=name,
                )
            first.setdefault(name, part.source)
    return columns


def _values(columns: Mapping[str, str], part: Part) -> list[str]:
    return [quote(name) if name in part.columns else f"CAST(NULL AS {kind})" for name, kind in columns.items()]


def _text(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def is_of_disk(text: str) -> bool:
    """Whether words of ladybug tell of a disk that fails or is full."""
    return any(word in text for word in DISK_FAULTS)


def _disk_fault(source: Source, text: str) -> GraphUnreachable:
    return GraphUnreachable(
        f"embedded graph store: its disk failed while {source.subject} was loaded: {_first_line(text)}"
    )


def _first_line(fault: object) -> str:
    return str(fault).splitlines()[0][:300]
