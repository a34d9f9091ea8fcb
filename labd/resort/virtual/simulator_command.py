"""`labd simulate resort`: the virtual bus from the command line."""

from __future__ import annotations

from pathlib import Path

import click

from labd.errors import LabdError
from labd.resort.registers import MAXIMUM_ID, MODELS, model_named
from labd.resort.virtual.bus_process import serve
from labd.resort.virtual.virtual_servo import VirtualServo

_NAMES = sorted(model.name for model in MODELS.values())


@click.command("resort")
@click.option("--link", type=click.Path(path_type=Path), required=True, help="Symbolic link that hosts open.")
@click.option("--record", type=click.Path(path_type=Path, dir_okay=False), help="JSON lines: every packet and change.")
@click.option("--control", type=click.Path(path_type=Path), help="Unix socket for faults and questions, JSON lines.")
@click.option("--model", type=click.Choice(_NAMES, case_sensitive=False), default="XL430-W250", show_default=True)
@click.option(
    "--servo-id", "servo_ids", type=click.IntRange(0, MAXIMUM_ID), multiple=True, default=(1,), show_default=True,
    help="May be given several times: as many motors on one bus.",
)  # fmt: skip
@click.option("--firmware", type=click.IntRange(0, 255), default=52, show_default=True)
@click.option("--position", type=int, default=0, show_default=True, help="Steps at power-on, 4096 a turn.")
@click.option("--seed", type=int, help="Of the faults, to have them again; chosen and printed if not given.")
@click.option("--check-baud", is_flag=True, help="Be deaf to a host with another speed than Baud Rate (8).")
def simulate_resort(
    link: Path,
    record: Path | None,
    control: Path | None,
    model: str,
    servo_ids: tuple[int, ...],
    firmware: int,
    position: int,
    seed: int | None,
    check_baud: bool,
) -> None:
    """A virtual Dynamixel bus on a pseudo-terminal; the real dynamixel_sdk opens --link and notices no difference.

    Serves until Ctrl-C or SIGTERM. It is a simulator: nothing real moves.
    """
    number = model_named(model).number
    servos = [VirtualServo(number, servo_id, firmware=firmware, position=position) for servo_id in servo_ids]
    try:
        serve(link, record, control, servos=servos, seed=seed, check_baud=check_baud, say=click.echo)
    except (LabdError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
