"""Another user of the host: what they lay beside, link to or replace is refused, and nothing of labd's can they read.

Most of it takes two users: run as root, with the other one's part done by `setpriv` as nobody.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labd.clock import SystemClock
from labd.errors import Conflict
from labd.restore import restore
from labd.state_folder import LOCK_NAME, StateFolder
from tests.acceptance.processes import ROOT, Daemon, toml
from tests.conftest import requires, requires_program
from tests.fakes.task_house import task_house

NOBODY = 65534
TASK = "@task\ndef planted():\n    return 1\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter and list, as `/srv` is."""
    folder = Path(tempfile.mkdtemp(prefix="labd-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_nobody(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """What another user of the host does."""
    requires("root", os.geteuid() == 0, "another user's part takes setpriv")
    setpriv = requires_program("setpriv")
    command = [setpriv, "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd="/")


def hold(folder: Path) -> None:
    held = StateFolder(folder)
    try:
        held.hold(SystemClock())
    finally:
        held.close()


@pytest.mark.parametrize("mode", [0o777, 0o707, 0o702])
def test_a_state_folder_that_everybody_may_write_to_is_refused_by_its_mode(open_folder: Path, mode: int) -> None:
    state = open_folder / "state"
    state.mkdir()
    state.chmod(mode)
    with pytest.raises(Conflict, match=rf"mode {mode:o}.*chmod o-w"):
        hold(state)
    assert not (state / LOCK_NAME).exists()
    state.chmod(0o750)
    hold(state)


def test_a_folder_above_that_everybody_may_write_to_is_refused_and_a_sticky_one_is_not(open_folder: Path) -> None:
    above = open_folder / "above"
    (above / "state").mkdir(parents=True, mode=0o700)
    above.chmod(0o777)
    with pytest.raises(Conflict, match="above"):
        hold(above / "state")
    above.chmod(0o1777)
    hold(above / "state")


def test_a_folder_that_somebody_else_has_laid_ready_in_tmp_is_refused(open_folder: Path) -> None:
    """A user without a home gets `/tmp/labd-UID`: whoever makes it first could swap the databases later."""
    open_folder.chmod(0o1777)
    ready = open_folder / "labd-1000"
    assert as_nobody("mkdir", "-m", "777", ready).returncode == 0
    ready.chmod(0o755)
    code = (
        "import os, sys; from tests.intruders.test_symlinks import hold; from pathlib import Path;"
        "os.setgroups([]); os.setgid(1000); os.setuid(1000); hold(Path(sys.argv[1]))"
    )
    (ready / "state").mkdir()
    os.chown(ready / "state", 1000, 1000)
    done = subprocess.run(
        [sys.executable, "-c", code, str(ready / "state")],
        capture_output=True, text=True, timeout=50, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode != 0
    assert f"belongs to user {NOBODY}" in done.stderr


def test_a_lock_that_is_a_link_is_not_followed(open_folder: Path) -> None:
    state, prey = open_folder / "state", open_folder / "prey"
    state.mkdir(mode=0o700)
    prey.write_text("precious")
    (state / LOCK_NAME).symlink_to(prey)
    with pytest.raises(Exception, match="state folder"):
        hold(state)
    assert prey.read_text() == "precious"


def test_nobody_reads_or_reaches_anything_of_a_daemon(open_folder: Path) -> None:
    """A daemon with the widest umask: files for the owner alone, and another user gets no further than the socket."""
    daemon = Daemon(open_folder, toml("resort", driver="simulated") + "[snapshots]\n[ingest]\n[inventory]\n")
    before = os.umask(0)
    try:
        daemon.start().ready()
    finally:
        os.umask(before)
    try:
        daemon.labctl.ok("resort", "home")
        daemon.labctl.ok("token", "create", "tester", "--scope", "read")
        readable = [
            f"{stat.filemode(path.lstat().st_mode)} {path.relative_to(daemon.state)}"
            for path in sorted(daemon.state.iterdir())
            if path.is_file() and path.lstat().st_mode & 0o007
        ]
        assert not readable, readable
        assert daemon.state.stat().st_mode & 0o077 == 0
        assert daemon.socket.stat().st_mode & 0o007 == 0
        assert as_nobody("ls", daemon.state).returncode != 0
        assert as_nobody("cat", daemon.state / "labd.db").returncode != 0
        reach = "import socket,sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])"
        done = as_nobody("/usr/bin/env", "python3", "-c", reach, daemon.socket)
        assert done.returncode != 0
    finally:
        daemon.end()


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_task_files_that_everybody_may_write_to_are_not_run(state_dir: Path, what: str) -> None:
    async with task_house(state_dir, TASK) as house:
        assert (await house.run("planted")).result == 1
        opened = house.folder / "tasks.py" if what == "file" else house.folder
        opened.chmod(opened.stat().st_mode | 0o002)
        report = await house.workers.reload()
        assert report.tasks == 0
        assert "everybody may write to" in report.faults[0].message
        opened.chmod(opened.stat().st_mode & ~0o002)
        assert (await house.workers.reload()).tasks == 1


async def test_links_out_of_the_working_folder_are_not_taken_into_a_backup(state_dir: Path) -> None:
    from labd.engine import work_folder

    prey = state_dir / "prey"
    prey.write_text("precious")
    work = state_dir / "work"
    (work / "inner").mkdir(parents=True)
    (work / "link").symlink_to(prey)
    (work / "folder").symlink_to(state_dir)
    os.mkfifo(work / "pipe")
    (work / "inner" / "kept").write_text("kept")
    packed = work_folder.pack(state_dir, state_dir / "work.tar")
    assert b"precious" not in packed.read_bytes()
    summary = work_folder.summary_of(packed)
    assert (summary.files, summary.left_out_files) == (1, 3)


def test_a_restore_does_not_write_through_links_that_lie_ready(open_folder: Path) -> None:
    """What the archive brings takes the place of a link; where the link points to nothing is written."""
    source = Daemon(open_folder, "")
    source.start()
    source.end()
    archive = open_folder / "backup.tar"
    from labd.backup import back_up_resting

    back_up_resting(source.state, archive, SystemClock())
    target, prey = open_folder / "other", open_folder / "prey"
    target.mkdir(mode=0o700)
    prey.write_text("precious")
    (target / "labd.db").symlink_to(prey)
    restore(archive, target, SystemClock(), force=True)
    assert prey.read_text() == "precious"
    assert not (target / "labd.db").is_symlink()
