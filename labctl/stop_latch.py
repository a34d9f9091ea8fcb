"""The mark of a stop that labd did not see, left where labd looks when it starts: it then starts stopped.

Why a file and no request: the daemon is dead or hangs. The file is that of the daemon's own stop latch, so that only
`labctl resort reset --by NAME --reason TEXT` takes it away.
"""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def leave(facts: Mapping[str, Any], reason: str | None) -> Path | None:
    """Latch a carousel for the next start of labd.

    Args:
        facts: `device`, and `state_dir` (outlives a power cut) or `runtime_dir` of its daemon, as far as known.

    Returns:
        The file, which may have been there before; None where it is not known or not allowed.
    """
    device = facts.get("device")
    folders = [str(facts[key]) for key in ("state_dir", "runtime_dir") if facts.get(key)]
    for folder in folders if device else []:
        path = Path(folder) / f"resort-{device}.stop-latched"
        try:
            _write(path, reason)
        except FileExistsError:
            return path
        except OSError:
            continue
        return path
    return None


def _write(path: Path, reason: str | None) -> None:
    record = {
        "by": f"{_user()}, by labctl without labd",
        "at": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reason": reason or "stopped directly while labd did not answer",
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        os.write(descriptor, json.dumps(record).encode() + b"\n")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
