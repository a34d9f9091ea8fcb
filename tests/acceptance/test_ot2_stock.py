"""Any protocol file gets stock checking: the real inventory, the simulated robot, real commands, kill -9 included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from labctl import Client
from labd.errors import InsufficientStock
from tests.acceptance.processes import READY_S, Daemon, toml
from tests.acceptance.test_ot2 import Bench, RobotProcess
from tests.acceptance.waiting import eventually
from tests.fakes import opentrons_env

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
PROTOCOL = """metadata = {"apiLevel": "2.20"}


def run(ctx):
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "2")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    single = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    multi = ctx.load_instrument("p300_multi_gen2", "right", tip_racks=[tips])
    single.pick_up_tip()
    single.aspirate(100, trough["A1"])
    single.dispense(100, plate["A1"])
    single.mix(2, 20, trough["A1"])
    ctx.MIDDLE
    single.drop_tip()
    multi.pick_up_tip(tips["A2"])
    multi.aspirate(50, trough["A2"])
    multi.dispense(50, plate["A3"])
    multi.drop_tip()
"""
RUNS = PROTOCOL.replace("MIDDLE", 'comment("on")')
PAUSES = PROTOCOL.replace("MIDDLE", 'pause("look")')
INVENTORY = (
    toml("inventory", simulated=True, threshold_ul=0, evaporation_rate_ul_per_hour=0)
    + toml("inventory.reservoir.red", slot="3", well="A1", capacity_ul=15000)
    + toml("inventory.reservoir.yellow", slot="3", well="A2", capacity_ul=15000)
)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return opentrons_env.once(tmp_path_factory.mktemp("simulated"))


@pytest.fixture
def bench(daemons: Callable[..., Daemon], state_dir: Path, python: Path) -> Bench:
    """A simulated robot inside the daemon, and a simulated stock of 1 ml each."""
    robot = toml("ot2", driver="simulated", python=str(python), poll_s=0.05, look_s=0.1)
    robot += toml("ot2.simulated", time_scale=200)
    bench = Bench(daemons(robot + INVENTORY), state_dir).start()
    bench.labctl.ok("inventory", "init", "red=1ml", "yellow=1ml")
    return bench


def stock(bench: Bench) -> dict[str, tuple[float, float]]:
    """Level and reservation of each, in ul."""
    found = bench.daemon.client.inventory()["reservoirs"]
    return {one["key"]: (round(one["level_ul"], 3), round(one["reserved_ul"], 3)) for one in found}


def test_a_run_reserves_debits_what_it_drew_and_nothing_is_left_reserved(bench: Bench) -> None:
    job = bench.labctl.json("ot2", "run", bench.file(RUNS))
    assert job["state"] == "succeeded"
    assert job["needs"] == {"red": 100.0, "yellow": 400.0}
    assert stock(bench) == {"red": (900.0, 0.0), "yellow": (600.0, 0.0)}
    found = bench.labctl.json("inventory", "history", "--job", job["id"])
    moves = [(move["reservoir"], move["volume_ul"]) for move in found["movements"] if move["kind"] == "consumption"]
    taken = [("red", -100.0), ("red", -20.0), ("red", -20.0), ("red", 20.0), ("red", 20.0), ("yellow", -400.0)]
    assert sorted(moves) == taken  # step by step; what was mixed in the trough came back


def test_a_run_that_would_be_short_is_refused_in_the_words_of_the_inventory(bench: Bench) -> None:
    for _ in range(2):
        assert bench.labctl("ot2", "run", bench.file(RUNS))[0] == 0
    code, _, err = bench.labctl("ot2", "run", bench.file(RUNS))
    assert code == 4
    wanted = (
        "Insufficient stock for: yellow (available: 200.0 ul, required: 400.0 ul). Please restock before proceeding."
    )
    assert wanted in " ".join(err.split())
    lab: Client = bench.daemon.client
    with pytest.raises(InsufficientStock, match="yellow"):
        lab.ot2_run(bench.file(RUNS))
    assert stock(bench) == {"red": (800.0, 0.0), "yellow": (200.0, 0.0)}
    bench.labctl.ok("inventory", "restock", "yellow=1ml", "--operator", "ann")
    assert bench.labctl("ot2", "run", bench.file(RUNS))[0] == 0
    assert stock(bench) == {"red": (700.0, 0.0), "yellow": (800.0, 0.0)}


def test_a_stopped_run_has_debited_what_it_moved_and_releases_the_rest(bench: Bench) -> None:
    job, _ = bench.run(PAUSES, "paused")
    eventually(lambda: stock(bench)["red"][0] == 900.0, 10.0, "the debits")
    assert stock(bench)["yellow"] == (1000.0, 400.0)
    code, _, err = bench.labctl("ot2", "stop", "--reason", "spill")
    assert code == 0, err
    assert bench.daemon.ended(job)["state"] == "cancelled"
    assert stock(bench) == {"red": (900.0, 0.0), "yellow": (1000.0, 0.0)}


def test_what_a_robot_moves_after_a_kill_is_debited_for_the_interrupted_job(
    daemons: Callable[..., Daemon], state_dir: Path, python: Path
) -> None:
    robot = RobotProcess(state_dir, python)
    try:
        table: dict[str, Any] = {"url": robot.url, "python": str(python), "poll_s": 0.05, "look_s": 0.1}
        settings = toml("ot2", **table) + INVENTORY
        bench = Bench(daemons(settings), state_dir).start()
        bench.labctl.ok("inventory", "init", "red=1ml", "yellow=1ml")
        job, run = bench.run(PAUSES, "paused")
        eventually(lambda: stock(bench)["red"][0] == 900.0, 10.0, "the debits")
        bench.daemon.kill()
        robot.ask(f"/runs/{run}/actions", {"data": {"actionType": "play"}})  # somebody at the robot
        eventually(lambda: robot.ask(f"/runs/{run}")["data"]["status"] == "succeeded", 20.0, "the end of the run")
        bench.start()
        eventually(lambda: stock(bench)["yellow"][0] == 600.0, READY_S, "the debit of what labd did not see")
        assert bench.daemon.job(job)["state"] == "interrupted"
        assert stock(bench)["red"][0] == 900.0  # once
        bench.labctl.ok("job", "cancel", job)
        assert stock(bench) == {"red": (900.0, 0.0), "yellow": (600.0, 0.0)}
        assert len(robot.ask("/runs")["data"]) == 1
        verified = json.loads(bench.labctl.ok("--json", "inventory", "show"))
        assert {one["key"]: one["level_ul"] for one in verified["reservoirs"]} == {"red": 900.0, "yellow": 600.0}
    finally:
        robot.end()
