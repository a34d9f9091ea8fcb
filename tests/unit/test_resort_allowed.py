"""What may be asked of a carousel now."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.errors import DeviceBusy, ModeMismatch, NotConnected, Refused, StopLatched
from labd.resort.allowed import ACTIONS, MOTIONS, READS, Situation, allowed_actions, decide, require

READY = Situation("main")
LATCHED = replace(READY, latched_by="alice", latched_reason="plate fell", torque_enabled=False)
CLOSED = replace(READY, state="closed", torque_enabled=None, operating_mode=None)
LOST = replace(CLOSED, state="lost", problem="/dev/ttyUSB0 is gone")
WRONG_MODE = replace(READY, operating_mode=3)
RELEASED = replace(READY, torque_enabled=False)
SHUT_OFF = replace(RELEASED, hardware_errors=("overload",))

situations = st.builds(
    Situation,
    device=st.just("main"),
    state=st.sampled_from(["closed", "opening", "ready", "lost", "faulty"]),
    problem=st.sampled_from([None, "no answer"]),
    latch_known=st.booleans(),
    latched_by=st.sampled_from([None, "alice"]),
    latched_reason=st.sampled_from(["", "plate fell"]),
    stop_running=st.booleans(),
    torque_enabled=st.sampled_from([None, True, False]),
    operating_mode=st.sampled_from([None, 1, 3, 4, 16]),
    drive_mode=st.sampled_from([None, 0, 1, 4, 8]),
    wanted_mode=st.sampled_from([3, 4]),
    hardware_errors=st.sampled_from([(), ("overload",)]),
    moving=st.booleans(),
    busy_job=st.sampled_from([None, 12]),
    busy_for_s=st.sampled_from([None, 0.2, 4.3]),
    queues=st.booleans(),
)

ALL = set(ACTIONS)


@pytest.mark.parametrize(
    ("now", "listed"),
    [
        (READY, ALL - {"reset"}),
        (replace(READY, moving=True, busy_job=3), ALL - {"reset"}),
        (replace(READY, moving=True, queues=False), {"hold", "stop", *READS}),
        (LATCHED, {"disconnect", "set_speed", "stop", "reset", *READS}),
        (replace(LATCHED, stop_running=True), {"set_speed", "stop", *READS}),
        (CLOSED, {"connect", "configure", "disconnect", "stop"}),
        (LOST, {"connect", "configure", "stop"}),
        (replace(LOST, latched_by="alice", stop_running=True), {"stop", "reset"}),
        (WRONG_MODE, ALL - {"reset", "connect", *MOTIONS}),
        (replace(READY, drive_mode=4), ALL - {"reset", "connect", *MOTIONS}),
        (replace(READY, drive_mode=1), ALL - {"reset"}),
        (replace(WRONG_MODE, torque_enabled=False), ALL - {"reset", "hold", *MOTIONS}),
        (RELEASED, ALL - {"reset", "hold", *MOTIONS}),
        (SHUT_OFF, ALL - {"reset", "hold", *MOTIONS}),
        (replace(READY, hardware_errors=("input voltage",)), ALL - {"reset"}),
        (replace(READY, latch_known=False), {"stop"}),
    ],
)
def test_allowed_actions(now: Situation, listed: set[str]) -> None:
    assert set(allowed_actions(now)) == listed


@pytest.mark.parametrize(
    ("now", "action", "kind", "error"),
    [
        (LATCHED, "go_home", "stop_latched", StopLatched),
        (LATCHED, "connect", "stop_latched", StopLatched),
        (CLOSED, "activate_hotel", "not_connected", NotConnected),
        (LOST, "get_motor_health", "not_connected", NotConnected),
        (WRONG_MODE, "connect", "mode_mismatch", ModeMismatch),
        (WRONG_MODE, "move_to_angle", "mode_mismatch", ModeMismatch),
        (RELEASED, "go_home", "torque_off", NotConnected),
        (SHUT_OFF, "go_home", "hardware_error", Refused),
        (READY, "reset", "not_latched", Refused),
        (replace(READY, moving=True, queues=False), "connect", "busy", DeviceBusy),
        (replace(LATCHED, stop_running=True), "reset", "stop_unconfirmed", DeviceBusy),
        (replace(READY, latch_known=False), "go_home", "starting", DeviceBusy),
    ],
)
def test_refusals_tell_their_kind_by_fields(now: Situation, action: str, kind: str, error: type[Refused]) -> None:
    with pytest.raises(error) as caught:
        require(now, action)
    assert caught.value.details["kind"] == kind
    assert caught.value.message.startswith("resort main: ")


def test_a_latched_stop_names_who_why_and_what_next() -> None:
    with pytest.raises(StopLatched) as caught:
        require(LATCHED, "activate_hotel")
    assert caught.value.message == (
        "resort main: stopped by alice (plate fell); look at the carousel, then "
        "`labctl resort reset --by NAME --reason TEXT`"
    )


def test_retry_after_is_whole_seconds_rounded_up_and_at_least_one() -> None:
    def header(now: Situation) -> str | None:
        refusal = decide(now)["go_home"]
        assert refusal is not None
        return refusal.retry_after_header()

    busy = replace(READY, moving=True, queues=False)
    assert header(replace(busy, busy_for_s=0.2)) == "1"
    assert header(replace(busy, busy_for_s=4.3)) == "5"
    assert header(LOST) == "3"
    assert header(LATCHED) is None


@given(situations)
def test_listed_is_accepted_and_refused_is_not_listed(now: Situation) -> None:
    accepted = set()
    for action in ACTIONS:
        with suppress(Refused):
            require(now, action)
            accepted.add(action)
    assert accepted == set(allowed_actions(now))


@given(situations)
def test_stop_is_always_allowed_and_nothing_moves_while_latched(now: Situation) -> None:
    listed = set(allowed_actions(now))
    assert "stop" in listed
    if now.latched_by is not None or now.state != "ready" or not now.torque_enabled:
        assert not listed & {*MOTIONS, "hold"}
    if now.latched_by is not None:
        assert not listed & {"connect", "configure"}
