"""What the workers of a killed daemon had started and what now belongs to nobody.

A worker dies with its daemon (PR_SET_PDEATHSIG), but the programs that its task started do not: Linux has no such word
for grandchildren. They carry the state folder of their daemon in their environment, and the next daemon on this folder,
which holds its lock, ends them. Under systemd nothing is left to find, for the unit's whole control group is ended.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

MARK = "LABD_WORKER_OF"


def end_orphans(state_dir: Path, proc: Path = Path("/proc")) -> list[int]:
    """SIGKILL to every process of this user that a worker of this state folder had started; returns their ids."""
    mark = f"{MARK}={state_dir}".encode()
    spared = _ancestors(proc)
    ended = []
    for folder in proc.glob("[0-9]*"):
        pid = int(folder.name)
        if pid in spared:
            continue
        try:
            if mark not in (folder / "environ").read_bytes().split(b"\0"):
                continue
            os.kill(pid, signal.SIGKILL)
        except OSError:  # another user's, or gone meanwhile
            continue
        ended.append(pid)
    return ended


def _ancestors(proc: Path) -> set[int]:
    """This process and those above it: a daemon may be started by hand from within a task."""
    found = set()
    pid = os.getpid()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            pid = int((proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            break
    return found
