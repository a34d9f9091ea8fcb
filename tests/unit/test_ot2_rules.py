"""Settings, preflight, kept protocols and the reduction of commands: rules without a robot and without opentrons."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from labd.errors import InvalidArguments, NotFound, ProtocolRefused, StoreFull
from labd.ot2 import preflight
from labd.ot2.analysis import robot_type
from labd.ot2.protocols import ProtocolShelf
from labd.ot2.remote import Movement
from labd.ot2.robot import Document, RobotHealth
from labd.ot2.settings import parse
from labd.settings import Problems

HEALTH = RobotHealth("r", "OT-2 Standard", None, "8.1.0", "1", "2.0", "2.20")
GOOD = {"ok": True, "errors": [], "robot_type": "OT-2 Standard", "api_level": "2.20", "labware": []}


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "ot2.url: is missing"),
        ({"url": "opentrons.local"}, "is no address like http://HOST:31950"),
        ({"driver": "usb"}, "ot2.driver: must be one of http, simulated, ssh"),
        ({"driver": "ssh"}, 'driver = "ssh" needs the name of an environment with ssh'),
        ({"driver": "ssh", "ssh_env": "robot", "preflight": "robot"}, "over ssh the robot has no analysis of its own"),
        ({"driver": "simulated", "deck": {"12": "trash"}}, "an OT-2 has the slots 1 to 11, not 12"),
        ({"url": "http://a:1", "api_version": "1"}, "ot2.api_version"),
        ({"driver": "simulated", "polls": 1}, "ot2.polls: unknown key; did you mean poll_s?"),
        ({"left": {"url": "http://a:1"}, "right": {"url": "http://a:1"}}, "is already that of left"),
        ({"Left": {"driver": "simulated"}}, "the name of a robot is a-z"),
    ],
)
def test_a_faulty_table_is_named(table: dict[str, Any], problem: str) -> None:
    problems = Problems()
    parse(table, "labd.toml", problems)
    assert problem in "; ".join(problems.lines())


def test_keys_beside_robots_are_their_defaults() -> None:
    problems = Problems()
    found = parse({"driver": "simulated", "poll_s": 2.0, "left": {}, "right": {"poll_s": 3.0}}, "labd.toml", problems)
    assert problems.lines() == []
    assert {name: robot.poll_s for name, robot in found.robots.items()} == {"left": 2.0, "right": 3.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ok": False, "errors": [{"file": "p.py", "line": 3, "message": "no"}]}, "p.py, line 3: no"),
        ({"robot_type": "OT-3 Standard"}, "is for a Flex"),
        ({"api_level": "2.21"}, "asks for API level 2.21, the robot's software 8.1.0 knows 2.20"),
        (
            {"labware": [{"slot": "1", "load_name": "plate"}]},
            "expects plate in slot 1, where the settings say tips stands",
        ),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_before_the_robot(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ProtocolRefused, match=message):
        preflight.check("main", "p.py", {**GOOD, **change}, {"1": "tips"}, HEALTH)


def test_a_protocol_that_fits_passes() -> None:
    preflight.check("main", "p.py", {**GOOD, "labware": [{"slot": "2", "load_name": "x"}]}, {"1": "tips"}, HEALTH)


def test_a_protocol_is_kept_by_its_hash(tmp_path: Path) -> None:
    shelf = ProtocolShelf(tmp_path / "kept")
    kept = shelf.put([Document("p.py", "x = 1\n"), Document("pots.json", "{}")])
    assert shelf.put([Document("p.py", "x = 1\n"), Document("pots.json", "{}")]) == kept
    assert shelf.get(kept.protocol_id) == kept
    assert shelf.put([Document("p.py", "x = 2\n")]).protocol_id != kept.protocol_id
    with pytest.raises(NotFound, match="is no hash of a protocol"):
        shelf.get("../labd.db")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_refuses_the_file_and_gives_those_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    shelf = ProtocolShelf(tmp_path)
    kept = shelf.put([Document("p.py", "x = 1\n")])

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    with pytest.raises(StoreFull, match=rf"q\.py cannot be kept in .*: {os.strerror(number)}; make room"):
        shelf.put([Document("q.py", "x = 2\n")])
    assert shelf.get(kept.protocol_id) == kept
    assert [path.name for path in tmp_path.iterdir()] == [f"{kept.protocol_id}.json"]


@pytest.mark.parametrize("name", ["../p.py", "a/b.py", "p.txt", ".py", "", "p\n.py"])
def test_a_name_that_is_no_plain_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArguments, match="is no file name of a protocol"):
        ProtocolShelf(tmp_path).put([Document(name, "x")])


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (Document("p.py", 'requirements = {"robotType": "Flex", "apiLevel": "2.20"}\n'), "Flex"),
        (Document("p.py", 'requirements = {"robotType": "OT-2"}\n'), "OT-2"),
        (Document("p.py", "x = (\n"), "OT-2"),
        (Document("p.json", '{"robot": {"model": "OT-3 Standard"}}'), "Flex"),
        (Document("p.json", "[]"), "OT-2"),
    ],
)
def test_the_robot_that_a_protocol_is_for_is_read_without_running_it(document: Document, kind: str) -> None:
    assert robot_type(document) == kind


def plate() -> dict[str, Any]:
    wells = {
        f"{row}{column}": {"x": 9.0 * column, "y": -9.0 * number, "diameter": 6.0, "depth": 10.0}
        for number, row in enumerate("ABCDEFGH")
        for column in range(1, 13)
    }
    return {"wells": wells, "metadata": {"displayName": "plate"}}


def commands(pipette: str, *more: tuple[str, dict[str, Any], dict[str, Any]]) -> list[dict[str, Any]]:
    steps = [
        (
            "loadLabware",
            {"loadName": "plate", "location": {"slotName": "2"}},
            {"labwareId": "L", "definition": plate()},
        ),
        ("loadPipette", {"pipetteName": pipette, "mount": "left"}, {"pipetteId": "P"}),
        *more,
    ]
    return [
        {"commandType": kind, "params": {"pipetteId": "P", **parts}, "result": result, "status": "succeeded"}
        for kind, parts, result in steps
    ]


def at(well: str, z: float = -1.0, origin: str = "top") -> dict[str, Any]:
    return {"labwareId": "L", "wellName": well, "wellLocation": {"origin": origin, "offset": {"z": z}}}


def test_air_drawn_above_a_well_is_not_counted() -> None:
    movement = Movement([])
    drawn = {"volume": 5.0}
    for command in commands(
        "p300_single_gen2", ("aspirate", at("A1"), drawn), ("aspirate", at("A1", 5.0), drawn),
        ("aspirate", at("A1", 11.0, "bottom"), drawn), ("moveToWell", at("B1", 2.0), {}),
        ("aspirateInPlace", {}, drawn),
        ("moveToWell", at("B1"), {}), ("aspirateInPlace", {}, drawn), ("airGapInPlace", {}, drawn),
    ):  # fmt: skip
        movement.take(command)
    assert movement.volumes(movement.aspirated)[0]["wells_ul"] == {"A1": 5.0, "B1": 5.0}


def test_a_command_that_failed_moved_nothing() -> None:
    movement = Movement([])
    *loads, last = commands("p300_single_gen2", ("aspirate", at("A1"), {"volume": 5.0}))
    for command in [*loads, {**last, "status": "failed"}]:
        movement.take(command)
    assert movement.aspirated == {}


def test_nozzles_in_use_decide_the_wells() -> None:
    movement = Movement([])
    single = {"configurationParams": {"style": "SINGLE", "primaryNozzle": "H1"}}
    for command in commands(
        "p300_multi_gen2",
        ("pickUpTip", at("A1"), {}),
        ("configureNozzleLayout", single, {}),
        ("pickUpTip", at("A2"), {}),
    ):
        movement.take(command)
    assert movement.tips()["racks"][0]["wells"] == [*(f"{row}1" for row in "ABCDEFGH"), "A2"]


def test_labware_on_an_adapter_on_a_module_stands_in_the_modules_slot() -> None:
    movement = Movement([{"id": "M", "location": {"slotName": "7"}}])
    on_module = ("loadLabware", {"loadName": "adapter", "location": {"moduleId": "M"}}, {"labwareId": "A"})
    on_adapter = ("loadLabware", {"loadName": "tube", "location": {"labwareId": "A"}}, {"labwareId": "T"})
    for command in commands("p300_single_gen2", on_module, on_adapter):
        movement.take(command)
    assert [movement.slot_of(name) for name in ("L", "A", "T", "?")] == ["2", "7", "7", "?"]
