"""Archives that claim more than they hold, lead out of their folder, or want one place twice."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from labd.engine import work_folder
from labd.engine.work_folder import WorkFault, WorkSummary

ENDLESS = 10**15


def entry(name: str, data: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for key, value in more.items():
        setattr(made, key, value)
    return made, data


def archive_of(path: Path, *entries: tuple[tarfile.TarInfo, bytes], claims: int = ENDLESS) -> Path:
    summary = msgspec.json.encode(WorkSummary(1, claims))
    with tarfile.open(path, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for made, data in (entry("summary.json", summary), *entries):
            archive.addfile(made, io.BytesIO(data))
    return path


SPARSE = {"pax_headers": {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(ENDLESS)}}
HOSTILE = {
    "no name": [entry(".")],
    "out of the folder": [entry("work/../../x", b"x")],
    "from the root": [entry("/srv/x", b"x")],
    "beside the folder": [entry("other/x", b"x")],
    "the folder itself": [entry("work", b"x")],
    "a link": [entry("work/x", type=tarfile.SYMTYPE, linkname="/etc")],
    "a hard link": [entry("work/x", type=tarfile.LNKTYPE, linkname="summary.json")],
    "a pipe": [entry("work/x", type=tarfile.FIFOTYPE)],
    "a device": [entry("work/x", type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
    "one place twice": [entry("work/x", b"x"), entry("work/x", b"y")],
    "a file that is a folder": [entry("work/x", b"x"), entry("work/x/y", b"y")],
    "holes without end": [entry("work/x", b"1\n0\n1\n" + b"\0" * 512, **SPARSE)],
    "a name with a zero byte": [entry("work/x", b"x", pax_headers={"path": "work/a\0b"})],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_of_task_files_is_refused_and_writes_nowhere_else(tmp_path: Path, name: str) -> None:
    source = archive_of(tmp_path / "work.tar", *HOSTILE[name])
    (tmp_path / "in").mkdir()
    with pytest.raises(WorkFault):
        work_folder.unpack(source, tmp_path / "in")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "work.tar"]
    written = [path for path in (tmp_path / "in").rglob("*") if not path.is_dir()]
    assert all(path.is_file() and not path.is_symlink() and path.stat().st_size < 10 for path in written)


def test_modes_beyond_the_plain_ones_are_not_given(tmp_path: Path) -> None:
    source = archive_of(tmp_path / "work.tar", entry("work/x", b"x", mode=0o6755))
    (tmp_path / "in").mkdir()
    work_folder.unpack(source, tmp_path / "in")
    assert (tmp_path / "in" / "work" / "x").stat().st_mode & 0o7777 == 0o755


def test_an_archive_that_holds_more_than_it_says_is_refused(tmp_path: Path) -> None:
    source = archive_of(tmp_path / "work.tar", entry("work/x", b"x" * 100), claims=99)
    (tmp_path / "in").mkdir()
    with pytest.raises(WorkFault, match="larger than its summary says"):
        work_folder.unpack(source, tmp_path / "in")
