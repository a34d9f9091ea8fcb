"""A carousel's status and health as a person reads them.

Why the first line says only what is known: where the motor does not answer, an old position or torque in the same
words as a fresh one would be believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.render import instant, printable

Json = Mapping[str, Any]
STATES = {
    "closed": "NOT CONNECTED",
    "opening": "being connected",
    "ready": "connected",
    "lost": "LOST",
    "faulty": "FAULTY",
}
NEAR_DEG = 0.5


def status(answer: Json) -> str:
    """`labctl resort status`."""
    lines = [_first(answer)]
    if answer.get("stop_latched"):
        lines += _stop(answer)
    lines += [f"attention: {one['message']}" for one in answer.get("attention") or [] if one["code"] != "stop_latched"]
    lines += _motor(answer)
    if answer.get("speed") is not None:
        lines.append(f"speed of moves: {answer['speed']:g} rpm of the motor")
    hotels = answer.get("hotels") or {}
    if hotels:
        lines.append("hotels: " + ", ".join(f"{name} {degrees(at)}" for name, at in hotels.items()))
    error = answer.get("last_error")
    if error:
        at = f" at {instant(error['at'])}" if error.get("at") else ""
        lines.append(f"last error{at}: {error.get('code')}: {error.get('message')}")
    if answer.get("allowed_actions") is not None:
        lines.append("allowed now: " + (", ".join(answer["allowed_actions"]) or "nothing"))
    for one in answer.get("refused_actions") or []:
        if one.get("kind") != "not_latched":  # no stop, no reset: nothing that somebody misses
            lines.append(f"refused now: {', '.join(one['actions'])}: {one['message']}")
    return "\n".join(map(printable, lines))


def _first(answer: Json) -> str:
    name = answer.get("device", "resort")
    state = str(answer.get("state"))
    words = STATES.get(state, "connected" if answer.get("connected") else "NOT CONNECTED")
    simulated = " (simulated)" if answer.get("simulated") else ""
    if not answer.get("connected"):
        since = f" since {instant(answer['since'])}" if answer.get("since") else ""
        return f"{name}: {words}{since}; where it stands and whether torque is on is not known{simulated}"
    hotel = answer.get("active_hotel")
    where = f"at {degrees(answer.get('position_deg'))}{f' (hotel {hotel})' if hotel else ''}"
    return f"{name}: {words}, {where}, {_motion(answer)}, torque {_on(answer.get('torque_enabled'))}{simulated}"


def _motion(answer: Json) -> str:
    if not answer.get("moving"):
        return "standing"
    goal = answer.get("goal_deg")
    if goal is None:
        return "MOVING, by no order of labd"
    near = [name for name, at in (answer.get("hotels") or {}).items() if abs((goal - at + 180) % 360 - 180) < NEAR_DEG]
    return f"MOVING to {degrees(goal)}{f' (hotel {near[0]})' if near else ''}"


def _on(torque: Any) -> str:
    return "unknown" if torque is None else "on" if torque else "off"


def _stop(answer: Json) -> list[str]:
    latch = answer.get("latch") or {}
    told = f" by {latch['by']}" if latch.get("by") else ""
    told += f" at {instant(latch['at'])}" if latch.get("at") else ""
    told += f": {latch['reason']}" if latch.get("reason") else ""
    lines = [f"STOP IS LATCHED{told}; lift it with `labctl resort reset --by NAME --reason TEXT`"]
    if answer.get("stop_confirmed") is False:
        lines.append("NOT CONFIRMED: torque-off could not be read back yet; cut power if anything moves")
    return lines


def _motor(answer: Json) -> list[str]:
    model = f"{answer['model']} firmware {answer.get('firmware')}, " if answer.get("model") else ""
    servo = f"servo {answer['servo_id']} on " if answer.get("servo_id") is not None else ""
    baud = f", {answer['baud_rate']} baud" if answer.get("baud_rate") else ""
    lines = [f"motor: {model}{servo}{answer.get('port')}{baud} (driver {answer.get('driver')})"]
    watchdog = answer.get("watchdog")
    if watchdog:
        works = watchdog.get("supported") and watchdog.get("stops_motor", True)
        text = f"the motor ends a move by itself {watchdog.get('period_s'):g} s after labd falls silent"
        if not works:
            text = "NONE, a move goes on if this host dies"
        trips = watchdog.get("trips")
        lines.append(f"dead-man: {text}" + (f"; it tripped {trips} times since labd started" if trips else ""))
    return lines


def health(answer: Json) -> str:
    """`labctl resort health`."""
    effort = "not measured"
    if answer.get("current_ma") is not None:
        effort = f"current {answer['current_ma']:g} mA"
    elif answer.get("load_percent") is not None:
        effort = f"load {answer['load_percent']:g} % (inferred by the motor, this model measures no current)"
    lines = [
        f"{answer.get('device', 'resort')}: {answer.get('model')} firmware {answer.get('firmware')}"
        f", torque {_on(answer.get('torque_enabled'))}{' (simulated)' if answer.get('simulated') else ''}",
        f"temperature {answer.get('temperature_celsius')} C, voltage {answer.get('voltage_v')} V, {effort}",
    ]
    errors = answer.get("hardware_errors") or []
    if errors:
        gone = "" if answer.get("torque_enabled") else "; the motor has shut itself off until its power is cycled"
        lines.append(f"HARDWARE ERROR: {', '.join(errors)}{gone}")
    warnings = [one for one in answer.get("warnings") or [] if not one.startswith("hardware error")]
    lines += [f"warning: {one}" for one in warnings]
    if not errors and not warnings:
        lines.append("no hardware error, no warning")
    return "\n".join(map(printable, lines))


def degrees(value: float | None) -> str:
    """An angle."""
    return "an unknown position" if value is None else f"{value:.2f} deg"
