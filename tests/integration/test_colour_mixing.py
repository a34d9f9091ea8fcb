"""The colour-mixing example with the real opentrons 9.0: what is mixed, refused, kept, given back and tidied up."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from labd.engine.job import INTERNAL, Job, JobState
from labd.errors import InvalidArguments
from labd.settings_types import EnvironmentSettings
from tests.fakes import opentrons_env
from tests.fakes.task_house import TaskHouse, task_house
from tests.fakes.task_store import TaskStore

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
EXAMPLE = Path(__file__).resolve().parents[2] / "etc" / "tasks.d"
SABOTAGE = """
import signal

@task(env="ot2", affinity="ot2")
def sabotage(method: str, how: str):
    "The next call of a method of the pipette goes wrong."
    module = next(one for name, one in sys.modules.items() if name.startswith("labd_tasks_colour_mixing"))
    pipette = module.bench().pipette
    plain = getattr(pipette, method)
    def broken(*args, **more):
        setattr(pipette, method, plain)
        time.sleep(0.7)  # what is told within half a second of the last progress makes no event
        progress(1, 2, f"{method} goes wrong")
        if how == "raise_after":
            plain(*args, **more)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(600)
        raise OSError("the motor lost steps")
    setattr(pipette, method, broken)
"""
MIX: dict[str, Any] = {"R": 120, "Y": 50, "B": 80}
DEBITS = [{"red": 120.0}, {"yellow": 50.0}, {"blue": 80.0}]


@asynccontextmanager
async def lab(state_dir: Path, simulated: bool = True, **variables: str) -> AsyncIterator[TaskHouse]:
    """An engine with the example's tasks, and one that makes things go wrong."""
    shutil.copytree(EXAMPLE, state_dir / "tasks.d")
    settings = EnvironmentSettings(
        python=str(opentrons_env.interpreter()), size=2, grace_s=1.0, simulated=simulated, variables=variables
    )
    async with task_house(state_dir, SABOTAGE, {"ot2": settings}) as house:
        assert house.workers.faults == []
        yield house


async def mix(house: TaskHouse, well: str) -> Job:
    return await house.run("mix_color", mix_well=well, **MIX)


async def states(house: TaskHouse) -> dict[str, str]:
    """Wells that are not empty."""
    found = await house.result("wells")
    assert len(found["empty"]) + len(found["used"]) + len(found["reserved"]) == 96
    return {name: state for state in ("used", "reserved") for name in found[state]}


def refusal(job: Job) -> str:
    """What its body raised."""
    assert job.state is JobState.FAILED
    assert job.error is not None
    head, _, told = job.error.message.partition(": ")
    assert head.startswith(f"mix_color (job {job.id}) raised ")
    return told


async def test_two_mixes_share_one_context_and_use_two_wells(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        first, second = await mix(house, "B2"), await mix(house, "B3")
        assert first.result == {
            "well": "B2", "parts_ul": {"R": 120.0, "Y": 50.0, "B": 80.0}, "total_ul": 250.0,
            "mixes_of_this_context": 1, "simulated": True,
        }  # fmt: skip
        assert second.result["mixes_of_this_context"] == 2
        assert await states(house) == {"B2": "used", "B3": "used"}
        assert (await house.result("wells"))["used"]["B3"] == {"job": second.id, "parts_ul": first.result["parts_ul"]}
        again = await mix(house, "B2")
        assert refusal(again) == f"well B2 is used by job {first.id}; A1 is empty"
        assert (await house.result("new_plate"))["wells_forgotten"] == 2
        assert (await mix(house, "B2")).result["mixes_of_this_context"] == 3


async def test_what_a_well_cannot_take_is_refused(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        too_much = await house.run("mix_color", R=200, Y=100, B=80, mix_well="B2")
        told = "R 200 + Y 100 + B 80 + G 0 = 380 ul; a well takes at most 300 ul; lower the paints"
        assert refusal(too_much) == told
        nowhere = await mix(house, "Z9")
        assert refusal(nowhere) == "'Z9' is no well of corning_96_wellplate_360ul_flat; its wells are A1 to H12"
        with pytest.raises(InvalidArguments, match="300"):
            await house.submit("mix_color", R=301, Y=0, B=0, mix_well="B2")
        assert await states(house) == {}


@pytest.mark.parametrize(("method", "left"), [("aspirate", {}), ("dispense", {"B2": "used"})])
async def test_a_job_that_fails_gives_its_well_back_unless_it_dispensed(
    state_dir: Path, method: str, left: dict[str, str]
) -> None:
    async with lab(state_dir) as house:
        await house.result("sabotage", method=method, how="raise")
        failed = await mix(house, "B2")
        assert refusal(failed) == "the motor lost steps"
        assert await states(house) == left
        after = await mix(house, "B3")
        assert after.result["mixes_of_this_context"] == 1
        told = f"putting back the tip of R, which job {failed.id} left on the pipette"
        assert told in await house.lines(after)


async def test_a_well_is_reserved_while_its_job_runs_and_free_after_a_cancel(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        await house.result("sabotage", method="aspirate", how="hang")
        job = await house.submit("mix_color", mix_well="B2", **MIX)
        await house.reached(job, "aspirate goes wrong")
        assert await states(house) == {"B2": "reserved"}
        await house.engine.cancel(job.id, INTERNAL)
        assert (await house.ended(job)).state is JobState.CANCELLED
        assert await states(house) == {}
        assert (await mix(house, "B2")).result["mixes_of_this_context"] == 1


@pytest.mark.parametrize(("method", "left"), [("aspirate", {}), ("dispense", {"B2": "used"})])
async def test_a_killed_worker_keeps_the_well_it_dispensed_into_and_a_person_looks_at_the_pipette(
    state_dir: Path, method: str, left: dict[str, str]
) -> None:
    async with lab(state_dir) as house:
        await house.result("sabotage", method=method, how="kill")
        killed = await house.submit("mix_color", mix_well="B2", **MIX)
        assert (await house.engine.wait(killed.id, 20.0)).state is JobState.INTERRUPTED
        assert await states(house) == left
        refused = await mix(house, "B3")
        assert refusal(refused) == (
            f"the pipette may still hold the tip of R since job {killed.id}, which was cut off; look, put it back by "
            "hand, then say so: `labctl task run pipette_cleared`"
        )
        assert (await house.result("pipette_cleared"))["was_held"] == "R"
        assert (await mix(house, "B3")).result["mixes_of_this_context"] == 1
        assert await states(house) == {**left, "B3": "used"}


async def test_the_sensor_stays_over_its_well_until_it_is_sent_back(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        over = {"sensor": "B2", "simulated": True}
        assert await house.result("move_sensor_to_measurement_position", mix_well="B2") == over
        refused = await mix(house, "B3")
        assert refusal(refused) == "the pipette holds the sensor; `labctl task run move_sensor_back` first"
        for _ in range(2):
            assert await house.result("move_sensor_back") == {"sensor": "dock", "simulated": True}
        assert (await mix(house, "B3")).state is JobState.SUCCEEDED


async def test_a_mix_on_stock_needs_and_debits_each_paint_before_it_leaves_its_tube(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        store = TaskStore(house.engine)
        job = await house.run("mix-color-with-inventory/mix-color-with-inventory", mix_well="B2", **MIX)
        assert job.error is None, job.error
        assert (job.task, job.queue, job.priority, job.simulated) == (
            "mix_color_with_inventory", "high-priority", 1, True,
        )  # fmt: skip
        assert job.needs == {"red": 120.0, "yellow": 50.0, "blue": 80.0}
        assert store.volumes() == DEBITS
        plain = await mix(house, "B3")
        assert {**job.result, "well": "B3", "mixes_of_this_context": 2} == plain.result
        assert (plain.needs, store.volumes()) == (None, DEBITS)
        green = await house.submit("mix_color_with_inventory", R=0, Y=0, B=0, G=30, mix_well="B4")
        assert green.needs == {"green": 30.0}
        await house.ended(green)
        assert store.volumes()[3:] == [{"green": 30.0}]


async def test_a_refused_debit_moves_no_paint(state_dir: Path) -> None:
    async with lab(state_dir) as house:
        store = TaskStore(house.engine)
        store.refuse = "red"
        job = await house.run("mix_color_with_inventory", mix_well="B2", **MIX)
        assert job.error is not None
        assert "Insufficient stock for: red" in job.error.message
        assert await states(house) == {}
        assert store.volumes() == []
        store.refuse = ""
        await house.result("mix_color_with_inventory", mix_well="B2", **MIX)
        assert store.volumes() == DEBITS


@pytest.mark.parametrize(
    ("method", "how", "back"),
    [("aspirate", "raise", []), ("aspirate", "raise_after", [{"red": -120.0}]), ("dispense", "raise", [])],
)
async def test_paint_that_goes_back_into_its_tube_goes_back_into_stock(
    state_dir: Path, method: str, how: str, back: list[dict[str, float]]
) -> None:
    async with lab(state_dir) as house:
        store = TaskStore(house.engine)
        await house.result("sabotage", method=method, how=how)
        failed = await house.run("mix_color_with_inventory", mix_well="B2", **MIX)
        assert failed.state is JobState.FAILED
        assert store.volumes() == DEBITS[:1]
        await house.result("mix_color_with_inventory", mix_well="B3", **MIX)
        assert store.volumes() == [*DEBITS[:1], *back, *DEBITS]


async def test_a_simulated_mix_touches_no_real_stock(state_dir: Path) -> None:
    async with lab(state_dir, simulated=False) as house:
        store = TaskStore(house.engine)
        job = await house.run("mix_color_with_inventory", mix_well="B2", **MIX)
        assert job.error is not None
        assert "say simulated = true in [env.ot2], or run this on the robot" in job.error.message
        assert (store.volumes(), await states(house)) == ([], {})


async def test_a_simulated_environment_moves_no_robot(state_dir: Path) -> None:
    async with lab(state_dir, COLOUR_CONTEXT="execute") as house:
        told = refusal(await mix(house, "B2"))
        assert told == "COLOUR_CONTEXT is 'execute' and [env.ot2] has simulated = true; take one of them out"
