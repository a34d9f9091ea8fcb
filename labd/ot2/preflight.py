"""What must hold before a protocol may run on a robot: rules over its analysis, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labd.errors import ProtocolRefused
from labd.ot2.robot import RobotHealth

Json = Mapping[str, Any]


def check(name: str, file: str, analysis: Json, deck: Mapping[str, str], health: RobotHealth | None) -> None:
    """Nothing if the protocol fits the robot.

    Args:
        name: Of the robot in labd.
        file: Of the protocol.
        deck: Slot -> load name of what stands there, as the settings say; slots that are not named are free to use.

    Raises:
        ProtocolRefused: The first thing that does not fit, with what to do.
    """
    if not analysis["ok"]:
        errors = [told(error) for error in analysis["errors"]] or ["no reason given"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise ProtocolRefused(f"ot2 {name}: {file} fails in simulation: {errors[0]}{more}", errors=analysis["errors"])
    if str(analysis["robot_type"]).startswith("OT-3"):
        raise ProtocolRefused(f"ot2 {name}: {file} is for a Flex; {name} is an OT-2", robot_type=analysis["robot_type"])
    level = analysis.get("api_level")
    if level and health is not None and _number(level) > _number(health.api_level_high):
        text = (
            f"{file} asks for API level {level}, the robot's software {health.software} knows {health.api_level_high}"
        )
        raise ProtocolRefused(f"ot2 {name}: {text}; lower apiLevel, or update the robot", api_level=level)
    for labware in analysis["labware"]:
        slot = labware["slot"]
        if slot in deck and labware["load_name"] != deck[slot]:
            text = f"{file} expects {labware['load_name']} in slot {slot}, where the settings say {deck[slot]} stands"
            raise ProtocolRefused(f"ot2 {name}: {text}; change the protocol or ot2.deck", slot=slot)


def told(error: Json) -> str:
    """One error of an analysis as `file, line: message`."""
    where = error.get("file") or ""
    if error.get("line"):
        where += f", line {error['line']}"
    return f"{where}: {error['message']}" if where else str(error["message"])


def _number(level: str) -> tuple[int, ...]:
    """Of an API level such as 2.15; an unknown one is above all."""
    try:
        return tuple(int(part) for part in level.split("."))
    except ValueError:
        return (10**6,)
