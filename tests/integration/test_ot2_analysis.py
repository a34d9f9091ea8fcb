"""Protocols in the real opentrons 9.0, in an environment of its own; the daemon's has none of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from labd.clock import SystemClock
from labd.engine.job import JobState
from labd.errors import TaskFailed, TaskTimeout, WingOff
from labd.ot2.analysis import Analyser
from labd.ot2.robot import Document
from tests.fakes import opentrons_env
from tests.fakes.ot2_rig import FAST, OT2Rig, record_of

pytestmark = [pytest.mark.timeout(1000)]  # the environment is made once
HEAD = 'requirements = {"robotType": "OT-2", "apiLevel": "2.20"}\n\n\n'
MIXING = """metadata = {"apiLevel": "LEVEL"}


def run(ctx):
    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")
    plate = ctx.load_labware("corning_96_wellplate_360ul_flat", "2")
    trough = ctx.load_labware("nest_12_reservoir_15ml", "3")
    single = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])
    multi = ctx.load_instrument("p300_multi_gen2", "right", tip_racks=[tips])
    single.pick_up_tip()
    single.aspirate(50, plate["A1"])
    single.air_gap(5)
    single.dispense(55, plate["B1"])
    single.mix(2, 20, plate["A1"])
    single.drop_tip()
    multi.pick_up_tip(tips["A2"])
    multi.aspirate(30, trough["A1"])
    multi.dispense(30, plate["A3"])
    multi.return_tip()
    single.transfer(40, trough["A2"], [plate["A5"], plate["A6"]], new_tip="once")
    ctx.delay(minutes=30)
    ctx.pause("look")
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return opentrons_env.interpreter()


async def analyze(python: Path, text: str, name: str = "p.py", *more: Document, **parameters: Any) -> dict[str, Any]:
    return await Analyser(python, SystemClock()).analyze([Document(name, text), *more], parameters)


def volumes(found: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    return {one["slot"]: one["wells_ul"] for one in found}


def test_the_daemons_own_interpreter_has_no_opentrons() -> None:
    assert importlib.util.find_spec("opentrons") is None


@pytest.mark.parametrize("level", ["2.13", "2.20", "2.28"])
async def test_tips_and_volumes_are_the_same_at_every_api_level(python: Path, level: str) -> None:
    found = await analyze(python, MIXING.replace("LEVEL", level))
    assert (found["ok"], found["errors"], found["api_level"]) == (True, [], level)
    assert found["software"].startswith("9.0")
    assert volumes(found["aspirated"]) == {"2": {"A1": 90.0}, "3": {"A1": 240.0, "A2": 80.0}}
    rows = {f"{row}3": 30.0 for row in "ABCDEFGH"}
    assert volumes(found["dispensed"]) == {"2": {"B1": 55.0, "A1": 40.0, **rows, "A5": 40.0, "A6": 40.0}}
    assert found["tips"]["used"] == 10
    assert set(found["tips"]["racks"][0]["wells"]) == {"A1", "B1", *(f"{row}2" for row in "ABCDEFGH")}
    assert [(one["slot"], one["load_name"]) for one in found["labware"]] == [
        ("1", "opentrons_96_tiprack_300ul"), ("2", "corning_96_wellplate_360ul_flat"), ("3", "nest_12_reservoir_15ml"),
    ]  # fmt: skip
    assert [(one["mount"], one["name"], one["channels"]) for one in found["pipettes"]] == [
        ("left", "p300_single_gen2", 1), ("right", "p300_multi_gen2", 8),
    ]  # fmt: skip
    assert 1800 < found["duration_s"] < 2000
    assert found["pauses"] == 1
    assert "Picking up tip from A1" in found["run_log"][0]["text"]
    assert {line["level"] for line in found["run_log"]} == {0, 1}


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (f"{HEAD}def helper(ctx):\n    return nothing_here\n\n\ndef run(ctx):\n    helper(ctx)\n", 5, "NameError"),
        (f"{HEAD}def run(ctx):\n    x = (1,\n    return\n", 5, "never closed"),
        (f"{HEAD}def run(ctx):\n    ctx.load_labware('no_such_labware', '1')\n", 5, "no_such_labware"),
        (HEAD, None, "No function 'run(ctx)' defined"),
        (f"{HEAD.replace('2.20', '2.99')}def run(ctx):\n    pass\n", None, "2.99 is not supported"),
    ],
    ids=["raises", "syntax", "labware", "no run", "level"],
)
async def test_a_fault_is_told_with_its_line(python: Path, text: str, line: int | None, message: str) -> None:
    found = await analyze(python, text)
    assert found["ok"] is False
    [error] = found["errors"]
    assert message in error["message"]
    assert (error["line"], error["file"]) == (line, "p.py")


async def test_run_time_parameters_are_taken(python: Path) -> None:
    text = (
        f"{HEAD}def add_parameters(p):\n"
        '    p.add_int(variable_name="n", display_name="n", default=1, minimum=1, maximum=9)\n'
        '\n\ndef run(ctx):\n    tips = ctx.load_labware("opentrons_96_tiprack_300ul", "1")\n'
        '    p = ctx.load_instrument("p300_single_gen2", "left", tip_racks=[tips])\n'
        "    for _ in range(ctx.params.n):\n        p.pick_up_tip()\n        p.drop_tip()\n"
    )
    assert (await analyze(python, text))["tips"]["used"] == 1
    found = await analyze(python, text, n=4)
    assert found["tips"]["used"] == 4
    assert [(one["variableName"], one["value"]) for one in found["parameters"]] == [("n", 4.0)]
    assert "n" in (await analyze(python, text, n=99))["errors"][0]["message"]
    assert (await analyze(python, text, m=4))["ok"] is False
    found = await analyze(python, f"{HEAD}def run(ctx):\n    pass\n", m=4)
    assert found["ok"] is False
    assert found["errors"][0]["message"] == "no run-time parameter is named m; it has none"


async def test_a_json_protocol_is_analysed(python: Path) -> None:
    data = "lib/*/site-packages/opentrons_shared_data/data/labware/definitions/2"
    [path] = python.parents[1].glob(f"{data}/opentrons_96_tiprack_300ul/1.json")
    definition = json.loads(path.read_text())
    uri = "opentrons/opentrons_96_tiprack_300ul/1"
    protocol = {
        "$otSharedSchema": "#/protocol/schemas/6", "schemaVersion": 6, "metadata": {"protocolName": "tips"},
        "robot": {"model": "OT-2 Standard", "deckId": "ot2_standard"}, "liquids": {},
        "labwareDefinitions": {uri: definition},
        "pipettes": {"p": {"name": "p300_single_gen2"}}, "labware": {"t": {"displayName": "tips", "definitionId": uri}},
        "modules": {},
        "commands": [
            {"commandType": "loadPipette", "params": {"pipetteId": "p", "mount": "left"}},
            {"commandType": "loadLabware", "params": {"labwareId": "t", "location": {"slotName": "1"}}},
            {"commandType": "pickUpTip", "params": {"pipetteId": "p", "labwareId": "t", "wellName": "C4"}},
            {"commandType": "dropTip", "params": {"pipetteId": "p", "labwareId": "t", "wellName": "C4"}},
        ],
    }  # fmt: skip
    found = await analyze(python, json.dumps(protocol), "tips.json")
    assert (found["errors"], found["schema_version"]) == ([], 6)
    assert found["tips"]["racks"][0]["wells"] == ["C4"]
    assert any(line["text"].startswith("pickUpTip C4") for line in found["run_log"])


async def test_custom_labware_is_found_beside_the_protocol(python: Path) -> None:
    well = {"depth": 10, "totalLiquidVolume": 100, "shape": "circular", "diameter": 6, "x": 10, "y": 75, "z": 4}
    definition = {
        "schemaVersion": 2, "version": 1, "namespace": "custom_beta", "brand": {"brand": "lab"},
        "metadata": {"displayName": "Pots", "displayCategory": "wellPlate", "displayVolumeUnits": "µL", "tags": []},
        "parameters": {"format": "irregular", "isTiprack": False, "isMagneticModuleCompatible": False,
                       "loadName": "pots"},
        "dimensions": {"xDimension": 127.76, "yDimension": 85.48, "zDimension": 14},
        "cornerOffsetFromSlot": {"x": 0, "y": 0, "z": 0}, "ordering": [["A1"]],
        "groups": [{"wells": ["A1"], "metadata": {}}], "wells": {"A1": well},
    }  # fmt: skip
    text = f'{HEAD}def run(ctx):\n    ctx.load_labware("pots", "4", namespace="custom_beta")\n'
    found = await analyze(python, text, "p.py", Document("pots.json", json.dumps(definition)))
    assert (found["errors"], found["labware"][0]["load_name"]) == ([], "pots")
    assert not (await analyze(python, text))["ok"]


async def test_a_protocol_that_prints_cannot_forge_its_answer(python: Path) -> None:
    found = await analyze(python, f'{HEAD}print(\'{{"ok": true}}\')\n\n\ndef run(ctx):\n    raise ValueError("no")\n')
    assert found["ok"] is False


async def test_a_protocol_that_ends_its_process_or_never_ends_is_told(python: Path) -> None:
    with pytest.raises(TaskFailed, match="exit code 3 without an answer"):
        await analyze(python, f"{HEAD}import os\n\n\ndef run(ctx):\n    os._exit(3)\n")
    text = f"{HEAD}def run(ctx):\n    while True:\n        pass\n"
    with pytest.raises(TaskTimeout, match="a loop without end"):
        await Analyser(python, SystemClock(), timeout_s=6.0).analyze([Document("p.py", text)], {})


async def test_an_interpreter_without_opentrons_says_how_to_get_it() -> None:
    with pytest.raises(WingOff, match=r"pip install 'opentrons>=9\.0,<9\.1' there"):
        await analyze(Path(sys.executable), HEAD + "def run(ctx):\n    pass\n")


async def test_a_run_passes_its_preflight_and_the_virtual_robot_plays_what_opentrons_found(
    python: Path, state_dir: Path
) -> None:
    simulated = {"time_scale": 1000.0, "record": str(state_dir / "moved.jsonl")}
    table = {**FAST, "preflight": "required", "python": str(python), "deck": {"1": "opentrons_96_tiprack_300ul"}}
    rig = await OT2Rig(state_dir, {"main": {**table, "simulated": simulated}}).start()
    try:
        text = MIXING.replace("LEVEL", "2.20").replace("ctx.pause", "ctx.comment")
        job = await rig.submit(text)
        job = await rig.engine.wait(job.id, 40)
        assert (job.state, job.error) == (JobState.SUCCEEDED, None)
        assert volumes(job.result["aspirated"]) == {"2": {"A1": 90.0}, "3": {"A1": 240.0, "A2": 80.0}}
        played = [line["type"] for line in record_of(state_dir / "moved.jsonl", "command")]
        assert played.count("aspirate") == 7
        assert len(played) == job.result["command_count"]
        wrong = await rig.submit(text.replace('"opentrons_96_tiprack_300ul", "1"', '"opentrons_96_tiprack_20ul", "1"'))
        wrong = await rig.engine.wait(wrong.id, 40)
        assert wrong.error is not None
        assert wrong.error.code == "protocol_refused"
        assert len(rig.robot.runs) == 1
    finally:
        await rig.stop()
