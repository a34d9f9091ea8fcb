"""`labctl ot2`: the pipetting robot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from labctl import exits, ot2_requests, robot_summaries, routes
from labctl.commands.root import LabGroup
from labctl.commands.verbs import ask_for, finish, override, waits
from labctl.invocation import Invocation
from labd.errors import BadRequest

F = TypeVar("F", bound=Callable[..., Any])


def _device(function: F) -> F:
    return click.option("--device", metavar="NAME", help="Which robot; not needed where there is one.")(function)


def _protocol(function: F) -> F:
    path = click.Path(exists=True, dir_okay=False, path_type=Path)
    function = click.option(
        "-l", "--labware", "labware", type=path, multiple=True, help="A custom labware definition, JSON; repeatable."
    )(function)
    function = click.option(
        "-p", "--parameter", "parameters", metavar="NAME=VALUE", multiple=True, help="A run-time parameter; repeatable."
    )(function)
    return click.argument("protocol", type=path)(function)


@click.group(cls=LabGroup)
def command() -> None:
    """The OT-2 pipetting robot.

    `stop` is software: it is no certified safety function. Where people can be hurt, use the robot's power switch.
    """


@command.command()
@_protocol
@_device
@waits
@click.pass_obj
def analyze(
    call: Invocation,
    /,
    protocol: Path,
    labware: tuple[Path, ...],
    parameters: tuple[str, ...],
    device: str | None,
    **waiting: Any,
) -> int:
    """Simulate PROTOCOL: tips, volumes by well, duration, errors with their lines. Moves nothing; exit 1 if faulty."""
    return _analyze(call, protocol, labware, parameters, device, waiting)


@command.command()
@_protocol
@_device
@click.option("--simulate", is_flag=True, help="Only simulate it; the same as `analyze`.")
@override
@waits
@click.pass_obj
def run(
    call: Invocation,
    /,
    protocol: Path,
    labware: tuple[Path, ...],
    parameters: tuple[str, ...],
    device: str | None,
    simulate: bool,
    override: str | None,
    **waiting: Any,
) -> int:
    """Simulate PROTOCOL, then run it on the robot and follow it to its end."""
    if simulate:
        return _analyze(call, protocol, labware, parameters, device, waiting)
    args = _arguments(call, protocol, labware, parameters, device)
    job = call.client.ask(ot2_requests.run(args, {"override": override}), routes.SUBMIT_ANSWER_S)
    return finish(call, job, **waiting)


@command.command()
@_device
@click.pass_obj
def status(call: Invocation, device: str | None) -> int:
    """State, the run on it, the door, the latch and what is allowed now; no job."""
    answer = call.client.ask(ot2_requests.status(device))
    call.emit(answer, lambda: robot_summaries.status(answer))
    return exits.DONE


@command.command()
@_device
@click.pass_obj
def pause(call: Invocation, device: str | None) -> int:
    """Pause labd's own run; the command under way ends first."""
    answer = call.client.ask(ot2_requests.change("pause", device))
    call.emit(answer, lambda: f"{answer['device']}: run {answer['run']} is {answer['status']}")
    return exits.DONE


@command.command()
@_device
@click.pass_obj
def resume(call: Invocation, device: str | None) -> int:
    """Go on after a pause, a closed door, or an error that was put right."""
    answer = call.client.ask(ot2_requests.change("resume", device))
    call.emit(answer, lambda: f"{answer['device']}: run {answer['run']} is {answer['status']}")
    return exits.DONE


@command.command()
@_device
@click.option("--reason", metavar="TEXT")
@click.pass_obj
def stop(call: Invocation, device: str | None, reason: str | None) -> int:
    """Stop labd's own run now: read back, latched until a reset. Never queued; exit 6 if not confirmed."""
    answer = call.client.ask(ot2_requests.stop(device, reason), ot2_requests.STOP_ANSWER_S)
    call.emit(answer, lambda: robot_summaries.stop(answer))
    return exits.DONE if answer.get("confirmed") else exits.ATTENTION


@command.command()
@_device
@click.option("--by", required=True, metavar="NAME", help="Who looked at the robot.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it may move again.")
@click.pass_obj
def reset(call: Invocation, device: str | None, by: str, reason: str) -> int:
    """Lift the latch of a stop."""
    answer = call.client.ask(ot2_requests.reset(by, reason, device))
    call.emit(answer, lambda: f"{answer['device']}: stop reset by {by}; runs are allowed again")
    return exits.DONE


@command.command()
@_device
@waits
@click.pass_obj
def home(call: Invocation, /, device: str | None, **waiting: Any) -> int:
    """All axes home; refused while a run has the robot."""
    return ask_for(call, "ot2.home", {"device": device}, **waiting)


@command.command()
@click.argument("state", type=click.Choice(["on", "off"]), required=False)
@_device
@click.pass_obj
def lights(call: Invocation, state: str | None, device: str | None) -> int:
    """Switch the lights, or ask whether they are on."""
    on = None if state is None else state == "on"
    answer = call.client.ask(ot2_requests.lights(on, device))
    call.emit(answer, lambda: f"{answer['device']}: lights {'on' if answer['lights_on'] else 'off'}")
    return exits.DONE


def _analyze(
    call: Invocation,
    protocol: Path,
    labware: tuple[Path, ...],
    parameters: tuple[str, ...],
    device: str | None,
    waiting: dict[str, Any],
) -> int:
    """The job, and what it found instead of the job where it was waited for."""
    args = _arguments(call, protocol, labware, parameters, device)
    job = call.client.submit("ot2.analyze_protocol", args)
    if not waiting["wait"]:
        call.emit(job, lambda: f"job {job['id']} {job['task']}: {job['state']}; `labctl job wait {job['id']}`")
        return exits.DONE
    job = call.client.wait(job["id"], waiting["timeout"])
    code = exits.of_job(job)
    if code != exits.DONE:
        call.emit(job, lambda: robot_summaries.unfinished(job))
        return code
    found = job["result"]
    call.emit(found, lambda: robot_summaries.analysis(found))
    return exits.DONE if found["ok"] else exits.JOB_FAILED


def _arguments(
    call: Invocation, protocol: Path, labware: tuple[Path, ...], parameters: tuple[str, ...], device: str | None
) -> dict[str, Any]:
    """The files are given to the daemon; the job names them by their hash."""
    kept = call.client.ask(ot2_requests.keep(protocol, labware))
    found: dict[str, Any] = {}
    for word in parameters:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise BadRequest(f"{word}: a parameter is written NAME=VALUE")
        found[name] = _value(text)
    return ot2_requests.arguments(kept, found, device)


def _value(text: str) -> Any:
    """True, false and numbers as such; everything else is text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, bool | int | float) else text
