"""The folder that workers import labd's own side from: what labd lends to an interpreter that has nothing of it.

Why a copy: the interpreter must see `labd/__init__.py`, `labd/worker` and the wings' `remote*.py`, and nothing else of
the daemon's packages. The name is made from the content, so running workers keep theirs when labd is updated.

Why a note of the boot: a power cut may leave any of these files empty, and what interpreters compiled from them torn,
which no interpreter notices before it fails. Syncing two hundred files would cost seconds on a card, so a copy is
compared once in each boot of the host instead, and what was compiled from it is then compiled anew.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

PATTERNS = ("__init__.py", "worker/*.py", "*/remote*.py")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NOTE = "boot"


def lend(folder: Path, package: Path, boot_id: Path = BOOT_ID) -> Path:
    """Put the copy below `folder` where it is not there yet or not whole; returns what goes onto `sys.path`.

    Args:
        folder: Such as `<state_dir>/lend`.
        package: The folder `labd` of the daemon.
        boot_id: Another text in each boot of the host; where there is none, every call compares.
    """
    found = sorted({path for pattern in PATTERNS for path in package.glob(pattern)})
    found += [path.parent / "__init__.py" for path in found if path.name.startswith("remote")]
    contents = {path.relative_to(package): path.read_bytes() for path in found if path.exists()}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    target = folder / digest.hexdigest()[:16]
    boot = _read(boot_id)
    if not target.is_dir():
        _put(target, contents)
    elif boot is None or _read(target / NOTE) != boot:
        if any(_read(target / "labd" / name) != content for name, content in contents.items()):
            _put(target, contents)
        for compiled in list(target.rglob("__pycache__")):
            shutil.rmtree(compiled, ignore_errors=True)
    else:
        return target
    if boot is not None:
        (target / NOTE).write_bytes(boot)
    return target


def _put(target: Path, contents: dict[Path, bytes]) -> None:
    """Lay the copy down whole, in the place of one that is not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
    for name, content in contents.items():
        path = fresh / "labd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fresh.chmod(0o755)
    if target.is_dir():
        broken = Path(tempfile.mkdtemp(prefix=".old-", dir=target.parent))
        target.rename(broken / target.name)
        shutil.rmtree(broken, ignore_errors=True)
    try:
        fresh.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(fresh, ignore_errors=True)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None
