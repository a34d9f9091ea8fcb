"""What commands drew from which well: the rules as tables, and a reading that loses and doubles nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from labd.errors import DeviceLost, StoreFull
from labd.ot2.reading import RunReading
from labd.ot2.robot import Step, Steps

PLATE = {
    f"{row}{column}": {"x": 9.0 * column, "y": 90.0 - 9.0 * place, "diameter": 6.0, "depth": 10.0}
    for place, row in enumerate("ABCDEFGH")
    for column in (1, 2)
}
TROUGH = {"A1": {"x": 9.0, "y": 58.5, "xDimension": 8.0, "yDimension": 71.0, "depth": 30.0}}


def load(labware: str, slot: str, wells: dict[str, Any]) -> Step:
    result = {"labwareId": labware, "definition": {"wells": wells}}
    return step("loadLabware", {"loadName": labware, "location": {"slotName": slot}}, result=result)


def pipette(name: str, of: str) -> Step:
    return step("loadPipette", {"pipetteName": name, "mount": "left"}, result={"pipetteId": of})


def step(kind: str, params: dict[str, Any], status: str = "succeeded", result: dict[str, Any] | None = None) -> Step:
    return Step("", kind, status, params, result)


def move(
    kind: str, labware: str, well: str, ul: float, of: str = "one", status: str = "succeeded", **more: Any
) -> Step:
    return step(kind, {"labwareId": labware, "wellName": well, "volume": ul, "pipetteId": of, **more}, status)


DECK = [
    load("plate", "2", PLATE),
    load("trough", "3", TROUGH),
    pipette("p300_single", "one"),
    pipette("p300_multi", "8"),
]
ABOVE = {"wellLocation": {"origin": "top", "offset": {"z": 5.0}}}


class Commands:
    """A robot that tells these commands; `hidden` of them are not done yet."""

    def __init__(self, *steps: Step, told_results: bool = True) -> None:
        self.steps_ = [
            Step(str(number), one.kind, one.status, one.params, one.result) for number, one in enumerate(steps)
        ]
        self.told_results = told_results
        self.known = len(self.steps_)
        self.lose = 0
        self.asked: list[str] = []

    async def steps(self, run_id: str, first: int, count: int) -> Steps:
        first = min(first, max(0, self.known - 1))  # a real server clamps the cursor to the last command
        page = self.steps_[: self.known][first : first + count]
        if not self.told_results:
            page = [replace(one, result=None) for one in page]
        return Steps(first, self.known, tuple(page))

    async def step(self, run_id: str, command_id: str) -> Step:
        self.asked.append(command_id)
        if self.lose:
            self.lose -= 1
            raise DeviceLost("gone")
        return self.steps_[int(command_id)]


class Till:
    def __init__(self) -> None:
        self.paid: list[tuple[str, dict[str, float]]] = []
        self.full = False

    async def take(self, volumes_ul: dict[str, float], step: str) -> None:
        if self.full:
            raise StoreFull("full")
        self.paid.append((step, volumes_ul))

    def total(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for _, volumes in self.paid:
            for well, ul in volumes.items():
                found[well] = found.get(well, 0.0) + ul
        return {well: ul for well, ul in found.items() if ul}


def reading(robot: Commands, **more: Any) -> RunReading:
    return RunReading(robot, "main", "r", keeps_account=True, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("moves", "drawn"),
    [
        ([move("aspirate", "trough", "A1", 50)], {"main/3/A1": 50}),
        ([move("aspirate", "trough", "A1", 50, status="failed")], {}),
        ([move("aspirate", "trough", "A1", 50), move("dispense", "trough", "A1", 20)], {"main/3/A1": 30}),
        ([move("aspirate", "trough", "A1", 50), move("dispense", "plate", "A1", 50)], {"main/3/A1": 50}),
        ([move("aspirate", "plate", "A1", 50), move("dispense", "trough", "A1", 50)], {"main/2/A1": 50}),
        (
            [move("aspirate", "plate", "A1", 50), move("dispense", "trough", "A1", 50),
             move("aspirate", "trough", "A1", 10)],
            {"main/2/A1": 50, "main/3/A1": 10},
        ),
        ([move("aspirate", "trough", "A1", 50, of="8")], {"main/3/A1": 400}),
        ([move("aspirate", "plate", "A2", 5, of="8")], {f"main/2/{row}2": 5 for row in "ABCDEFGH"}),
        (
            [step("configureNozzleLayout", {"pipetteId": "8", "configurationParams": {"style": "SINGLE"}}),
             move("aspirate", "trough", "A1", 50, of="8")],
            {"main/3/A1": 50},
        ),
        ([move("aspirate", "trough", "A1", 50, **ABOVE)], {}),
        ([step("moveToWell", {"labwareId": "trough", "wellName": "A1", "pipetteId": "one"}),
          step("aspirateInPlace", {"volume": 7, "pipetteId": "one"})], {"main/3/A1": 7}),
        ([step("moveLabware", {"labwareId": "trough", "newLocation": {"slotName": "5"}}),
          move("aspirate", "trough", "A1", 50)], {"main/5/A1": 50}),
        ([step("moveLabware", {"labwareId": "trough", "newLocation": {"labwareId": "nowhere"}}),
          move("aspirate", "trough", "A1", 50)], {}),
    ],
    ids=["aspirate", "failed", "some back", "elsewhere", "waste", "waste is no return", "8 in a trough", "8 on a plate",
         "one nozzle of 8", "air", "in place", "moved", "off the deck"],
)  # fmt: skip
async def test_what_a_command_draws(moves: list[Step], drawn: dict[str, float]) -> None:
    one, till = reading(Commands(*DECK, *moves)), Till()
    await one.look_at_all()
    assert await one.settle(till.take) is None
    assert (till.total(), one.problem) == (drawn, "")


async def test_air_of_old_api_levels_is_known_from_the_simulation() -> None:
    moves = [move("aspirate", "trough", "A1", 50), move("aspirate", "trough", "A1", 5)]
    one, till = reading(Commands(*DECK, *moves), air=(False, True)), Till()
    await one.look_at_all()
    await one.settle(till.take)
    assert till.total() == {"main/3/A1": 50}


async def test_each_command_counts_once_however_often_and_in_whatever_pages_it_is_told() -> None:
    robot = Commands(*DECK, *(move("aspirate", "trough", "A1", 1) for _ in range(30)), told_results=False)
    one, till = reading(robot), Till()
    for known in (0, 0, 3, 5, 5, 20, 34, 34, 34):
        robot.known = known
        await one.look()
        await one.settle(till.take)
    assert [step for step, _ in till.paid] == [str(number) for number in range(4, 34)]
    assert robot.asked == ["0", "1", "2", "3"]  # results of what was loaded, once each


async def test_a_connection_lost_between_two_questions_doubles_and_loses_nothing() -> None:
    robot = Commands(*DECK, move("aspirate", "trough", "A1", 5), told_results=False)
    one, till = reading(robot), Till()
    robot.lose = 2
    for _ in range(2):
        with pytest.raises(DeviceLost):
            await one.look()
    assert (one.seen, one.owed) == (0, [])
    await one.look_at_all()
    await one.settle(till.take)
    assert till.paid == [("4", {"main/3/A1": 5.0})]


async def test_a_refused_debit_stays_owed() -> None:
    one, till = reading(Commands(*DECK, move("aspirate", "trough", "A1", 5))), Till()
    await one.look_at_all()
    till.full = True
    assert isinstance(await one.settle(till.take), StoreFull)
    till.full = False
    assert await one.settle(till.take) is None
    assert await one.settle(till.take) is None
    assert till.paid == [("4", {"main/3/A1": 5.0})]


async def test_a_command_under_way_is_not_counted_and_nothing_behind_it() -> None:
    moves = [move("aspirate", "trough", "A1", 1, status=status) for status in ("succeeded", "running", "queued")]
    one = reading(Commands(*DECK, *moves))
    await one.look_at_all()
    assert (one.seen, [draw.command_id for draw in one.owed]) == (5, ["4"])


async def test_a_robot_that_tells_otherwise_is_said_not_guessed() -> None:
    one = reading(Commands(step("loadLabware", {"loadName": "x", "location": {}}, result={}), *DECK))
    await one.look_at_all()
    assert "command 0 (loadLabware) tells not what labd expects" in one.problem
    assert one.owed == []
