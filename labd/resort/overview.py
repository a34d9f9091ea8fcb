"""The whole of one carousel as `labctl resort status` shows it, and what a person should look at."""

from __future__ import annotations

from typing import Any

from labd.clock import iso
from labd.resort.allowed import decide, refused_actions
from labd.resort.device import ResortDevice
from labd.resort.drive.carousel import ServoState
from labd.resort.readings import latch_of, motion_of, watchdog_of


def status_of(device: ResortDevice, state: ServoState | None) -> dict[str, Any]:
    """Everything about the carousel; null where nothing is known."""
    carousel, limits = device.carousel, device.settings.limits
    goal = carousel.goal_steps if carousel.moving else None
    return {
        "device": device.name,
        **motion_of(device.geometry, device.situation(), state, goal),
        "stop_latched": device.latch.latched,
        "stop_confirmed": not device.switch.pending if device.latch.latched else None,
        "latch": latch_of(device.latch),
        "driver": device.settings.driver,
        "port": device.port,
        "baud_rate": device.settings.baud_rate,
        "servo_id": device.settings.servo_id,
        "model": None if state is None else state.model_name,
        "firmware": None if state is None else state.firmware,
        "state": carousel.state,
        "since": iso(carousel.since),
        "problem": carousel.problem,
        "hotels": dict(device.geometry.hotels),
        "home_deg": device.settings.home_deg,
        "speed": carousel.settings.speed_rpm,
        "limits": {
            "temperature_celsius": limits.temperature_celsius,
            "voltage_low_v": limits.voltage_low_v,
            "voltage_high_v": limits.voltage_high_v,
            "current_ma": limits.current_ma,
            "load_percent": limits.load_percent,
        },
        "watchdog": watchdog_of(None if state is None else state.watchdog),
        "warnings": [] if state is None else list(state.warnings),
        "hardware_errors": [] if state is None else list(state.hardware_errors),
        "activity": device.seen.activity(),
        "activity_since": iso(device.seen.activity_since),
        "last_error": device.seen.last_error,
        "simulated": device.simulated,
        "motor_note": str(device.note_file.path),
        "refused_actions": refused_actions(device.situation()),
        "attention": attention_of(device),
    }


def attention_of(device: ResortDevice) -> list[dict[str, str]]:
    """What a person should look at, as code, message and subject."""
    found = dict(device.attention)
    now = device.situation()
    refusal = decide(now)["go_home"]
    if device.latch.latched and refusal is not None:
        found["stop_latched"] = refusal.message
    if device.latch.known and device.latch.note:
        found["stop_not_durable"] = f"resort {device.name}: {device.latch.note}"
    if now.stop_running:
        found["stop_unconfirmed"] = (
            f"resort {device.name}: torque-off could not be read back yet and is being re-sent; "
            "stand clear, and cut the power if the carousel turns"
        )
    if now.state in ("lost", "faulty"):
        found[f"device_{now.state}"] = f"resort {device.name}: {device.carousel.problem or now.state}"
    if device.self_connection.problem is not None:
        found["not_connected"] = device.self_connection.problem
    state = device.carousel.snapshot
    if state is not None and now.state == "ready":
        problem = device.carousel.watchdog_problem
        if problem is not None:
            found["watchdog_faulty" if state.watchdog.supported else "watchdog_missing"] = (
                f"resort {device.name}: {problem}"
            )
        for number, warning in enumerate(state.warnings, 1):
            found[f"device_warning_{number}"] = f"resort {device.name}: {warning}"
    return [{"code": code, "message": message, "subject": device.resource} for code, message in found.items()]
