"""What the OpenAPI document promises is what a whole daemon does, with every scope; see `tests.intruders.conformance`.

The long form is `python -m tests.intruders.conformance --examples 200`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.intruders.conformance import MODES, Target, ask_everything, target
from tests.intruders.nasty import attack

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
