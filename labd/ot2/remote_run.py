"""One run on the robot for `driver = "ssh"`: how it stands and the commands that it tells.

labd lends this file to the robot's own Python (3.10); it imports the standard library and, when called, opentrons.
Protocols from API level 2.14 on run in an engine, whose commands are told as they are; of those before, the run log is
put into the same words, so that whoever reads them needs to know one language.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from datetime import datetime, timezone
from typing import Any

Json = dict[str, Any]
ANSWER_S = 5.0
ENDED = ("stopped", "failed", "succeeded")
GOING = ("running", "paused", "blocked-by-open-door")
LOADING = ("loadLabware", "loadPipette", "loadModule")


class Run:
    """One run of a protocol and what it has told so far."""

    def __init__(self, run_id: str, protocol_id: str, parameters: Json) -> None:
        self.run_id = run_id
        self.protocol_id = protocol_id
        self.parameters = parameters
        self.status = "idle"
        self.actions: list[str] = []
        self.errors: list[Json] = []
        self.steps: list[Json] = []
        self.started_at: str | None = None
        self.completed_at: str | None = None
        self._open: list[Json] = []
        self._open_names: list[str] = []
        self._loaded: set[str] = set()
        self._engine: Any = None
        self._loop: Any = None

    def use_engine(self, engine: Any) -> None:
        """Protocols from API level 2.14 on run in an engine, which pauses and plays; called in its loop."""
        self._engine, self._loop = engine, asyncio.get_running_loop()

    def pause(self, hardware: Any) -> None:
        """Nothing moves further until `resume`."""
        from opentrons.hardware_control.types import PauseType

        if self._engine is not None:
            self._in_loop(self._engine.request_pause)
        else:
            hardware.pause(PauseType.PAUSE)

    def resume(self, hardware: Any) -> None:
        """After a pause, of a person or of the protocol."""
        from opentrons.hardware_control.types import PauseType

        if self._engine is not None:
            self._in_loop(self._engine.play)
        else:
            hardware.resume(PauseType.PAUSE)

    def _in_loop(self, act: Any) -> None:
        async def work() -> None:
            act()

        asyncio.run_coroutine_threadsafe(work(), self._loop).result(ANSWER_S)

    def _look(self) -> None:
        """An engine knows better whether it is paused, or blocked by the door."""
        if self._engine is not None and self.status in GOING:
            found = self._engine.state_view.commands.get_status().value
            if found in GOING:
                self.status = found

    def view(self) -> Json:
        """As the driver takes it."""
        self._look()
        return {
            "run_id": self.run_id, "protocol_id": self.protocol_id, "status": self.status, "actions": self.actions,
            "errors": self.errors, "started_at": self.started_at, "completed_at": self.completed_at,
        }  # fmt: skip

    def hear(self, message: Any) -> None:
        """One message of the run log: a command begins or ends."""
        name = str(message.get("name", ""))
        if message.get("$", "before") == "before":
            step = self._liquid(name, message.get("payload") or {}) or {"kind": name}
            step = self._add({**step, "status": "running"})
            self._open.append(step)
            self._open_names.append(name)
            if name == "command.PAUSE" and self.status == "running":
                self.status = "paused"
        elif self._open:
            self._open_names.pop()
            self._open.pop()["status"] = "failed" if message.get("error") else "succeeded"

    def _add(self, step: Json) -> Json:
        step["id"] = f"{self.run_id}-{len(self.steps)}"
        self.steps.append(step)
        return step

    def _liquid(self, name: str, payload: Json) -> Json | None:
        """An aspirate or dispense of the run log as an engine tells one; None for all else, and for air."""
        kind = {"command.ASPIRATE": "aspirate", "command.DISPENSE": "dispense"}.get(name)
        place = getattr(payload.get("location"), "labware", payload.get("location"))
        if kind is None or place is None or "command.AIR_GAP" in self._open_names:
            return None
        well = place.as_well() if getattr(place, "is_well", False) else place
        pipette = payload.get("instrument")
        labware: Any = getattr(well, "parent", None)
        if not hasattr(labware, "load_name") or pipette is None:
            return None
        slot: Any = labware
        while not isinstance(slot, (str, int)) and slot is not None:
            slot = getattr(slot, "parent", None)
        labware_id, pipette_id = f"{slot}", str(pipette.mount)
        self._load(labware_id, "loadLabware", {
            "params": {"loadName": labware.load_name, "location": {"slotName": str(slot)}},
            "result": {"labwareId": labware_id, "definition": labware._core.get_definition()},
        })  # fmt: skip
        self._load(pipette_id, "loadPipette", {
            "params": {"pipetteName": "p_multi" if pipette.channels == 8 else "p_single", "mount": pipette_id},
            "result": {"pipetteId": pipette_id},
        })  # fmt: skip
        volume = float(payload.get("volume") or 0.0)
        params = {"labwareId": labware_id, "wellName": well.well_name, "pipetteId": pipette_id, "volume": volume}
        return {"kind": kind, "params": params}

    def _load(self, key: str, kind: str, step: Json) -> None:
        """Told once, before what speaks of it."""
        if key not in self._loaded:
            self._loaded.add(key)
            self._add({**step, "kind": kind, "status": "succeeded"})

    def told(self, first: int, count: int) -> Json:
        """Commands from number `first`: those of the engine where there is one, else those of the run log."""
        if self._engine is None:
            return {"total": len(self.steps), "entries": self.steps[first : first + count]}
        commands = self._all_commands()
        return {"total": len(commands), "entries": [_step_of(one) for one in commands[first : first + count]]}

    def _all_commands(self) -> list[Any]:
        """In the engine's loop while that runs: its list grows there."""

        async def read() -> Any:
            return self._engine.state_view.commands.get_all()

        if self._loop.is_running() and self.status not in ENDED:
            try:
                return list(asyncio.run_coroutine_threadsafe(read(), self._loop).result(ANSWER_S))
            except (TimeoutError, RuntimeError, concurrent.futures.TimeoutError):
                pass  # the loop has ended meanwhile, and nothing grows any more
        return list(self._engine.state_view.commands.get_all())

    def end(self, status: str) -> None:
        """Nothing more will come."""
        for step in self._open:
            step["status"] = "failed" if status == "failed" else "succeeded"
        self.completed_at = now()
        self.status = status


def _step_of(command: Any) -> Json:
    """A command of an engine; results only of those that name what later ones speak of."""
    kind = command.commandType
    step = {"id": command.id, "kind": kind, "status": command.status.value, "params": _plain(command.params)}
    if kind in LOADING and command.result is not None:
        step["result"] = _plain(command.result)
    return step


def _plain(model: Any) -> Json:
    """Pydantic 2 of opentrons 8.2 and later, and pydantic 1 of those before."""
    if hasattr(model, "model_dump_json"):
        return dict(json.loads(model.model_dump_json(exclude_none=True)))
    return dict(json.loads(model.json(exclude_none=True)))


def now() -> str:
    """An instant as the robot's own server tells it."""
    return datetime.now(timezone.utc).isoformat()  # noqa: UP017 the robot has Python 3.10
