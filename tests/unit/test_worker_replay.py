"""Steps by ordinal and hash: results in order, the first missing one suspends, another path never gets a result."""

from __future__ import annotations

from typing import Any

import pytest

import labd
from labd.worker import question
from labd.worker.replay import Replay, StepMismatch

PLATE = question.checked("Plate loaded?", ["yes", "no"], None, None, None, None, None, None, "fail")


def suspension(steps: list[dict[str, Any]], *calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    replay = Replay(steps)
    with pytest.raises(labd._Suspend):
        replay.call(calls) if calls else replay.ask(PLATE)
    assert replay.suspension is not None
    return replay.suspension


def recorded(wanted: dict[str, Any], result: Any) -> dict[str, Any]:
    return {**wanted, "kind": "call", "result": result}


def test_the_hash_knows_task_and_arguments_and_not_the_order_of_keys() -> None:
    def of(name: str, args: dict[str, Any]) -> str:
        digest: str = suspension([], (name, args))["calls"][0]["hash"]
        return digest

    assert of("mix", {"R": 1, "Y": 2}) == of("mix", {"Y": 2, "R": 1})
    assert len({of("mix", {"R": 1}), of("mix", {"R": 1.5}), of("mix", {}), of("mixed", {"R": 1})}) == 4


def test_results_come_back_and_then_it_suspends() -> None:
    first = suspension([], ("mix", {"R": 1}))["calls"][0]
    replay = Replay([recorded(first, "red")])
    assert replay.call([("mix", {"R": 1})]) == ["red"]
    with pytest.raises(labd._Suspend):
        replay.call([("mix", {"R": 1})])
    assert replay.suspension is not None and replay.suspension["calls"][0]["ordinal"] == 1


def test_of_several_only_the_missing_are_asked_for() -> None:
    calls = [("mix", {"R": 1}), ("mix", {"R": 2}), ("mix", {"R": 3})]
    wanted = suspension([], *calls)["calls"]
    assert [one["ordinal"] for one in wanted] == [0, 1, 2]
    assert suspension([recorded(wanted[1], 2)], *calls)["calls"] == [wanted[0], wanted[2]]


def test_the_first_failure_of_several_is_raised() -> None:
    calls = [("mix", {"R": 1}), ("mix", {"R": 2})]
    wanted = suspension([], *calls)["calls"]
    error = {"code": "task_failed", "message": "no tips"}
    steps = [recorded(wanted[0], 1), {**recorded(wanted[1], None), "error": error}]
    with pytest.raises(labd.CallFailed, match="mix: no tips") as fault:
        Replay(steps).call(calls)
    assert fault.value.code == "task_failed"


def test_an_answer_is_a_step_like_any_other() -> None:
    asked = suspension([])["ask"]
    assert (asked["ordinal"], asked["kind"], asked["choices"]) == (0, "choice", ["yes", "no"])
    assert Replay([{**asked, "kind": "ask", "result": "yes"}]).ask(PLATE) == "yes"


def test_nothing_is_asked_for_while_a_body_is_unwound() -> None:
    replay = Replay()
    for args in ({"R": 1}, {"R": 2}):
        with pytest.raises(labd._Suspend):
            replay.call([("mix", args)])
    assert replay.suspension is not None and [one["args"] for one in replay.suspension["calls"]] == [{"R": 1}]


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        (
            "mix",
            {"R": 2},
            "step 0 is recorded as call('mix'), and the body now asks for call('mix') with other arguments;",
        ),
        ("home", {"R": 1}, "step 0 is recorded as call('mix'), and the body now asks for call('home');"),
    ],
)
def test_another_path_is_refused_even_where_it_is_caught(name: str, args: dict[str, Any], message: str) -> None:
    first = suspension([], ("mix", {"R": 1}))["calls"][0]
    replay = Replay([recorded(first, "red")])
    for _ in range(2):
        with pytest.raises(StepMismatch) as mismatch:
            replay.call([(name, args)])
        assert str(mismatch.value).startswith(message)
    assert not issubclass(StepMismatch, Exception)


def test_a_body_that_ends_before_its_recorded_steps_took_another_path() -> None:
    first = suspension([], ("mix", {"R": 1}))["calls"][0]
    with pytest.raises(StepMismatch, match=r"the body ended after 0 steps, but step 0 is recorded as call\('mix'\)"):
        Replay([recorded(first, 1)]).check_all_taken()


def test_arguments_that_json_cannot_hold_are_named() -> None:
    with pytest.raises(ValueError, match=r"arguments of mix: args\['R'\]\[1\] is of type object"):
        Replay().call([("mix", {"R": [1, object()]})])
