"""Backups and restores: whole or refused, never half, and never under a running daemon."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from labd import backup_commands
from labd.archive import DATABASES, MANIFEST, read_archive, write_archive
from labd.backup import back_up_resting, back_up_running
from labd.engine import store
from labd.errors import (
    AlreadyServing,
    BadRequest,
    Conflict,
    DaemonUnreachable,
    LabdError,
    StoreDamaged,
    StoreFull,
    StoreNewer,
    Unavailable,
)
from labd.restore import MARKER, PENDING, finish, restore
from labd.state_folder import StateFolder
from tests.fakes.service_manager import service_manager

ROOT = Path(__file__).parents[2]


class StoppedClock:
    """Always the same instant."""

    def wall(self) -> float:
        return 1_780_000_000.0

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, delay_s: float) -> None:
        raise AssertionError(delay_s)


CLOCK = StoppedClock()


def fill(folder: Path, mark: str) -> Path:
    """A state folder whose databases carry a mark."""
    folder.mkdir(mode=0o700)
    for name, database in DATABASES.items():
        store.prepare(folder / name, database)
        with contextlib.closing(sqlite3.connect(folder / name)) as opened:
            opened.execute("CREATE TABLE mark (text TEXT)")
            opened.execute("INSERT INTO mark VALUES (?)", (mark,))
            opened.commit()
    return folder


def mark_of(path: Path) -> str:
    with contextlib.closing(sqlite3.connect(path)) as opened:
        assert opened.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return str(opened.execute("SELECT text FROM mark").fetchone()[0])


def marks(folder: Path) -> list[str]:
    return [mark_of(folder / name) for name in DATABASES]


@pytest.fixture
def archive(state_dir: Path) -> Path:
    target = state_dir / "labd.tar"
    back_up_resting(fill(state_dir / "source", "archived"), target, CLOCK)
    return target


# --- backup ----------------------------------------------------------------------------------------------------------
def test_an_archive_holds_both_databases_and_says_what_they_are(archive: Path, state_dir: Path) -> None:
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with tarfile.open(archive) as opened:
        assert opened.getnames() == [MANIFEST, *DATABASES]
    (state_dir / "out").mkdir()
    manifest = read_archive(archive, state_dir / "out")
    assert manifest.created_at == "2026-05-28T20:26:40.000000Z"
    assert manifest.host == socket.gethostname()
    assert {name: member.schema >= 1 for name, member in manifest.databases.items()} == dict.fromkeys(DATABASES, True)
    assert marks(state_dir / "out") == ["archived", "archived"]
    assert sorted(path.name for path in state_dir.iterdir()) == ["labd.tar", "out", "source"]


def test_a_backup_at_rest_includes_what_a_killed_daemon_left_in_the_write_ahead_log(state_dir: Path) -> None:
    folder = fill(state_dir / "source", "old")
    with contextlib.closing(sqlite3.connect(folder / "labd.db")) as daemon:
        daemon.execute("UPDATE mark SET text = 'newest'")
        daemon.commit()
        (state_dir / "killed").mkdir()
        for file in folder.iterdir():  # the files as a kill -9 at this moment leaves them
            shutil.copy(file, state_dir / "killed" / file.name)
    assert (state_dir / "killed" / "labd.db-wal").stat().st_size
    back_up_resting(state_dir / "killed", state_dir / "labd.tar", CLOCK)
    restore(state_dir / "labd.tar", state_dir / "new", CLOCK)
    assert marks(state_dir / "new") == ["newest", "old"]


def test_a_backup_at_rest_is_refused_while_a_daemon_holds_the_folder(state_dir: Path) -> None:
    daemon = StateFolder(fill(state_dir / "source", "x"))
    daemon.hold(CLOCK)
    with pytest.raises(AlreadyServing, match=f"pid {os.getpid()}"):
        back_up_resting(state_dir / "source", state_dir / "labd.tar", CLOCK)
    daemon.close()
    assert not (state_dir / "labd.tar").exists()


def test_a_folder_without_databases_gives_no_backup(state_dir: Path) -> None:
    with pytest.raises(StoreDamaged, match=r"holds no labd\.db; name the state folder with --state"):
        back_up_resting(state_dir, state_dir / "labd.tar", CLOCK)


def test_a_backup_that_fails_leaves_the_older_one(archive: Path, state_dir: Path) -> None:
    before = archive.read_bytes()
    (state_dir / "source" / "logbook.db").write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(StoreDamaged, match=r"logbook\.db cannot be copied"):
        back_up_resting(state_dir / "source", archive, CLOCK)
    assert archive.read_bytes() == before


@contextlib.contextmanager
def answering(path: Path, answer: bytes) -> Iterator[None]:
    """A daemon that gives one answer and hangs up."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                while b"\r\n\r\n" not in peer.recv(65536):
                    pass
                peer.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join(5)
        assert not thread.is_alive()


def head(status: str, length: int) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()


def bare_tar(folder: Path) -> bytes:
    """What the daemon sends: the databases without a manifest."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name in DATABASES:
            opened.add(folder / name, name)
    return buffer.getvalue()


def test_a_running_daemons_stream_becomes_an_archive(state_dir: Path) -> None:
    body = bare_tar(fill(state_dir / "source", "live"))
    with answering(state_dir / "labd.sock", head("200 OK", len(body)) + body):
        back_up_running(state_dir / "labd.sock", state_dir / "labd.tar", CLOCK)
    restore(state_dir / "labd.tar", state_dir / "new", CLOCK)
    assert marks(state_dir / "new") == ["live", "live"]


def test_a_stream_that_breaks_off_leaves_no_archive(state_dir: Path) -> None:
    body = bare_tar(fill(state_dir / "source", "live"))
    with (
        answering(state_dir / "labd.sock", head("200 OK", len(body)) + body[: len(body) // 2]),
        pytest.raises(Unavailable, match="broke off"),
    ):
        back_up_running(state_dir / "labd.sock", state_dir / "labd.tar", CLOCK)
    assert sorted(path.name for path in state_dir.iterdir()) == ["labd.sock", "source"]


def test_a_refusal_of_the_daemon_is_told_in_its_words(state_dir: Path) -> None:
    body = json.dumps(
        {"code": "scope_missing", "message": "unix:bob has read, this needs admin", "details": {}}
    ).encode()
    with (
        answering(state_dir / "labd.sock", head("403 Forbidden", len(body)) + body),
        pytest.raises(LabdError, match="status 403: unix:bob has read, this needs admin"),
    ):
        back_up_running(state_dir / "labd.sock", state_dir / "labd.tar", CLOCK)


def test_without_a_daemon_the_socket_is_named(state_dir: Path) -> None:
    with pytest.raises(DaemonUnreachable, match=r"no daemon answers at .*labd\.sock"):
        back_up_running(state_dir / "labd.sock", state_dir / "labd.tar", CLOCK)


# --- restore ---------------------------------------------------------------------------------------------------------
def test_a_restore_into_a_new_folder_marks_it(archive: Path, state_dir: Path) -> None:
    manifest, kept = restore(archive, state_dir / "new", CLOCK)
    assert marks(state_dir / "new") == ["archived", "archived"]
    assert kept == []
    marker = json.loads((state_dir / "new" / MARKER).read_text())
    assert marker["created_at"] == manifest.created_at
    assert sorted(path.name for path in (state_dir / "new").iterdir()) == ["labd.db", "labd.lock", "logbook.db", MARKER]
    assert {stat.S_IMODE((state_dir / "new" / name).stat().st_mode) for name in DATABASES} == {0o600}


def test_databases_that_are_there_need_force_and_are_kept(archive: Path, state_dir: Path) -> None:
    folder = fill(state_dir / "host", "mine")
    with pytest.raises(Conflict, match=r"already holds labd\.db and logbook\.db; --force restores and keeps them"):
        restore(archive, folder, CLOCK)
    assert marks(folder) == ["mine", "mine"]
    _, kept = restore(archive, folder, CLOCK, force=True)
    assert [path.name for path in kept] == ["labd.db.before-restore-1", "logbook.db.before-restore-1"]
    assert [mark_of(path) for path in kept] == ["mine", "mine"]
    _, kept = restore(archive, folder, CLOCK, force=True)
    assert [path.name for path in kept] == ["labd.db.before-restore-2", "logbook.db.before-restore-2"]
    assert marks(folder) == ["archived", "archived"]


def test_the_old_write_ahead_log_goes_aside_with_its_database(archive: Path, state_dir: Path) -> None:
    folder = fill(state_dir / "host", "older")
    with contextlib.closing(sqlite3.connect(folder / "labd.db")) as daemon:
        daemon.execute("UPDATE mark SET text = 'only in the log'")
        daemon.commit()
        shutil.copytree(folder, state_dir / "killed")
    restore(archive, state_dir / "killed", CLOCK, force=True)
    assert marks(state_dir / "killed") == ["archived", "archived"]
    assert mark_of(state_dir / "killed" / "labd.db.before-restore-1") == "only in the log"


def test_a_restore_under_a_running_daemon_is_refused_by_pid(archive: Path, state_dir: Path) -> None:
    folder = fill(state_dir / "host", "mine")
    daemon = StateFolder(folder)
    daemon.hold(CLOCK)
    with pytest.raises(AlreadyServing, match=f"pid {os.getpid()}"):
        restore(archive, folder, CLOCK, force=True)
    daemon.close()
    assert marks(folder) == ["mine", "mine"]


@pytest.mark.skipif(os.geteuid() != 0, reason="requires root: files change hands")
def test_what_root_restores_belongs_to_the_daemons_user(archive: Path, state_dir: Path) -> None:
    folder = state_dir / "host"
    folder.mkdir(mode=0o700)
    os.chown(folder, 4321, 4321)
    restore(archive, folder, CLOCK)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in folder.iterdir()} == {(4321, 4321)}


# --- archives that must not be believed ------------------------------------------------------------------------------
Change = Callable[[dict[str, tuple[tarfile.TarInfo, bytes]]], None]


def rewrite(archive: Path, change: Change) -> None:
    members: dict[str, tuple[tarfile.TarInfo, bytes]] = {}
    with tarfile.open(archive) as opened:
        for entry in opened:
            content = opened.extractfile(entry)
            assert content is not None
            members[entry.name] = (entry, content.read())
    change(members)
    with tarfile.open(archive, "w") as opened:
        for entry, content in members.values():
            entry.size = len(content) if entry.isreg() else 0
            opened.addfile(entry, io.BytesIO(content))


def put(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    def change(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        members[f"new {name}"] = (entry, b"hostile")

    return change


def replace_by_link(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    members["labd.db"][0].type = tarfile.SYMTYPE
    members["labd.db"][0].linkname = "/etc/passwd"


def flip_a_byte(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    entry, content = members["labd.db"]
    members["labd.db"] = (entry, content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])


def newer_schema(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    entry, content = members["labd.db"]
    content = content[:60] + (99).to_bytes(4, "big") + content[64:]
    members["labd.db"] = (entry, content)
    manifest = json.loads(members[MANIFEST][1])
    manifest["databases"]["labd.db"] |= {"schema": 99, "sha256": hashlib.sha256(content).hexdigest()}
    members[MANIFEST] = (members[MANIFEST][0], json.dumps(manifest).encode())


def swap(members: dict[str, tuple[tarfile.TarInfo, bytes]]) -> None:
    (one, first), (two, second) = members["labd.db"], members["logbook.db"]
    members["labd.db"], members["logbook.db"] = (one, second), (two, first)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (put("../labd.db"), BadRequest, r"unexpected member '\.\./labd\.db'; not an archive of labd"),
        (put("/etc/cron.d/labd"), BadRequest, "unexpected member '/etc/cron.d/labd'"),
        (put("labd.db"), BadRequest, "unexpected member 'labd.db'"),
        (put("labd.db-wal"), BadRequest, "unexpected member 'labd.db-wal'"),
        (put("x", tarfile.SYMTYPE, "/etc"), BadRequest, "unexpected member 'x'"),
        (put("x", tarfile.CHRTYPE), BadRequest, "unexpected member 'x'"),
        (replace_by_link, BadRequest, "unexpected member 'labd.db'"),
        (flip_a_byte, BadRequest, "labd.db is not what the manifest says"),
        (swap, BadRequest, "labd.db is not what the manifest says"),
        (newer_schema, StoreNewer, "labd.db has schema 99, this labd knows up to"),
        (lambda members: members.pop("logbook.db"), BadRequest, "logbook.db missing; not a whole archive"),
        (lambda members: members.pop(MANIFEST), BadRequest, "manifest.json missing"),
        (
            lambda members: members.update({MANIFEST: (members[MANIFEST][0], b"{")}),
            BadRequest,
            "manifest.json cannot be read",
        ),
        (
            lambda members: members.update({MANIFEST: (members[MANIFEST][0], bytes(70_000))}),
            BadRequest,
            "manifest.json claims 70000 bytes, at most 65536",
        ),
    ],
)
def test_an_archive_that_is_not_right_changes_nothing(
    archive: Path, state_dir: Path, change: Change, error: type[LabdError], message: str
) -> None:
    rewrite(archive, change)
    folder = fill(state_dir / "host", "mine")
    with pytest.raises(error, match=message):
        restore(archive, folder, CLOCK, force=True)
    assert marks(folder) == ["mine", "mine"]
    assert sorted(path.name for path in folder.iterdir()) == ["labd.db", "labd.lock", "logbook.db"]


def test_a_truncated_archive_is_refused_wherever_it_ends(archive: Path, state_dir: Path) -> None:
    whole = archive.read_bytes()
    folder = fill(state_dir / "host", "mine")
    ends = [0, 1, 511, 512, 700, 2048, 6000, len(whole) // 2, len(whole) // 2 // 512 * 512]
    for end in ends:
        archive.write_bytes(whole[:end])
        with pytest.raises(BadRequest):
            restore(archive, folder, CLOCK, force=True)
    assert marks(folder) == ["mine", "mine"]


def test_a_database_that_is_none_gets_into_no_archive(state_dir: Path) -> None:
    (state_dir / "labd.db").write_bytes(b"no database")
    with pytest.raises(BadRequest, match=r"labd\.db is not an SQLite database"):
        write_archive([state_dir / "labd.db"], state_dir / "labd.tar", CLOCK)


# --- cut between steps -----------------------------------------------------------------------------------------------
STEPS_WITH_OLD_WAL = 7  # to pending, marker, then labd.db: old, its log, new; logbook.db: old, new


@pytest.mark.parametrize("step", range(1, STEPS_WITH_OLD_WAL + 2))
def test_a_cut_at_any_rename_is_undone_or_finished(
    archive: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    folder = fill(state_dir / "host", "mine")
    (folder / "labd.db-wal").write_bytes(b"stale log of the old database")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    rename, calls = Path.rename, 0

    def cut(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == step:
            raise OSError(28, "No space left on device")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut)
    if step > STEPS_WITH_OLD_WAL:
        restore(archive, folder, CLOCK, force=True)
        assert calls == STEPS_WITH_OLD_WAL
        return
    with pytest.raises(StoreFull, match="No space left on device"):
        restore(archive, folder, CLOCK, force=True)
    monkeypatch.undo()
    assert (folder / PENDING).exists() is (step > 1)
    if step == 1:
        assert not finish(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "labd.lock"} == before
        return
    assert finish(folder)
    assert not finish(folder)
    assert marks(folder) == ["archived", "archived"]
    assert (folder / MARKER).exists()
    assert (folder / "labd.db.before-restore-1").read_bytes() == before["labd.db"]
    assert (folder / "labd.db.before-restore-1-wal").read_bytes() == before["labd.db-wal"]
    assert (folder / "logbook.db.before-restore-1").read_bytes() == before["logbook.db"]
    assert not (folder / PENDING).exists()


def test_a_second_restore_first_finishes_the_one_that_was_cut(
    archive: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(state_dir / "host", "mine")
    rename = Path.rename
    cut_at = iter([False, False, False, True])

    def cut(path: Path, target: Path) -> Path:
        if next(cut_at):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut)
    with pytest.raises(StoreFull, match="goes on"):
        restore(archive, folder, CLOCK, force=True)
    monkeypatch.undo()
    restore(archive, folder, CLOCK, force=True)
    assert marks(folder) == ["archived", "archived"]
    assert mark_of(folder / "labd.db.before-restore-1") == "mine"
    assert mark_of(folder / "labd.db.before-restore-2") == "archived"


def test_a_draft_of_a_killed_restore_is_cleared_by_the_next(archive: Path, state_dir: Path) -> None:
    folder = fill(state_dir / "host", "mine")
    (folder / ".restore-killed").mkdir()
    (folder / ".restore-killed" / "labd.db").write_bytes(b"half")
    restore(archive, folder, CLOCK, force=True)
    assert not (folder / ".restore-killed").exists()


# --- commands --------------------------------------------------------------------------------------------------------
def test_the_commands_say_what_they_did(state_dir: Path) -> None:
    fill(state_dir / "source", "mine")
    config = state_dir / "labd.toml"
    config.write_text("")
    (state_dir / "backups").mkdir()
    made = CliRunner().invoke(
        backup_commands.backup,
        [str(state_dir / "backups"), "--config", str(config), "--state", str(state_dir / "source")],
    )
    assert made.exit_code == 0, made.output
    (archive,) = (state_dir / "backups").iterdir()
    assert made.output.startswith(f"{archive}: backup of {socket.gethostname()} made at ")
    assert f"from the resting state folder {state_dir / 'source'}" in made.output
    restored = CliRunner().invoke(backup_commands.restore, [str(archive), "--state", str(state_dir / "new")])
    assert restored.exit_code == 0, restored.output
    assert "holds queued physical jobs" in restored.output
    again = CliRunner().invoke(backup_commands.restore, [str(archive), "--state", str(state_dir / "new")])
    assert again.exit_code == 1
    nowhere = CliRunner().invoke(
        backup_commands.backup, [str(state_dir / "x.tar"), "--config", str(config), "--state", str(state_dir / "none")]
    )
    assert nowhere.exit_code == 1
    assert "labd: no daemon answers at" in nowhere.output
    assert f"without a daemon: {state_dir / 'none'} holds no labd.db" in nowhere.output
    assert "labd: " in again.output
    assert "--force restores" in again.output


# --- with the real daemon --------------------------------------------------------------------------------------------
def request(door: Path, method: str, path: str, body: object = None) -> Any:
    """One request over the daemon's socket."""
    with socket.socket(socket.AF_UNIX) as caller:
        caller.settimeout(30)
        caller.connect(str(door))
        content = json.dumps(body).encode() if body is not None else b""
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close", f"Content-Length: {len(content)}"]
        caller.sendall("\r\n".join([*lines, "Content-Type: application/json", "", ""]).encode() + content)
        with caller.makefile("rb") as answer:
            return json.loads(answer.read().partition(b"\r\n\r\n")[2])


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """`labd run` on the demo's settings; gives its socket, and kills it in the end."""
    door = folder.with_suffix(".sock")
    command = [sys.executable, "-m", "labd", "run", "--config", "etc/labd.demo.toml", "--state", str(folder)]
    with service_manager(folder.with_suffix(".notify")) as manager, folder.with_suffix(".log").open("wb") as log:
        environ = {**os.environ, "NOTIFY_SOCKET": manager.address}
        daemon = subprocess.Popen([*command, "--socket", str(door)], env=environ, cwd=ROOT, stdout=log, stderr=log)
        try:
            while "READY" not in manager.receive(30).fields:
                pass
            yield door
        finally:
            daemon.kill()
            daemon.wait(10)


def test_a_backup_of_a_serving_daemon_comes_back_with_its_physical_jobs_held(state_dir: Path) -> None:
    move = {"task": "resort.move_to_angle", "args": {"degrees": 5}, "delay_s": 3600, "expires_in_s": 7200}
    look = {"task": "resort.get_motor_health", "delay_s": 3600}
    with serving(state_dir / "old") as door:
        connected = request(door, "POST", "/api/v1/jobs", {"task": "resort.connect"})
        assert request(door, "GET", f"/api/v1/jobs/{connected['id']}?wait=30")["state"] == "succeeded"
        jobs = [request(door, "POST", "/api/v1/jobs", item) for item in (move, look)]
        with pytest.raises(AlreadyServing, match=r"is served by labd on .* with pid"):
            restore(state_dir / "labd.tar", state_dir / "old", CLOCK, force=True)
        back_up_running(door, state_dir / "labd.tar", CLOCK)
    restore(state_dir / "labd.tar", state_dir / "new", CLOCK)
    with serving(state_dir / "new") as door:
        moved, looked = (request(door, "GET", f"/api/v1/jobs/{job['id']}") for job in jobs)
        assert (moved["state"], moved["hold"]["code"]) == ("queued", "restored")
        assert (looked["state"], looked["hold"]) == ("queued", None)
    assert not (state_dir / "new" / MARKER).exists()


def test_a_daemon_finishes_a_restore_that_was_cut_short(
    archive: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(state_dir / "host", "mine")
    rename = Path.rename
    cut_at = iter([False, False, False, True])  # the old labd.db is aside, the new one not yet there

    def cut(path: Path, target: Path) -> Path:
        if next(cut_at):
            raise OSError(5, "Input/output error")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", cut)
    with pytest.raises(StoreFull):
        restore(archive, folder, CLOCK, force=True)
    monkeypatch.undo()
    with serving(folder):
        assert not (folder / PENDING).exists()
    assert marks(folder) == ["archived", "archived"]
