"""What may be asked of a robot now: one rule over plain facts, for submissions, starts, gates and `allowed_actions`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from labd.errors import DeviceBusy, LabdError, NotConnected, Refused, StopLatched
from labd.ot2.robot import ENDED, RECOVERING, RunStatus, RunView

Verb = Literal["run", "home", "pause", "resume", "lights", "reset"]
VERBS: tuple[Verb, ...] = ("run", "home", "pause", "resume", "lights", "reset")


@dataclass(frozen=True, slots=True)
class Situation:
    """The facts.

    Args:
        own: labd's own run, as last seen; None if there is none or it has ended.
        foreign: Somebody else's run that is not over.
        own_job: The job that made the own run.
        busy_job: The job that has the robot now.
        maintenance: Id of a maintenance run.
        stop_pending: A stop is sent and not confirmed yet.
    """

    device: str
    state: str
    problem: str | None
    latch_known: bool
    latched_by: str | None
    latched_reason: str
    stop_pending: bool
    own: RunView | None
    own_job: int | None
    foreign: RunView | None
    maintenance: str | None
    busy_job: int | None


def refusal(now: Situation, verb: Verb) -> LabdError | None:
    """Why a verb is refused now; None if it is allowed."""
    name = f"ot2 {now.device}"
    if not now.latch_known:
        return NotConnected(f"{name}: labd has not read its stop latch yet; try again in a moment", device=now.device)
    if verb == "reset":
        return _reset(now, name)
    if now.latched_by is not None and verb in ("run", "home", "resume"):
        why = f" ({now.latched_reason})" if now.latched_reason else ""
        text = f"{name}: stopped by {now.latched_by}{why}"
        return StopLatched(f"{text}; `labctl ot2 reset --by NAME --reason TEXT` lifts it", device=now.device)
    if now.state != "ready":
        text = now.problem or f"the robot is {now.state}"
        return NotConnected(f"{name}: {text}", device=now.device, state=now.state)
    if verb in ("run", "home"):
        return _moving(now, name)
    if verb in ("pause", "resume"):
        return _changing(now, name, verb)
    return None


def _reset(now: Situation, name: str) -> LabdError | None:
    if now.latched_by is None:
        return Refused(f"{name}: nothing is latched", device=now.device)
    if now.stop_pending:
        return Refused(f"{name}: the stop is not confirmed yet; look at the robot, then reset again", device=now.device)
    return None


def _moving(now: Situation, name: str) -> LabdError | None:
    """Nothing else may have the robot."""
    if now.own is not None:
        text = f"run {now.own.run_id} of job {now.own_job} is {now.own.status} on the robot"
        end = "wait for its end, or `labctl ot2 stop`"
        return DeviceBusy(f"{name}: {text}; {end}", device=now.device, run=now.own.run_id, job=now.own_job)
    if now.foreign is not None:
        text = f"run {now.foreign.run_id}, which labd did not make, is {now.foreign.status}"
        end = "let its owner end it at the robot or in the Opentrons App"
        return DeviceBusy(f"{name}: {text}; {end}", device=now.device, run=now.foreign.run_id)
    if now.maintenance is not None:
        text = f"maintenance run {now.maintenance} has the robot; end it in the Opentrons App"
        return DeviceBusy(f"{name}: {text}", device=now.device, run=now.maintenance)
    return None


def _changing(now: Situation, name: str, verb: Verb) -> LabdError | None:
    if now.own is None or now.own.status in ENDED:
        why = f"; run {now.foreign.run_id} is not labd's" if now.foreign is not None else ""
        return Refused(f"{name}: no run of labd is going on{why}", device=now.device)
    fits = {
        "pause": {RunStatus.RUNNING},
        "resume": {RunStatus.PAUSED, RunStatus.BLOCKED_BY_OPEN_DOOR, *RECOVERING},
    }[verb]
    if now.own.status not in fits:
        text = f"run {now.own.run_id} is {now.own.status}, so there is nothing to {verb}"
        return Refused(f"{name}: {text}", device=now.device, run=now.own.run_id, status=now.own.status)
    return None


def allowed(now: Situation) -> list[str]:
    """The verbs that would not be refused; a stop never is."""
    return [*(verb for verb in VERBS if refusal(now, verb) is None), "stop"]


def refused(now: Situation) -> list[dict[str, object]]:
    """The other verbs, by what stands against them: `{"actions", "code", "message"}`."""
    found: dict[str, list[str]] = {}
    codes: dict[str, str] = {}
    for verb in VERBS:
        fault = refusal(now, verb)
        if fault is not None:
            found.setdefault(fault.message, []).append(verb)
            codes[fault.message] = fault.code
    return [{"actions": verbs, "code": codes[message], "message": message} for message, verbs in found.items()]
