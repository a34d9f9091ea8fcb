"""The sentences for the answers that are read most: the daemon's status, a position, a stop, the end of a job.

Why no table package here: these are on the path that must start within 150 ms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.carousel_words import degrees
from labctl.render import answers, cell, pairs, plain_table, printable

Json = Mapping[str, Any]


def daemon(status: Json) -> str:
    """`labctl status`."""
    lines = [
        f"labd {status.get('version', '?')} on {status.get('host', '?')}: {status.get('state', '?')}"
        f", up {duration(status.get('uptime_s'))}, pid {status.get('pid', '?')}"
        + (" (simulated devices)" if status.get("simulated") else "")
    ]
    jobs = status.get("jobs") or {}
    counted = [f"{count} {state}" for state, count in jobs.items() if count and state != "succeeded"]
    if jobs.get("succeeded"):
        counted.append(f"{jobs['succeeded']} succeeded since it started")
    lines.append("jobs: " + (", ".join(counted) or "none"))
    store = status.get("store") or {}
    if store:
        size = f"{(store.get('size_bytes') or 0) / 1e6:.1f} MB"
        lines.append(f"store: {'FULL, ' if store.get('full') else ''}{size} in {status.get('state_dir', '?')}")
    mqtt = status.get("mqtt")
    if mqtt:
        owed = mqtt.get("answers_owed") or 0
        state = "connected to" if mqtt.get("connected") else "away from"
        lines.append(f"mqtt: {state} {mqtt.get('broker', '?')}" + (f", {owed} answers owed" if owed else ""))
    mongo = status.get("mongo")
    if mongo:
        waiting = mongo.get("pending") or 0
        lines.append(f"mongo: {mongo.get('state', '?')} {mongo.get('server', '?')}, {waiting} movements wait")
    queues = status.get("queues") or []
    if queues:
        rows = [[cell(queue.get(key)) for key in _QUEUE] + [_paused(queue)] for queue in queues]
        lines += ["", plain_table(["queue", *_QUEUE[1:], "paused"], rows)]
    lines += ["", *(_wing(wing) for wing in status.get("wings") or [])]
    for one in status.get("attention") or []:
        lines.append(f"attention: {one.get('message') or one.get('code')}")
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip()


def position(answer: Json) -> str:
    """`labctl resort position`."""
    hotel = answer.get("hotel")
    return f"{degrees(answer.get('position_deg'))}{f' (hotel {hotel})' if hotel else ''}"


def stop(answer: Json) -> str:
    """`labctl resort stop`, when the daemon answered."""
    name = answer.get("device") or "resort"
    if answer.get("confirmed"):
        text = f"{name}: STOPPED, torque is off (read back)"
        if answer.get("wire_ms") is not None:
            text += f", {answer['wire_ms']:.1f} ms to the wire"
    else:
        text = f"{name}: STOP SENT BUT NOT CONFIRMED; labd goes on sending it; if anything still moves, cut power"
    if answer.get("note"):
        text += f"\n{answer['note']}"
    if answer.get("latched_durably") is False:
        text += "\nthe latch is not on disk yet: a power cut would not be survived"
    jobs = answer.get("cancelled_jobs") or []
    if jobs:
        text += f"\ncancelled: job{'s' if len(jobs) > 1 else ''} {', '.join(map(str, jobs))}"
    return text + "\nmotion is refused until `labctl resort reset --by NAME --reason TEXT`"


def reset(answer: Json, by: str) -> str:
    """`labctl resort reset`."""
    text = f"{answer.get('device') or 'resort'}: stop reset by {by}"
    if answer.get("torque_enabled"):
        return f"{text}; torque is on, motion is allowed again"
    note = answer.get("note") or "`labctl resort connect` switches it on"
    return printable(f"{text}; torque is off: {note}")


def ended(job: Json, seconds: float | None = None) -> str:
    """The last word on a job that was waited for."""
    text = f"job {job['id']} {job['task']}: {job['state']}"
    if seconds is not None:
        text += f" after {duration(seconds)}"
    if job.get("simulated"):
        text += " (simulated)"
    if job.get("cached_from"):
        text += f", with the recorded result of job {job['cached_from']}; `--no-cache` runs it anew"
    error = job.get("error")
    if error:
        text += f"\n{_message(error)}"
    hold = job.get("hold")
    if hold and job["state"] == "queued":
        text += f"\nheld: {hold.get('reason') or hold.get('code')}; let it go with `labctl job release {job['id']}`"
    asks = job.get("asks")
    if asks:
        kinds = f" ({answers(asks)})" if answers(asks) else ""
        text += printable(f"\nit asks: {asks['question']}{kinds}; `labctl job answer {job['id']} VALUE`")
    if job["state"] == "interrupted":
        text += f"\nit was cut off; look at the device, then `labctl job retry {job['id']}` or `job cancel`"
    result = job.get("result")
    if isinstance(result, Mapping):
        plain = {key: value for key, value in result.items() if key != "notes" and value not in (None, [], "")}
        text += "\n" + pairs(plain, "  ")
        text += "".join(f"\n  note: {printable(str(note))}" for note in result.get("notes") or [])
    elif result is not None:
        text += f"\n  {printable(cell(result))}"
    return text


def duration(seconds: float | None) -> str:
    """A span of time in the two units that matter."""
    if seconds is None:
        return "?"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


_QUEUE = ("name", "priority", "concurrency", "queued", "running", "held")


def _paused(queue: Json) -> str:
    if not queue.get("paused"):
        return ""
    told = f" by {queue['paused_by']}" if queue.get("paused_by") else ""
    return f"yes{told}" + (f": {queue['paused_reason']}" if queue.get("paused_reason") else "")


def _wing(wing: Json) -> str:
    text = f"wing {wing.get('name')}: {wing.get('state')}"
    if wing.get("reason"):
        text += f" ({wing['reason']})"
    if wing.get("install") and wing.get("state") != "on":
        text += f"; install: {wing['install']}"
    devices = wing.get("devices") or []
    if devices:
        text += "; " + ", ".join(f"{one.get('name')} {one.get('state', '')}".strip() for one in devices)
    return printable(text)


def _message(error: Any) -> str:
    if isinstance(error, Mapping):
        code, message = error.get("code"), str(error.get("message", ""))
        return printable(f"{code}: {message}" if code else message)
    return printable(str(error))
