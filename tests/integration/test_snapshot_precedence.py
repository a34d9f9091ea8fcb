"""Many versions of a customer at once: the newest first, and the others only where it comes to nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from labd.engine.job import JobState
from labd.snapshots.record import State
from tests.fakes.broker import until
from tests.fakes.snapshot_yard import ANNA, Yard, lay_down

VERSIONS = ("99", "100", "200", "300", "1000")


@pytest.fixture
def yard(state_dir: Path) -> Yard:
    return Yard(state_dir)


def loads(yard: Yard) -> list[str]:
    """Databases that were filled, in order."""
    return [act.removeprefix("load ") for act in yard.graph.acts if act.startswith("load ")]


async def laid(yard: Yard, *versions: str, customer: str = "acme") -> None:
    for version in versions:
        lay_down(yard.base, customer, version)
    await yard.service.scan()


async def all_settled(yard: Yard, *versions: str) -> None:
    for version in versions:
        await yard.settled("acme", version)


async def test_of_many_that_wait_only_the_newest_is_loaded(yard: Yard) -> None:
    async with yard.open():
        await laid(yard, *VERSIONS)
        await all_settled(yard, *VERSIONS)
        assert loads(yard) == ["acme-v1000"]
        assert await yard.graph.aliases() == {"acme": "acme-v1000"}
        assert await yard.states("acme") == {"1000": State.ACTIVE} | dict.fromkeys(VERSIONS[:-1], State.SUPERSEDED)
        old = await yard.record("acme", "200")
        assert old.database is None
        assert old.body.problem == ("1000 was ready before its turn came; `labctl snapshot load` loads it all the same")
        ended = await yard.settled("acme", "200")
        assert (ended.state, ended.result["state"], ended.result["switched"]) == (
            JobState.SUCCEEDED, "superseded", False,
        )  # fmt: skip
        assert ended.result["reason"] == "1000 is newer and was ready first"


async def test_a_newer_one_that_comes_while_older_wait_overtakes_them(yard: Yard) -> None:
    async with yard.open():
        yard.graph.is_away = True
        await yard.service.ask_health()
        for version in VERSIONS:  # each found by a scan of its own, as through a night without the store
            await laid(yard, version)
        await yard.until_state("acme", "1000", State.GATED)
        load = await yard.job_of("snapshots.load_database", timestamp="99")
        causes = {cause.code: cause.message for cause in await yard.engine.why(load.id)}
        assert causes["snapshot_newer_first"] == "acme/1000 is newer and gated; it comes first"
        yard.graph.is_away = False
        await all_settled(yard, *VERSIONS)
        assert loads(yard) == ["acme-v1000"]


@pytest.mark.parametrize("ends", ["held", "failed", "cancelled", "quarantined"])
async def test_a_newest_that_comes_to_nothing_leaves_the_next_one_to_be_loaded(state_dir: Path, ends: str) -> None:
    yard = Yard(state_dir, assertions=[{"cypher": "is it right"}])
    yard.graph.answers["is it right"] = lambda database: ends != "held" or database != "acme-v1000"
    go_on = asyncio.Event()

    async def fault(act: str, name: str) -> None:
        if (act, name) == ("half", "acme-v1000"):
            if ends == "cancelled":
                await go_on.wait()
            if ends == "failed":
                raise OSError("the disk is broken")

    async with yard.open():
        yard.graph.before = fault
        if ends == "quarantined":
            folder = lay_down(yard.base, "acme", "1000")
            (folder / "nodes" / "Person" / "0.parquet").write_bytes(b"no parquet")
            await laid(yard, *VERSIONS[:-1])
        else:
            await laid(yard, *VERSIONS)
        if ends == "cancelled":
            await yard.until_state("acme", "1000", State.LOADING)
            job_id = (await yard.record("acme", "1000")).body.job_id
            assert job_id is not None
            await yard.engine.cancel(job_id, ANNA, "not this one")
        await all_settled(yard, *VERSIONS)
        assert [name for name in loads(yard) if name != "acme-v1000"] == ["acme-v300"]
        assert (await yard.record("acme", "300")).database == "acme-v300"
        serves = (await yard.graph.aliases()).get("acme")
        assert serves == ("acme-v300" if ends == "quarantined" else None)  # as ever, a newer one may still be decided


async def test_a_version_that_a_person_names_is_loaded_whatever_newer_ones_there_are(yard: Yard) -> None:
    async with yard.open():
        await laid(yard, *VERSIONS)
        await all_settled(yard, *VERSIONS)
        job = await yard.service.load(ANNA, "acme", "200", None)
        assert (await yard.engine.wait(job.id, 20)).state is JobState.SUCCEEDED
        assert (await yard.record("acme", "200")).database == "acme-v200"
        by_name = await yard.run("process-single-snapshot", customer="acme", timestamp="100")
        assert by_name.state is JobState.SUCCEEDED
        assert loads(yard) == ["acme-v1000", "acme-v200", "acme-v100"]
        assert await yard.graph.aliases() == {"acme": "acme-v1000"}


async def test_versions_that_are_loaded_without_a_switch_are_all_loaded(state_dir: Path) -> None:
    yard = Yard(state_dir, orchestrator={"switch": False, "keep": 10})
    async with yard.open():
        await laid(yard, *VERSIONS)
        await all_settled(yard, *VERSIONS)
        assert loads(yard) == [f"acme-v{version}" for version in reversed(VERSIONS)]


async def test_customers_do_not_wait_for_each_other_and_nothing_is_left_behind(yard: Yard) -> None:
    async with yard.open():
        await laid(yard, "5", customer="beta")
        await laid(yard, "1000")
        await all_settled(yard, "1000")
        await yard.settled("beta", "5")
        assert sorted(loads(yard)) == ["acme-v1000", "beta-v5"]
        precedence = yard.service.precedence
        await until(lambda: not precedence._going and not precedence._tasks)
        assert [name for name in yard.engine._dispatcher._gates if name.startswith("snapshots/load.")] == []


async def test_who_waits_for_a_newer_one_still_does_in_the_next_daemon(yard: Yard) -> None:
    async with yard.open():
        yard.graph.is_away = True
        await yard.service.ask_health()
        await laid(yard, *VERSIONS)
        await yard.until_state("acme", "99", State.GATED)
    yard.graph.is_away = False
    async with yard.open():
        await all_settled(yard, *VERSIONS)
        assert loads(yard) == ["acme-v1000"]
