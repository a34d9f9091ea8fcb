"""Which files of a listing are loaded, and in which batches, as tables."""

from __future__ import annotations

import pytest

from labd.ingest.batching import Batcher, question, sort
from labd.ingest.definition import Limits
from labd.ingest.port import FileRef, SchemaChange
from labd.ingest.record import FileMark, OldFile, Seen


def seen(path: str, state: FileMark | None = None, loaded_at: float | None = None) -> Seen:
    old = None if state is None else OldFile("v1", state, 1, 1, "digest", 3, loaded_at, 1)
    return Seen(path, "v2", 10, 5.0, old)


def ref(size_bytes: int) -> FileRef:
    return FileRef("f", "v", size_bytes, 0.0)


@pytest.mark.parametrize(
    ("changed", "file", "lot", "policy"),
    [
        ("append-version", seen("a"), "taken", "new"),
        ("append-version", seen("a", FileMark.LOADED, 1.0), "taken", "append"),
        ("replace-rows", seen("a", FileMark.LOADED, 1.0), "taken", "replace"),
        ("replace-rows", seen("a", FileMark.QUARANTINED), "taken", "new"),
        ("ignore", seen("a", FileMark.LOADED, 1.0), "ignored", ""),
        ("ignore", seen("a", FileMark.QUARANTINED), "taken", "new"),  # nothing of it was ever in
        ("ignore", seen("a", FileMark.PENDING, 1.0), "taken", "append"),  # a person asked for it
        ("alert", seen("a", FileMark.LOADED, 1.0), "held", ""),
        ("alert", seen("a", FileMark.HELD, 1.0), "held", ""),
        ("alert", seen("a"), "taken", "new"),
    ],
)
def test_the_policy_for_changed_files(changed: str, file: Seen, lot: str, policy: str) -> None:
    found = sort([file], changed, None)  # type: ignore[arg-type]
    assert {name: len(getattr(found, name)) for name in found._fields} == {
        **dict.fromkeys(found._fields, 0), lot: 1,
    }  # fmt: skip
    assert [one.policy for one in found.taken] == ([policy] if policy else [])


def test_a_run_for_some_files_takes_no_others() -> None:
    found = sort([seen("a"), seen("b")], "append-version", frozenset({"b", "c"}))
    assert [one.path for one in found.taken] == ["b"]


@pytest.mark.parametrize(
    ("sizes", "limits", "most", "batches"),
    [
        ([1, 1, 1], Limits(batch_files=2), None, [[1, 1], [1]]),
        ([6, 3, 2, 9], Limits(batch_bytes=10), None, [[6, 3], [2], [9]]),
        ([99, 1], Limits(batch_bytes=10), None, [[99], [1]]),
        ([1, 1, 1, 1], Limits(batch_files=2), 3, [[1, 1], [1]]),
        ([1], Limits(), 0, []),
        ([], Limits(), None, []),
    ],
)
def test_a_batch_ends_at_its_first_limit(
    sizes: list[int], limits: Limits, most: int | None, batches: list[list[int]]
) -> None:
    batcher = Batcher(limits, most)
    found = [*batcher.add(ref(size) for size in sizes), batcher.rest()]
    assert [[file.size_bytes for file in batch] for batch in found if batch] == batches
    assert batcher.is_full is (most is not None and len(sizes) >= most)


def test_a_question_names_some_changes_and_counts_the_rest() -> None:
    changes = [SchemaChange(f"add c{n} long", "add", f"c{n}", "long", path="f.csv" if n == 0 else "") for n in range(7)]
    assert question("sales", changes) == (
        "ingestion sales: its files bring add c0 long (from f.csv), add c1 long, add c2 long, add c3 long, add c4 long "
        "and 2 more; change the table?"
    )
