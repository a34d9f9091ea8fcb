"""One value of each request made nasty: what storage, clocks, paths, logs and readers of other programs trip over.

    python -m tests.intruders.nasty [--share 1.0] [--seed N]

Why beside schemathesis: it makes requests that fit a schema or do not, and what breaks a program fits it mostly: a
number that SQLite has no room for, an instant in the year 10^300, a name that climbs out of a folder.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Iterator
from random import Random
from typing import Any
from urllib.parse import quote

import requests

from tests.intruders.conformance import LEFT_OUT, Findings, is_honest
from tests.intruders.whole_process import CALL_S, Target, target

TEXTS = (
    "", " ", "\0", "a\0b", "a\nb", "\r\nSet-Cookie: a=b", "..", "../../../../etc/passwd", "/etc/passwd", "a/../../b",
    "~root", "file:///etc/passwd", "http://127.0.0.1:1/", "s3://x", "//x/y", "C:\\x", "-rf", "--help",
    "'; DROP TABLE job; --", "' OR '1'='1", "%s%n", "{0.__class__}", "${HOME}", "$(id)", "`id`", "{{7*7}}",
    "<script>alert(1)</script>", "\u202e", "\ufeff", "ß" * 200, "\U0001f9ea", "x" * 10_000, "*", "%", "_", "[",
    "(" * 50, "a{1,1000000}", "NaN", "1e400", "9" * 400, "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z", "0 0 31 2 *", "* * * * * *", "MATCH (n) DETACH DELETE n", "SELECT 1; DROP TABLE x",
)  # fmt: skip
NUMBERS = (0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, -(2**63), 1e18, 1e300, -1e300, 5e-324, 0.1 + 0.2)
# What a property holds that has no default: names that are there, so that more than the first check is reached.
GOOD: dict[str, Any] = {
    "task": "resort.get_current_position", "args": {}, "reservoir": "red", "customer": "customer1", "lid": "open",
    "required_ul": {"red": 1.0}, "volumes_ul": {"red": 1.0}, "level_ul": 100.0, "change_ul": 1.0, "cron": "0 3 * * *",
    "source": {"url": "file:///nowhere", "pattern": "**/*"}, "format": {"type": "jsonl"},
    "cypher": "MATCH (n) RETURN n", "destination": {"table": "t"}, "scopes": ["read"], "reason": "a test",
    "value": 1, "session_id": "s", "ttl_s": 0.001, "claim_token": "x",
}  # fmt: skip
OTHERS: tuple[Any, ...] = (None, True, [], {}, [[]], {"": ""}, [None], {"a": {"b": {"c": [1]}}})
HALVES = (b'"\\ud800"', b'"a\\udfffb"')  # of surrogate pairs; no JSON writer makes them


def base_of(schema: dict[str, Any], schemas: dict[str, Any], name: str = "", depth: int = 0) -> Any:
    """A value that fits, as short as can be, with every property there is."""
    if "default" in schema:
        return schema["default"]
    if name in GOOD:
        return GOOD[name]
    if "$ref" in schema:
        return base_of(schemas[schema["$ref"].rpartition("/")[2]], schemas, name, depth)
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return base_of(schema[word][0], schemas, name, depth)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type")
    if kind == "object":
        if depth > 4:
            return {}
        return {key: base_of(part, schemas, key, depth + 1) for key, part in schema.get("properties", {}).items()}
    if kind == "array":
        return (
            [base_of(schema["items"], schemas, name, depth + 1)] if schema.get("minItems") and "items" in schema else []
        )
    if kind == "string":
        return "a" * max(1, schema.get("minLength", 1))
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1)
    return False if kind == "boolean" else None


def places(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Ways to every value in it, the whole too."""
    yield way
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*way, key))


def put(value: Any, way: tuple[Any, ...], nasty: Any) -> Any:
    """A copy with something else at the place."""
    if not way:
        return nasty
    found = copy.deepcopy(value)
    inner = found
    for key in way[:-1]:
        inner = inner[key]
    inner[way[-1]] = nasty
    return found


def bodies(base: Any) -> Iterator[bytes]:
    """The body with each of its values made nasty."""
    mark = "@@half@@"
    for way in places(base):
        for nasty in (*TEXTS, *NUMBERS, *OTHERS):
            yield json.dumps(put(base, way, nasty)).encode()
        for half in HALVES:
            yield json.dumps(put(base, way, mark)).encode().replace(f'"{mark}"'.encode(), half)


def attacks(house: Target) -> Iterator[tuple[str, str, str, bytes | None]]:
    """Route, method, address and body."""
    schemas = house.document["components"]["schemas"]
    for path, operations in house.document["paths"].items():
        for method, operation in operations.items():
            route = f"{method.upper()} {path}"
            if route in LEFT_OUT:
                continue
            parts = {part["name"]: part for part in operation.get("parameters", []) if part["in"] == "path"}
            fits = {name: next(iter(house.values_of(path, name)), "a") for name in parts}
            body = operation.get("requestBody")
            plain = None
            if body is not None:
                plain = base_of(body["content"]["application/json"]["schema"], schemas)
                for text in bodies(plain):
                    yield route, method, _filled(path, fits), text
            sent = None if plain is None else json.dumps(plain).encode()
            for name in parts:
                for nasty in TEXTS:
                    if nasty:
                        yield route, method, _filled(path, {**fits, name: nasty}), sent
            for part in operation.get("parameters", []):
                if part["in"] == "query":
                    for nasty in (*TEXTS, *NUMBERS, "nan", "inf", "-inf", "true", "null", "[]", "1_000", " 1", "٣"):
                        if (part["name"], nasty) not in (("wait", 1), ("wait", " 1")):
                            asked = f"{part['name']}={quote(str(nasty))}"
                            yield route, method, f"{_filled(path, fits)}?{asked}", sent


def _filled(path: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        path = path.replace("{" + name + "}", quote(value, safe=""))
    return path


def attack(house: Target, share: float, seed: int) -> Findings:
    """Send a share of all attacks, chosen by the seed, as an admin; the first fault of each route is kept."""
    found = Findings()
    random = Random(seed)
    with house.session("admin") as session:
        for route, method, address, body in attacks(house):
            if random.random() < share:
                _send(house, session, route, method, address, body, found)
    return found


def _send(
    house: Target, session: requests.Session, route: str, method: str, address: str, body: bytes | None, found: Findings
) -> None:
    request = requests.Request(method.upper(), house.base + "/", data=body, headers=dict(session.headers)).prepare()
    request.url = house.base + address  # as it is: requests would take dots out of a path
    answer = session.send(request, timeout=CALL_S, allow_redirects=False)
    found.calls += 1
    found.statuses[answer.status_code] += 1
    found.seconds[route] += answer.elapsed.total_seconds()
    if answer.status_code >= 500 and not is_honest(answer):
        found.put(
            route, "a fault of labd", answer.status_code, f"{address} {(body or b'')[:300]!r} -> {answer.text[:300]}"
        )
    if answer.status_code == 401 and "session" not in route:
        found.put(route, "the token is gone", 401, address)
    if answer.headers.get("Content-Type", "").startswith("application/json") and answer.content:
        answer.json()


def main() -> int:
    """The command; 1 where something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with target() as house:
        found = attack(house, chosen.share, chosen.seed)
        told = house.daemon.events("api.request_failed")
        print(f"== seed {chosen.seed}: {found.text()}\n== faults in the log: {len(told)}")
        for line in told[:10]:
            print(line.get("method"), line.get("path"), str(line.get("exception"))[-600:])
    return int(bool(found.faults or told))


if __name__ == "__main__":
    sys.exit(main())
