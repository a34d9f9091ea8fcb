"""What the clients and `labctl ot2` send to the robot's wing: one table, and how protocol files are read for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from labctl.refusals import error_of
from labctl.routes import Request, get, given, post, submission
from labd.errors import BadRequest

STOP_ANSWER_S = 15.0  # the daemon waits for the robot's confirmation before it answers
Json = dict[str, Any]


def status(device: str | None) -> Request:
    """State of a robot."""
    return get("/ot2/status", device=device)


def keep(protocol: str | Path, labware: Sequence[str | Path]) -> Request:
    """Give a protocol file and its custom labware to the daemon; jobs name them by the hash in the answer.

    Raises:
        BadRequest: A file is not there, or no text.
    """
    main, *more = [Path(path) for path in (protocol, *labware)]
    files = [{"name": path.name, "text": text_of(path)} for path in more]
    return post("/ot2/protocols", {"name": main.name, "text": text_of(main), "labware": files})


def arguments(kept: Mapping[str, Any], parameters: Mapping[str, Any] | None, device: str | None) -> Json:
    """Of a job for a protocol that was kept."""
    return {"protocol": kept["protocol"], **given(parameters=dict(parameters) if parameters else None, device=device)}


def run(args: Mapping[str, Any], options: Mapping[str, Any]) -> Request:
    """A run of a protocol that was kept; options are the fields of a submission. It takes up to `SUBMIT_ANSWER_S`."""
    return post("/jobs", submission("ot2.run_protocol", args, options))


def change(verb: str, device: str | None) -> Request:
    """`pause` or `resume`."""
    return post(f"/ot2/{verb}", given(device=device))


def stop(device: str | None, reason: str | None) -> Request:
    """The emergency stop."""
    return post("/ot2/stop", given(device=device, reason=reason))


def reset(by: str, reason: str, device: str | None) -> Request:
    """Lift the latch of a stop."""
    return post("/ot2/reset", given(device=device, by=by, reason=reason))


def lights(on: bool | None, device: str | None) -> Request:
    """Switch the lights, or ask."""
    return post("/ot2/lights", given(device=device, on=on))


def text_of(path: Path) -> str:
    """A file as text.

    Raises:
        BadRequest: It cannot be read, or is not in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise BadRequest(f"{path}: not a text file in UTF-8 ({fault.reason} at byte {fault.start})") from None
    except OSError as fault:
        raise BadRequest(f"{path}: {fault.strerror}") from fault


def found_in(job: Mapping[str, Any]) -> Json:
    """The answer of an analysis that was waited for.

    Raises:
        TimeoutError: It has not ended yet.
        LabdError: It has no result; the class of its error's code.
    """
    if job["state"] == "succeeded":
        found: Json = job["result"]
        return found
    name, error = f"job {job['id']} {job['task']}", job.get("error") or {}
    code = {"cancelled": "job_cancelled", "interrupted": "job_interrupted", "failed": "task_failed"}.get(job["state"])
    if code is None:
        raise TimeoutError(f"{name} is still {job['state']}; it goes on, `labctl job wait {job['id']}`")
    message = str(error.get("message") or f"{name}: {job['state']}")
    raise error_of(str(error.get("code") or code), message, {**error.get("details", {}), "job": job["id"]})
