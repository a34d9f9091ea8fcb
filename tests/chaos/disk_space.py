"""A disk that is full, and one that takes no writes any more."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psutil

from tests.chaos.pause import pause
from tests.chaos.port import Unable, World
from tests.chaos.supply import shim_of

SIZE_MIB = 256
LEFT_KIB = (0, 4, 16, 64, 256)
LASTS_S = (0.3, 1.5)
READ_ONLY_AT_START = 0.25
MOUNT_S = 20.0
WRITERS_S = 20.0
AGAIN_S = 0.05


class DiskFull:
    """Satisfies `Fault`: the state folder is a small file system of its own, whose end comes at once.

    Why it shrinks to what is used, instead of being filled: what fills it would be one more file of the daemon's.
    """

    name = "disk_full"
    ends_daemon = False

    def prepare(self, world: World) -> None:
        """Mount it."""
        mounted(world.daemon.state)

    def strike(self, world: World) -> str:
        """Nothing, or next to nothing, is left, for a while."""
        left_kib, lasts_s = world.dice.choice(LEFT_KIB), world.dice.uniform(*LASTS_S)
        resize(world.daemon.state, left_kib)
        pause(lasts_s)
        return f"{left_kib} KiB left for {lasts_s:.1f} s"

    def mend(self, world: World) -> None:
        """There is room again."""
        resize(world.daemon.state, None)
        world.daemon.start()

    def end(self, world: World) -> None:
        """Unmount it."""
        unmounted(world.daemon.state)


class DiskReadOnly:
    """Satisfies `Fault`: while the daemon runs (as ext4 does after an error), or before it starts.

    Why the shim for the first: Linux remounts nothing read-only while a file is open for writing, save by an error of
    its own.
    """

    name = "disk_read_only"
    ends_daemon = True

    def prepare(self, world: World) -> None:
        """As for a full disk."""
        mounted(world.daemon.state)
        shim_of(world)

    def strike(self, world: World) -> str:
        """For a while, or until a daemon has refused to start."""
        if world.dice.random() < READ_ONLY_AT_START:
            world.daemon.kill()
            refuses_to_start(world)
            return "before a start, which was refused"
        lasts_s = world.dice.uniform(*LASTS_S)
        shim_of(world).read_only(True)
        pause(lasts_s)
        return f"read-only for {lasts_s:.1f} s"

    def mend(self, world: World) -> None:
        """It takes writes again."""
        shim_of(world).read_only(False)
        world.daemon.start()

    def end(self, world: World) -> None:
        """Unmount it."""
        unmounted(world.daemon.state)


def refuses_to_start(world: World) -> None:
    """Mount the folder read-only, have a start refused with the folder's name, and mount it for writing again."""
    state = world.daemon.state
    read_only_at_rest(state)
    try:
        world.daemon.start()
    except RuntimeError as refused:
        if str(state) not in str(refused) or "Read-only file system" not in str(refused):
            raise AssertionError(f"a read-only state folder is refused without being named: {refused}") from None
    else:
        raise AssertionError(f"a daemon serves from {state}, which is read-only")
    finally:
        _mount("-o", "remount,rw", str(state))


def read_only_at_rest(folder: Path, within_s: float = WRITERS_S) -> None:
    """Remount it for reading alone, once the last who write there have gone; who is left after so long is named."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return _mount("-o", "remount,ro", str(folder))
        except RuntimeError as fault:
            if "busy" not in str(fault) or time.monotonic() > deadline:
                raise RuntimeError(f"{fault}; open there: {writers_in(folder) or 'nothing'}") from None
        pause(AGAIN_S)


def writers_in(folder: Path) -> list[str]:
    """Processes with a file below the folder, each with one of its files."""
    found = []
    for process in psutil.process_iter():
        try:
            names = [opened.path for opened in process.open_files() if Path(opened.path).is_relative_to(folder)]
            found += [f"{process.pid} {' '.join(process.cmdline()[:6])}: {names[0]}"] if names else []
        except psutil.Error:
            continue
    return found


def mounted(folder: Path, size_mib: int = SIZE_MIB) -> None:
    """A file system of its own at a folder; nothing happens if there is one.

    Raises:
        Unable: Only root may mount, and not in every container.
    """
    if is_mounted(folder):
        return
    if os.getuid() != 0 or shutil.which("mount") is None:
        raise Unable("only root may mount a small file system")
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty; mount before the daemon's first start")
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        _mount("-t", "tmpfs", "-o", f"size={size_mib}m,mode=0700", "labd-chaos", str(folder))
    except RuntimeError as fault:
        raise Unable(f"no mount here: {fault}") from None


def is_mounted(folder: Path) -> bool:
    """Whether `mounted` was here."""
    return folder.is_mount()


def resize(folder: Path, left_kib: int | None, size_mib: int = SIZE_MIB) -> None:
    """So much is left from now on; None: as much as there was at first."""
    size_kib = size_mib * 1024
    for _ in range(50):  # who writes meanwhile may need more than was used a moment ago
        if left_kib is not None:
            about = os.statvfs(folder)
            size_kib = (about.f_blocks - about.f_bfree) * about.f_frsize // 1024 + left_kib
        try:
            _mount("-o", f"remount,size={max(4, size_kib)}k", str(folder))
        except RuntimeError:
            if left_kib is None:
                raise
            continue
        return
    raise RuntimeError(f"{folder} grows faster than it can be made smaller")


def unmounted(folder: Path) -> None:
    """Nothing is mounted there; a second call does nothing."""
    if is_mounted(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True, timeout=MOUNT_S)


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True, timeout=MOUNT_S)
    if done.returncode:
        raise RuntimeError(f"mount {' '.join(words)}: {done.stderr.strip()}")
