"""The whole of one robot as `labctl ot2 status` shows it, and what a person should look at."""

from __future__ import annotations

from typing import Any

from labd.clock import iso
from labd.ot2.allowed import refusal
from labd.ot2.device import OT2Device, moving
from labd.ot2.own_run import OwnRunRecord
from labd.ot2.robot import RunView


def status_of(device: OT2Device) -> dict[str, Any]:
    """Everything as it was last seen; null where nothing is known."""
    watch, health, record = device.watch, device.watch.health, device.own.record
    return {
        "device": device.name,
        "state": watch.state,
        "connected": watch.state == "ready",
        "since": iso(watch.since),
        "problem": watch.problem,
        "driver": device.settings.driver,
        "url": device.settings.url,
        "robot": None
        if health is None
        else {
            "name": health.name,
            "model": health.model,
            "serial": health.serial,
            "software": health.software,
            "firmware": health.firmware,
            "api_levels": [health.api_level_low, health.api_level_high],
        },
        "run": _run(device.own_view, record),
        "moving": moving(device.own_view),
        "foreign_run": _run(device.foreign, None),
        "maintenance_run": watch.maintenance,
        "busy_job": device.busy_job,
        "door_open": watch.door_open,
        "stop_latched": device.latch.latched,
        "stop_confirmed": not device.stop_pending if device.latch.latched else None,
        "latch": device.latch.told(),
        "deck": dict(device.settings.deck),
        "simulated": device.simulated,
    }


def _run(view: RunView | None, record: OwnRunRecord | None) -> dict[str, Any] | None:
    if view is None:
        return None
    errors = [str(error.get("detail", error)) for error in view.errors]
    return {
        "id": view.run_id, "status": view.status, "job": None if record is None else record.job_id,
        "file": None if record is None else record.file, "started_at": view.started_at,
        "completed_at": view.completed_at, "errors": errors,
    }  # fmt: skip


def attention_of(device: OT2Device) -> list[dict[str, str]]:
    """What a person should look at, as code, message and subject."""
    found = dict(device.attention)
    fault = refusal(device.situation(), "run")
    if device.latch.latched and fault is not None:
        found["stop_latched"] = fault.message
        if not device.latch.durable:
            found["stop_not_durable"] = f"ot2 {device.name}: the stop is latched in memory only; the disk takes nothing"
    if device.stop_pending:
        text = f"ot2 {device.name}: the robot has not confirmed the stop; labd goes on asking"
        found["stop_unconfirmed"] = f"{text}; if it still moves, use its power switch"
    if device.watch.state in ("lost", "faulty"):
        found[f"device_{device.watch.state}"] = f"ot2 {device.name}: {device.watch.problem}"
    return [{"code": code, "message": message, "subject": device.resource} for code, message in found.items()]
