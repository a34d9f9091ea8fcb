"""The last way to a carousel whose daemon is gone: a process of its own that opens the port.

Why a process: labctl imports nothing of labd's drivers, and a port that is still held by a hanging daemon must fail
there, in the open, with that program's own words.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from labctl import deadman, exits, render, stop_latch
from labctl.invocation import Invocation

LIMIT_S = 20.0
MODULE = "labd.resort.drive.direct"


class Motor(NamedTuple):
    """What must be known to reach a motor; None takes the driver's default."""

    port: str | None = None
    baud_rate: int | None = None
    servo_id: int | None = None

    def filled(self, facts: Mapping[str, Any]) -> Motor:
        """The same, with what is not said taken from `facts`; another port's facts are not mixed in."""
        if self.port is not None and facts.get("port") != self.port:
            return self
        return Motor(
            self.port or facts.get("port"),
            self.baud_rate if self.baud_rate is not None else facts.get("baud_rate"),
            self.servo_id if self.servo_id is not None else facts.get("servo_id"),
        )


def stop(call: Invocation, device: str | None, motor: Motor, config: str | None, reason: str | None = None) -> int:
    """Run the direct stop and show its answer; returns the exit code, 0 only if torque off was read back.

    Whatever comes of it, the stop is latched for the next start of labd, as far as its folders are known.

    Args:
        motor: What was said on the command line. The rest comes from the note that this daemon left or from what it
            last told (on the same host only), else from the settings that `labd check --json` finds.
        config: The daemon's settings file, where it is not the usual one.
    """
    known = facts = deadman.motor(call.client.url, device)
    if config is not None or (not facts and (motor.port is None or motor.baud_rate is None)):
        facts = _configured(device, config)
        if known.get("port") == facts.get("port"):  # the daemon itself knows best which folders it was given
            facts |= {key: known[key] for key in ("state_dir", "runtime_dir") if known.get(key)}
    if motor.port is not None and facts.get("port") != motor.port:
        facts = {}  # another motor than the one that is known
    motor = motor.filled(facts)
    if motor.port is None:
        call.tell(
            "labctl: --direct needs to know one port, and this host's settings name none or several"
            " (`labd check --json`)\n  next: CUT POWER, or say --port /dev/serial/by-id/... or --device NAME"
        )
        return exits.UNREACHABLE
    words = [*module_command(MODULE), "--port", motor.port]
    words += ["--baud-rate", str(motor.baud_rate)] if motor.baud_rate is not None else []
    words += ["--servo-id", str(motor.servo_id)] if motor.servo_id is not None else []
    call.tell(f"opening {motor.port} from here")
    ended, path = None, None
    try:
        ended = subprocess.run(words, timeout=LIMIT_S, check=False, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        call.tell(f"labctl: {motor.port}: no end after {LIMIT_S:g} s; CUT POWER")
    finally:  # also where Ctrl-C cut it short
        path = stop_latch.leave(facts, reason)
    answer = None if ended is None else _object(ended.stdout)
    if ended is None or answer is None:
        last = ((ended.stderr if ended else "").strip().splitlines() or ["it said nothing"])[-1]
        call.tell(f"labctl: {MODULE} did not run: {render.printable(last)}; CUT POWER\n{_latched(path)}")
        return exits.UNREACHABLE
    answer["latched_in"] = None if path is None else str(path)
    call.emit(answer, lambda: f"{sentence(motor, answer)}\n{_latched(path)}")
    return exits.DONE if ended.returncode == 0 and answer.get("confirmed") else exits.UNREACHABLE


def sentence(motor: Motor, answer: Mapping[str, Any]) -> str:
    """What the direct stop did."""
    if answer.get("confirmed"):
        return f"{motor.port}: STOPPED DIRECTLY, torque is off (read back)"
    problem = render.printable(str(answer.get("problem"))).removesuffix("; cut power")
    return f"{problem if str(motor.port) in problem else f'{motor.port}: {problem}'}; NOT STOPPED: CUT POWER"


def _latched(path: Path | None) -> str:
    if path is None:
        return "not latched, as labd's folders are not known or not writable here; look at it before labd starts again"
    return f"latched in {path}: labd starts stopped, until `labctl resort reset --by NAME --reason TEXT`"


def carousel(settings: Any, device: str | None) -> dict[str, Any]:
    """The motor of one carousel in the settings of `labd check --json`; empty where it is not clear which."""
    wings = settings.get("wings") if isinstance(settings, dict) else None
    table = wings.get("resort") if isinstance(wings, dict) else None
    carousels = table.get("carousels") if isinstance(table, dict) else None
    fitting = [
        {"device": name, "port": one.get("device"), **{key: one.get(key) for key in ("baud_rate", "servo_id")}}
        for name, one in (carousels or {}).items()
        if device in (None, name) and isinstance(one, dict) and one.get("driver") != "simulated"
    ]
    if len(fitting) != 1:
        return {}
    one = fitting[0]
    folders = {key: settings.get(key) for key in ("state_dir", "runtime_dir")}
    return {**folders, **one}


def module_command(module: str) -> list[str]:
    """How a module of labd is run as a child; out of `labd.pyz`, where labctl is in that (`labd.carried`)."""
    pyz = os.environ.get("LABD_PYZ")
    return [sys.executable, *([pyz] if pyz else []), "-m", module]


def _configured(device: str | None, config: str | None) -> dict[str, Any]:
    words = [*module_command("labd"), "check", "--json", *(["--config", config] if config else [])]
    try:
        ended = subprocess.run(words, timeout=LIMIT_S, check=False, capture_output=True, text=True)
    except subprocess.TimeoutExpired:
        return {}
    return carousel(_object(ended.stdout), device)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
