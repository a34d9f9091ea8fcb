"""Puts an archive into a state folder, whole or not at all, whatever cuts it short.

    1  unpack and check everything in a private folder inside the state folder
    2  rename that folder to `restore.pending`            <- from here on the restore happens, before it never did
    3  put the marker, set the old files aside, move the new ones in, each by rename
    4  remove `restore.pending`

Why a pending folder and not renames alone: two databases cannot be swapped in one step, and a new database beside the
old one's write-ahead log would be taken for damaged. A cut between 2 and 4 is finished by `finish`, which the daemon
calls when it has taken the folder's lock and before it opens a database; a second `labd restore` calls it as well.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import msgspec

from labd.archive import DATABASES, Manifest, read_archive, sync_folder
from labd.backup import give_to_owner
from labd.clock import Clock, iso
from labd.engine import catalog_copy
from labd.engine.work_folder import FOLDER
from labd.errors import Conflict, StoreFull
from labd.state_folder import LOCK_NAME, RESTORE_NAME, StateFolder

MARKER = "restored.json"  # the engine holds queued physical jobs while it is there
PENDING = RESTORE_NAME
PLAN = "plan.json"
SUFFIXES = ("", "-wal", "-shm")


class Plan(msgspec.Struct, frozen=True):
    """What `finish` needs to know: the number under which old files are kept."""

    number: int


def restore(source: Path, state_dir: Path, clock: Clock, force: bool = False) -> tuple[Manifest, list[Path]]:
    """Make the state folder what the archive holds.

    Returns:
        The manifest, and where the old databases and files of tasks are kept.

    Raises:
        AlreadyServing: A daemon holds the folder; names its pid.
        BadRequest: The archive is not whole; nothing was changed.
        Conflict: A database is there and `force` is not given.
        StoreFull: The disk refused a step; once `restore.pending` stands, the next call or start goes on.
    """
    folder = StateFolder(state_dir)
    folder.hold(clock)
    try:
        give_to_owner(state_dir / LOCK_NAME, state_dir)
        finish(state_dir)
        there = [name for name in DATABASES if (state_dir / name).exists()]
        if there and not force:
            raise Conflict(
                f"{state_dir} already holds {' and '.join(there)}; --force restores and keeps them beside as "
                "*.before-restore-N",
                path=str(state_dir),
            )
        _clear_leftovers(state_dir)
        draft = Path(tempfile.mkdtemp(prefix=".restore-", dir=state_dir))
        try:
            manifest = read_archive(source, draft)
            number = _free_number(state_dir)
            marker = {"created_at": manifest.created_at, "restored_at": iso(clock.wall()), "archive": str(source)}
            _write(draft / MARKER, msgspec.json.encode(marker))
            _write(draft / PLAN, msgspec.json.encode(Plan(number)))
            for path in (*draft.rglob("*"), draft):
                give_to_owner(path, state_dir)
            for path in (draft / FOLDER, *(draft / FOLDER).rglob("*")):
                if path.is_dir():
                    sync_folder(path)
            sync_folder(draft)
            draft.rename(state_dir / PENDING)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        sync_folder(state_dir)
        finish(state_dir)
        kept = sorted(state_dir.glob(f"*.before-restore-{number}"))
        return manifest, kept
    except OSError as fault:
        again = (
            "it goes on at the next start or `labd restore`" if (state_dir / PENDING).exists() else "nothing changed"
        )
        raise StoreFull(f"restore into {state_dir}: {fault.strerror or fault}; {again}", path=str(state_dir)) from fault
    finally:
        folder.close()


def finish(state_dir: Path) -> bool:
    """Go on with a restore that was cut short; tells whether there was one. The caller holds the folder's lock.

    Each step looks at what is there, so it may be cut and called again at any point: while a new database still lies in
    the pending folder, files of its name in the state folder are old ones.

    Raises:
        StoreFull: The disk refused a step; the next call goes on.
    """
    try:
        return _go_on(state_dir)
    except OSError as fault:
        raise StoreFull(
            f"restore into {state_dir}: {fault.strerror or fault}; free or mend the disk, the next start or `labd "
            "restore` goes on",
            path=str(state_dir),
        ) from fault


def _go_on(state_dir: Path) -> bool:
    pending = state_dir / PENDING
    if not pending.is_dir():
        return False
    plan_file = pending / PLAN
    if plan_file.exists():  # it goes last, so without it all files are in place
        number = msgspec.json.decode(plan_file.read_bytes(), type=Plan).number
        if (pending / MARKER).exists():
            (pending / MARKER).rename(state_dir / MARKER)
            sync_folder(state_dir)
        for name in DATABASES:
            if not (pending / name).exists():
                continue
            for suffix in SUFFIXES:
                if (state_dir / (name + suffix)).exists():
                    kept = state_dir / f"{name}.before-restore-{number}{suffix}"
                    (state_dir / (name + suffix)).rename(kept)
            sync_folder(state_dir)
            (pending / name).rename(state_dir / name)
            sync_folder(state_dir)
        if (pending / FOLDER).exists():
            if (state_dir / FOLDER).exists():
                (state_dir / FOLDER).rename(state_dir / f"{FOLDER}.before-restore-{number}")
                sync_folder(state_dir)
            (pending / FOLDER).rename(state_dir / FOLDER)
            sync_folder(state_dir)
        if (pending / catalog_copy.NAME).exists():
            catalog_copy.put_back(pending / catalog_copy.NAME, state_dir)
            give_to_owner(state_dir / catalog_copy.FOLDER, state_dir)
            sync_folder(state_dir / catalog_copy.FOLDER)
            sync_folder(state_dir)
        plan_file.unlink()
    pending.rmdir()
    sync_folder(state_dir)
    return True


def _free_number(state_dir: Path) -> int:
    number = 1
    while any(state_dir.glob(f"*.before-restore-{number}*")):
        number += 1
    return number


def _clear_leftovers(state_dir: Path) -> None:
    """Drafts of a restore that was killed before it counted."""
    for leftover in state_dir.glob(".restore-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        path.chmod(0o600)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
