"""The working folder of workers, `<state_dir>/work`, as one tar: what tasks keep there goes with a backup.

Why bounded: a task may write anything there, and a backup must not fill a disk. What is above the bounds is left out
and named. Why links are not followed: a task could name any file of labd's user by one.
"""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path, PurePosixPath

import msgspec

NAME = "work.tar"
FOLDER = "work"
SUMMARY = "summary.json"
FILES_AT_MOST = 10_000
LIMIT_BYTES = 64 * 2**20
SUMMARY_LIMIT_BYTES = 1 << 20
NAMED_AT_MOST = 20


class WorkSummary(msgspec.Struct, frozen=True):
    """What is in such a tar; `left_out` names the first of the files that are not, `left_out_files` counts them."""

    files: int
    size_bytes: int
    left_out: tuple[str, ...] = ()
    left_out_files: int = 0


class WorkFault(Exception):
    """The tar is not one that `pack` made; the text says why."""


def pack(state_dir: Path, target: Path, limit_bytes: int = LIMIT_BYTES, files_at_most: int = FILES_AT_MOST) -> Path:
    """Write the regular files of `<state_dir>/work` into `target`, each as it is at one moment."""
    kept = 0
    size = 0
    left_out: list[str] = []
    with target.open("xb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        target.chmod(0o600)
        for folder, inner, names, handle in os.fwalk(state_dir / FOLDER, follow_symlinks=False):
            inner.sort()
            links = [name for name in inner if stat.S_ISLNK(os.lstat(name, dir_fd=handle).st_mode)]
            for name in sorted([*names, *links]):
                path = (Path(folder) / name).relative_to(state_dir).as_posix()
                content = None if kept >= files_at_most else _read(name, handle, limit_bytes - size)
                if content is None:
                    left_out.append(path)
                    continue
                data, facts = content
                kept, size = kept + 1, size + len(data)
                _add(archive, path, data, facts.st_mode & 0o777, int(facts.st_mtime))
        summary = WorkSummary(kept, size, tuple(left_out[:NAMED_AT_MOST]), len(left_out))
        _add(archive, SUMMARY, msgspec.json.encode(summary), 0o600, 0)
    return target


def _read(name: str, folder: int, limit_bytes: int) -> tuple[bytes, os.stat_result] | None:
    """Content of a regular file; None of anything else, and of what is larger than the limit or cannot be read."""
    try:
        number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with open(number, "rb") as file:  # noqa: PTH123 a descriptor
        facts = os.fstat(number)
        if not stat.S_ISREG(facts.st_mode) or facts.st_size > limit_bytes:
            return None
        data = file.read(limit_bytes + 1)
    return None if len(data) > limit_bytes else (data, facts)


def _add(archive: tarfile.TarFile, name: str, data: bytes, mode: int, at: int) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, at
    archive.addfile(entry, io.BytesIO(data))


def summary_of(source: Path) -> WorkSummary:
    """What `pack` wrote about it.

    Raises:
        WorkFault: It is not such a tar.
    """
    try:
        with tarfile.open(source, mode="r:") as archive:
            content = archive.extractfile(SUMMARY)
            if content is None:
                raise WorkFault(f"{SUMMARY} is no file")
            return msgspec.json.decode(content.read(SUMMARY_LIMIT_BYTES), type=WorkSummary)
    except (tarfile.TarError, KeyError, ValueError, msgspec.MsgspecError) as fault:
        raise WorkFault(f"{SUMMARY} cannot be read: {fault}") from None


def unpack(source: Path, into: Path) -> None:
    """Make `into/work` with the files of the tar; all on disk when it returns.

    Raises:
        WorkFault: A name that leads out of the folder, or anything but a regular file.
    """
    target = into / FOLDER
    target.mkdir(mode=0o750)
    left = min(summary_of(source).size_bytes, source.stat().st_size)  # it says of itself what it likes
    try:
        with tarfile.open(source, mode="r:") as archive:
            for entry in archive:
                if entry.name == SUMMARY:
                    continue
                place = PurePosixPath(entry.name)
                is_plain = entry.isreg() and not entry.issparse() and "\0" not in entry.name
                if not is_plain or place.parts[:1] != (FOLDER,) or len(place.parts) < 2 or ".." in place.parts:
                    raise WorkFault(f"unexpected member {entry.name!r}")
                left -= entry.size
                if left < 0:
                    raise WorkFault(f"{entry.name} makes it larger than its summary says")
                content = archive.extractfile(entry)
                assert content is not None
                _write(into / place, content.read(), entry.mode & 0o777)
    except (tarfile.TarError, ValueError) as fault:  # ValueError: a number in a header that is none
        raise WorkFault(str(fault)) from None
    except (FileExistsError, NotADirectoryError) as fault:
        raise WorkFault(f"two members want the place {fault.filename}") from None


def _write(path: Path, data: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with path.open("xb") as file:
        path.chmod(mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
