"""What tasks keep in their working folder goes into a backup and comes back: bounded, no link followed, never half."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from labd.archive import MANIFEST, Manifest, WorkMember
from labd.backup import back_up_resting
from labd.engine import work_folder
from labd.errors import BadRequest, StoreFull
from labd.restore import PENDING, finish, restore
from tests.acceptance.processes import COMMAND_S, Daemon, script, toml
from tests.integration.test_backup_restore import CLOCK, fill, marks

KEPT = {"work/colour-mixing.json": b'{"wells": {}}', "work/calibration/left/offsets.csv": b"1,2\n", "work/empty": b""}
KEEPER = """
from pathlib import Path
from labd import task

@task
def keep(text: str):
    Path("kept.txt").write_text(text)

@task
def kept():
    return Path("kept.txt").read_text()
"""


def house(folder: Path, mark: str = "archived", files: dict[str, bytes] | None = None) -> Path:
    """A state folder at rest with files of tasks."""
    fill(folder, mark)
    for name, content in (KEPT if files is None else files).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in (folder / "work").rglob("*") if one.is_file()}


def test_files_come_back_with_their_modes_and_the_ones_that_were_there_are_kept_aside(state_dir: Path) -> None:
    source = house(state_dir / "source")
    (source / "work" / "empty").chmod(0o640)
    manifest = back_up_resting(source, state_dir / "labd.tar", CLOCK)
    assert manifest.work is not None
    assert manifest.work.content == work_folder.WorkSummary(3, sum(map(len, KEPT.values())))
    target = house(state_dir / "host", "mine", {"work/mine.json": b"{}"})
    _, aside = restore(state_dir / "labd.tar", target, CLOCK, force=True)
    assert (marks(target), files_of(target)) == (["archived", "archived"], KEPT)
    assert stat.S_IMODE((target / "work" / "empty").stat().st_mode) == 0o640
    assert target / "work.before-restore-1" in aside
    assert (target / "work.before-restore-1" / "mine.json").read_bytes() == b"{}"
    assert not (target / "work.tar").exists()


def test_an_archive_without_such_files_leaves_those_that_are_there(state_dir: Path) -> None:
    manifest = back_up_resting(fill(state_dir / "source", "archived"), state_dir / "labd.tar", CLOCK)
    assert manifest.work is None
    target = house(state_dir / "host", "mine")
    restore(state_dir / "labd.tar", target, CLOCK, force=True)
    assert (marks(target), files_of(target)) == (["archived", "archived"], KEPT)


def test_links_pipes_and_what_is_above_the_bounds_stay_out_and_are_named(state_dir: Path) -> None:
    secret = state_dir / "secret"
    secret.mkdir()
    (secret / "key").write_text("secret")
    source = house(state_dir / "source", files={"work/a": b"x" * 10, "work/big": b"x" * 100, "work/c": b"x" * 10})
    (source / "work" / "to_file").symlink_to(secret / "key")
    (source / "work" / "to_folder").symlink_to(secret)
    os.mkfifo(source / "work" / "pipe")
    tar = work_folder.pack(source, state_dir / "work.tar", limit_bytes=50)
    assert work_folder.summary_of(tar) == work_folder.WorkSummary(
        2, 20, ("work/big", "work/pipe", "work/to_file", "work/to_folder"), 4
    )
    (state_dir / "out").mkdir()
    work_folder.unpack(tar, state_dir / "out")
    assert files_of(state_dir / "out") == {"work/a": b"x" * 10, "work/c": b"x" * 10}
    few = work_folder.pack(source, state_dir / "few.tar", files_at_most=1)
    assert work_folder.summary_of(few).left_out_files == 5


def tampered(source: Path, target: Path, change: Callable[[bytes], bytes]) -> Path:
    """The archive with another `work.tar`, which the manifest vouches for."""
    with tarfile.open(source) as archive, tarfile.open(target, "w") as made:
        contents = {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]
        contents["work.tar"] = change(contents["work.tar"])
        inner = target.with_name("inner.tar")
        inner.write_bytes(contents["work.tar"])
        manifest = msgspec.json.decode(contents[MANIFEST], type=Manifest)
        work = WorkMember(
            hashlib.sha256(contents["work.tar"]).hexdigest(), len(contents["work.tar"]), work_folder.summary_of(inner)
        )
        contents[MANIFEST] = msgspec.json.encode(msgspec.structs.replace(manifest, work=work))
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return target


def inner_tar(*members: tarfile.TarInfo) -> bytes:
    """A `work.tar` with members of 0 bytes."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for member in members:
            archive.addfile(member)
        text = msgspec.json.encode(work_folder.WorkSummary(1, 0))
        entry = tarfile.TarInfo(work_folder.SUMMARY)
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return made.getvalue()


def link(name: str) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = tarfile.SYMTYPE, "/etc"
    return made


@pytest.mark.parametrize(
    "member",
    [tarfile.TarInfo(name) for name in ("../out", "work/../../out", "/out", "work", "labd.db")] + [link("work/etc")],
    ids=lambda member: member.name,
)
def test_a_name_that_leads_out_of_the_folder_changes_nothing(state_dir: Path, member: tarfile.TarInfo) -> None:
    back_up_resting(house(state_dir / "source"), state_dir / "labd.tar", CLOCK)
    bad = tampered(state_dir / "labd.tar", state_dir / "bad.tar", lambda content: inner_tar(member))
    target = house(state_dir / "host", "mine", {"work/mine": b""})
    with pytest.raises(BadRequest, match=r"work\.tar: unexpected member"):
        restore(bad, target, CLOCK, force=True)
    assert (marks(target), files_of(target)) == (["mine", "mine"], {"work/mine": b""})
    assert not (state_dir / "out").exists()


def test_a_cut_at_any_rename_is_undone_or_finished(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    back_up_resting(house(state_dir / "source"), state_dir / "labd.tar", CLOCK)
    rename = Path.rename
    outcomes: list[str] = []
    for number in range(40):
        target = house(state_dir / f"host{number}", "mine", {"work/mine": b""})
        left = iter([False] * number + [True])

        def cut(path: Path, to: Path, left: object = left) -> Path:
            if next(left, False):  # type: ignore[call-overload]
                raise OSError(5, "Input/output error")
            return rename(path, to)

        monkeypatch.setattr(Path, "rename", cut)
        try:
            restore(state_dir / "labd.tar", target, CLOCK, force=True)
        except StoreFull:
            monkeypatch.setattr(Path, "rename", rename)
            was_pending = (target / PENDING).exists()
            finish(target)
            outcomes.append("finished" if was_pending else "undone")
        else:
            monkeypatch.setattr(Path, "rename", rename)
            outcomes.append("whole")
        expected = ("mine", {"work/mine": b""}) if outcomes[-1] == "undone" else ("archived", KEPT)
        assert (marks(target)[0], files_of(target)) == expected, (number, outcomes)
        if outcomes[-1] == "whole":
            break
    assert outcomes == ["undone", *["finished"] * (len(outcomes) - 2), "whole"]
    assert len(outcomes) == 9  # pending, marker, two databases and the folder, each old one aside and each new one in


def labd(daemon: Daemon, *words: object) -> str:
    """The output of a `labd` command for the daemon's state folder, which must end with 0."""
    command = [*script("labd"), *map(str, words), "--config", str(daemon.config), "--state", str(daemon.state)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_S, check=False, env=daemon.env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_serving_daemon_backs_up_what_its_tasks_keep(state_dir: Path) -> None:
    folder = state_dir / "tasks.d"
    folder.mkdir()
    (folder / "keeper.py").write_text(KEEPER)
    settings = toml("tasks", folders=[str(folder)])
    (state_dir / "a").mkdir()
    (state_dir / "b").mkdir()
    first = Daemon(state_dir / "a", settings)
    try:
        first.start()
        first.labctl.ok("task", "run", "keep", "text=offset 3")
        told = labd(first, "backup", state_dir / "labd.tar", "--socket", first.socket)
        assert "1 files of tasks" in told
        assert f"from the daemon at {first.socket}" in told
    finally:
        first.end()
    second = Daemon(state_dir / "b", settings)
    try:
        labd(second, "restore", state_dir / "labd.tar")
        second.start()
        assert second.labctl.json("task", "run", "kept")["result"] == "offset 3"
    finally:
        second.end()
