"""The folder that workers import labd's own side from: what labd lends to an interpreter that has nothing of it.

Why a copy: the interpreter must see `labd/__init__.py`, `labd/worker` and the wings' `remote*.py`, and nothing else of
the daemon's packages. The name is made from the content, so running workers keep theirs when labd is updated.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

PATTERNS = ("__init__.py", "worker/*.py", "*/remote*.py")


def lend(folder: Path, package: Path) -> Path:
    """Put the copy below `folder` where it is not there yet; returns what goes onto the worker's `sys.path`.

    Args:
        folder: Such as `<state_dir>/lend`.
        package: The folder `labd` of the daemon.
    """
    found = sorted({path for pattern in PATTERNS for path in package.glob(pattern)})
    found += [path.parent / "__init__.py" for path in found if path.name.startswith("remote")]
    contents = {path.relative_to(package): path.read_bytes() for path in found if path.exists()}
    digest = hashlib.sha256()
    for name, content in sorted(contents.items()):
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    target = folder / digest.hexdigest()[:16]
    if target.is_dir():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".new-", dir=folder))
    for name, content in contents.items():
        path = fresh / "labd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    fresh.chmod(0o755)
    try:
        fresh.rename(target)
    except OSError:  # another process was first
        shutil.rmtree(fresh, ignore_errors=True)
    return target
