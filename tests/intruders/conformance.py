"""Asks a whole daemon everything that its OpenAPI document allows, and much that it does not, and looks at the answers.

    python -m tests.intruders.conformance [--examples N] [--seed N] [--scope read|operate|admin]

Why the document is changed before requests are made of it: a path with a name that nobody has only shows that a 404 is
a 404. So names and numbers that are there stand beside any text, and a job is one of a real task with its arguments.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from tests.intruders.matrix import allows, table
from tests.intruders.whole_process import CALL_S, SCOPES, Target, target

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
