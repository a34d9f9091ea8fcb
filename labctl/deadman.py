"""What is known of a motor, its own watchdog above all, when its daemon no longer answers.

Why files: at the moment it is needed nobody can be asked. The daemon leaves a note per carousel in its runtime folder,
which this host's labctl finds beside the socket; every status of a carousel also leaves what it said in the user's
cache folder, under the daemon's address, together with the place of the note.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
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
        "supported": bool(watchdog.get("supported") and watchdog.get("stops_motor", True)),
        "period_s": watchdog.get("period_s"),
        "port": status.get("port"),
        "servo_id": status.get("servo_id"),
        "baud_rate": status.get("baud_rate"),
        "note": status.get("motor_note"),
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


def motors(url: str, device: str | None = None, environ: Mapping[str, str] | None = None) -> dict[str, dict[str, Any]]:
    """Name -> facts of the motors of a daemon that does not answer; those of `device` where that is said.

    Keys: `supported` (its watchdog ends a move; None is unknown), `period_s`, `port`, `servo_id`, `baud_rate`, and of a
    daemon's own note also `state_dir` and `runtime_dir`. A note goes before what a status said some time ago.
    """
    known = _read(cache_file(os.environ if environ is None else environ)).get(url, {})
    found = {name: dict(entry) for name, entry in known.items() if isinstance(entry, dict)}
    if url.startswith("unix:"):
        for path in _notes(Path(url.removeprefix("unix:")), found):
            note = _read(path)
            if isinstance(note.get("device"), str):
                found[note["device"]] = {
                    "supported": note.get("watchdog_stops_motor"),
                    "period_s": note.get("watchdog_period_s"),
                    **{key: note.get(key) for key in ("port", "servo_id", "baud_rate", "state_dir")},
                    "runtime_dir": str(path.parent),
                }
    return {name: entry for name, entry in found.items() if device in (None, name)}


def _notes(socket: Path, known: Mapping[str, Mapping[str, Any]]) -> Iterator[Path]:
    """Notes of this socket's daemon: where it said so, beside the socket, or in the folder of the socket's name."""
    told = {Path(entry["note"]).parent for entry in known.values() if isinstance(entry.get("note"), str)}
    for folder in told or {socket.parent, socket.with_suffix("")}:
        try:
            yield from sorted(folder.glob("resort-*.json"))
        except OSError:
            continue


def sentence(url: str, device: str | None = None, environ: Mapping[str, str] | None = None) -> str:
    """What the motor does without the daemon, as far as it is known."""
    entries = list(motors(url, device, environ).values())
    periods = sorted({float(entry["period_s"]) for entry in entries if entry.get("period_s")})
    if any(entry.get("supported") is False for entry in entries):
        return "its motor has no watchdog that stops it: IT MAY MOVE ON"
    if periods:
        return f"if labd is dead, the motor's own watchdog ends a move within {periods[-1]:g} s"
    return (
        "if labd is dead, the motor's own watchdog ends a move within about half a second where it has one"
        " (this motor's period is not known here)"
    )


def motor(url: str, device: str | None = None, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The one motor that a stop of this host's daemon is for, with its name; empty where it is not clear which."""
    if not url.startswith("unix:"):
        return {}
    found = {name: entry for name, entry in motors(url, device, environ).items() if entry.get("port")}
    return {"device": name, **found[name]} if len(found) == 1 and (name := next(iter(found))) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
