"""What the newest run did: its deck follows the commands the robot tells, and stays when the run is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from labd.errors import DeviceLost
from labd.ot2.allowed import Situation, allowed, refused
from labd.ot2.deck_view import DeckView
from labd.ot2.own_run import OwnRunRecord
from labd.ot2.robot import RunStatus, RunView, Steps
from tests.unit.test_ot2_reading import DECK, Commands, move

if TYPE_CHECKING:
    from labd.ot2.device import OT2Device

READY = Situation("main", "ready", None, True, None, "", False, None, None, None, None, None)

RUN = [
    *DECK,
    move("pickUpTip", "plate", "A1", 0),
    move("aspirate", "trough", "A1", 50),
    move("dispense", "plate", "B2", 50),
    move("aspirate", "trough", "A1", 20, status="queued"),
]


class Robot(Commands):
    gone = False

    async def steps(self, run_id: str, first: int, count: int) -> Steps:
        if self.gone:
            raise DeviceLost("the robot is gone")
        return await super().steps(run_id, first, count)


def _own(run_id: str | None) -> Any:
    record = None if run_id is None else OwnRunRecord(job_id=7, protocol_id="p", run_id=run_id)
    return SimpleNamespace(run_id=run_id, record=record)


def _device(robot: Robot, own: str | None, current: str | None) -> Any:
    view = None if current is None else RunView(current, RunStatus.RUNNING, True)
    return SimpleNamespace(name="main", robot=robot, own=_own(own), watch=SimpleNamespace(current=view))


async def test_the_deck_follows_the_run_and_stays_when_it_is_over() -> None:
    robot = Robot(*RUN)
    device = _device(robot, "run-1", "run-1")
    view = DeckView(cast("OT2Device", device))
    robot.known = len(DECK) + 1
    first = await view.look()
    assert (first["done"], first["total"], first["commands"][-1]["kind"]) == (5, 5, "pickUpTip")
    assert [one["tips_used"] for one in first["labware"]] == [["A1"], []]
    robot.known = len(RUN)
    seen = await view.look()
    plate, trough = seen["labware"]
    assert (plate["slot"], plate["dispensed_ul"], trough["aspirated_ul"]) == ("2", {"B2": 50.0}, {"A1": 50.0})
    assert (seen["done"], seen["total"]) == (7, 8)
    assert [(one["kind"], one["status"]) for one in seen["commands"]][-2:] == [
        ("dispense", "succeeded"), ("aspirate", "queued"),
    ]  # fmt: skip
    assert seen["pipettes"][0]["name"] == "p300_single"
    assert seen["job"] == 7
    device.own, device.watch.current = _own(None), None
    assert await view.look() == seen


async def test_a_robot_that_is_gone_leaves_the_last_picture_and_says_so() -> None:
    robot = Robot(*RUN)
    view = DeckView(cast("OT2Device", _device(robot, None, "foreign")))
    before = await view.look()
    assert before["job"] is None, "somebody else's run has no job"
    robot.gone = True
    after = await view.look()
    assert after == {**before, "problem": "the robot is gone"}


async def test_without_a_run_there_is_nothing_to_show() -> None:
    view = DeckView(cast("OT2Device", _device(Robot(), None, None)))
    assert await view.look() == {"device": "main", "run": None, "problem": ""}


def test_every_verb_is_either_allowed_or_refused_with_its_reason() -> None:
    refusals = refused(READY)
    assert {verb for one in refusals for verb in cast("list[str]", one["actions"])}.isdisjoint(allowed(READY))
    assert [one["actions"] for one in refusals] == [["pause", "resume"], ["reset"]]
    assert refusals[0]["message"] == "ot2 main: no run of labd is going on"
