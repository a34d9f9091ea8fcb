"""A snapshot from its folder to the alias and back, on the real engine: every state, every refusal, every cut."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from labd.engine.job import JobState
from labd.engine.views import JobFilter
from labd.errors import GraphUnreachable, JobStateConflict, Refused
from labd.snapshots.record import State
from tests.fakes.small_graph import nothing
from tests.fakes.snapshot_yard import ANNA, Yard, lay_down


@pytest.fixture
def yard(state_dir: Path) -> Yard:
    return Yard(state_dir)


async def test_a_new_snapshot_is_loaded_verified_and_served(yard: Yard) -> None:
    async with yard.open():
        record = await yard.take("acme", "100")
        assert (record.state, record.database, record.body.nodes) == (State.ACTIVE, "acme-v100", 20)
        assert await yard.graph.aliases() == {"acme": "acme-v100"}
        job = await yard.settled("acme", "100")
        children = [j.task for j in await yard.engine.jobs(JobFilter()) if j.parent_id == job.id]
        assert sorted(children) == [
            "snapshots.cleanup_old_databases", "snapshots.load_database", "snapshots.switch_alias",
            "snapshots.verify_database",
        ]  # fmt: skip


async def test_a_newer_version_takes_over_and_the_old_ones_go_but_for_two(yard: Yard) -> None:
    async with yard.open():
        for timestamp in ("99", "100", "101", "1000"):
            await yard.take("acme", timestamp)
        assert await yard.states("acme") == {
            "1000": State.ACTIVE, "101": State.SUPERSEDED, "100": State.DROPPED, "99": State.DROPPED,
        }  # fmt: skip
        assert sorted(d.name for d in await yard.graph.databases()) == ["acme-v1000", "acme-v101"]


async def test_one_customers_cleanup_touches_no_other_customer(yard: Yard) -> None:
    async with yard.open():
        for customer in ("acme", "acme-eu", "Acme"):
            await yard.take(customer, "1")
        for timestamp in ("2", "3", "4"):
            await yard.take("acme", timestamp)
        left = {d.name for d in await yard.graph.databases()}
        assert {"acme-eu-v1", "acme-v3", "acme-v4"} < left
        assert len(left) == 4


async def test_an_older_snapshot_that_comes_late_is_not_loaded_by_itself(yard: Yard) -> None:
    async with yard.open():
        await yard.take("acme", "100")
        lay_down(yard.base, "acme", "99")
        await yard.service.scan()
        late = await yard.record("acme", "99")
        assert (late.state, late.database) == (State.SUPERSEDED, None)
        job = await yard.service.load(ANNA, "acme", "99", None)
        ended = await yard.engine.wait(job.id, 20)
        assert ended.result["switched"] is False
        assert ended.result["reason"] == "100 is newer"
        assert await yard.graph.aliases() == {"acme": "acme-v100"}


async def test_a_count_out_of_band_holds_and_approve_lets_it_go_on(yard: Yard) -> None:
    async with yard.open():
        await yard.take("acme", "100", nodes=100)
        held = await yard.take("acme", "200", nodes=60)
        assert held.state is State.HELD
        assert [d.told() for d in held.body.differences] == [
            "nodes: expected 100 within 20 %, as in the active version, found 60 (-40.0 %)"
        ]
        assert await yard.graph.aliases() == {"acme": "acme-v100"}
        assert [item["code"] for item in yard.service.status()["attention"]] == ["snapshot_held"]
        with pytest.raises(JobStateConflict, match="approve or reject it first"):
            await yard.service.load(ANNA, "acme", "200", None)
        job = await yard.service.approve(ANNA, "acme", "200", "half of them moved away")
        assert (await yard.engine.wait(job.id, 20)).state is JobState.SUCCEEDED
        assert await yard.graph.aliases() == {"acme": "acme-v200"}
        assert (await yard.record("acme", "200")).body.approved_by == "unix:anna"
        assert (await yard.engine.audit_page(None, 10))[0].action == "snapshot.approve"


async def test_a_rejected_snapshot_is_dropped_and_never_served(yard: Yard) -> None:
    async with yard.open():
        await yard.take("acme", "100", nodes=100)
        await yard.take("acme", "200", nodes=60)
        await yard.service.reject(ANNA, "acme", "200", "half is missing")
        assert (await yard.record("acme", "200")).state is State.REJECTED
        assert [d.name for d in await yard.graph.databases()] == ["acme-v100"]
        with pytest.raises(JobStateConflict, match="is rejected and not held"):
            await yard.service.approve(ANNA, "acme", "200", "")


async def test_rollback_goes_back_one_version_and_forth_again(yard: Yard) -> None:
    async with yard.open():
        with pytest.raises(Refused, match="no version to go back to"):
            await yard.service.pipeline.rollback("acme", "anna", "")
        await yard.take("acme", "100")
        await yard.take("acme", "200")
        back = await yard.run("snapshots.rollback", customer="acme", reason="readers complain")
        assert back.result["active"] == "100"
        assert await yard.graph.aliases() == {"acme": "acme-v100"}
        assert (await yard.record("acme", "200")).body.problem == "rolled back by unix:anna: readers complain"
        again = await yard.run("snapshots.switch_alias", customer="acme", timestamp="200", forced=True)
        assert again.result["switched"] is True
        assert await yard.graph.aliases() == {"acme": "acme-v200"}


async def test_an_unreachable_store_makes_the_load_wait_and_it_goes_on_by_itself(yard: Yard) -> None:
    async with yard.open():
        yard.graph.is_away = True
        await yard.service.ask_health()
        lay_down(yard.base, "acme", "100")
        await yard.service.scan()
        record = await yard.record("acme", "100")
        load = await yard.job_of("snapshots.load_database")
        causes = await yard.engine.why(load.id)
        assert [cause.message for cause in causes] == ["the graph store does not answer: away"]
        assert record.state is State.GATED
        yard.graph.is_away = False
        await yard.settled("acme", "100")
        assert (await yard.record("acme", "100")).state is State.ACTIVE


async def test_a_load_that_fails_is_tried_again_and_replaces_its_half_made_database(yard: Yard) -> None:
    failures = ["half", "half"]

    async def fault(act: str, name: str) -> None:
        if failures and act == failures[0]:
            failures.pop()
            raise GraphUnreachable("the connection was lost")

    async with yard.open():
        yard.graph.before = fault
        record = await yard.take("acme", "100")
        assert record.state is State.ACTIVE
        assert yard.graph.acts.count("load acme-v100") == 3


async def test_no_tries_left_is_failed_with_its_cause_and_its_half_made_database_goes(yard: Yard) -> None:
    async def fault(act: str, name: str) -> None:
        if act == "half" and name == "acme-v200":
            raise GraphUnreachable("the connection was lost")

    async with yard.open():
        await yard.take("acme", "100")
        yard.graph.before = fault
        record = await yard.take("acme", "200")
        assert record.state is State.FAILED
        assert "the connection was lost" in (record.body.problem or "")
        await yard.run("snapshots.cleanup_old_databases")
        assert [d.name for d in await yard.graph.databases()] == ["acme-v100"]
        yard.graph.before = nothing
        await yard.service.load(ANNA, "acme", "200", None)
        await yard.settled("acme", "200")
        assert (await yard.record("acme", "200")).state is State.ACTIVE


async def test_a_damaged_snapshot_is_quarantined_and_the_others_go_on(yard: Yard) -> None:
    async with yard.open():
        folder = lay_down(yard.base, "acme", "100")
        (folder / "nodes" / "Person" / "0.parquet").write_bytes(b"PAR1 cut short")
        bad = await yard.take("bravo", "100")
        assert bad.state is State.ACTIVE
        await yard.settled("acme", "100")
        record = await yard.record("acme", "100")
        assert record.state is State.QUARANTINED
        assert "0.parquet" in (record.body.problem or "")


async def test_a_database_that_labd_has_not_made_is_never_replaced(yard: Yard) -> None:
    async with yard.open():
        yard.graph._write({"databases": {"acme-v100": {"nodes": 7}}, "aliases": {}})
        record = await yard.take("acme", "100")
        assert record.state is State.FAILED
        assert "is there already and labd has not made it" in (record.body.problem or "")
        assert yard.graph._read()["databases"]["acme-v100"] == {"nodes": 7}


async def test_a_snapshot_that_changes_while_it_is_loaded_is_loaded_again(yard: Yard) -> None:
    once = [True]

    async def grow(act: str, name: str) -> None:
        if act == "loaded" and once:
            once.pop()
            (yard.base / "acme" / "100" / "nodes" / "Person" / "late.txt").write_text("x")

    async with yard.open():
        yard.graph.before = grow
        record = await yard.take("acme", "100")
        assert record.state is State.ACTIVE
        assert yard.graph.acts.count("load acme-v100") == 2


async def test_a_canary_that_sings_takes_the_alias_back(state_dir: Path) -> None:
    canary = {"cypher": "canary", "equals": True}
    yard = Yard(state_dir, canaries=[canary], orchestrator={"canary_s": 0.1, "canary_interval_s": 0.05})
    async with yard.open():
        yard.graph.answers["canary"] = lambda database: database == "acme-v100"
        await yard.take("acme", "100")
        record = await yard.take("acme", "200")
        assert record.state is State.HELD
        assert await yard.graph.aliases() == {"acme": "acme-v100"}
        assert (await yard.record("acme", "100")).state is State.ACTIVE
        assert yard.service.book.customer("acme").active == "100"


async def test_pins_and_open_transactions_keep_a_version_and_drop_refuses_what_is_in_use(yard: Yard) -> None:
    async with yard.open():
        await yard.take("acme", "1")
        await yard.service.pin(ANNA, "acme", "1", True)
        for timestamp in ("2", "3", "4"):
            await yard.take("acme", timestamp)
        assert (await yard.record("acme", "1")).database == "acme-v1"
        for timestamp, reason in (("1", "it is pinned"), ("4", "alias acme points at it")):
            with pytest.raises(Refused, match=reason):
                await yard.service.drop(ANNA, "acme", timestamp)
        await yard.service.pin(ANNA, "acme", "1", False)
        dry = await yard.run("snapshots.cleanup_old_databases", dry_run=True)
        wet = await yard.run("snapshots.cleanup_old_databases")
        assert dry.result["dropped"] == wet.result["dropped"] == ["acme-v1"]


POINTS = ["load", "half", "loaded", "counts", "aliases", "switch", "switched", "drop", "dropped"]


@pytest.mark.parametrize("occurrence", [1, 2])
@pytest.mark.parametrize("point", POINTS)
async def test_a_death_at_any_point_ends_as_if_there_had_been_none(
    state_dir: Path, point: str, occurrence: int
) -> None:
    """The daemon is given up at the point, as a kill would leave it, and a new one goes on with the same files."""
    yard = Yard(state_dir, orchestrator={"keep": 1})
    async with yard.open():
        for timestamp in ("1", "2"):
            await yard.take("acme", timestamp)
    seen = 0
    dead = asyncio.Event()

    async def die(act: str, name: str) -> None:
        nonlocal seen
        if act == point and not dead.is_set():
            seen += 1
            if seen == occurrence:
                dead.set()
        if dead.is_set():
            await asyncio.Event().wait()  # until the daemon is given up

    yard = Yard(state_dir, orchestrator={"keep": 1, "health_interval_s": 3600.0})  # its looks are no step of the load
    yard.graph.before = die
    async with yard.open():
        lay_down(yard.base, "acme", "3")
        await yard.service.scan()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1.5):
                await dead.wait()
    yard = Yard(state_dir, orchestrator={"keep": 1})
    async with yard.open():
        await yard.service.scan()
        await yard.until_state("acme", "3", State.ACTIVE)
        await yard.settled("acme", "3")
        await yard.run("snapshots.cleanup_old_databases")
        assert await yard.graph.aliases() == {"acme": "acme-v3"}
        ours = {r.database for r in yard.service.book.live.values() if r.database is not None}
        assert {d.name for d in await yard.graph.databases()} == ours
        assert (await yard.engine.audit_verify()).ok


async def test_the_store_tells_since_when_it_is_as_it_is_and_not_when_it_was_asked(yard: Yard) -> None:
    async with yard.open():
        await yard.service.ask_health()
        first = yard.service.status()["devices"][0]
        await yard.service.scan()
        await yard.service.ask_health()
        assert yard.service.status()["devices"][0] == first
        assert first["state"] == "reachable" and first["since"] is not None
        yard.graph.is_away = True
        await yard.service.ask_health()
        away = yard.service.status()["devices"][0]
        assert away["state"] == "away" and away["since"] > first["since"]
