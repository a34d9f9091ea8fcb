"""Every request about snapshots, as a value: one table for the blocking and the asynchronous client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from labctl.routes import Request, get, given, part, post

ROOT = "/snapshots"
SCAN_ANSWER_S = 600.0
DEMO_ANSWER_S = 600.0
DROP_ANSWER_S = 600.0
QUERY_LIMIT_S = 3600.0  # the most that the settings can allow
QUERY_GRACE_S = 30.0


def customer_path(customer: str) -> str:
    """Where a customer is."""
    return f"{ROOT}/customers/{part(customer)}"


def version_path(customer: str, timestamp: str) -> str:
    """Where a snapshot is."""
    return f"{customer_path(customer)}/versions/{part(timestamp)}"


def page(customer: str | None, state: str | None, limit: int | None, offset: int | None) -> Request:
    """Some of all."""
    return get(ROOT, customer=customer, state=state, limit=limit, offset=offset)


def load(customer: str, timestamp: str | None, switch: bool | None) -> Request:
    """Of one snapshot, the newest of the customer if none is named."""
    path = customer_path(customer) if timestamp is None else version_path(customer, timestamp)
    return post(f"{path}/load", given(switch=switch))


def load_new(switch: bool | None) -> Request:
    """Of all that is new."""
    return post(f"{ROOT}/load", given(switch=switch))


def act(verb: str, customer: str, timestamp: str) -> Request:
    """`verify`, `switch`, `pin`, `unpin` or `drop`."""
    return post(f"{version_path(customer, timestamp)}/{verb}")


def decide(verb: str, customer: str, timestamp: str, reason: str) -> Request:
    """`approve` or `reject`."""
    return post(f"{version_path(customer, timestamp)}/{verb}", {"reason": reason})


def rollback(customer: str, reason: str) -> Request:
    """One version back."""
    return post(f"{customer_path(customer)}/rollback", {"reason": reason})


def cleanup_plan(customer: str | None) -> Request:
    """What a cleanup would do."""
    return get(f"{ROOT}/cleanup", customer=customer)


def cleanup(customer: str | None) -> Request:
    """Drop what nobody needs."""
    return post(f"{ROOT}/cleanup", given(customer=customer))


def query(
    customer: str,
    cypher: str,
    parameters: Mapping[str, Any] | None,
    timeout_s: float | None,
    limit: int | None,
    database: str | None,
) -> Request:
    """Ask the version that serves."""
    more = given(timeout_s=timeout_s, limit=limit, database=database)
    return post(f"{customer_path(customer)}/query", {"cypher": cypher, "parameters": dict(parameters or {}), **more})


def query_answer_s(timeout_s: float | None) -> float:
    """How long to wait for the answer of a query."""
    return (QUERY_LIMIT_S if timeout_s is None else timeout_s) + QUERY_GRACE_S


def simulate(customer: str, rows: int | None, damage: str | None) -> Request:
    """Lay down a made-up snapshot."""
    return post(f"{ROOT}/simulate", {"customer": customer, **given(rows=rows, damage=damage)})


def demo_data(rows: int | None, damaged: bool) -> Request:
    """Lay down the first ones."""
    return post(f"{ROOT}/demo-data", {"damaged": damaged, **given(rows=rows)})
