"""`labd simulate ot2`: the virtual robot from the command line."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import click

from labd.clock import SystemClock
from labd.ot2.simulator_process import serve
from labd.ot2.virtual_robot import VirtualRobot


@click.command("ot2")
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="On loopback; 0 takes a free one.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="JSON lines: everything it moved.")
@click.option("--name", default="virtual-ot2", show_default=True, help="How the robot calls itself.")
@click.option(
    "--time-scale", type=click.FloatRange(0.01, 1e6), default=1.0, show_default=True, help="Faster than real."
)
@click.option(
    "--python",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Interpreter with opentrons 9.0, for the robot's own analysis; else the calls of the file, once each.",
)
def simulate_ot2(port: int, record: Path | None, name: str, time_scale: float, python: Path | None) -> None:
    """A virtual OT-2 robot server on loopback; a driver of the HTTP API notices no difference.

    Faults: `curl -d '{"door_open": true}' URL/simulator/faults`; `{}` takes them away. `URL/simulator/state` shows
    everything. Serves until Ctrl-C or SIGTERM. It is a simulator: nothing real moves.
    """
    from labd.ot2.analysis import Analyser, robot_analysis

    clock = SystemClock()
    analyse = None if python is None else robot_analysis(Analyser(python, clock))
    robot = VirtualRobot(clock, name=name, time_scale=time_scale, analyse=analyse, record=record)
    try:
        asyncio.run(serve(robot, port, partial(click.echo)))
    except OSError as error:
        raise click.ClickException(f"port {port}: {error.strerror or error}") from error
