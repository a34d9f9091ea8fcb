"""`python device_file.py` serves that file: a labd of its own with the file's tasks, run in the file's own interpreter.

    from labd import DeviceServer, task

    @task
    def mix_color(R: int, Y: int, B: int): ...

    DeviceServer().run()                       # http://127.0.0.1:8000

Why it lies beside the worker: a worker imports the same file for its tasks, comes to the same line, and must find a
`run` that does nothing there. So this module is lent to workers, too, and has the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import pathlib
import sys
from typing import Any, Dict, Optional, Sequence

from labd.worker import device_process

SCOPES = ["read", "operate"]
NOBODY = "anonymous"


class DeviceServer:
    """Serves the tasks of one file over HTTP until it is ended; Ctrl-C or SIGTERM lets running work end first.

    Args:
        host: Where to listen; beyond this host labd wants `tls_cert` and `tls_key`.
        port: As above; callers need the token that is kept in the state folder (`LABD_TOKEN`).
        file: The file with the tasks; the script that was started, unless given.
        state_dir: Jobs, results and the token are kept here; a folder of the file's own in the user's state folder
            unless given, so a restart goes on with what was asked before.
        tls_cert: PEM file.
        tls_key: PEM file.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 8000, *, file: Optional[str] = None,
        state_dir: Optional[str] = None, tls_cert: Optional[str] = None, tls_key: Optional[str] = None,
    ) -> None:  # fmt: skip
        self.file = _script(file)
        self.state_dir = _state_folder(state_dir, self.file)
        self._at = "{}:{}".format(f"[{host}]" if ":" in host else host, port)
        self._tls = {"tls_cert": tls_cert, "tls_key": tls_key}

    def run(self) -> None:
        """Serve; returns at once in a worker, which imports the file for its tasks only.

        Raises:
            SystemExit: labd ended with an error, or its packages are nowhere.
        """
        if not _is_worker():
            device_process.serve(self)

    start = run

    def tables(self) -> Dict[str, Dict[str, Any]]:
        """The settings of the door."""
        return {"api": {"listen": self._at, **{key: value for key, value in self._tls.items() if value is not None}}}

    def announce(self, socket_path: pathlib.Path) -> str:
        """What a person is told when it serves; makes the token of the clients if there is none."""
        token = self.state_dir / "token"
        if not token.exists():
            made = device_process.ask(
                socket_path, "POST", "/api/v1/tokens", {"name": "clients-of-the-device-file", "scopes": SCOPES}
            )
            with open(os.open(str(token), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
                file.write(made["token"] + "\n")
        scheme = "https" if self._tls["tls_cert"] else "http"
        return f"{scheme}://{self._at}; clients set LABD_TOKEN to the line in {token}"


class MQTTDeviceServer:
    """Serves the tasks of one file through a broker until it is ended.

    Args:
        broker: `host`, `host:port` or `mqtts://host[:port]`; beyond this host it must be TLS, unless `plaintext`.
        device_id: The name that clients ask for.
        username: labd's own at the broker. Its password is the variable MQTT_PASSWORD.
        users: Who of the broker's users may ask; with a broker that asks nobody for a name that is `anonymous`.
        tls: Speak TLS; with the system's authorities, or those of `ca_file`.
        ca_file: PEM file.
        plaintext: Speak to another host without TLS.
        file: As of `DeviceServer`.
        state_dir: As of `DeviceServer`.
    """

    def __init__(
        self, broker: str, device_id: str, *, username: Optional[str] = None, users: Optional[Sequence[str]] = None,
        tls: bool = False, ca_file: Optional[str] = None, plaintext: bool = False, file: Optional[str] = None,
        state_dir: Optional[str] = None,
    ) -> None:  # fmt: skip
        if username is not None and not users:
            raise ValueError("users: name the users of the broker who may ask, such as users=['alice']")
        scheme, _, broker = broker.rpartition("://")
        if scheme not in ("", "mqtt", "mqtts"):
            raise ValueError(f"broker: {scheme}:// is not spoken; give host, host:port or mqtts://host[:port]")
        tls = tls or scheme == "mqtts" or ca_file is not None
        host, _, port = broker.rpartition(":") if broker.rpartition(":")[2].isdigit() else (broker, "", "")
        self.file = _script(file)
        self.state_dir = _state_folder(state_dir, self.file)
        self._device_id = device_id
        self._broker = broker
        self._table: Dict[str, Any] = {
            "broker": host, "port": int(port) if port else None, "device_id": device_id, "username": username,
            "password": "env:MQTT_PASSWORD" if username is not None else None,
            "tls": tls, "ca_file": ca_file, "plaintext": plaintext,
            "users": dict.fromkeys(users or [NOBODY], SCOPES),
        }  # fmt: skip

    def start(self) -> None:
        """As `DeviceServer.run`."""
        if not _is_worker():
            device_process.serve(self)

    run = start

    def tables(self) -> Dict[str, Dict[str, Any]]:
        """The settings of the door."""
        return {"mqtt": {key: value for key, value in self._table.items() if value is not None}}

    def announce(self, socket_path: pathlib.Path) -> str:
        """What a person is told when it serves."""
        return f"the broker {self._broker}, as {self._device_id}"


def _is_worker() -> bool:
    return "labd.worker.main" in sys.modules


def _script(file: Optional[str]) -> pathlib.Path:
    if _is_worker():
        return pathlib.Path()  # nothing is served there
    if file is None:
        file = getattr(sys.modules.get("__main__"), "__file__", None)
    if file is None:
        raise ValueError("file: there is no script to serve; name the file with the tasks")
    return pathlib.Path(file).absolute()


def _state_folder(given: Optional[str], file: pathlib.Path) -> pathlib.Path:
    if given is not None:
        return pathlib.Path(given).absolute()
    root = os.environ.get("XDG_STATE_HOME") or os.path.join(os.path.expanduser("~"), ".local", "state")  # noqa: PTH111, PTH118
    name = f"{file.stem}-{hashlib.sha256(os.fsencode(str(file))).hexdigest()[:8]}"
    return pathlib.Path(root) / "labd" / "devices" / name
