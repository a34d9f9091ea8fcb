"""Ends of relationships: which label has the node with an id.

Runs in the store's child process: the standard library and pyarrow.

Why this is asked at all: a snapshot's relationships name their ends by id alone, the embedded store wants to know the
labels. Three answers, the cheapest first: there is one label; the ids of the labels lie in ranges that do not touch, as
the footers say; every id is looked up. Only the last holds ids in memory, 8 bytes for each number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from labd.snapshots import dataset_rows

LOOK_UP_ROWS = 1024 * 1024  # the ids are hashed anew for every batch, so batches are large


class Ambiguous(Exception):
    """An id belongs to nodes of two labels; the text has the id and both."""


class Ends(Protocol):
    """Tells the label of a node."""

    labels: Sequence[str]
    batch_rows: int

    def numbers(self, ids: Any) -> Any:
        """The place of each id's label in `labels`; null for an id that no node has."""
        ...

    def one_label(self, files: Sequence[str], column: str) -> int | None:
        """The place of the label that all ids of a column have, if that can be told without reading them."""
        ...


class OneLabel:
    """All nodes have the same label; whether there is such a node, the store will see."""

    batch_rows = dataset_rows.BATCH_ROWS

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels

    def numbers(self, ids: Any) -> Any:
        """Always the one."""
        return pa.repeat(pa.scalar(0, pa.int64()), len(ids))

    def one_label(self, files: Sequence[str], column: str) -> int | None:
        """Always the one."""
        return 0


class Ranges:
    """Ids of the labels lie in ranges that do not touch; whether there is such a node, the store will see."""

    batch_rows = dataset_rows.BATCH_ROWS

    def __init__(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        self.labels: Sequence[str] = list(ranges)
        self._ranges = list(ranges.values())

    def numbers(self, ids: Any) -> Any:
        """By comparing."""
        ids = ids.cast(pa.int64())
        found = pa.nulls(len(ids), pa.int64())
        for number, (least, greatest) in enumerate(self._ranges):
            inside = pc.and_(pc.greater_equal(ids, least), pc.less_equal(ids, greatest))
            found = pc.if_else(pc.fill_null(inside, False), number, found)
        return found

    def one_label(self, files: Sequence[str], column: str) -> int | None:
        """By the footers."""
        ends = dataset_rows.int_range(files, column)
        if ends is None:
            return None
        inside = (
            number for number, (least, greatest) in enumerate(self._ranges) if least <= ends[0] and ends[1] <= greatest
        )
        return next(inside, None)


class LookUp:
    """Every id is known.

    Raises:
        Ambiguous: Two labels share an id.
    """

    batch_rows = LOOK_UP_ROWS

    def __init__(self, ids: Mapping[str, Any], kind: Any) -> None:
        self.labels: Sequence[str] = list(ids)
        self._kind = kind
        self._ids = pa.concat_arrays([_one(column.cast(kind)) for column in ids.values()])
        sizes = [len(column) for column in ids.values()]
        self._label_of = pa.concat_arrays([pa.repeat(pa.scalar(n, pa.int64()), size) for n, size in enumerate(sizes)])
        self._check()

    def _check(self) -> None:
        """Within a label the store finds the second of two; across labels nobody would."""
        if pc.count_distinct(self._ids, mode="all").as_py() == len(self._ids):
            return
        mine = pa.array(range(len(self._ids)), pa.int64())
        first = pc.index_in(self._ids, value_set=self._ids).cast(pa.int64())
        crossed = pc.not_equal(self._label_of, self._label_of.take(first))
        twice = mine.filter(crossed)
        if len(twice):
            place = twice[0].as_py()
            labels = [self.labels[self._label_of[at].as_py()] for at in (first[place].as_py(), place)]
            raise Ambiguous(
                f"the id {self._ids[place].as_py()!r} is that of a node {labels[0]} and of a node {labels[1]}"
            )

    def numbers(self, ids: Any) -> Any:
        """By looking up."""
        return self._label_of.take(pc.index_in(ids.cast(self._kind), value_set=self._ids))

    def one_label(self, files: Sequence[str], column: str) -> int | None:
        """Never: the ids lie mixed."""
        return None


def ends_of(files: Mapping[str, Sequence[tuple[Sequence[str], str]]], *, whole_numbers: bool) -> Ends:
    """The cheapest that is right.

    Args:
        files: Label -> its files, with the name of their id column.

    Raises:
        Ambiguous: Two labels share an id.
    """
    if len(files) == 1:
        return OneLabel(list(files))
    ranges = {label: _range(parts) for label, parts in files.items()} if whole_numbers else {}
    known = {label: ends for label, ends in ranges.items() if ends is not None}
    if len(known) == len(files) and _apart(list(known.values())):
        return Ranges(known)
    kind = pa.int64() if whole_numbers else pa.large_string()
    ids = {
        label: pa.chunked_array(
            [
                batch.column(0).cast(kind)
                for names, column in parts
                for batch in dataset_rows.batches(names, [column])
            ],
            kind,
        )
        for label, parts in files.items()
    }  # fmt: skip
    return LookUp(ids, kind)


def _range(parts: Sequence[tuple[Sequence[str], str]]) -> tuple[int, int] | None:
    ends = [dataset_rows.int_range(files, column) for files, column in parts]
    known = [one for one in ends if one is not None]
    if not known or len(known) < len(ends):
        return None
    return min(one[0] for one in known), max(one[1] for one in known)


def _apart(ranges: list[tuple[int, int]]) -> bool:
    ordered = sorted(ranges)
    return all(first[1] < second[0] for first, second in pairwise(ordered))


def _one(column: Any) -> Any:
    """A chunked column in one piece."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
