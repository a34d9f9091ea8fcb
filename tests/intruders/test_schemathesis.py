"""What the OpenAPI document promises is what a whole daemon does, with every scope; see `tests.intruders.conformance`.

The long form is `python -m tests.intruders.conformance --examples 200`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.intruders.conformance import MODES, ask_everything
from tests.intruders.nasty import attack
from tests.intruders.whole_process import Target, target

SEED = 8
ASKED = {"read": MODES[:1], "operate": MODES[:1], "admin": MODES}


@pytest.fixture(scope="module")
def house() -> Iterator[Target]:
    with target() as found:
        yield found


@pytest.mark.timeout(240)
@pytest.mark.parametrize("scope", ASKED)
def test_every_route_keeps_what_the_document_promises(house: Target, scope: str) -> None:
    found = ask_everything(house, scope, 1, SEED, ASKED[scope])
    assert not found.faults, found.text()
    assert found.calls > 140
    assert found.statuses[200] > 20
    assert not house.daemon.events("api.request_failed"), "labd's log tells of a fault"


def test_no_nasty_value_is_a_fault_of_labd(house: Target) -> None:
    """A part of `python -m tests.intruders.nasty`, chosen by a seed."""
    found = attack(house, 0.012, SEED)
    assert not found.faults, found.text()
    assert found.calls > 300
    assert not house.daemon.events("api.request_failed"), "labd's log tells of a fault"


WERE_FAULTS = [
    ("GET", "/api/v1/snapshots?offset=9223372036854775808", None),
    ("GET", "/api/v1/ingestions/runs?before=9223372036854775808", None),
    ("GET", "/api/v1/ingestions/sales/files?run=9223372036854775808", None),
    ("GET", "/api/v1/timeline?until=0001-01-01T00:00:00Z", None),
    ("GET", "/api/v1/timeline/marks?until=0001-01-01T00:00:00Z", None),
    ("POST", "/api/v1/ingestions", {
        "name": "nul", "source": {"url": "file:///nowhere"}, "format": {"type": "csv", "encoding": "a\0b"},
        "destination": {"table": "nul"},
    }),
    ("POST", "/api/v1/jobs", {"task": "ingest.load_batch", "args": {"ingestion": "sales", "run": 2**63, "batch": 1}}),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body"), WERE_FAULTS)
def test_what_was_a_fault_once_is_a_bad_request(house: Target, method: str, path: str, body: Any) -> None:
    with house.session("admin") as session:
        answer = session.request(method, house.base + path, json=body, timeout=20)
    assert answer.status_code in (400, 422), answer.text


@pytest.mark.parametrize(
    "color", ["..", "__class__", "__", "-- '; DROP TABLE x", "\u202e", "ß" * 200, "None", "2-propanol"]
)
def test_no_colour_of_a_reservoir_keeps_the_tasks_from_being_made(house: Target, color: str) -> None:
    """The tasks have an argument for each colour, and are made again at every start of the daemon."""
    body = {"key": f"odd{abs(hash(color))}", "color": color}
    with house.session("admin") as session:
        answer = session.post(f"{house.base}/api/v1/inventory/reservoirs", json=body, timeout=20)
        assert answer.status_code == 201, answer.text
        args = {"operator": "alice", "volumes": {color: 10.0}}
        job = session.post(f"{house.base}/execute/inventory.restock", json=args, timeout=20).json()
        assert job["code"] in (None, "inventory_not_initialized"), job
