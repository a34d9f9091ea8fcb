"""The robot: `labd simulate ot2` as a process of its own behind a cable; a run goes on while nobody reaches it.

Its record of every action and command is the witness. Protocols are JSON with all volumes in them, so that the robot
knows what it drew without anybody's simulation.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, NamedTuple

from tests.acceptance.processes import END_S, READY_S, ROOT, environment, script, toml
from tests.acceptance.waiting import eventually
from tests.chaos.relay import Relay

TIME_SCALE = 200
SLOT = "3"
WELLS = {"red": "A1", "yellow": "A2"}  # of the trough in SLOT; as the stock knows them


class Protocol(NamedTuple):
    """A file that is run once; no other one is the same."""

    token: str
    name: str
    text: str
    draws_ul: dict[str, float]


class Robot:
    """Satisfies `Party`."""

    name = "robot"

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.record = folder / "moved.jsonl"
        self._folder = folder
        self._log = folder / "robot.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._relay: Relay | None = None
        self._silent = False
        self._lock = threading.Lock()
        self._number = 0

    def start(self) -> None:
        """It has power and is in reach."""
        words = ["simulate", "ot2", "--port", "0", "--record", str(self.record), "--time-scale", str(TIME_SCALE)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*script("labd"), *words], cwd=ROOT, env=environment(self._folder), stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        found: re.Match[str] = eventually(
            lambda: re.search(r"ready at http://[\d.]+:(\d+)", self._log.read_text()), READY_S, "the virtual robot"
        )
        self._relay = Relay(int(found[1])).start()

    def settings(self) -> str:
        """`[ot2]`; what it draws is debited from the reservoirs of `WELLS`."""
        assert self._relay is not None
        return toml(
            "ot2", url=f"http://127.0.0.1:{self._relay.port}", preflight="robot", poll_s=0.05, look_s=0.2,
            answer_timeout_s=1.0, stop_timeout_s=5.0,
        )  # fmt: skip

    def next_protocol(self, draws_ul: dict[str, float], pieces: int = 1, seconds: float = 0.0) -> Protocol:
        """One that draws so much of each reservoir, each in so many aspirates.

        Args:
            seconds: A wait between the pieces, in the robot's time, which is `TIME_SCALE` times quicker than ours.
        """
        with self._lock:
            self._number += 1
            token = f"protocol-{self._number}"
        commands: list[dict[str, Any]] = [
            {"commandType": "comment", "params": {"message": token}},
            _loading("loadLabware", "trough", loadName="nest_12_reservoir_15ml", location={"slotName": SLOT}),
            _loading("loadLabware", "plate", loadName="nest_96_wellplate_200ul_flat", location={"slotName": "1"}),
            _loading("loadPipette", "single", pipetteName="p300_single_gen2", mount="left"),
        ]
        for piece in range(pieces):
            for reservoir, volume_ul in draws_ul.items():
                part = {"pipetteId": "single", "volume": volume_ul / pieces, "flowRate": 300.0}
                at = {"labwareId": "trough", "wellName": WELLS[reservoir]}
                there = {"labwareId": "plate", "wellName": f"B{piece % 12 + 1}"}
                commands += [
                    {"commandType": "aspirate", "params": {**part, **at}},
                    {"commandType": "dispense", "params": {**part, **there}},
                ]
            if seconds:
                commands.append({"commandType": "waitForDuration", "params": {"seconds": seconds}})
        body = {"robot": {"model": "OT-2 Standard"}, "metadata": {"protocolName": token}, "commands": commands}
        return Protocol(token, f"{token}.json", json.dumps(body), draws_ul)

    def away(self) -> None:
        """Silent or cut, in turns; it goes on by itself."""
        assert self._relay is not None
        self._silent = not self._silent
        if self._silent:
            self._relay.hush()
        else:
            self._relay.cut()

    def back(self) -> None:
        """In reach, with every run it has had."""
        assert self._relay is not None
        self._relay.join()

    def end(self) -> None:
        """SIGTERM by its pid."""
        if self._relay is not None:
            self._relay.end()
        if self._process is not None:
            self._process.terminate()
            self._process.wait(END_S)
            self._process = None


def _loading(kind: str, name: str, **params: Any) -> dict[str, Any]:
    key = "pipetteId" if kind == "loadPipette" else "labwareId"
    return {"commandType": kind, "params": {**params, key: name}, "result": {key: name, "definition": {}}}
