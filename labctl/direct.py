"""The last way to a carousel whose daemon is gone: a process of its own that opens the port.

Why a process: labctl imports nothing of labd's drivers, and a port that is still held by a hanging daemon must fail
there, in the open, with that program's own words.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from labctl import exits
from labctl.terminal import tell

LIMIT_S = 20.0


def stop(device: str | None, port: str | None, baud: int | None, servo_id: int | None) -> int:
    """Run `python -m labd.resort.direct` and show its answer; returns the exit code."""
    words = [sys.executable, "-m", "labd.resort.direct"]
    if port is None:
        known = _configured(device)
        if known is None:
            tell(
                "labctl: --direct needs the port: this host's labd settings name none"
                " (`labd check --json`); say --port /dev/serial/by-id/..."
            )
            return exits.UNREACHABLE
        port = str(known["port"])
        baud = baud if baud is not None else known.get("baud_rate")
        servo_id = servo_id if servo_id is not None else known.get("servo_id")
    words += ["--port", port]
    words += ["--baud", str(baud)] if baud is not None else []
    words += ["--servo-id", str(servo_id)] if servo_id is not None else []
    try:
        ended = subprocess.run(words, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        tell(f"labctl: {port}: no end after {LIMIT_S:g} s; CUT POWER")
        return exits.UNREACHABLE
    return exits.DONE if ended.returncode == 0 else exits.UNREACHABLE


def _configured(device: str | None) -> dict[str, Any] | None:
    """The carousel in this host's settings, from `labd check --json`."""
    words = [sys.executable, "-m", "labd", "check", "--json"]
    try:
        ended = subprocess.run(words, timeout=LIMIT_S, check=False, capture_output=True)
        wings = json.loads(ended.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return _find(wings, device)


def _find(document: Any, device: str | None) -> dict[str, Any] | None:
    wings = document.get("wings", {}) if isinstance(document, dict) else {}
    table = wings.get("resort") if isinstance(wings, dict) else None
    devices = table.get("devices", table) if isinstance(table, dict) else None
    if isinstance(devices, dict) and "port" in devices:
        return devices if devices["port"] else None
    if isinstance(devices, dict):
        devices = [{"name": name, **one} for name, one in devices.items() if isinstance(one, dict)]
    fitting = [
        one
        for one in devices or []
        if isinstance(one, dict) and one.get("port") and device in (None, one.get("name"), one.get("device"))
    ]
    return fitting[0] if len(fitting) == 1 else None
