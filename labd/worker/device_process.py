"""The labd that a device server starts for its file: settings, process, and the first words with it."""

from __future__ import annotations

import json
import os
import pathlib
import sys
from typing import Any, Dict, List, Mapping

DAEMON_NEEDS = ("aiohttp", "aiosqlite", "click", "cronsim", "msgspec", "structlog")
READY_S = 30.0
LOOK_AGAIN_S = 0.1


def settings_text(file: pathlib.Path, state_dir: pathlib.Path, tables: Mapping[str, Mapping[str, Any]]) -> str:
    """The settings of a labd that serves one file.

    Why a module and not a task folder: a module may name its environment, which is the interpreter this file was
    started with, and what lies beside the file can be imported as it could by the script.
    """
    all_tables: Dict[str, Mapping[str, Any]] = {
        "host": {"name": file.stem},
        "tasks": {"folders": [], "modules": [f"device:{file.stem}"]},
        "env.device": {"python": sys.executable, "variables": {"PYTHONPATH": str(file.parent)}},
        **tables,
    }
    lines: List[str] = [f"state_dir = {_toml(str(state_dir))}"]
    for name, table in all_tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def _command() -> List[str]:
    """How labd is started: in this interpreter if it has what the daemon needs, else as the program on PATH."""
    import importlib.util
    import shutil

    missing = [name for name in DAEMON_NEEDS if importlib.util.find_spec(name) is None]
    if not missing and sys.version_info >= (3, 11):
        pyz = os.environ.get("LABD_PYZ")
        return [sys.executable] + ([pyz] if pyz else []) + ["-m", "labd"]
    program = shutil.which("labd")
    if program is None:
        lacks = ", ".join(missing) or "Python 3.11"
        raise SystemExit(
            f"labd: {sys.executable} lacks {lacks}, and there is no program labd on PATH; pip install labd"
        )
    return [program]


def serve(server: Any) -> None:
    """Start labd for a device server, tell where it is, and wait for its end.

    Raises:
        SystemExit: labd ended with an error, or its packages are nowhere.
    """
    import signal
    import subprocess

    folder: pathlib.Path = server.state_dir
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    config = folder / "labd.toml"
    config.write_text(settings_text(server.file, folder, server.tables()), encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if key not in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY")}
    process = subprocess.Popen([*_command(), "run", "--config", str(config)], env=environ, preexec_fn=_end_with_parent)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        if _wait_until_it_serves(process, folder / "run" / "labd.sock"):
            told = server.announce(folder / "run" / "labd.sock")
            sys.stderr.write(f"labd serves {server.file.name} at {told}\n")
        code = _wait(process)
    finally:
        signal.signal(signal.SIGTERM, before)
    if code:
        raise SystemExit(code)


def _wait(process: Any) -> int:
    while True:
        try:
            return int(process.wait())
        except KeyboardInterrupt:  # the terminal sent it to labd, too, which drains now
            continue


def _end_with_parent() -> None:
    """In the child, before labd: ask the kernel for a SIGTERM when this script dies (prctl(2), PR_SET_PDEATHSIG)."""
    import ctypes
    import signal

    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM))


def _wait_until_it_serves(process: Any, socket_path: pathlib.Path) -> bool:
    import threading
    import time

    deadline = time.monotonic() + READY_S
    never = threading.Event()
    while time.monotonic() < deadline and process.poll() is None:
        try:
            ask(socket_path, "GET", "/api/v1/status", None)
        except (OSError, ValueError):
            never.wait(LOOK_AGAIN_S)
        else:
            return True
    return False


def ask(socket_path: pathlib.Path, method: str, path: str, body: Any) -> Any:
    """One request to the labd that was started, over its socket."""
    import http.client
    import socket

    line = http.client.HTTPConnection("localhost", timeout=READY_S)
    line.sock = socket.socket(socket.AF_UNIX)
    try:
        line.sock.settimeout(READY_S)
        line.sock.connect(str(socket_path))
        payload = None if body is None else json.dumps(body)
        line.request(method, path, payload, {"Content-Type": "application/json"})
        answer = line.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise ValueError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text)
    finally:
        line.close()
