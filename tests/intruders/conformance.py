"""Asks a whole daemon everything that its OpenAPI document allows, and much that it does not, and looks at the answers.

    python -m tests.intruders.conformance [--examples N] [--seed N] [--scope read|operate|admin]

Why the document is changed before requests are made of it: a path with a name that nobody has only shows that a 404 is
a 404. So names and numbers that are there stand beside any text, and a job is one of a real task with its arguments.
"""

from __future__ import annotations

import argparse
import copy
import http.client
import json
import socket
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from tests.acceptance.processes import ROOT, Daemon
from tests.intruders.matrix import allows, table

SCOPES = ("read", "operate", "admin")
# What these do is not what is asked here: the first does not end, the others take the daemon's own packages or reach
# for a registry.
LEFT_OUT = {"GET /api/v1/events", "POST /api/v1/environments/{name}/sync"}
CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
# Codes of the tree that are no fault of labd, with a status from 500 on; each only where the route names it.
HONEST = (
    "unavailable", "environment_off", "task_off", "wing_off", "draining", "overloaded", "store_full", "dataset_changed",
    "source_unreachable", "graph_unreachable", "cluster_unreachable", "table_conflict",
)  # fmt: skip
CALL_S = 20.0
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@dataclass
class Findings:
    """What did not hold: route, kind and status, with the first example."""

    calls: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    faults: dict[tuple[str, str, int], str] = field(default_factory=dict)

    def put(self, route: str, kind: str, status: int, example: str) -> None:
        """Remember the first of its kind."""
        self.faults.setdefault((route, kind, status), example)

    def text(self) -> str:
        """For people."""
        lines = [f"{route}: {kind} ({status})\n    {example}" for (route, kind, status), example in self.faults.items()]
        slowest = ", ".join(f"{route} {taken:.1f} s" for route, taken in self.seconds.most_common(5))
        return "\n".join([f"{self.calls} calls, {dict(sorted(self.statuses.items()))}; slowest: {slowest}", *lines])


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


def ask_everything(
    house: Target, scope: str, examples: int, seed: int, modes: tuple[GenerationMode, ...] = MODES
) -> Findings:
    """So many requests of each kind to every route, with a token of this scope."""
    found = Findings()
    expected = table()
    with house.session(scope) as session, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # schemathesis tells what it cannot make, which is much of what is negative
        schema = schemathesis.openapi.from_dict(house.asked())
        for result in schema.get_all_operations():
            operation = result.ok()
            route = f"{operation.method.upper()} {operation.path}"
            if route in LEFT_OUT:
                continue
            let_in = allows(scope, expected[route])
            for mode in modes:
                _ask(house, session, operation, route, let_in, mode, examples if let_in else 1, seed, found)
    return found


def _ask(
    house: Target, session: requests.Session, operation: Any, route: str, let_in: bool, mode: GenerationMode,
    examples: int, seed: int, found: Findings,
) -> None:  # fmt: skip
    @seeded(seed)
    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    def run(case: Any) -> None:
        answer = case.call(base_url=house.base, session=session, timeout=CALL_S)
        found.calls += 1
        found.seconds[route] += answer.elapsed
        found.statuses[answer.status_code] += 1
        example = f"{case.path_parameters} {case.query} {str(case.body)[:300]} -> {answer.content[:300]!r}"
        if not let_in and answer.status_code != 403:
            found.put(route, "let in", answer.status_code, example)
        if answer.status_code >= 500 and not is_honest(answer):
            found.put(route, "a fault of labd", answer.status_code, example)
        try:
            case.validate_response(answer, checks=CHECKS)
        except FailureGroup as failures:
            for one in failures.exceptions:
                found.put(route, type(one).__name__, answer.status_code, f"{str(one)[:300]} {example}")
        _free(house, session, route, answer)

    try:
        run()
    except Unsatisfiable:
        pass  # a route that takes nothing has no bad requests


def is_honest(answer: Any) -> bool:
    """Whether an answer from 500 on tells of something outside labd, or of a daemon that is full or going."""
    try:
        return answer.json()["code"] in HONEST
    except (ValueError, KeyError, TypeError):
        return False


def _free(house: Target, session: requests.Session, route: str, answer: Any) -> None:
    """Undo what would make every later answer the same."""
    if answer.status_code == 200 and route.endswith("/control/claim"):
        body = {"claim_token": answer.json()["claim_token"]}
        session.post(f"{house.base}/equipment/resort/control/release", json=body, timeout=CALL_S)


def main() -> int:
    """The command; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scope", choices=SCOPES, action="append")
    chosen = parser.parse_args()
    bad = 0
    with target() as house:
        for scope in chosen.scope or SCOPES:
            found = ask_everything(house, scope, chosen.examples, chosen.seed)
            print(f"== {scope}, seed {chosen.seed}: {found.text()}")
            bad += len(found.faults)
        print(f"== faults in the log: {len(house.daemon.events('api.request_failed'))}")
        bad += len(house.daemon.events("api.request_failed"))
    return min(1, bad)


if __name__ == "__main__":
    sys.exit(main())
