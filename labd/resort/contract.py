"""The lab's device contract for one carousel: probe, health, status envelope, control and claims.

Why the envelope is computed from the activity outward: the contract ties `equipment_status` to `activity` (busy means
running; ready, requires_init and e_stop mean idle). So the activity is observed first, and a status that would
contradict it is never chosen.

Source: the lab's STATUS_SPEC 1.2. A 412 never touches `last_error`, and comes from the function that
lists what is allowed.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labd.clock import Clock, iso
from labd.engine.job import Caller, JobState, Submission, view
from labd.errors import DeviceClaimed, Refused
from labd.resort.allowed import Refusal, Situation, allowed_actions, decide
from labd.resort.claims import Claims
from labd.resort.device import ResortDevice
from labd.resort.overview import status_of
from labd.resort.readings import metrics_of

if TYPE_CHECKING:
    from labd.resort.service import ResortService
    from labd.wing import Host

PROTOCOL_VERSION = "1.2"
JOB_ACTIONS = ("connect", "configure", "disconnect", "activate_hotel", "move_to_angle", "go_home", "set_speed")
LONGEST_WAIT_S = 60.0
EXPIRES_IN_S = 60.0  # a caller of this door does not come back to look for a motion it asked for a minute ago


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its own status and headers."""

    body: dict[str, Any]
    status: int = 200
    retry_after: str | None = None


def equipment_status(now: Situation, activity: str, warnings: tuple[str, ...], simulated: bool) -> str:
    """The contract's one word; holds its invariants for every situation."""
    if now.latched_by is not None:
        return {"idle": "e_stop", "running": "error"}.get(activity, "unknown")
    if now.state == "faulty":
        return "error"
    if activity == "unknown":
        return "unknown"
    if now.state == "closed":
        return "requires_init"
    refusal = decide(now.patient())["go_home"]
    if refusal is not None and refusal.kind == "hardware_error":
        return "error"
    if refusal is not None:
        return "requires_init" if activity == "idle" else "degraded"
    if simulated:
        return "dry_run"
    if activity == "running":
        return "busy"
    return "degraded" if warnings or now.hardware_errors else "ready"


def required_actions(now: Situation) -> list[str]:
    """What must be done, in this order, before motion is allowed."""
    mode = "configure" if now.torque_enabled else "connect"
    wanted = {"stop_latched": ["reset"], "mode_mismatch": [mode], "torque_off": ["connect"]}
    refusal = decide(now.patient())["go_home"]
    if refusal is None:
        return []
    if refusal.kind == "not_connected" and now.state == "closed":
        return ["connect"]
    return wanted.get(refusal.kind, [])


def refused(refusal: Refusal) -> Reply:
    """A 412 that tells the kinds apart by its fields."""
    body: dict[str, Any] = {
        "detail": refusal.message,
        "code": refusal.error.code,
        "kind": refusal.kind,
        **refusal.fields,
    }
    if refusal.retry_after_s is not None:
        body["retry_after_s"] = refusal.retry_after_s
    return Reply(body, 412, refusal.retry_after_header())


def claimed(fault: DeviceClaimed) -> Reply:
    """A refusal because of a claim: 423 while somebody holds it, 409 where the caller's own has gone."""
    holder, retry_after_s = fault.details.get("claimed_by"), fault.details.get("retry_after_s")
    body = {"detail": fault.message, "code": fault.code, "claimed_by": holder}
    if retry_after_s is None:
        return Reply(body, 409)
    return Reply({**body, "retry_after_s": retry_after_s}, 423, str(retry_after_s))


class DeviceContract:
    """One carousel as the lab's dashboard and orchestrators see it."""

    def __init__(self, device: ResortDevice, service: ResortService, host: Host) -> None:
        self.device = device
        self.slug = "resort" if device.name == "main" else f"resort-{device.name}"
        self.claims = Claims(device.name, host.engine, host.clock, host.random)
        self._service = service
        self._engine = host.engine
        self._clock: Clock = host.clock
        self._started_mono = host.clock.monotonic()

    async def start(self) -> None:
        """Take back a claim of before the restart."""
        await self.claims.load()

    def probe(self) -> dict[str, Any]:
        """Who this is."""
        return {
            "equipment_id": self.slug,
            "equipment_name": f"Plate resort {self.device.name}",
            "protocol_version": PROTOCOL_VERSION,
        }

    async def status(self) -> dict[str, Any]:
        """The envelope."""
        state = await self.device.seen.look()
        now = self.device.situation(queues=False)
        known = status_of(self.device, state)
        activity = self.device.seen.activity()
        warnings = () if state is None or now.state != "ready" else state.warnings
        refusal = decide(now.patient())["go_home"]
        error = self.device.seen.last_error
        read_at = None if state is None else iso(state.read_at)
        return {
            **self.probe(),
            "equipment_kind": "other",
            "host": socket.gethostname(),
            "equipment_status": equipment_status(now, activity, warnings, self.device.simulated),
            "message": refusal.message if refusal is not None else "; ".join(warnings) or None,
            "required_actions": required_actions(now),
            "allowed_actions": allowed_actions(now),
            "activity": activity,
            "activity_since": iso(self.device.seen.activity_since),
            "device_time": iso(self._clock.wall()),
            "uptime_seconds": round(self._clock.monotonic() - self._started_mono, 3),
            "components": {
                "motor": {
                    "connected": known["connected"],
                    "state": known["state"],
                    "message": known["problem"],
                    "last_event_at": known["since"],
                }
            },
            "metrics": metrics_of(self.device.geometry, state if now.state == "ready" else None, read_at),
            "last_error": None
            if error is None
            else {key: error[key] for key in ("code", "message", "severity")} | {"timestamp": error["at"]},
            "details": {
                "claimed_by": self.claims.holder(),
                **{
                    key: known[key] for key in ("device", "position_deg", "active_hotel", "hotels", "goal_deg", "speed")
                },
                **{
                    key: known[key]
                    for key in ("torque_enabled", "stop_latched", "latch", "watchdog", "driver", "simulated")
                },
            },
        }

    async def control(
        self, action: str, args: dict[str, Any], token: str | None, wait_s: float, caller: Caller
    ) -> Reply:
        """Do one of the allowed actions, or answer 412 or 423; `stop` is never refused."""
        if action == "stop":
            return Reply(await self._service.emergency_stop(self.device.name, caller, str(args.get("reason") or "")))
        try:
            self.claims.check(token)
        except DeviceClaimed as fault:
            return claimed(fault)
        refusal = decide(self.device.situation(queues=False))[action]
        if refusal is not None:
            return refused(refusal)
        try:
            return await self._do(action, args, min(wait_s, LONGEST_WAIT_S), caller)
        except Refused as fault:  # the situation changed between the check and the act
            details = dict(fault.details)
            retry_after_s = details.pop("retry_after_s", None)
            kind = str(details.pop("kind", fault.code))
            return refused(Refusal(kind, type(fault), fault.message, details, retry_after_s))

    async def _do(self, action: str, args: dict[str, Any], wait_s: float, caller: Caller) -> Reply:
        if action == "hold":
            return Reply(await self.device.hold(caller))
        if action == "reset":
            return Reply(await self.device.reset(str(args.get("by", "")), str(args.get("reason", "")), caller))
        if action == "get_current_position":
            return Reply(await self.device.position())
        if action == "get_motor_health":
            return Reply(await self.device.health())
        task = "resort.connect" if action == "configure" else f"resort.{action}"
        given = {**args, "device": self.device.name} | ({"configure": True} if action == "configure" else {})
        item = Submission(task=task, args=given, tags=["equipment"], expires_in_s=EXPIRES_IN_S)
        job, _ = await self._engine.submit_one(item, caller)
        if wait_s > 0:
            job = await self._engine.wait(job.id, wait_s)
        shown = view(job)
        body = {"action": action, "job": job.id, "state": shown.state, "result": shown.result, "error": shown.error}
        return Reply(body, 200 if job.state is JobState.SUCCEEDED else 202)
