"""A local folder as a source: when a file is taken, what a walk stays out of, and reads that notice a change."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labd.ingest import remote_local
from labd.ingest.remote_local import LocalSource
from labd.ingest.remote_refusal import Refusal


def source_of(folder: Path, now: Callable[[], float] = time.time, **more: Any) -> LocalSource:
    return LocalSource({"url": folder.as_uri(), "settle_s": 0.0, **more}, now, time.monotonic)


def page_of(source: LocalSource) -> dict[str, Any]:
    page = source.pages(None, None, 10_000)
    assert page["cursor"] is None
    return page


def paths(source: LocalSource) -> list[str]:
    return [entry[0] for entry in json.loads(page_of(source)["entries"])]


def file_of(source: LocalSource, number: int = 0) -> dict[str, Any]:
    entry = json.loads(page_of(source)["entries"])[number]
    return dict(zip(("path", "version", "size_bytes", "modified_at"), entry, strict=True))


def test_a_file_is_taken_when_it_has_been_unchanged_for_the_settle_time(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    written_at = (tmp_path / "x.csv").stat().st_ctime
    young = page_of(source_of(tmp_path, lambda: written_at + 9.9, settle_s=10.0))
    assert (young["count"], young["unsettled"]) == (0, 1)
    settled = page_of(source_of(tmp_path, lambda: written_at + 10.0, settle_s=10.0))
    assert (settled["count"], settled["unsettled"]) == (1, 0)


@pytest.mark.parametrize("modified_at", [1_000_000.0, 9_000_000_000.0])
def test_a_time_that_was_set_by_hand_does_not_make_a_young_file_old_or_an_old_one_young(
    tmp_path: Path, modified_at: float
) -> None:
    (tmp_path / "x.csv").write_text("1")
    os.utime(tmp_path / "x.csv", (modified_at, modified_at))
    written_at = (tmp_path / "x.csv").stat().st_ctime
    assert page_of(source_of(tmp_path, lambda: written_at + 9, settle_s=10.0))["unsettled"] == 1
    assert paths(source_of(tmp_path, lambda: written_at + 11, settle_s=10.0)) == ["x.csv"]


def test_a_file_from_the_future_is_told_about(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    written_at = (tmp_path / "x.csv").stat().st_ctime
    page = page_of(source_of(tmp_path, lambda: written_at - 3600, settle_s=10.0))
    assert page["unsettled"] == 1
    assert page["denied"] == [("x.csv", "its time is 3600 s ahead of this host's clock; set the clock")]


def test_a_file_that_was_replaced_by_one_of_the_same_size_and_time_is_another_version(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1")
    source, before = source_of(tmp_path), path.stat()
    file = file_of(source)
    (tmp_path / "new").write_text("2")
    (tmp_path / "new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert file_of(source)["version"] != file["version"]
    assert source.fetch(file, "").state == "changed"


def test_links_are_followed_inside_the_folder_without_going_round(tmp_path: Path) -> None:
    root, other = tmp_path / "in", tmp_path / "out"
    (root / "a" / "b").mkdir(parents=True)
    other.mkdir()
    for path in (root / "a" / "x.csv", other / "y.csv"):
        path.write_text("1")
    (root / "a" / "b" / "up").symlink_to(root / "a")
    (root / "self").symlink_to(root / "self")
    (root / "nowhere").symlink_to(root / "missing")
    (root / "inside.d").symlink_to(root / "a")
    (root / "inside.csv").symlink_to(root / "a" / "x.csv")
    (root / "outside.d").symlink_to(other)
    (root / "outside.csv").symlink_to(other / "y.csv")
    page = page_of(source_of(root))
    assert [entry[0] for entry in json.loads(page["entries"])] == ["a/x.csv", "inside.csv", "inside.d/x.csv"]
    told = dict(page["denied"])
    assert set(told) == {"outside.csv", "outside.d"}
    assert told["outside.d"] == "a link that leaves the source's folder; to follow it, set links = all"
    everything = ["a/x.csv", "inside.csv", "inside.d/x.csv", "outside.csv", "outside.d/y.csv"]
    assert paths(source_of(root, options={"links": "all"})) == everything
    assert paths(source_of(root, options={"links": "none"})) == ["a/x.csv"]


def test_a_folder_that_may_not_be_listed_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/x.csv", "b/x.csv", "c/x.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("1")
    real = os.scandir

    def scandir(folder: str) -> Any:
        if str(folder).endswith("/b"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(folder)

    monkeypatch.setattr(remote_local.os, "scandir", scandir)
    page = page_of(source_of(tmp_path))
    assert [entry[0] for entry in json.loads(page["entries"])] == ["a/x.csv", "c/x.csv"]
    assert page["denied"] == [("b", "Permission denied")]


@pytest.mark.parametrize(
    ("number", "code"),
    [(errno.EACCES, "source_refused"), (errno.ENOENT, "source_refused"), (errno.ESTALE, "source_unreachable"),
     (errno.EIO, "source_unreachable")],
)  # fmt: skip
def test_a_root_that_cannot_be_listed_is_no_empty_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def scandir(folder: str) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(remote_local.os, "scandir", scandir)
    with pytest.raises(Refusal) as refused:
        source_of(tmp_path).pages(None, None, 10)
    assert refused.value.code == code
    assert refused.value.text == (
        f"folder {tmp_path} cannot be listed: {os.strerror(number)}; check that it is there and readable"
    )


def test_only_regular_files_are_taken(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    os.mkfifo(tmp_path / "pipe.csv")
    assert paths(source_of(tmp_path)) == ["x.csv"]


def test_a_pipe_in_the_place_of_a_listed_file_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1")
    file = file_of(source_of(tmp_path))
    (tmp_path / "x.csv").unlink()
    os.mkfifo(tmp_path / "x.csv")
    assert source_of(tmp_path).fetch(file, "").state == "changed"


def test_a_name_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.csv")).write_text("1")
    (tmp_path / "a.csv").write_text("1")
    page = page_of(source_of(tmp_path))
    assert [entry[0] for entry in json.loads(page["entries"])] == ["a.csv"]
    assert page["denied"] == [("b\\xff.csv", "its name is not UTF-8; rename it")]
    json.dumps(page, ensure_ascii=False).encode()


def test_a_file_that_is_written_to_while_it_is_read_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.csv"
    path.write_text("1")
    file = file_of(source_of(tmp_path))

    class Digest:
        def update(self, piece: bytes) -> None:
            with path.open("ab") as more:
                more.write(b"2")
            monkeypatch.undo()
            self.update = hashlib.sha256().update  # type: ignore[method-assign]

    monkeypatch.setattr(remote_local.hashlib, "sha256", Digest)
    fetched = source_of(tmp_path).fetch(file, "")
    assert (fetched.state, fetched.message) == ("changed", "it was written to while it was read")
    assert fetched.data is None


@pytest.mark.parametrize(("after", "state"), [("write", "changed"), ("replace", "changed"), ("unlink", "vanished")])
def test_a_large_file_that_changes_after_its_digest_was_made_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, state: str
) -> None:
    monkeypatch.setattr(remote_local, "SMALL_BYTES", 10)
    path = tmp_path / "x.csv"
    path.write_text("1" * 100)
    source = source_of(tmp_path)
    fetched = source.fetch(file_of(source), "")
    assert (fetched.file, fetched.is_copy, fetched.check()) == (str(path), False, "ready")
    if after == "write":
        with path.open("a") as more:
            more.write("2")
    elif after == "replace":
        (tmp_path / "new").write_text("2" * 100)
        (tmp_path / "new").replace(path)
    else:
        path.unlink()
    assert fetched.check() == state
    fetched.close()
    assert path.exists() is (after != "unlink")


def test_a_tree_of_many_levels_is_walked(tmp_path: Path) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(os.open("x.csv", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
    try:
        assert paths(source_of(tmp_path)) == ["d/" * 1100 + "x.csv"]
    finally:  # the fixture's own way to remove a tree is a recursion
        (tmp_path / "kept").touch()
        (tmp_path / ("d/" * 1100) / "x.csv").unlink()
        os.removedirs(tmp_path / ("d/" * 1100))


def test_an_address_is_read_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "100 % ü"
    folder.mkdir()
    (folder / "x.csv").write_text("1")
    assert paths(source_of(folder)) == ["x.csv"]


def test_an_unknown_way_with_links_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="option links = 'some'; use one of inside, all, none"):
        source_of(tmp_path, options={"links": "some"})
