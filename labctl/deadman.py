"""What is known of a motor, its own watchdog above all, when its daemon no longer answers.

Why a file: at the moment it is needed nobody can be asked. Every status of a carousel leaves it in the user's cache
folder, under the daemon's address.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DAEMONS_AT_MOST = 20


def cache_file(environ: Mapping[str, str]) -> Path:
    """Where the last known periods are kept."""
    folder = environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path("~/.cache").expanduser()) / "labd" / "watchdogs.json"


def remember(url: str, status: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> None:
    """Keep the period that a carousel's status names; a folder that cannot be written is no error."""
    watchdog = status.get("watchdog")
    if not isinstance(watchdog, Mapping):
        return
    path = cache_file(os.environ if environ is None else environ)
    known = _read(path)
    fresh = {
        "supported": bool(watchdog.get("supported")),
        "period_s": watchdog.get("period_s"),
        "port": status.get("port"),
        "servo_id": status.get("servo_id"),
        "baud_rate": status.get("baud_rate"),
    }
    entry = known.setdefault(url, {})
    name = str(status.get("device") or "")
    if entry.get(name) == fresh:
        return
    entry[name] = fresh
    known[url] = known.pop(url)  # the newest last
    for old in list(known)[:-DAEMONS_AT_MOST]:
        del known[old]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh_file = path.with_suffix(f".{os.getpid()}")
        fresh_file.write_text(json.dumps(known), encoding="utf-8")
        fresh_file.replace(path)
    except OSError:
        return


def sentence(url: str, device: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """What the motor does without the daemon, as far as it is known."""
    known = _read(cache_file(os.environ if environ is None else environ)).get(url, {})
    entries = [entry for name, entry in known.items() if not device or name == device]
    periods = sorted({float(entry["period_s"]) for entry in entries if entry.get("period_s")})
    if any(not entry.get("supported") for entry in entries):
        return "its motor has no watchdog: IT MAY MOVE ON"
    if periods:
        return f"if labd is dead, the motor's own watchdog ends a move within {periods[-1]:g} s"
    return (
        "if labd is dead, the motor's own watchdog ends a move within about half a second where it has one"
        " (this motor's period is not known here)"
    )


def motor(url: str, device: str | None = None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Port, servo id and baud rate that a daemon of this host last told; empty where it is not clear which."""
    if not url.startswith("unix:"):
        return {}
    known = _read(cache_file(os.environ if environ is None else environ)).get(url, {})
    entries = [entry for name, entry in known.items() if device in (None, name) and entry.get("port")]
    return {key: entries[0].get(key) for key in ("port", "servo_id", "baud_rate")} if len(entries) == 1 else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
