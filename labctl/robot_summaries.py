"""The sentences for what a robot answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.render import instant, plain_table, printable
from labctl.summaries import duration, ended

Json = Mapping[str, Any]
LOG_LINES = 12


def status(answer: Json) -> str:
    """`labctl ot2 status`."""
    robot = answer.get("robot") or {}
    lines = [
        f"{answer['device']}: {answer['state']}"
        + (f", {robot.get('model')} {robot.get('name')}, software {robot.get('software')}" if robot else "")
        + (", door open" if answer.get("door_open") else "")
        + (" (simulated)" if answer.get("simulated") else "")
    ]
    if answer.get("problem"):
        lines.append(f"problem: {answer['problem']}")
    latch = answer.get("latch")
    if latch:
        why = f": {latch['reason']}" if latch.get("reason") else ""
        how = "lift it with `labctl ot2 reset --by NAME --reason TEXT`"
        lines.append(f"STOP IS LATCHED by {latch['by']} at {instant(latch['at'])}{why}; {how}")
    run = answer.get("run")
    if run:
        lines.append(f"run {run['id']} of job {run['job']}: {run['status']} ({run['file']})")
    foreign = answer.get("foreign_run")
    if foreign:
        lines.append(f"FOREIGN RUN {foreign['id']}: {foreign['status']}; labd did not make it and leaves it alone")
    if answer.get("maintenance_run"):
        lines.append(f"maintenance run {answer['maintenance_run']} has the robot")
    told = ("stop_latched", "device_lost", "device_faulty", "foreign_run")  # said above
    lines += [f"ATTENTION: {one['message']}" for one in answer.get("attention") or [] if one["code"] not in told]
    lines.append("allowed now: " + (", ".join(answer.get("allowed_actions") or []) or "nothing"))
    return "\n".join(map(printable, lines))


def stop(answer: Json) -> str:
    """`labctl ot2 stop`."""
    name = answer.get("device") or "ot2"
    if not answer.get("confirmed"):
        text = f"{name}: STOP SENT BUT NOT CONFIRMED; if it still moves, use the robot's power switch"
    elif answer.get("stopped"):
        text = f"{name}: STOPPED, run {answer.get('run')} has ended (read back)"
    else:
        text = f"{name}: nothing of labd's was running"
    if answer.get("note"):
        text += f"\n{printable(answer['note'])}"
    if answer.get("latched_durably") is False:
        text += "\nthe latch is not on disk yet: a power cut would not be survived"
    jobs = answer.get("cancelled_jobs") or []
    if jobs:
        text += f"\ncancelled: job{'s' if len(jobs) > 1 else ''} {', '.join(map(str, jobs))}"
    return text + "\nruns are refused until `labctl ot2 reset --by NAME --reason TEXT`"


def unfinished(job: Json) -> str:
    """An analysis that has no result."""
    return ended(job)


def analysis(found: Json) -> str:
    """`labctl ot2 analyze`."""
    level = f"API {found['api_level']}" if found.get("api_level") else ""
    schema = f"JSON schema {found['schema_version']}" if found.get("schema_version") and not level else ""
    known = [word for word in (found.get("robot_type"), level, schema) if word]  # of a file that cannot be read, none
    lines = [", ".join([f"{found['file']}: {'ok' if found['ok'] else 'FAULTY'}", *known])]
    for error in found["errors"]:
        where = f"line {error['line']}: " if error.get("line") else ""
        first, *more = [line for line in str(error["message"]).splitlines() if line.strip()] or [""]
        lines += [f"  {where}{first}", *(f"    {line}" for line in more)]
    if found["command_count"]:
        text = f"{found['command_count']} commands, about {duration(found['duration_s'])}"
        pauses = f", {found['pauses']} pauses for a person" if found["pauses"] else ""
        lines.append(f"{text}, {found['tips']['used']} tips{pauses}")
    lines += [f"{pipette['mount']}: {pipette['name']}" for pipette in found["pipettes"]]
    if found["labware"]:
        rows = [[one["slot"], one["load_name"], one["name"]] for one in found["labware"]]
        lines += ["", plain_table(["slot", "labware", "name"], rows)]
    rows = [[*row] for kind in ("aspirated", "dispensed") for row in _volumes(found, kind)]
    if rows:
        lines += ["", plain_table(["", "slot", "well", "uL"], rows)]
    log = found["run_log"]
    if log:
        lines.append("")
        lines += ["  " * int(line["level"]) + line["text"] for line in log[:LOG_LINES]]
        left = len(log) - LOG_LINES + int(found["run_log_left_out"])
        if left > 0:
            lines.append(f"... and {left} lines more, with --json")
    return "\n".join(printable(part) for line in lines for part in line.split("\n"))


def _volumes(found: Json, kind: str) -> list[list[str]]:
    return [[kind, one["slot"], well, f"{volume:g}"] for one in found[kind] for well, volume in one["wells_ul"].items()]
