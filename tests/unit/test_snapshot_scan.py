"""The scanner on real folders, its clocks in the test's hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from labd.snapshots.scan import Findings, Scanner, SnapshotKey


class Yard:
    """A base folder, what is known of it, and two clocks."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.known: set[SnapshotKey] = set()
        self.now_s = 1000.0
        self.wall_s = 4e9  # far later than any change time: all of them are trusted
        self.scanner = Scanner(
            base, 10.0, ("_SUCCESS",), self.known.__contains__, self.fault_of, lambda: self.now_s, lambda: self.wall_s
        )

    @staticmethod
    def fault_of(kind: str, name: str) -> str | None:
        return "is no number" if kind == "timestamp" and not name.isdecimal() else None

    def put(self, customer: str, timestamp: str, content: str = "x", file: str = "nodes/Person/0.parquet") -> Path:
        path = self.base / customer / timestamp / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def scan(self, after_s: float = 0.0) -> Findings:
        self.now_s += after_s
        return self.scanner.scan()

    def complete(self, after_s: float = 0.0) -> list[tuple[str, str]]:
        return [tuple(seen.key) for seen in self.scan(after_s).complete]


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    return Yard(tmp_path)


def test_a_snapshot_is_taken_when_nothing_has_changed_for_the_settle_time(yard: Yard) -> None:
    yard.put("acme", "100")
    assert yard.complete() == []
    assert yard.complete(9.9) == []
    assert yard.complete(0.2) == [("acme", "100")]


def test_a_copy_in_progress_starts_the_settle_time_anew_with_each_change(yard: Yard) -> None:
    yard.put("acme", "100")
    yard.scan()
    yard.put("acme", "100", "xx")
    assert yard.scan(9.0).unsettled == {SnapshotKey("acme", "100"): 0.0}
    yard.put("acme", "100", "y", "relationships/KNOWS/0.parquet")
    assert yard.complete(9.0) == []
    assert yard.complete(10.0) == [("acme", "100")]


def test_a_marker_needs_no_settle_time_and_counts_only_at_the_top(yard: Yard) -> None:
    yard.put("acme", "100", "", "nodes/_SUCCESS")
    yard.put("acme", "200", "", "_SUCCESS")
    assert yard.complete() == [("acme", "200")]


def test_an_empty_snapshot_never_settles(yard: Yard) -> None:
    (yard.base / "acme" / "100" / "nodes").mkdir(parents=True)
    yard.scan()
    assert yard.complete(100.0) == []


def test_a_known_snapshot_is_not_looked_into_and_an_unchanged_customer_not_read(yard: Yard) -> None:
    for number in range(5):
        yard.put("acme", str(number))
        yard.known.add(SnapshotKey("acme", str(number)))
    assert yard.scan().listed == 1
    found = yard.scan(1.0)
    assert (found.listed, found.customers, found.unsettled) == (0, 1, {})
    yard.put("acme", "9", "", "_SUCCESS")
    assert yard.complete(1.0) == [("acme", "9")]


def test_a_change_time_too_young_to_trust_is_read_again(yard: Yard) -> None:
    path = yard.put("acme", "100")
    changed_s = path.parents[2].stat().st_mtime
    yard.wall_s = changed_s + 1.0
    yard.scan()
    assert yard.scan(1.0).listed == 1
    yard.wall_s = changed_s + 3.0
    assert yard.scan(1.0).listed == 1
    assert yard.scan(1.0).listed == 0


def test_now_and_then_everything_is_read_for_file_systems_without_change_times(yard: Yard) -> None:
    path = yard.put("acme", "100", "", "_SUCCESS")
    yard.known.add(SnapshotKey("acme", "100"))
    yard.scan()
    facts = path.parents[1].stat()
    yard.put("acme", "200", "", "_SUCCESS")
    os.utime(path.parents[1], ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert yard.complete(10.0) == []
    assert yard.complete(3600.0) == [("acme", "200")]


def test_what_cannot_be_a_snapshot_is_told_and_the_others_go_on(yard: Yard) -> None:
    yard.put("acme", "100", "", "_SUCCESS")
    yard.put("acme", "`; DROP DATABASE x", "", "_SUCCESS")
    (yard.base / "mallory").symlink_to(yard.base / "acme")
    (yard.base / "readme.txt").write_text("a file is no customer")
    Path(os.fsdecode(os.fsencode(yard.base / "acme") + b"/\xff100")).mkdir()
    found = yard.scan()
    assert [tuple(seen.key) for seen in found.complete] == [("acme", "100")]
    told = {Path(oddity.path).name: oddity.reason for oddity in found.oddities}
    assert told == {
        "mallory": "is a link; links are not followed",
        "`; DROP DATABASE x": "is no number",
        "\\udcff100": "is no number",
    }


def test_links_inside_a_snapshot_are_not_followed_out_of_it(yard: Yard, tmp_path: Path) -> None:
    yard.put("acme", "100", "", "_SUCCESS")
    (yard.base / "acme" / "100" / "nodes").symlink_to("/")
    assert yard.scan().complete[0].files == 2


def test_a_base_folder_that_is_away_is_an_error_and_nothing_is_forgotten(yard: Yard) -> None:
    yard.put("acme", "100")
    yard.scan()
    yard.base.rename(yard.base.with_name("away"))
    with pytest.raises(FileNotFoundError):
        yard.scan(100.0)
    yard.base.with_name("away").rename(yard.base)
    assert yard.complete(0.0) == [("acme", "100")]
