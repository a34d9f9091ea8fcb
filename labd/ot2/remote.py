"""What runs where opentrons is: simulates one protocol file and says what it would do.

labd lends this file to the interpreter of an environment; it imports the standard library and, when called, opentrons
9.0. Nothing else of labd is there, and the daemon itself never imports opentrons.

Why one simulated run of our own and not `opentrons.simulate` or `opentrons.cli analyze`: the first refuses JSON
protocols newer than schema 5 and takes no run-time parameters, the second has no run log. This is what both do inside
(`create_simulating_orchestrator`), with a listener on the runner's broker.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Json = dict[str, Any]
RUN_LOG_LINES = 5000
COMMANDS = 20000
REASON_LIMIT = 1000
LINE_OF_PROTOCOL = re.compile(r"\[line (\d+)\]")
LINE_OF_SYNTAX = re.compile(r"\(([^()]*), line (\d+)\)")
GANTRY_MM_PER_S = 400.0
SLOT_MM = (132.5, 90.5)  # pitch of the deck, columns and rows
TIME_S = {
    "pickUpTip": 4.0,
    "dropTip": 10.0,
    "dropTipInPlace": 10.0,
    "blowout": 0.5,
    "blowOutInPlace": 0.5,
    "touchTip": 0.5,
    "home": 5.0,
    "moveToWell": 0.5,
    "moveLabware": 15.0,
}
LOADING = ("loadLabware", "loadPipette", "loadModule")  # whose results name what later commands speak of
CLEARANCE_MM = 0.01  # so far above its top a well has no liquid; rounding of offsets stays below


def analyze(request: Json) -> Json:
    """Simulate a protocol.

    Args:
        request: `protocol` {"name", "text"}; `labware` a list of the same, custom definitions in JSON; `parameters`
            run-time parameters by variable name; `commands` true adds the commands themselves.

    Returns:
        What `labctl ot2 analyze` shows. A faulty protocol is an answer with `ok` false and its errors, no exception.
    """
    with tempfile.TemporaryDirectory(prefix="labd-ot2-") as folder:
        os.environ.setdefault("OT_API_CONFIG_DIR", str(_folder(folder, "config")))
        files = []
        for document in [request["protocol"], *request.get("labware", [])]:
            path = _folder(folder, "protocol") / Path(document["name"]).name
            path.write_text(document["text"], encoding="utf-8")
            files.append(path)
        heard = Listener()
        try:
            source, result = asyncio.run(_run(files, dict(request.get("parameters") or {}), heard))
        except Exception as fault:  # noqa: BLE001 whatever the reader or the protocol raises is the answer
            return {**_nothing(), "errors": [_error_of(fault, files[0].name)], "run_log": heard.lines}
        answer = _answer(source, result, heard, files[0].name, bool(request.get("commands")))
        return _refusing_unknown(answer, dict(request.get("parameters") or {}), files[0].name)


def _refusing_unknown(answer: Json, given: Json, name: str) -> Json:
    """The answer, faulty if it was given parameters that it has not: opentrons ignores them where there are none."""
    known = [one.get("variableName") for one in answer["parameters"]]
    unknown = sorted(set(given) - set(known))
    if not unknown or not answer["ok"]:
        return answer
    there = f"it has {', '.join(map(str, known))}" if known else "it has none"
    message = f"no run-time parameter is named {' or '.join(unknown)}; {there}"
    error = {"type": "UnknownParameter", "code": "", "message": message, "line": None, "file": name}
    return {**answer, "ok": False, "result": "not-ok", "errors": [error]}


def _folder(root: str, name: str) -> Path:
    path = Path(root) / name
    path.mkdir(exist_ok=True)
    return path


async def _run(files: list[Path], parameters: Json, heard: Listener) -> tuple[Any, Any]:
    from opentrons.protocol_reader import ProtocolReader
    from opentrons.protocol_runner.create_simulating_orchestrator import create_simulating_orchestrator
    from opentrons.protocol_runner.run_orchestrator import ParseMode

    source = await ProtocolReader().read_saved(files=files, directory=None)
    orchestrator = await create_simulating_orchestrator(robot_type=source.robot_type, protocol_config=source.config)
    runner = orchestrator._protocol_runner
    runner.broker.subscribe("command", heard)
    await orchestrator.load(
        protocol_source=source, parse_mode=ParseMode.NORMAL, run_time_param_values=parameters, run_time_param_paths=None
    )
    return source, await orchestrator.run(deck_configuration=[])


class Listener:
    """Hears the commands of a Python protocol as they are told: the run log, which aspirates were air, the delays."""

    def __init__(self) -> None:
        self.lines: list[Json] = []
        self.left_out = 0
        self.aspirates_of_air: list[bool] = []
        self.delays_s = 0.0
        self._open: list[str] = []

    def __call__(self, message: Any) -> None:
        """One message of the broker: a command begins or ends."""
        if message["$"] != "before":
            self._open = self._open[:-1]
            return
        name, payload = str(message["name"]), message["payload"]
        if len(self.lines) < RUN_LOG_LINES:
            self.lines.append({"level": len(self._open), "text": str(payload.get("text", name))})
        else:
            self.left_out += 1
        if name == "command.ASPIRATE":
            self.aspirates_of_air.append("command.AIR_GAP" in self._open)
        elif name == "command.DELAY":
            self.delays_s += 60.0 * float(payload.get("minutes") or 0) + float(payload.get("seconds") or 0)
        self._open.append(name)


def _nothing() -> Json:
    return {
        "ok": False, "result": "not-ok", "robot_type": None, "api_level": None, "schema_version": None,
        "software": _software(), "metadata": {}, "parameters": [], "run_log": [], "run_log_left_out": 0, "labware": [],
        "pipettes": [], "modules": [], "tips": {"used": 0, "racks": []}, "aspirated": [], "dispensed": [],
        "drawn": {}, "air": None,
        "duration_s": None, "pauses": 0, "command_count": 0, "errors": [],
    }  # fmt: skip


def _software() -> str:
    import opentrons

    return str(opentrons.__version__)


def _answer(source: Any, result: Any, heard: Listener, name: str, with_commands: bool) -> Json:
    """The reduction of a run; the rules work on plain values, as in an analysis file."""
    state = result.state_summary
    commands = [command.model_dump(mode="json", exclude_none=True) for command in result.commands]
    modules = [module.model_dump(mode="json", exclude_none=True) for module in state.modules]
    errors = [error.model_dump(mode="json", exclude_none=True) for error in state.errors]
    level = getattr(source.config, "api_version", None)
    legacy = level is not None and (level.major, level.minor) < (2, 14)
    movement = Movement(modules, heard.aspirates_of_air if legacy else None)
    for command in commands:
        movement.take(command)
    log = heard.lines or [{"level": 0, "text": text_of(command)} for command in commands[:RUN_LOG_LINES]]
    answer = {
        **_nothing(),
        "ok": not errors,
        "result": "ok" if not errors else "not-ok",
        "robot_type": source.robot_type,
        "api_level": None if level is None else str(level),
        "schema_version": getattr(source.config, "schema_version", None),
        "metadata": {str(key): str(value) for key, value in dict(source.metadata).items()},
        "parameters": [one.model_dump(mode="json", exclude_none=True) for one in result.parameters],
        "run_log": log,
        "run_log_left_out": heard.left_out if heard.lines else max(0, len(commands) - RUN_LOG_LINES),
        "labware": movement.labware_list(),
        "pipettes": movement.pipette_list(),
        "modules": [{"model": one.get("model"), "slot": movement.slot_of_module(one["id"])} for one in modules],
        "tips": movement.tips(),
        "aspirated": movement.volumes(movement.aspirated),
        "dispensed": movement.volumes(movement.dispensed),
        "drawn": {place: round(volume, 3) for place, volume in movement.drawn.items() if volume > 0},
        "air": heard.aspirates_of_air if legacy else None,
        "duration_s": round(movement.duration_s + (heard.delays_s if legacy else 0.0), 1),
        "pauses": movement.pauses,
        "command_count": len(commands),
        "errors": [error_of(error, name) for error in errors],
    }
    if with_commands:
        answer["commands"] = [_short(command) for command in commands[:COMMANDS]]
    return answer


def _short(command: Json) -> Json:
    short = {"commandType": command["commandType"], "params": command.get("params", {})}
    if command["commandType"] in LOADING:
        short["result"] = command.get("result") or {}
    return short


def text_of(command: Json) -> str:
    """One line for a command that nobody told in words."""
    parts = command.get("params", {})
    where = f" {parts['wellName']}" if "wellName" in parts else ""
    amount = f" {parts['volume']:g} uL" if isinstance(parts.get("volume"), (int, float)) else ""
    what = parts.get("loadName") or parts.get("pipetteName") or parts.get("message") or parts.get("text") or ""
    return f"{command['commandType']}{amount}{where} {what}".strip()


def error_of(error: Json, name: str) -> Json:
    """An error of an analysis with the line of the protocol file, from the inmost one that knows it."""
    found = LINE_OF_PROTOCOL.search(error.get("detail", ""))
    line = int(found.group(1)) if found else None
    for inner in _with_wrapped(error):
        text = str(inner.get("errorInfo", {}).get("traceback", ""))
        lines = re.findall(rf'File "(?:[^"]*/)?{re.escape(name)}", line (\d+)', text)
        if lines and line is None:
            line = int(lines[-1])
    inmost = list(_with_wrapped(error))[-1]
    code = str(error.get("errorCode", ""))
    return {
        "type": inmost.get("errorType"),
        "code": code,
        "message": error.get("detail", ""),
        "line": line,
        "file": name,
    }


def _with_wrapped(error: Json) -> Iterator[Json]:
    yield error
    for inner in error.get("wrappedErrors") or []:
        yield from _with_wrapped(inner)


def _error_of(fault: BaseException, name: str) -> Json:
    """What was raised before the protocol could run: its syntax, a missing run(), an API level from the future."""
    line: int | None = None
    cause: BaseException | None = fault
    while cause is not None and line is None:
        line = getattr(cause, "lineno", None) if isinstance(cause, SyntaxError) else None
        cause = cause.__cause__ or cause.__context__
    found = LINE_OF_SYNTAX.search(str(fault))
    if line is None and found:
        line = int(found.group(2))
    for frame in traceback.extract_tb(fault.__traceback__):
        if line is None and Path(frame.filename).name == name:
            line = frame.lineno
    message = str(fault)
    if fault.__cause__ is not None and str(fault.__cause__) not in message:  # which field of a JSON file it is
        message += f": {str(fault.__cause__)[:REASON_LIMIT]}"
    return {"type": type(fault).__name__, "code": "", "message": message, "line": line, "file": name}


class Movement:
    """Follows the commands of a protocol: where labware stands, which tips go, what leaves and reaches which well.

    Volumes are those that the simulation reports for each nozzle, counted into every well that a nozzle is over: with
    an 8-channel pipette A1 stands for A1 to H1 on a plate and for eight times the volume in a trough. Air drawn above
    a well's top is not counted; with `air` (API levels below 2.14, which report no heights) it is told by the run log.

    `drawn` is what left each well (as "slot/well") and did not come back into it, `changed` what the last command
    added to that. Why a return counts only up to what was drawn: what a well gets beyond is not what it had.

    Source: opentrons 9.0 `protocol_engine/commands`; times after `protocols/duration/estimator.py`.
    """

    def __init__(self, modules: list[Json], air: list[bool] | None = None) -> None:
        self.aspirated: dict[str, dict[str, float]] = {}
        self.dispensed: dict[str, dict[str, float]] = {}
        self.drawn: dict[str, float] = {}
        self.changed: dict[str, float] = {}
        self.duration_s = 0.0
        self.pauses = 0
        self._modules = {module["id"]: module.get("location") or {} for module in modules}
        self._air = air
        self._aspirates = 0
        self._labware: dict[str, Json] = {}
        self._pipettes: dict[str, Json] = {}
        self._nozzles: dict[str, tuple[int, int]] = {}
        self._over: dict[str, tuple[str, str, bool] | None] = {}
        self._tips: dict[str, list[str]] = {}
        self._slot = "12"

    def take(self, command: Json) -> None:
        """One command, in order; one that failed or never ran changes nothing."""
        self.changed = {}
        if command.get("status") != "succeeded":
            return
        kind, parts, result = command["commandType"], command.get("params", {}), command.get("result") or {}
        pipette, labware = parts.get("pipetteId", ""), parts.get("labwareId")
        if kind == "loadLabware":
            self._labware[result["labwareId"]] = {
                "loadName": parts["loadName"], "displayName": parts.get("displayName") or _display(result),
                "location": parts["location"], "definition": result.get("definition") or {},
            }  # fmt: skip
        elif kind == "loadPipette":
            self._pipettes[result["pipetteId"]] = parts
        elif kind == "loadModule" and result.get("moduleId"):
            self._modules[result["moduleId"]] = parts.get("location") or {}
        elif kind == "moveLabware" and labware in self._labware:
            self._labware[labware]["location"] = parts["newLocation"]
        elif kind == "configureNozzleLayout":
            self._nozzles[pipette] = _layout(parts.get("configurationParams", {}), self._channels(pipette))
        elif kind in ("waitForResume", "pause"):
            self.pauses += 1
        if labware is not None and "wellName" in parts:
            self._over[pipette] = (labware, parts["wellName"], self._above_top(parts))
        elif "addressableAreaName" in parts:
            self._over[pipette] = None
        self._count(kind, pipette, float(result.get("volume", parts.get("volume")) or 0.0))
        self.duration_s += self._seconds(kind, parts, labware)

    def _count(self, kind: str, pipette: str, volume_ul: float) -> None:
        place = self._over.get(pipette)
        aspirate = kind in ("aspirate", "aspirateInPlace", "aspirateWhileTracking")
        air = place is not None and place[2]
        if aspirate:
            if self._air is not None:
                air = self._air[self._aspirates] if self._aspirates < len(self._air) else False
            self._aspirates += 1
        if place is None:
            return
        if aspirate and not air:
            self._add(self.aspirated, place, pipette, volume_ul)
            self._draw(place, pipette, volume_ul)
        elif kind in ("dispense", "dispenseInPlace", "dispenseWhileTracking"):
            self._add(self.dispensed, place, pipette, volume_ul)
            self._draw(place, pipette, -volume_ul)
        elif kind == "pickUpTip":
            self._tips.setdefault(place[0], []).extend(self._wells(place[0], place[1], pipette))

    def _add(
        self, into: dict[str, dict[str, float]], place: tuple[str, str, bool], pipette: str, volume: float
    ) -> None:
        wells = into.setdefault(place[0], {})
        for well in self._wells(place[0], place[1], pipette):
            wells[well] = wells.get(well, 0.0) + volume

    def _draw(self, place: tuple[str, str, bool], pipette: str, volume_ul: float) -> None:
        slot = self.slot_of(place[0])
        for well in self._wells(place[0], place[1], pipette):
            before = self.drawn.get(f"{slot}/{well}", 0.0)
            after = max(0.0, before + volume_ul)
            if slot != "?" and after != before:
                self.drawn[f"{slot}/{well}"] = after
                self.changed[f"{slot}/{well}"] = self.changed.get(f"{slot}/{well}", 0.0) + after - before

    def _channels(self, pipette: str) -> int:
        name = str(self._pipettes.get(pipette, {}).get("pipetteName", ""))
        return 96 if "96" in name else 8 if "multi" in name else 1

    def _wells(self, labware: str, well: str, pipette: str) -> list[str]:
        """The well under each nozzle, 9 mm apart; those beside any well are left out."""
        rows, columns = self._nozzles.get(pipette) or {96: (8, 12), 8: (8, 1)}.get(self._channels(pipette), (1, 1))
        geometry = self._labware.get(labware, {}).get("definition", {}).get("wells", {})
        first = geometry.get(well)
        if rows * columns == 1 or first is None:
            return [well]
        x, y = float(first["x"]), float(first["y"])
        width, height = _size_of(first)
        if width > 9.0 * (columns - 1):  # a trough: the nozzles stand around its middle
            x -= 4.5 * (columns - 1)
        if height > 9.0 * (rows - 1):
            y += 4.5 * (rows - 1)
        found = []
        for row in range(rows):
            for column in range(columns):
                under = _well_at(geometry, x + 9.0 * column, y - 9.0 * row)
                if under is not None:
                    found.append(under)
        return found or [well]

    def _above_top(self, parts: Json) -> bool:
        location = parts.get("wellLocation") or {}
        z = float((location.get("offset") or {}).get("z") or 0.0)
        wells = self._labware.get(parts["labwareId"], {}).get("definition", {}).get("wells", {})
        depth = float(wells.get(parts["wellName"], {}).get("depth") or 0.0)
        lower = {"bottom": depth, "center": depth / 2}.get(location.get("origin", "top"), 0.0)
        return location.get("origin") != "meniscus" and z - lower > CLEARANCE_MM

    def _seconds(self, kind: str, parts: Json, labware: str | None) -> float:
        seconds = TIME_S.get(kind, 0.0)
        slot = self.slot_of(labware) if labware is not None else parts.get("addressableAreaName", self._slot)
        seconds += _travel_mm(self._slot, slot, SLOT_MM) / GANTRY_MM_PER_S
        self._slot = slot if _number(slot) else self._slot
        if "flowRate" in parts and "volume" in parts:
            seconds += 0.5 + float(parts["volume"]) / float(parts["flowRate"])
        return seconds + (float(parts.get("seconds") or 0.0) if kind == "waitForDuration" else 0.0)

    def slot_of(self, labware: str) -> str:
        """Deck slot of a labware, also where it stands on a module or an adapter."""
        location: Any = self._labware.get(labware, {}).get("location")
        for _ in range(8):  # plate on adapter on module on slot; a ring would be a fault of the analysis
            if isinstance(location, str):
                return location
            if not isinstance(location, dict):
                break
            if "slotName" in location or "addressableAreaName" in location:
                return str(location.get("slotName") or location["addressableAreaName"])
            inner = location.get("labwareId")
            location = self._modules.get(
                location.get("moduleId", ""), self._labware.get(str(inner), {}).get("location")
            )
        return "12" if labware == "fixedTrash" else "?"

    def slot_of_module(self, module: str) -> str | None:
        """Deck slot of a module."""
        return self._modules.get(module, {}).get("slotName")

    def labware_list(self) -> list[Json]:
        """Loaded labware where it stands in the end."""
        return [
            {"slot": self.slot_of(key), "load_name": one["loadName"], "name": one["displayName"]}
            for key, one in self._labware.items()
        ]

    def used(self) -> list[Json]:
        """Labware where it stands, its wells column by column, the tips taken from it, microlitres out and in."""
        return [
            {
                "slot": self.slot_of(key), "load_name": one["loadName"], "name": one["displayName"],
                "wells": one["definition"].get("ordering") or [list(one["definition"].get("wells") or {})],
                "is_tip_rack": bool((one["definition"].get("parameters") or {}).get("isTiprack")),
                "tips_used": list(dict.fromkeys(self._tips.get(key, []))),
                "aspirated_ul": _rounded(self.aspirated.get(key)), "dispensed_ul": _rounded(self.dispensed.get(key)),
            }
            for key, one in self._labware.items()
        ]  # fmt: skip

    def pipette_list(self) -> list[Json]:
        """Loaded pipettes."""
        return [
            {"mount": one.get("mount"), "name": one.get("pipetteName"), "channels": self._channels(key)}
            for key, one in self._pipettes.items()
        ]

    def tips(self) -> Json:
        """Tips that were picked up, by rack; one that was picked up twice is used once."""
        racks = [
            {"slot": self.slot_of(key), "load_name": self._name(key), "wells": list(dict.fromkeys(wells))}
            for key, wells in self._tips.items()
        ]
        picked = sum(len(wells) for wells in self._tips.values())
        return {"used": sum(len(rack["wells"]) for rack in racks), "picked_up": picked, "racks": racks}

    def volumes(self, table: dict[str, dict[str, float]]) -> list[Json]:
        """Microlitres by labware and well."""
        return [
            {
                "slot": self.slot_of(key), "load_name": self._name(key),
                "wells_ul": {well: round(volume, 3) for well, volume in wells.items()},
                "total_ul": round(sum(wells.values()), 3),
            }
            for key, wells in table.items()
        ]  # fmt: skip

    def _name(self, labware: str) -> str:
        return str(self._labware.get(labware, {}).get("loadName", labware))


def _rounded(wells: dict[str, float] | None) -> dict[str, float]:
    return {well: round(volume, 3) for well, volume in (wells or {}).items()}


def _display(result: Json) -> str:
    return str(result.get("definition", {}).get("metadata", {}).get("displayName", ""))


def _layout(layout: Json, channels: int) -> tuple[int, int]:
    """Rows and columns of nozzles in use."""
    full = {96: (8, 12), 8: (8, 1)}.get(channels, (1, 1))
    if layout.get("style") == "SINGLE":
        return (1, 1)
    if layout.get("style") == "COLUMN":
        return (full[0], 1)
    if layout.get("style") == "ROW":
        return (1, full[1])
    first, last = layout.get("frontLeftNozzle") or layout.get("primaryNozzle"), layout.get("backRightNozzle")
    if layout.get("style") == "QUADRANT" and first and last:
        return (abs(ord(first[0]) - ord(last[0])) + 1, abs(int(first[1:]) - int(last[1:])) + 1)
    if layout.get("style") == "QUADRANT" and first and layout.get("primaryNozzle"):
        return (abs(ord(first[0]) - ord(layout["primaryNozzle"][0])) + 1, 1)
    return full


def _well_at(wells: Json, x: float, y: float) -> str | None:
    for name, well in wells.items():
        width, height = _size_of(well)
        if abs(well["x"] - x) <= width / 2 and abs(well["y"] - y) <= height / 2:
            return str(name)
    return None


def _size_of(well: Json) -> tuple[float, float]:
    diameter = well.get("diameter")
    return float(diameter or well.get("xDimension") or 0.0), float(diameter or well.get("yDimension") or 0.0)


def _number(slot: str) -> bool:
    return slot.isdigit() and 1 <= int(slot) <= 12


def _travel_mm(one: str, other: str, pitch: tuple[float, float]) -> float:
    """Way between two slots of an OT-2: 3 columns, 4 rows."""
    if not (_number(one) and _number(other)):
        return 0.0
    (y1, x1), (y2, x2) = divmod(int(one) - 1, 3), divmod(int(other) - 1, 3)
    return float((((x1 - x2) * pitch[0]) ** 2 + ((y1 - y2) * pitch[1]) ** 2) ** 0.5)


def _die_with_parent() -> None:
    """A daemon that is killed leaves no protocol running; Linux only, elsewhere it ends by itself."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG, linux/prctl.h


def main() -> int:
    """Read one request from standard input, write one answer to standard output.

    What the protocol and opentrons print goes to standard error: a protocol must not be able to forge its answer.
    """
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read().decode("utf-8"))
    json.dump(analyze(request), answers, default=str)
    answers.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
