"""A daemon of all wings as a process, with something of everything in it, for who asks it all kinds of things."""

from __future__ import annotations

import copy
import http.client
import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.acceptance.processes import ROOT, Daemon

SCOPES = ("read", "operate", "admin")
CALL_S = 20.0


class Target:
    """A daemon as a process, with something of everything in it, and a token of each scope."""

    def __init__(self, daemon: Daemon, port: int) -> None:
        self.daemon = daemon
        self.base = f"http://127.0.0.1:{port}"
        self._tokens: dict[str, str] = {}
        self._fill()
        for scope in SCOPES:
            self._tokens[scope] = self.unix("POST", "/api/v1/tokens", {"name": f"f-{scope}", "scopes": [scope]})[
                "token"
            ]
        spare = self.unix("POST", "/api/v1/tokens", {"name": "spare"})
        self.document: dict[str, Any] = self.unix("GET", "/api/v1/openapi.json")
        self.known = self._known(str(spare["id"]))

    def unix(self, method: str, path: str, body: Any = None) -> Any:
        """By the socket, as the daemon's own user."""
        line = _Unix(self.daemon.socket)
        try:
            line.request(method, path, None if body is None else json.dumps(body))
            answer = line.getresponse()
            text = answer.read()
            assert answer.status < 300, f"{method} {path}: {answer.status} {text[:300]!r}"
            return json.loads(text)
        finally:
            line.close()

    def session(self, scope: str) -> requests.Session:
        """A client with the token of a scope."""
        found = requests.Session()
        found.trust_env = False
        found.headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        return found

    def _fill(self) -> None:
        inbox = self.daemon.folder / "inbox"
        inbox.mkdir()
        (inbox / "a.jsonl").write_text('{"id": 1}\n')
        self.unix("POST", "/api/v1/inventory/initialize", {})
        self.unix("POST", "/api/v1/snapshots/simulate", {"customer": "customer1", "rows": 20})
        self.unix("POST", "/api/v1/ingestions", {
            "name": "sales", "source": {"url": inbox.as_uri(), "settle_s": 0}, "format": {"type": "jsonl"},
            "destination": {"table": "sales"},
        })  # fmt: skip
        self.unix(
            "POST", "/api/v1/schedules", {"name": "nightly", "task": "resort.get_current_position", "cron": "0 3 * * *"}
        )
        for delay_s in (0, 3600):
            self.unix("POST", "/api/v1/jobs", {"task": "resort.get_current_position", "delay_s": delay_s})

    def _known(self, token: str) -> dict[tuple[str, str], list[str]]:
        """Values that are there, by the beginning of a path and the name of its part."""
        customers = [one["customer"] for one in self.unix("GET", "/api/v1/snapshots/customers")["customers"]]
        queues = [one["name"] for one in self.unix("GET", "/api/v1/queues")["queues"]]
        return {
            ("/api/v1/jobs", "id"): ["1", "2"],
            ("/api/v1/why", "id"): ["1", "2"],
            ("/api/v1/queues", "name"): queues,
            ("/api/v1/schedules", "name"): ["nightly"],
            ("/api/v1/tasks", "name"): ["resort.go_home", "ingest.run"],
            ("/api/v1/tokens", "id"): [token],
            ("/execute", "task"): ["resort.get_current_position", "inventory.verify", "inventory.check_status"],
            ("/api/v1/inventory", "name"): ["red", "blue"],
            ("/api/v1/snapshots", "customer"): customers,
            ("/api/v1/ingestions", "id"): ["sales"],
            ("/api/v1/ingestions", "run"): ["1"],
            ("/api/v1/runbook", "code"): ["stop_latched"],
            ("/web", "stamp"): ["0"],
            ("/web", "name"): ["icon.svg"],
        }  # fmt: skip

    def asked(self) -> dict[str, Any]:
        """The document with what is there beside any text."""
        found = copy.deepcopy(self.document)
        for path, operations in found["paths"].items():
            for operation in operations.values():
                for parameter in operation.get("parameters", []):
                    self._widen(path, parameter)
        tasks = found.pop("x-labd-tasks")
        schemas = found["components"]["schemas"]
        for name in ("SimulateBody", "DemoBody"):  # a million rows take their time
            for field_name in ("rows", "people"):
                if field_name in schemas.get(name, {}).get("properties", {}):
                    schemas[name]["properties"][field_name] = {"type": "integer", "minimum": 1, "maximum": 20}
        if "Submission" in schemas:
            plain = schemas["Submission"]
            real = []
            for name, arguments in tasks.items():
                one = copy.deepcopy(plain)
                one["properties"] |= {"task": {"const": name}, "args": arguments}
                real.append(one)
            schemas["Submission"] = {"anyOf": [plain, *real]}
        return found

    def values_of(self, path: str, name: str) -> list[str]:
        """What may stand in this part of a path, of what is there."""
        return next(
            (known for (start, part), known in self.known.items() if path.startswith(start) and part == name), []
        )

    def _widen(self, path: str, parameter: dict[str, Any]) -> None:
        if parameter["in"] == "path":
            if values := self.values_of(path, parameter["name"]):
                parameter["schema"] = {"anyOf": [{"enum": values}, {"type": "string", "minLength": 1}]}
        elif parameter["name"] == "wait":
            parameter["schema"] = {"type": "number", "minimum": 0, "maximum": 0.01}


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("labd", timeout=CALL_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(CALL_S)
        self.sock.connect(str(self._path))


@contextmanager
def target() -> Iterator[Target]:
    """A daemon of all wings over a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="labd-", ignore_cleanup_errors=True) as folder:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        demo = (ROOT / "etc/labd.demo.toml").read_text().replace('"etc/tasks.d"', f'"{ROOT}/etc/tasks.d"')
        start, _, rest = demo.partition("[env.ot2]")  # else a request could have it fetched from the registry
        demo = start + "[ot2]\n" + rest.partition("\n[ot2]\n")[2]
        daemon = Daemon(Path(folder), f'{demo}\n[api]\nlisten = "127.0.0.1:{port}"\n').start()
        try:
            yield Target(daemon, port)
        finally:
            daemon.end()
