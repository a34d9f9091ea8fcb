"""One daemon per state folder: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import stat
from pathlib import Path

from labd.clock import Clock, iso
from labd.errors import AlreadyServing, Conflict, StoreFull

LOCK_NAME = "labd.lock"
RESTORE_NAME = "restore.pending"  # see `labd.restore`


class StateFolder:
    """The folder with the databases, held until `close`.

    Args:
        path: Made if it is not there, for the owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    @property
    def has_restore(self) -> bool:
        """Whether a restore was cut short, or waits for the next start."""
        return (self.path / RESTORE_NAME).exists()

    def hold(self, clock: Clock) -> None:
        """Take the lock.

        Raises:
            AlreadyServing: Names the holder.
            Conflict: Others could put files into it, or put another in its place.
            StoreFull: The folder cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if trap := _trap(self.path.resolve()):
                raise Conflict(f"state folder {self.path}: {trap}", path=str(self.path))
            file = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as fault:
            raise StoreFull(
                f"state folder {self.path}: {fault.strerror}; make it writable for user {os.getuid()} or choose "
                "another with --state",
                path=str(self.path),
            ) from fault
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            holder = _holder(file)
            os.close(file)
            if fault.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            name, pid = holder.get("name", "another labd"), holder.get("pid", "unknown")
            raise AlreadyServing(
                f"state folder {self.path} is served by {name} with pid {pid} since {holder.get('since', 'unknown')}; "
                f"ask it with `labctl status`, or end it with `kill {pid}`",
                **holder,
            ) from None
        self._file = file
        try:
            os.ftruncate(file, 0)
            text = {"name": f"labd on {socket.gethostname()}", "pid": os.getpid(), "since": iso(clock.wall())}
            os.pwrite(file, json.dumps(text).encode(), 0)
        except OSError:
            pass  # a full disk: the lock itself holds, only its label is missing

    def close(self) -> None:
        """Give the folder back; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _trap(path: Path) -> str | None:
    """Why somebody else could swap the folder or what is in it, in words; None if only its owner and root can."""
    for place in (path, *path.parents):
        facts, above = place.stat(), place.parent.stat()
        if facts.st_mode & stat.S_IWOTH and not facts.st_mode & stat.S_ISVTX:
            return f"everybody may write to {place} (mode {facts.st_mode & 0o7777:o}); `chmod o-w {place}`"
        is_shared = above.st_mode & stat.S_IWOTH and place != place.parent
        if is_shared and os.geteuid() != 0 and facts.st_uid not in (0, os.geteuid()):
            return (
                f"{place} belongs to user {facts.st_uid} and lies where everybody makes folders; choose another --state"
            )
    return None


def _holder(file: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
