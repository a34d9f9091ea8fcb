"""Commands to a running virtual bus: JSON objects in, JSON objects out, a line each.

    {"do": "fault", "kind": "lost", "next": 2}          {"do": "surround", "servo": 1, "wall": 2000}
    {"do": "fault", "kind": "corrupt", "chance": 0.1}   {"do": "hardware_error", "servo": 1, "bits": 4}
    {"do": "unplug"}                                    {"do": "state"}

Every answer is `{"ok": true, ...}` or `{"ok": false, "error": "..."}`. `servo` may be left out where there is one.
"""

from __future__ import annotations

import json
import selectors
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from labd.resort.virtual.simulator import VirtualBus
from labd.resort.virtual.virtual_servo import VirtualServo

_MAXIMUM_LINE_BYTES = 65_536
_SURROUNDINGS = frozenset({"stalled", "wall", "load", "supply_v", "ambient_celsius", "overload_s"})


def obey(bus: VirtualBus, command: dict[str, Any]) -> dict[str, Any]:
    """Carry out one command.

    Raises:
        KeyError: No such command or servo, or an argument is missing.
        ValueError: An argument that cannot be.
        TypeError: An argument of another kind.
    """
    name = command["do"]
    commands: dict[str, Callable[[VirtualBus, dict[str, Any]], dict[str, Any]]] = {
        "state": lambda bus, _: bus.state(),
        "plug": lambda bus, _: {"path": bus.plug()},
        "unplug": _unplug,
        "fault": _fault,
        "no_faults": _no_faults,
        "surround": _surround,
        "stall": _stall,
        "push": lambda bus, args: {"moved": _servo(bus, args).push(int(args["steps"]))},
        "warm": _warm,
        "hardware_error": _hardware_error,
        "reboot": _reboot,
        "trip_watchdog": _trip_watchdog,
    }
    if name not in commands:
        raise KeyError(f"no command {name!r}; known: {', '.join(commands)}")
    return commands[name](bus, command)


def _servo(bus: VirtualBus, args: dict[str, Any]) -> VirtualServo:
    """The servo meant."""
    if "servo" in args:
        return bus.servo(int(args["servo"]))
    if len(bus.servos) == 1:
        return bus.servos[0]
    raise KeyError(f'several servos on this bus: say which, such as "servo": {bus.servos[0].servo_id}')


def _unplug(bus: VirtualBus, _: dict[str, Any]) -> dict[str, Any]:
    bus.unplug()
    return {}


def _fault(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    if "late_s" in args:
        bus.faults.late_s = float(args["late_s"])
    if "chance" in args:
        bus.faults.chance(args["kind"], float(args["chance"]))
    else:
        bus.faults.next(args["kind"], int(args.get("next", 1)))
    return bus.faults.state()


def _no_faults(bus: VirtualBus, _: dict[str, Any]) -> dict[str, Any]:
    bus.faults.clear()
    return bus.faults.state()


def _surround(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    changes = {key: value for key, value in args.items() if key not in ("do", "servo")}
    unknown = sorted(set(changes) - _SURROUNDINGS)
    if unknown:
        raise ValueError(f"cannot set {', '.join(unknown)}; known: {', '.join(sorted(_SURROUNDINGS))}")
    servo = _servo(bus, args)
    servo.surround(**changes)
    return servo.state()


def _stall(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    servo = _servo(bus, args)
    servo.surround(stalled=bool(args.get("on", True)))
    return servo.state()


def _warm(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    servo = _servo(bus, args)
    servo.warm(float(args["celsius"]))
    return servo.state()


def _hardware_error(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    servo = _servo(bus, args)
    servo.hardware_error(int(args["bits"]))
    return servo.state()


def _reboot(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    servo = _servo(bus, args)
    servo.reboot()
    return servo.state()


def _trip_watchdog(bus: VirtualBus, args: dict[str, Any]) -> dict[str, Any]:
    servo = _servo(bus, args)
    servo.trip_watchdog()
    return servo.state()


def answer_line(bus: VirtualBus, line: bytes) -> bytes:
    """One line in, one line out; a bad line gets an answer as well."""
    try:
        command = json.loads(line)
        if not isinstance(command, dict) or "do" not in command:
            raise ValueError('a command is an object such as {"do": "state"}')
        with bus.lock:
            answer = {"ok": True, **obey(bus, command)}
    except (KeyError, ValueError, TypeError) as error:
        answer = {"ok": False, "error": str(error.args[0]) if error.args else repr(error)}
    return json.dumps(answer).encode() + b"\n"


class ControlSocket:
    """The Unix socket where commands come in; it has no thread, its owner's selector calls `serve`.

    Args:
        path: Made anew; a dead socket of a killed process is replaced, a living one is an error.
    """

    def __init__(self, path: Path, bus: VirtualBus, selector: selectors.BaseSelector) -> None:
        self.path = path
        self._bus = bus
        self._selector = selector
        self._buffers: dict[socket.socket, bytes] = {}
        _remove_dead(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(str(path))
        except OSError:
            self._listener.close()
            raise
        path.chmod(0o600)
        self._listener.listen(8)
        selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(1.0)
        self._buffers[connection] = b""
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._read(connection))

    def _read(self, connection: socket.socket) -> None:
        """Take what is there; answer every whole line."""
        try:
            data = connection.recv(4096)
            *lines, rest = (self._buffers[connection] + data).split(b"\n")
            self._buffers[connection] = rest
            for line in lines:
                connection.sendall(answer_line(self._bus, line))
        except OSError:
            data = b""
        if not data or len(self._buffers[connection]) > _MAXIMUM_LINE_BYTES:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        del self._buffers[connection]
        connection.close()

    def close(self) -> None:
        """Close all and remove the socket's file."""
        for connection in list(self._buffers):
            self._drop(connection)
        self._selector.unregister(self._listener)
        self._listener.close()
        self.path.unlink(missing_ok=True)


def _remove_dead(path: Path) -> None:
    """Make room for a socket.

    Raises:
        OSError: Somebody answers there, or it is no socket.
    """
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise OSError(f"another virtual bus answers on {path}; end it first or choose another --control")
