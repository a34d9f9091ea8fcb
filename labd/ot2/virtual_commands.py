"""What the virtual robot plays of a protocol file where no opentrons is at hand, and how long a command takes.

Why a reading of the source and no execution: a protocol is somebody's Python; the daemon runs none. The calls of the
file are taken in their order, once each, loops or not: enough to move, to pause, to stop and to fail.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any

from labd.ot2.robot import Document

Json = dict[str, Any]
CALLS = {
    "load_labware": "loadLabware", "load_instrument": "loadPipette", "pick_up_tip": "pickUpTip",
    "drop_tip": "dropTip", "return_tip": "dropTip", "aspirate": "aspirate", "dispense": "dispense",
    "blow_out": "blowout", "mix": "aspirate", "transfer": "aspirate", "delay": "waitForDuration",
    "pause": "waitForResume", "comment": "comment", "home": "home", "move_to": "moveToWell",
}  # fmt: skip
HOMING_S = 5.0
SECONDS = {"loadLabware": 0.0, "loadPipette": 0.0, "comment": 0.0, "home": HOMING_S, "pickUpTip": 4.0, "dropTip": 6.0}
COMMAND_S = 2.0


def seconds_of(command: Json) -> float:
    """How long the real robot takes for a command, roughly."""
    kind, parts = str(command["commandType"]), command.get("params", {})
    if kind == "waitForDuration":
        return float(parts.get("seconds") or 0.0)
    if isinstance(parts.get("volume"), int | float) and parts.get("flowRate"):
        return COMMAND_S + float(parts["volume"]) / float(parts["flowRate"])
    return SECONDS.get(kind, COMMAND_S)


def result_of(command: Json) -> Json:
    """What a command answers: as the simulation found it, else the ids and the volume that it was asked with."""
    parts = command.get("params", {})
    asked = {name: parts[name] for name in ("labwareId", "pipetteId", "moduleId", "volume") if name in parts}
    return dict(command.get("result") or asked)


async def static_reading(documents: Sequence[Document], parameters: Json) -> Json:
    """The calls of a protocol file in their order, or the commands of a JSON protocol."""
    main = documents[0]
    if not main.name.endswith(".py"):
        return {"ok": True, "errors": [], "commands": list(json.loads(main.text).get("commands", []))}
    calls = [
        node for node in ast.walk(ast.parse(main.text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS
    ]  # fmt: skip
    calls.sort(key=lambda node: (node.lineno, node.col_offset))
    commands = []
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        kind = CALLS[call.func.attr]
        given = {word.arg: word.value.value for word in call.keywords if isinstance(word.value, ast.Constant)}
        numbers = {name: float(value) for name, value in given.items() if isinstance(value, int | float)}
        parts: Json = {"line": call.lineno}
        if kind == "waitForDuration":
            parts["seconds"] = 60.0 * numbers.get("minutes", 0.0) + numbers.get("seconds", 0.0)
        commands.append({"commandType": kind, "params": parts})
    return {"ok": True, "errors": [], "commands": [{"commandType": "home", "params": {}}, *commands]}
