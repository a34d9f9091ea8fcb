"""Backups: from a running daemon over its socket, or from a state folder at rest."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import sqlite3
from pathlib import Path

import msgspec

from labd.archive import CHUNK_BYTES, DATABASES, Manifest, beside, unpack, write_archive
from labd.clock import Clock
from labd.engine import catalog_copy, work_folder
from labd.errors import DaemonUnreachable, LabdError, StoreDamaged, Unavailable
from labd.state_folder import LOCK_NAME, StateFolder

ANSWER_TIMEOUT_S = 600.0  # the daemon copies first and answers then; a large store takes its time


def back_up_running(socket_path: Path, target: Path, clock: Clock) -> Manifest:
    """Ask the daemon behind the socket for its databases and the files of its tasks, and write the archive.

    Raises:
        DaemonUnreachable: Nobody answers there.
        Unavailable: The answer broke off.
        LabdError: The daemon refused.
    """
    with beside(target) as folder:
        stream = folder / "stream.tar"
        _download(socket_path, stream)
        members = unpack(stream, folder)
        return write_archive(members, target, clock)


def back_up_resting(state_dir: Path, target: Path, clock: Clock) -> Manifest:
    """Write the archive of a state folder that no daemon holds; it is held meanwhile.

    Raises:
        AlreadyServing: A daemon holds the folder.
        StoreDamaged: A database is missing or cannot be read.
    """
    folder_lock = StateFolder(state_dir)
    if not (state_dir / "labd.db").exists():
        raise StoreDamaged(f"{state_dir} holds no labd.db; name the state folder with --state", path=str(state_dir))
    folder_lock.hold(clock)
    try:
        give_to_owner(state_dir / LOCK_NAME, state_dir)
        with beside(target) as folder:
            members = [_copy(state_dir / name, folder / name) for name in DATABASES]
            if (state_dir / work_folder.FOLDER).is_dir():
                members.append(work_folder.pack(state_dir, folder / work_folder.NAME))
            catalog = catalog_copy.copy(state_dir, folder)
            return write_archive(members if catalog is None else [*members, catalog], target, clock)
    finally:
        folder_lock.close()


def give_to_owner(path: Path, state_dir: Path) -> None:
    """What root makes in the state folder belongs to the folder's owner, or the daemon could not open it."""
    owner = state_dir.stat()
    if os.geteuid() == 0 and path.stat().st_uid != owner.st_uid:
        os.chown(path, owner.st_uid, owner.st_gid)


def _copy(source: Path, target: Path) -> Path:
    """A consistent copy, with what a killed daemon left in the write-ahead log."""
    if not source.exists():
        raise StoreDamaged(f"{source} is missing; the state folder is not whole", path=str(source))
    try:
        with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as database:
            database.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.DatabaseError as fault:
        raise StoreDamaged(f"{source} cannot be copied: {fault}", path=str(source)) from fault
    return target


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _download(socket_path: Path, target: Path) -> None:
    connection = _SocketConnection(socket_path)
    try:
        try:
            connection.request("GET", "/api/v1/backup")
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as fault:
            raise DaemonUnreachable(f"no daemon answers at {socket_path}: {fault}") from fault
        if answer.status != 200:
            raise _refusal(answer.status, answer.read(CHUNK_BYTES))
        with target.open("xb") as file:
            shutil.copyfileobj(answer, file, CHUNK_BYTES)
            if answer.length:
                raise Unavailable(
                    f"the daemon at {socket_path} broke off {answer.length} bytes before the end; ask again"
                )
    except http.client.HTTPException as fault:
        raise Unavailable(f"the answer of the daemon at {socket_path} broke off: {fault}; ask again") from fault
    finally:
        connection.close()


def _refusal(status: int, body: bytes) -> LabdError:
    try:
        message = str(msgspec.json.decode(body)["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        message = body[:200].decode(errors="replace")
    return LabdError(f"the daemon refused the backup with status {status}: {message}", status=status)
