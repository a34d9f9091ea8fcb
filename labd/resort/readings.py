"""What a carousel says of itself, as JSON: position, health and status. Pure: values in, values out."""

from __future__ import annotations

from typing import Any

from labd.clock import iso
from labd.resort.allowed import Situation, allowed_actions
from labd.resort.angles import Geometry
from labd.resort.drive.carousel import ServoState, WatchdogState
from labd.resort.latch import StopLatch


def position_of(device: str, geometry: Geometry, state: ServoState) -> dict[str, Any]:
    """Where the carousel stands."""
    return {
        "device": device,
        "position_deg": round(geometry.carousel_deg(state.position_steps), 2),
        "position_steps": state.position_steps,
        "hotel": geometry.hotel_at(state.position_steps),
    }


def health_of(device: str, state: ServoState, simulated: bool) -> dict[str, Any]:
    """How the motor is; `current_ma` or `load_percent` by model, the other is null."""
    return {
        "device": device,
        "model": state.model_name,
        "model_number": state.model,
        "firmware": state.firmware,
        "temperature_celsius": state.temperature_celsius,
        "voltage_v": state.voltage_v,
        "current_ma": state.current_ma,
        "load_percent": state.load_percent,
        "hardware_errors": list(state.hardware_errors),
        "alert": state.alert,
        "warnings": list(state.warnings),
        "torque_enabled": state.torque_enabled,
        "velocity_rpm": state.velocity_rpm,
        "operating_mode": state.operating_mode,
        "drive_mode": state.drive_mode,
        "watchdog": watchdog_of(state.watchdog),
        "read_at": iso(state.read_at),
        "simulated": simulated,
    }


def watchdog_of(watchdog: WatchdogState | None) -> dict[str, Any] | None:
    """The motor's own dead-man."""
    if watchdog is None:
        return None
    return {
        "supported": watchdog.supported,
        "stops_motor": watchdog.stops_motor,
        "armed": watchdog.armed,
        "tripped": watchdog.tripped,
        "trips": watchdog.trips,
        "period_s": watchdog.period_s,
    }


def latch_of(latch: StopLatch) -> dict[str, Any] | None:
    """The stop latch, None where motion is free."""
    if latch.record is None:
        return None
    return {**latch.record.to_wire(), "durable": latch.survives_power_cut, "note": latch.note}


def motion_of(
    geometry: Geometry, situation: Situation, state: ServoState | None, goal_steps: int | None
) -> dict[str, Any]:
    """The part of the status that is about place and motion; null where nothing is known."""
    known = state if situation.state == "ready" else None
    return {
        "connected": situation.state == "ready",
        "position_deg": None if known is None else round(geometry.carousel_deg(known.position_steps), 2),
        "position_steps": None if known is None else known.position_steps,
        "active_hotel": None if known is None else geometry.hotel_at(known.position_steps),
        "moving": situation.moving,
        "torque_enabled": situation.torque_enabled,
        "goal_deg": None if goal_steps is None else round(geometry.carousel_deg(goal_steps), 2),
        "allowed_actions": allowed_actions(situation),
    }


def metrics_of(geometry: Geometry, state: ServoState | None, read_at: str | None) -> dict[str, Any]:
    """The numbers of the lab's status envelope; empty where the motor does not answer."""
    if state is None:
        return {}
    numbers: dict[str, tuple[float | None, str]] = {
        "position": (round(geometry.carousel_deg(state.position_steps), 2), "deg"),
        "velocity": (state.velocity_rpm, "rpm"),
        "temperature": (state.temperature_celsius, "celsius"),
        "voltage": (state.voltage_v, "V"),
        "current": (state.current_ma, "mA"),
        "load": (state.load_percent, "percent"),
    }
    return {
        name: {"value": value, "unit": unit, "timestamp": read_at}
        for name, (value, unit) in numbers.items()
        if value is not None
    }
