"""What the snapshots wing notices by itself: changed and mended files, aliases that somebody moved, long waits."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import msgspec
import pytest

from labd.engine.job import JobState
from labd.errors import GraphRefused, GraphUnreachable, Refused
from labd.snapshots.folder_watch import is_due
from labd.snapshots.record import Body, Record, State
from tests.fakes.broker import until
from tests.fakes.snapshot_yard import ANNA, Yard, lay_down


def attention(yard: Yard) -> dict[str, str]:
    return {item["code"]: item["message"] for item in yard.service.status()["attention"]}


def watching(state_dir: Path, **dataset: object) -> Yard:
    """A yard that scans by itself once an hour, so that what is found sooner was told by an event."""
    yard = Yard(state_dir, dataset=dataset)
    yard.table["watch"] = True
    return yard


@pytest.fixture
def yard(state_dir: Path) -> Yard:
    return Yard(state_dir)


async def test_a_change_of_the_folder_hurries_the_scan_and_what_is_unsettled_the_next_one(state_dir: Path) -> None:
    yard = watching(state_dir, file_events=True, settle_s=0.3)
    async with yard.open():
        await until(lambda: yard.service.scanned_at is not None)
        lay_down(yard.base, "acme", "100", marker=False)

        def is_served() -> bool:  # until the watch is up, nobody hears of a change
            (yard.base / "nudge").touch()
            return yard.service.book.customer("acme").active == "100"

        await until(is_served)
        await yard.settled("acme", "100")
        lay_down(yard.base, "acme", "200")
        await until(lambda: yard.service.book.customer("acme").active == "200")
        await yard.settled("acme", "200")
        assert attention(yard) == {}


async def test_without_the_library_file_events_are_told_and_the_interval_goes_on(
    state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    yard = watching(state_dir, file_events=True)
    lay_down(yard.base, "acme", "100")
    async with yard.open():
        await until(lambda: yard.service.book.customer("acme").active == "100")
        await yard.settled("acme", "100")
        await until(lambda: "snapshot_events" in attention(yard))
        assert attention(yard)["snapshot_events"] == (
            "file_events needs watchfiles, `pip install 'labd[graph]'`; "
            f"{yard.base} is scanned at every interval all the same"
        )


async def test_a_damaged_snapshot_is_tried_again_when_its_files_are_others_and_quiet(state_dir: Path) -> None:
    yard = Yard(state_dir, dataset={"settle_s": 0.0})
    async with yard.open():
        folder = lay_down(yard.base, "acme", "100")
        part = folder / "nodes" / "Person" / "0.parquet"
        whole = part.read_bytes()
        part.write_bytes(b"PAR1 cut short")
        await yard.service.scan()
        await yard.settled("acme", "100")
        first = (await yard.record("acme", "100")).body.job_id
        await yard.service.scan()
        assert (await yard.record("acme", "100")).state is State.QUARANTINED
        part.write_bytes(whole)
        await yard.service.scan()
        assert (await yard.settled("acme", "100")).id != first
        record = await yard.record("acme", "100")
        assert (record.state, record.body.problem) == (State.ACTIVE, None)


async def test_a_mended_snapshot_must_be_quiet_and_an_old_one_is_left_alone(yard: Yard) -> None:
    async with yard.open():  # it settles for 10 s
        folder = lay_down(yard.base, "acme", "100")
        (folder / "nodes" / "Person" / "0.parquet").write_bytes(b"PAR1 cut short")
        await yard.service.scan()
        await yard.settled("acme", "100")
        (folder / "nodes" / "Person" / "0.parquet").write_bytes(b"PAR1 cut elsewhere")
        assert list((await yard.service.scan()).unsettled) == [("acme", "100")]
        assert (await yard.record("acme", "100")).state is State.QUARANTINED
        await yard.take("acme", "200")
        shutil.rmtree(folder)
        lay_down(yard.base, "acme", "100")
        await yard.service.scan()
        assert (await yard.record("acme", "100")).state is State.QUARANTINED


async def test_a_repaired_snapshot_is_loaded_at_the_first_try_when_a_person_asks(yard: Yard) -> None:
    async with yard.open():
        folder = lay_down(yard.base, "acme", "100")
        (folder / "nodes" / "Person" / "0.parquet").write_bytes(b"PAR1 cut short")
        await yard.service.scan()
        await yard.settled("acme", "100")
        shutil.rmtree(folder)
        with pytest.raises(Refused, match=r"acme/100 cannot be loaded: .*No such file or directory; bring it back"):
            await yard.service.load(ANNA, "acme", "100", None)
        lay_down(yard.base, "acme", "100")
        job = await yard.service.load(ANNA, "acme", "100", None)
        assert (await yard.engine.wait(job.id, 20)).state is JobState.SUCCEEDED
        assert (await yard.record("acme", "100")).state is State.ACTIVE
        assert (await yard.job_of("snapshots.load_database")).attempt == 1


async def test_an_alias_that_somebody_else_moved_is_told_and_a_switch_takes_it_back(yard: Yard) -> None:
    async with yard.open():
        await yard.take("acme", "100")
        await yard.take("acme", "200")
        await yard.graph.switch("acme", "acme-v100")
        await until(lambda: "snapshot_alias" in attention(yard))
        assert attention(yard)["snapshot_alias"] == (
            "acme: alias acme points at acme-v100, and labd let it point at acme-v200: somebody else changed it; "
            "`labctl snapshot switch acme 200` lets it point there again"
        )
        dry = await yard.run("snapshots.cleanup_old_databases", dry_run=True)
        assert dry.result["dropped"] == []
        await yard.run("snapshots.switch_alias", customer="acme", timestamp="200", forced=True)
        assert await yard.graph.aliases() == {"acme": "acme-v200"}
        await until(lambda: "snapshot_alias" not in attention(yard))
        assert yard.service.book.customer("acme").previous == "100"


async def test_loads_that_wait_for_long_are_an_alarm_until_they_go_on(state_dir: Path) -> None:
    yard = Yard(state_dir, orchestrator={"wait_alarm_s": 0.2})
    async with yard.open():
        yard.graph.heap_percent = 99.0
        await yard.service.ask_health()
        lay_down(yard.base, "acme", "100")
        await yard.service.scan()
        assert attention(yard) == {}
        await until(lambda: "snapshot_load_waits" in attention(yard))
        assert attention(yard)["snapshot_load_waits"].endswith(
            "its heap is 99 % full, loads wait from 85 %; the least of several samples, so it is really in use"
        )
        yard.graph.heap_percent = 10.0
        await yard.settled("acme", "100")
        await until(lambda: attention(yard) == {})


async def test_two_jobs_of_one_snapshot_load_it_once_however_many_loads_may_run(state_dir: Path) -> None:
    yard = Yard(state_dir, orchestrator={"max_concurrent_loads": 4})
    going, most = 0, 0

    async def count(act: str, name: str) -> None:
        nonlocal going, most
        if act in ("half", "loaded"):
            going += 1 if act == "half" else -1
            most = max(most, going)
            await asyncio.sleep(0)

    async with yard.open():
        yard.graph.before = count
        lay_down(yard.base, "acme", "100")
        ended = await yard.run("process-single-snapshot", customer="acme", timestamp="100")
        assert (ended.state, ended.result["state"]) == (JobState.SUCCEEDED, "active")
        await yard.settled("acme", "100")
        assert (most, yard.graph.acts.count("load acme-v100")) == (1, 1)


async def test_a_reload_says_which_rules_wait_for_a_restart(yard: Yard) -> None:
    async with yard.open():
        old = yard.service.settings
        rules = msgspec.structs.replace(old.orchestrator, keep=5, max_retries=9)
        told = yard.service.change(msgspec.structs.replace(old, orchestrator=rules))
        assert told == ["snapshots.orchestrator.max_retries"]
        assert yard.service.pipeline.settings.orchestrator.keep == 5


def with_canary(state_dir: Path) -> Yard:
    canary = {"cypher": "canary", "equals": True}
    yard = Yard(state_dir, canaries=[canary], orchestrator={"canary_s": 0.3, "canary_interval_s": 0.05, "keep": 3})
    yard.graph.answers["canary"] = lambda database: database != "acme-v300"
    return yard


async def test_a_canary_that_sings_leaves_the_way_back_as_it_was_and_can_be_approved(state_dir: Path) -> None:
    yard = with_canary(state_dir)
    async with yard.open():
        for timestamp in ("100", "200", "300"):
            await yard.take("acme", timestamp)
        serving = yard.service.book.customer("acme")
        assert (serving.active, serving.previous) == ("200", "100")
        job = await yard.service.approve(ANNA, "acme", "300", "it is meant to")
        assert (await yard.engine.wait(job.id, 20)).state is JobState.SUCCEEDED
        assert await yard.graph.aliases() == {"acme": "acme-v300"}
        assert (serving.active, serving.previous) == ("300", "200")


async def test_a_daemon_killed_while_canaries_are_asked_still_goes_back(state_dir: Path) -> None:
    yard = with_canary(state_dir)
    async with yard.open():
        await yard.take("acme", "200")
    yard = with_canary(state_dir)
    asked = asyncio.Event()

    async def hang(act: str, name: str) -> None:
        if act == "query" and yard.graph._read()["aliases"] == {"acme": "acme-v300"}:
            asked.set()
            await asyncio.Event().wait()  # until the daemon is given up

    yard.graph.before = hang
    async with yard.open():
        lay_down(yard.base, "acme", "300")
        await yard.service.scan()
        async with asyncio.timeout(10):
            await asked.wait()
    yard = with_canary(state_dir)
    async with yard.open():
        await yard.until_state("acme", "300", State.HELD)
        await yard.settled("acme", "300")
        assert await yard.graph.aliases() == {"acme": "acme-v200"}
        assert yard.service.book.customer("acme").active == "200"


async def test_each_load_waits_for_what_the_store_says_after_the_one_before(state_dir: Path) -> None:
    yard = Yard(state_dir, orchestrator={"max_databases": 2, "health_interval_s": 3600.0})
    async with yard.open():
        await until(lambda: yard.service.health is not None)
        for customer in ("alpha", "beta", "gamma"):
            lay_down(yard.base, customer, "100")
        await yard.service.scan()
        await yard.settled("alpha", "100")
        await yard.settled("beta", "100")
        await until(lambda: [reason.code for reason in yard.service.reasons()] == ["databases"])
        assert sorted(d.name for d in await yard.graph.databases()) == ["alpha-v100", "beta-v100"]
        assert (await yard.record("gamma", "100")).state is State.GATED
        await yard.graph.drop_alias("beta")
        yard.service.book.customer("beta").active = None
        await yard.service.drop(ANNA, "beta", "100")
        await yard.settled("gamma", "100")
        assert (await yard.record("gamma", "100")).state is State.ACTIVE


async def test_a_snapshot_that_failed_for_what_passes_is_tried_again_by_itself(state_dir: Path) -> None:
    away = True

    async def fault(act: str, name: str) -> None:
        if away and act == "half" and name == "acme-v200":
            raise GraphUnreachable("its disk is full")

    yard = Yard(state_dir)
    async with yard.open():
        await yard.take("acme", "100")
        yard.graph.before = fault
        failed = await yard.take("acme", "200")
        assert (failed.state, failed.body.transient) == (State.FAILED, True)
        first = failed.body.job_id
        await yard.service.scan()
        assert (await yard.record("acme", "200")).body.job_id == first  # not before the pause is over
        failed.changed_at -= 3601
        shutil.move(yard.base / "acme" / "200", yard.base / "gone")
        await yard.service.scan()
        assert (await yard.record("acme", "200")).body.job_id == first  # nothing to try while its folder is away
        shutil.move(yard.base / "gone", yard.base / "acme" / "200")
        away = False
        await yard.service.scan()
        assert (await yard.settled("acme", "200")).id != first
        record = await yard.record("acme", "200")
        assert (record.state, record.body.problem, record.body.transient) == (State.ACTIVE, None, False)


async def test_what_failed_for_good_or_is_older_than_what_serves_is_not_tried_again(state_dir: Path) -> None:
    refused = True

    async def fault(act: str, name: str) -> None:
        if act == "half" and name in ("acme-v100", "acme-v200"):
            raise GraphRefused("no such thing") if refused else GraphUnreachable("its disk is full")

    yard = Yard(state_dir)
    async with yard.open():
        yard.graph.before = fault
        for_good = await yard.take("acme", "200")
        assert (for_good.state, for_good.body.transient) == (State.FAILED, False)
        refused = False
        older = await yard.take("acme", "100")
        assert (older.state, older.body.transient) == (State.FAILED, True)
        await yard.take("acme", "300")
        jobs = (older.body.job_id, for_good.body.job_id)
        older.changed_at -= 3601
        for_good.changed_at -= 3601
        await yard.service.scan()
        assert tuple([(await yard.record("acme", name)).body.job_id for name in ("100", "200")]) == jobs


@pytest.mark.parametrize(
    ("asked", "since_s", "due"),
    [
        (0, 29, False), (0, 31, True), (2, 39, False), (2, 41, True), (40, 3599, False), (40, 3601, True),
        (2, -39, False), (2, -41, True),
    ],
)  # fmt: skip
def test_the_pause_before_another_try_doubles_up_to_an_hour(asked: int, since_s: float, due: bool) -> None:
    body = Body(path="/data/acme/100", asked=asked, transient=True)
    record = Record("acme", "100", State.FAILED, None, "", 0.0, 1000.0, False, body)
    assert is_due(record, 1000.0 + since_s, first_s=10.0, at_least_s=30.0) is due
    record.body.transient = False
    assert not is_due(record, 1000.0 + since_s, first_s=10.0, at_least_s=30.0)


@pytest.mark.parametrize("state", [State.ACTIVE, State.SUPERSEDED, State.REJECTED, State.HELD, State.DROPPED])
def test_what_has_served_or_was_decided_on_is_not_tried_again_by_itself(state: State) -> None:
    body = Body(path="/data/acme/100", transient=True)
    record = Record("acme", "100", State.FAILED, None, "", 0.0, 0.0, False, body)
    assert is_due(record, 5000.0, first_s=1.0, at_least_s=1.0)
    record.state = state
    assert not is_due(record, 5000.0, first_s=1.0, at_least_s=1.0)


async def test_who_goes_back_from_a_version_whose_job_failed_after_its_switch_is_left_alone(yard: Yard) -> None:
    async with yard.open():
        for timestamp in ("100", "200"):
            record = await yard.take("acme", timestamp)
        record.body.transient = True  # as after a cleanup that found no store
        job_id = record.body.job_id
        assert (await yard.run("snapshots.rollback", customer="acme")).state is JobState.SUCCEEDED
        record.changed_at -= 7200
        await yard.service.scan()
        assert yard.service.book.customer("acme").active == "100"
        assert (await yard.record("acme", "200")).body.job_id == job_id
