"""One process-wide hardware controller, contexts on it, and protocols; a movement waits for the hardware as it does."""

import json
import os
import threading
from pathlib import Path

from opentrons.protocols import parse

_THREAD_MANAGED_HW = None


def record(what, **facts):
    line = {"what": what, "pid": os.getpid(), "thread": threading.current_thread().name, **facts}
    with Path(os.environ["RECORD"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


class Hardware:
    def __init__(self):
        record("opened")
        self.sync = self
        self.changed = threading.Condition()
        self.paused = self.halted = False

    def set(self, **facts):
        with self.changed:
            self.__dict__.update(facts)
            self.changed.notify_all()

    def halt(self, disengage_before_stopping=False):
        record("halt")
        self.set(halted=True)

    def pause(self, kind):
        record("pause", kind=kind.name)
        self.set(paused=True)

    def resume(self, kind):
        record("resume", kind=kind.name)
        self.set(paused=False)

    def move(self, for_ever=False):
        with self.changed:
            self.changed.wait_for(lambda: self.halted or not (self.paused or for_ever))
            if self.halted:
                raise RuntimeError("the motors were halted")


class Context:
    def __init__(self, hardware, tell=lambda message: None):
        self.hardware = hardware
        self.tell = tell
        self.rail_lights_on = False
        self.door_closed = True

    def set_rail_lights(self, on):
        record("lights", on=on)
        self.rail_lights_on = on

    def _command(self, name, for_ever=False, pause=False):
        self.tell({"$": "before", "name": "command." + name, "payload": {"text": name}, "error": None})
        record("command", name=name)
        if pause:
            self.hardware.set(paused=True)
        self.hardware.move(for_ever)
        self.tell({"$": "after", "name": "command." + name, "payload": {"text": name}, "error": None})

    def home(self):
        self._command("HOME")

    def comment(self, text):
        self._command("COMMENT")

    def delay(self, seconds=0, minutes=0):
        self._command("DELAY", for_ever=minutes > 0)

    def pause(self, text=""):
        self._command("PAUSE", pause=True)


def _get_robot_type():
    return "OT-2 Standard"


def _get_global_hardware_controller(robot_type):
    global _THREAD_MANAGED_HW
    if _THREAD_MANAGED_HW is None:
        _THREAD_MANAGED_HW = Hardware()
    return _THREAD_MANAGED_HW


def get_protocol_api(version):
    record("context", version=version)
    return Context(_get_global_hardware_controller(_get_robot_type()))


def execute(protocol_file, protocol_name, emit_runlog=None, custom_labware_paths=None):
    labware = [path.name for folder in custom_labware_paths or () for path in Path(folder).iterdir()]
    record("execute", name=protocol_name, labware=labware)
    names = {}
    exec(parse.parse(protocol_file.read(), protocol_name), names)
    names["run"](Context(_get_global_hardware_controller(_get_robot_type()), emit_runlog))
