"""The clients have one face; the orchestrator speaks the words of the systems before."""

from __future__ import annotations

import inspect

import pytest

from labctl import AsyncClient, Client, direct, orchestrator
from labd.errors import JobCancelled, JobInterrupted, MoveStalled, TaskFailed
from tests.fakes.fake_daemon import new_job

ONLY_BLOCKING = {"pace"}


def faces(kind: type) -> dict[str, list[str]]:
    return {
        name: list(inspect.signature(member).parameters)
        for name, member in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") and name not in ONLY_BLOCKING
    }


def test_both_clients_have_the_same_methods_and_arguments() -> None:
    assert faces(Client) == faces(AsyncClient)


@pytest.mark.parametrize(
    ("state", "kind", "name"),
    [
        ("succeeded", "COMPLETED", "Completed"),
        ("failed", "FAILED", "Failed"),
        ("cancelled", "CANCELLED", "Cancelled"),
        ("interrupted", "CRASHED", "Crashed"),
        ("running", "RUNNING", "Running"),
    ],
)
def test_states_have_the_old_names(state: str, kind: str, name: str) -> None:
    told = orchestrator.State(new_job(1, "t", {}, state=state))
    assert (told.type, told.name) == (kind, name)


@pytest.mark.parametrize(
    ("state", "error", "kind"),
    [
        ("failed", {"code": "move_stalled", "message": "stuck at 12"}, MoveStalled),
        ("failed", {"code": "ValueError", "message": "x"}, Exception),
        ("failed", None, TaskFailed),
        ("cancelled", None, JobCancelled),
        ("interrupted", None, JobInterrupted),
    ],
)
def test_the_result_of_a_run_that_did_not_complete_is_its_error(
    state: str, error: dict[str, str] | None, kind: type[Exception]
) -> None:
    told = orchestrator.State(new_job(1, "t", {}, state=state, error=error))
    with pytest.raises(kind):
        told.result()
    assert isinstance(told.result(raise_on_failure=False), kind)


@pytest.mark.parametrize(
    ("carousels", "device", "port"),
    [
        ({"main": {"device": "/dev/a", "baud_rate": 57600}}, None, "/dev/a"),
        ({"left": {"device": "/dev/l"}, "right": {"device": "/dev/r"}}, "right", "/dev/r"),
        ({"left": {"device": "/dev/l"}, "right": {"device": "/dev/r"}}, None, None),
        ({"main": {"device": "/dev/a", "driver": "simulated"}}, None, None),
        ({}, None, None),
        (None, None, None),
    ],
)
def test_the_port_for_a_direct_stop_is_taken_only_where_it_is_clear(
    carousels: object, device: str | None, port: str | None
) -> None:
    settings = {"wings": {"resort": {"carousels": carousels}}}
    assert direct.carousel(settings, device).get("port") == port


def test_what_is_said_goes_before_what_is_known_and_ports_are_not_mixed() -> None:
    known = {"port": "/dev/a", "baud_rate": 1_000_000, "servo_id": 7}
    assert direct.Motor().filled(known) == ("/dev/a", 1_000_000, 7)
    assert direct.Motor("/dev/a", None, 2).filled(known) == ("/dev/a", 1_000_000, 2)
    assert direct.Motor("/dev/b").filled(known) == ("/dev/b", None, None)
