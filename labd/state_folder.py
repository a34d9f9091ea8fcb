"""One daemon per state folder: a lock that the kernel gives back when its holder dies, however it dies."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from pathlib import Path

from labd.clock import Clock, iso
from labd.errors import AlreadyServing, StoreFull

LOCK_NAME = "labd.lock"


class StateFolder:
    """The folder with the databases, held until `close`.

    Args:
        path: Made if it is not there, for the owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None

    def hold(self, clock: Clock) -> None:
        """Take the lock.

        Raises:
            AlreadyServing: Names the holder.
            StoreFull: The folder cannot be made or written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
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


def _holder(file: int) -> dict[str, object]:
    try:
        found = json.loads(os.pread(file, 4096, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
