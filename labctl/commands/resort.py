"""`labctl resort`: the plate carousel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from labctl import deadman, direct, exits, quick, summaries
from labctl.commands.root import LabGroup
from labctl.commands.verbs import ask_for, waits
from labctl.invocation import Invocation
from labd.errors import LabdError

F = TypeVar("F", bound=Callable[..., Any])


def _device(function: F) -> F:
    return click.option("--device", metavar="NAME", help="Which carousel; not needed where there is one.")(function)


@click.group(cls=LabGroup)
def command() -> None:
    """The plate carousel.

    `stop` is software: it is no certified safety function. Where people can be hurt, have a switch that cuts power.
    """


@command.command()
@_device
@click.option(
    "--configure",
    is_flag=True,
    help="Set operating and drive mode where they differ; torque goes off meanwhile, so support what hangs on it.",
)
@waits
@click.pass_obj
def connect(call: Invocation, /, device: str | None, configure: bool, **waiting: Any) -> int:
    """Open the motor; moves nothing and drops no torque."""
    args = {"device": device, "configure": True if configure else None}
    code = ask_for(call, "resort.connect", args, **waiting)
    if code == exits.DONE:
        _learn(call, device)
    return code


@command.command()
@_device
@waits
@click.pass_obj
def disconnect(call: Invocation, /, device: str | None, **waiting: Any) -> int:
    """Release the torque on purpose and close the motor."""
    return ask_for(call, "resort.disconnect", {"device": device}, **waiting)


@command.command()
@click.argument("hotel")
@_device
@waits
@click.pass_obj
def activate(call: Invocation, /, hotel: str, device: str | None, **waiting: Any) -> int:
    """Turn HOTEL to the front."""
    return ask_for(call, "resort.activate_hotel", {"hotel": hotel, "device": device}, **waiting)


@command.command(context_settings={"ignore_unknown_options": True})
@click.argument("degrees", type=float)
@_device
@waits
@click.pass_obj
def move(call: Invocation, /, degrees: float, device: str | None, **waiting: Any) -> int:
    """Turn to DEGREES."""
    return ask_for(call, "resort.move_to_angle", {"degrees": degrees, "device": device}, **waiting)


@command.command()
@_device
@waits
@click.pass_obj
def home(call: Invocation, /, device: str | None, **waiting: Any) -> int:
    """Turn to the home position."""
    return ask_for(call, "resort.go_home", {"device": device}, **waiting)


@command.command()
@click.argument("speed", type=float)
@_device
@waits
@click.pass_obj
def speed(call: Invocation, /, speed: float, device: str | None, **waiting: Any) -> int:
    """Set the speed of later moves."""
    value: float | int = int(speed) if speed.is_integer() else speed
    return ask_for(call, "resort.set_speed", {"speed": value, "device": device}, **waiting)


@command.command()
@_device
@click.pass_obj
def position(call: Invocation, device: str | None) -> int:
    """Where it stands; no job."""
    return quick.resort_position(call, device)


@command.command()
@_device
@click.pass_obj
def health(call: Invocation, device: str | None) -> int:
    """Temperature, voltage, load and errors of the motor; no job."""
    return quick.resort_health(call, device)


@command.command()
@_device
@click.pass_obj
def status(call: Invocation, device: str | None) -> int:
    """State, latch and what is allowed now; no job."""
    return quick.resort_status(call, device)


@command.command()
@_device
@click.option("--reason", metavar="TEXT")
@click.option("--direct", "use_direct", is_flag=True, help="Open the port from here if labd does not answer.")
@click.option("--port", metavar="PATH", help="For --direct; else from the daemon's settings on this host.")
@click.option("--baud", "--baud-rate", "baud", type=int, help="For --direct.")
@click.option("--servo-id", type=int, help="For --direct.")
@click.option(
    "--config", metavar="FILE", help="For --direct: the daemon's settings, where they are not the usual ones."
)
@click.pass_obj
def stop(
    call: Invocation,
    device: str | None,
    reason: str | None,
    use_direct: bool,
    port: str | None,
    baud: int | None,
    servo_id: int | None,
    config: str | None,
) -> int:
    """Stop now: torque off, read back, latched until a reset. Never queued.

    If labd does not answer, that is said within a second. No certified safety function.
    """
    from labctl.stop import stop as stop_now

    motor = direct.Motor(port, baud, servo_id)
    way = (lambda: direct.stop(call, device, motor, config, reason)) if use_direct else None
    return stop_now(call, device, reason, way)


@command.command()
@_device
@click.pass_obj
def hold(call: Invocation, device: str | None) -> int:
    """Stop where it is and keep the torque."""
    answer = call.client.resort_hold(device)
    call.emit(answer, lambda: f"{answer.get('device') or 'resort'}: holding at its position, torque on")
    return exits.DONE


@command.command()
@_device
@click.option("--by", required=True, metavar="NAME", help="Who looked at the carousel.")
@click.option("--reason", required=True, metavar="TEXT", help="Why it may move again.")
@click.pass_obj
def reset(call: Invocation, device: str | None, by: str, reason: str) -> int:
    """Lift the latch of a stop."""
    answer = call.client.resort_reset(by, reason, device)
    call.emit(answer, lambda: summaries.reset(answer, by))
    return exits.DONE


def _learn(call: Invocation, device: str | None) -> None:
    """Keep the watchdog's period for the day when the daemon cannot be asked."""
    try:
        deadman.remember(call.client.url, call.client.resort_status(device))
    except LabdError:
        return
