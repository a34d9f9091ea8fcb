"""The lab's device contract: what its envelope may say, refusals by shape, and claims."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labd.clock import iso
from labd.errors import DeviceClaimed
from labd.resort.allowed import Situation, decide
from labd.resort.claims import Claims
from labd.resort.contract import claimed, equipment_status, refused, required_actions
from labd.resort.observation import observed_activity
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.unit.test_resort_allowed import CLOSED, LATCHED, LOST, READY, RELEASED, SHUT_OFF, WRONG_MODE, situations

PINNED = {
    "busy": {"running"},
    "ready": {"idle"},
    "requires_init": {"idle"},
    "e_stop": {"idle"},
    "degraded": {"idle", "running"},
}
KNOWN = {*PINNED, "dry_run", "error", "unknown"}


@given(situations, st.booleans(), st.sampled_from([(), ("hot",)]), st.booleans())
def test_status_and_activity_never_contradict(
    now: Situation, released: bool, warnings: tuple[str, ...], simulated: bool
) -> None:
    activity = observed_activity(now, released)
    status = equipment_status(now, activity, warnings, simulated)
    assert status in KNOWN
    assert activity in PINNED.get(status, {"idle", "running", "unknown"})


@pytest.mark.parametrize(
    ("now", "status", "required"),
    [
        (READY, "ready", []),
        (replace(READY, moving=True), "busy", []),
        (replace(READY, moving=True, busy_job=3, queues=False), "busy", []),
        (LATCHED, "e_stop", ["reset"]),
        (replace(LATCHED, moving=True, stop_running=True), "error", ["reset"]),
        (CLOSED, "requires_init", ["connect"]),
        (LOST, "unknown", []),
        (replace(LOST, state="faulty"), "error", []),
        (RELEASED, "requires_init", ["connect"]),
        (replace(RELEASED, moving=True), "degraded", ["connect"]),
        (WRONG_MODE, "requires_init", ["configure"]),
        (replace(WRONG_MODE, torque_enabled=False), "requires_init", ["connect"]),
        (SHUT_OFF, "error", []),
        (replace(READY, hardware_errors=("input voltage",)), "degraded", []),
    ],
)
def test_the_one_word_of_a_situation(now: Situation, status: str, required: list[str]) -> None:
    assert equipment_status(now, observed_activity(now, True), (), False) == status
    assert required_actions(now) == required


def test_a_simulated_carousel_says_dry_run_but_keeps_its_stop() -> None:
    assert equipment_status(READY, "idle", (), True) == "dry_run"
    assert equipment_status(LATCHED, "idle", (), True) == "e_stop"


def test_refusals_are_told_apart_by_shape() -> None:
    refusal = decide(LATCHED)["go_home"]
    assert refusal is not None
    latched = refused(refusal)
    assert (latched.status, latched.retry_after) == (412, None)
    assert latched.body["stop_latched"] is True
    refusal = decide(LOST)["go_home"]
    assert refusal is not None
    lost = refused(refusal)
    assert (lost.status, lost.retry_after, lost.body["retry_after_s"], lost.body["connected"]) == (412, "3", 3.0, False)
    assert lost.body["detail"] == (
        "resort main: lost: /dev/ttyUSB0 is gone; labd reconnects by itself, check cable and power"
    )


def claims_over(engine: FakeEngine, clock: FakeClock) -> Claims:
    return Claims("main", engine, clock, Random(1))


async def test_a_claim_keeps_others_out_until_it_runs_out() -> None:
    clock = FakeClock()
    claims = claims_over(FakeEngine(), clock)
    mine = await claims.claim("alice", "s1", 30)
    assert mine["heartbeat_interval_s"] == 10.0
    assert mine["expires_at"] == iso(clock.wall() + 30)
    claims.check(mine["claim_token"])
    with pytest.raises(DeviceClaimed) as caught:
        claims.check(None)
    reply = claimed(caught.value)
    assert (reply.status, reply.retry_after) == (423, "30")
    assert reply.body["claimed_by"] == {"session_id": "s1", "owner": "alice", "expires_at": iso(clock.wall() + 30)}
    clock.advance(31)
    claims.check(None)
    assert claims.holder() is None
    with pytest.raises(DeviceClaimed) as caught:
        await claims.heartbeat(mine["claim_token"])
    assert claimed(caught.value).status == 409


async def test_beats_keep_a_claim_and_the_same_session_keeps_its_token() -> None:
    clock = FakeClock()
    claims = claims_over(FakeEngine(), clock)
    mine = await claims.claim("alice", "s1", 30)
    for _ in range(4):
        clock.advance(20)
        assert (await claims.heartbeat(mine["claim_token"]))["claim_token"] == mine["claim_token"]
    assert (await claims.claim("alice", "s1", 60))["claim_token"] == mine["claim_token"]
    with pytest.raises(DeviceClaimed):
        await claims.claim("bob", "s2", 30)


async def test_a_claim_outlives_the_daemon_but_not_its_time() -> None:
    clock, engine = FakeClock(), FakeEngine()
    mine = await claims_over(engine, clock).claim("alice", "s1", 30)
    clock.advance(10)
    again = claims_over(engine, clock)
    await again.load()
    again.check(mine["claim_token"])
    with pytest.raises(DeviceClaimed):
        again.check(None)
    clock.advance(21)
    late = claims_over(engine, clock)
    await late.load()
    assert late.holder() is None


async def test_a_full_disk_refuses_no_claim_and_a_release_is_final() -> None:
    engine = FakeEngine()
    engine.faulty_store = True
    claims = claims_over(engine, FakeClock())
    mine = await claims.claim("alice", "s1", 1)
    assert mine["ttl_s"] == 5.0
    assert await claims.release(mine["claim_token"]) == {"released": True}
    assert await claims.release(mine["claim_token"]) == {"released": False}
