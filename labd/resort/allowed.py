"""What one carousel may be asked for now, and the reason for everything it may not.

Why one function: the list of allowed actions, the check at submission, the check at a job's start, the gate that holds
queued jobs and the 412 of the lab's contract all call `decide`. So what is listed is accepted and what is refused
is not listed, whichever door asks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

from labd.errors import DeviceBusy, ModeMismatch, NotConnected, Refused, StopLatched
from labd.resort.drive.modes import Modes, remedy

MOTIONS = ("activate_hotel", "move_to_angle", "go_home")
READS = ("get_current_position", "get_motor_health")
ACTIONS = ("connect", "configure", "disconnect", *MOTIONS, "set_speed", "hold", "stop", "reset", *READS)
RECONNECT_HINT_S = 3.0
SHORT_HINT_S = 1.0


@dataclass(frozen=True, slots=True)
class Situation:
    """All that decides about a carousel, at one moment.

    Args:
        device: Name of the carousel, for messages.
        state: Of the connection: closed, opening, ready, lost, faulty.
        problem: Why it is lost or faulty.
        latch_known: False until the stop latch was read at start; motion is refused so long.
        latched_by, latched_reason: Who pressed stop and why; `latched_by` None is no latch.
        stop_running: Torque-off is not yet confirmed.
        torque_enabled, operating_mode, drive_mode: As last read; None is unknown.
        wanted_mode: The operating mode that labd drives.
        hardware_errors: Words of the motor's own error bits.
        busy_job, moving, busy_for_s: What the carousel is doing, and how much longer at most.
        queues: The door that asks can wait for its turn; one that cannot is refused while the carousel is busy.
    """

    device: str
    state: str = "ready"
    problem: str | None = None
    latch_known: bool = True
    latched_by: str | None = None
    latched_reason: str = ""
    stop_running: bool = False
    torque_enabled: bool | None = True
    operating_mode: int | None = 4
    drive_mode: int | None = 0
    wanted_mode: int = 4
    hardware_errors: tuple[str, ...] = ()
    moving: bool = False
    busy_job: int | None = None
    busy_for_s: float | None = None
    queues: bool = True

    def patient(self) -> Situation:
        """The same for a door that can wait: being busy refuses nothing."""
        return replace(self, queues=True)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an action is not allowed; `kind` and `fields` tell the kinds apart without reading the message."""

    kind: str
    error: type[Refused]
    message: str
    fields: dict[str, Any] = field(default_factory=dict)
    retry_after_s: float | None = None

    def exception(self) -> Refused:
        """The refusal as an error of the tree."""
        more = {} if self.retry_after_s is None else {"retry_after_s": self.retry_after_s}
        return self.error(self.message, kind=self.kind, **self.fields, **more)

    def retry_after_header(self) -> str | None:
        """Whole seconds, rounded up, at least 1."""
        return None if self.retry_after_s is None else str(max(1, math.ceil(self.retry_after_s)))


def decide(now: Situation) -> dict[str, Refusal | None]:
    """Every action with None where it is accepted, or with the first thing that stands against it."""
    return {action: _DECISIONS[action](now) for action in ACTIONS}


def allowed_actions(now: Situation) -> list[str]:
    """The actions that are accepted now."""
    return [action for action, refusal in decide(now).items() if refusal is None]


def refused_actions(now: Situation) -> list[dict[str, Any]]:
    """The other actions, by what stands against them: `{"actions", "code", "kind", "message"}`."""
    found: dict[str, dict[str, Any]] = {}
    for action, refusal in decide(now).items():
        if refusal is not None:
            facts = {"actions": [], "code": refusal.error.code, "kind": refusal.kind, "message": refusal.message}
            found.setdefault(refusal.message, facts)["actions"].append(action)
    return list(found.values())


def require(now: Situation, action: str) -> None:
    """Nothing if the action is accepted.

    Raises:
        Refused: The first thing that stands against it.
    """
    refusal = decide(now)[action]
    if refusal is not None:
        raise refusal.exception()


def _motion(now: Situation) -> Refusal | None:
    return (
        _starting(now)
        or _latched(now)
        or _unreachable(now)
        or _failed(now)
        or _wrong_mode(now)
        or _released(now)
        or _busy(now)
    )


def _connect(now: Situation) -> Refusal | None:
    """The mode is locked while torque is on; without torque, connecting sets it and drops nothing."""
    return _configure(now) or (_wrong_mode(now) if now.torque_enabled else None)


def _configure(now: Situation) -> Refusal | None:
    return _starting(now) or _latched(now) or _busy(now)


def _disconnect(now: Situation) -> Refusal | None:
    if now.state == "closed":
        return _starting(now) or _stopping(now)
    return _starting(now) or _stopping(now) or _unreachable(now) or _busy(now)


def _set_speed(now: Situation) -> Refusal | None:
    return _starting(now) or _unreachable(now) or _busy(now)


def _hold(now: Situation) -> Refusal | None:
    return _starting(now) or _latched(now) or _unreachable(now) or _released(now)


def _stop(_now: Situation) -> Refusal | None:
    return None


def _reset(now: Situation) -> Refusal | None:
    if now.latch_known and now.latched_by is None:
        return Refusal("not_latched", Refused, f"resort {now.device}: no stop is latched, so there is nothing to reset")
    stopping = _stopping(now) if now.state == "ready" else None
    return _starting(now) or stopping


def _read(now: Situation) -> Refusal | None:
    return _starting(now) or _unreachable(now)


_DECISIONS = {
    "connect": _connect,
    "configure": _configure,
    "disconnect": _disconnect,
    **dict.fromkeys(MOTIONS, _motion),
    "set_speed": _set_speed,
    "hold": _hold,
    "stop": _stop,
    "reset": _reset,
    **dict.fromkeys(READS, _read),
}


def _starting(now: Situation) -> Refusal | None:
    if now.latch_known:
        return None
    text = f"resort {now.device}: labd is still reading whether a stop is latched; try again in a second"
    return Refusal("starting", DeviceBusy, text, {"starting": True}, SHORT_HINT_S)


def _latched(now: Situation) -> Refusal | None:
    if now.latched_by is None:
        return None
    why = f" ({now.latched_reason})" if now.latched_reason else ""
    text = (
        f"resort {now.device}: stopped by {now.latched_by}{why}; look at the carousel, "
        f"then `labctl resort reset --by NAME --reason TEXT`"
    )
    return Refusal("stop_latched", StopLatched, text, {"stop_latched": True, "latched_by": now.latched_by})


def _stopping(now: Situation) -> Refusal | None:
    if not now.stop_running:
        return None
    text = (
        f"resort {now.device}: the stop is not confirmed yet, torque-off is being re-sent; if it lasts, cut the power"
    )
    return Refusal("stop_unconfirmed", DeviceBusy, text, {"stop_confirmed": False}, SHORT_HINT_S)


def _unreachable(now: Situation) -> Refusal | None:
    if now.state == "ready":
        return None
    fields = {"connected": False, "state": now.state}
    problem = f": {now.problem}" if now.problem else ""
    if now.state == "closed":
        text = f"resort {now.device}: not connected; run `labctl resort connect`"
        return Refusal("not_connected", NotConnected, text, fields)
    if now.state == "faulty":
        text = (
            f"resort {now.device}: connected to something that cannot be driven{problem}; mend that and connect again"
        )
        return Refusal("not_connected", NotConnected, text, fields)
    if now.state == "opening":
        text = f"resort {now.device}: being connected{problem}; try again in {RECONNECT_HINT_S:g} s"
        return Refusal("not_connected", NotConnected, text, fields, RECONNECT_HINT_S)
    text = f"resort {now.device}: lost{problem}; labd reconnects by itself, check cable and power"
    return Refusal("not_connected", NotConnected, text, fields, RECONNECT_HINT_S)


def _failed(now: Situation) -> Refusal | None:
    if not now.hardware_errors or now.torque_enabled:
        return None
    words = ", ".join(now.hardware_errors)
    text = f"resort {now.device}: the motor has shut itself off ({words}); remove the cause and power-cycle the motor"
    return Refusal("hardware_error", Refused, text, {"hardware_errors": list(now.hardware_errors)})


def _wrong_mode(now: Situation) -> Refusal | None:
    if now.operating_mode is None or now.state != "ready":
        return None
    modes = Modes(now.operating_mode, now.drive_mode or 0)
    wanted = modes.wanted(now.wanted_mode)
    if modes == wanted:
        return None
    text = (
        f"resort {now.device}: the motor is in {modes.in_words()}, labd drives it in {wanted.in_words()}; "
        f"{remedy(modes, wanted, now.torque_enabled)}"
    )
    fields = {
        "operating_mode": modes.operating,
        "wanted": wanted.operating,
        "drive_mode": modes.drive,
        "wanted_drive_mode": wanted.drive,
    }
    return Refusal("mode_mismatch", ModeMismatch, text, fields)


def _released(now: Situation) -> Refusal | None:
    if now.torque_enabled:
        return None
    text = f"resort {now.device}: torque is off; run `labctl resort connect`"
    return Refusal("torque_off", NotConnected, text, {"torque_enabled": False})


def _busy(now: Situation) -> Refusal | None:
    if now.queues or not (now.moving or now.busy_job is not None):
        return None
    doing = f"job {now.busy_job} is using it" if now.busy_job is not None else "it is moving"
    text = f"resort {now.device}: {doing}; try again when it rests"
    return Refusal("busy", DeviceBusy, text, {"busy": True, "job": now.busy_job}, now.busy_for_s or SHORT_HINT_S)
