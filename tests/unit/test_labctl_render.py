"""Answers as table, JSON, CSV and sentences."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from labctl import carousel_words, render, robot_summaries, summaries
from labctl.commands import task
from labd.engine.steps import Question
from tests.fakes.fake_daemon import RESORT, STATUS, STOPPED, new_job


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_plain_table_pads_all_columns_but_the_last() -> None:
    assert render.plain_table(["id", "state"], [["1", "queued"], ["100", "x"]]) == "id   state\n1    queued\n100  x"


def test_a_table_counts_wide_signs_as_two_columns() -> None:
    table = render.plain_table(["a", "b"], [["板", "x"], ["ab", "y"]])
    assert table.splitlines()[1] == "板  x"


def test_an_empty_table_says_so() -> None:
    assert render.to_table(["id"], [], io.StringIO()) == "nothing to show"


def test_csv_quotes_commas_and_disarms_formulas() -> None:
    assert render.to_csv(["a", "b"], [["1,2", "=cmd()"]]) == 'a,b\n"1,2",\'=cmd()'


def test_json_is_the_object_unchanged() -> None:
    assert json.loads(render.to_json({"name": "µ", "value": None})) == {"name": "µ", "value": None}


def test_control_characters_of_others_never_reach_the_terminal() -> None:
    assert render.printable("a\x1b[2Jb\r") == "a [2Jb "


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, ""), (True, "yes"), (False, "no"), (1.50, "1.5"), (["a", "b"], "a,b"), ({"a": 1}, '{"a": 1}'), (7, "7")],
)
def test_cells(value: object, text: str) -> None:
    assert render.cell(value) == text


def test_progress_shows_a_bar_where_the_total_is_known() -> None:
    job = new_job(3, "resort.go_home", {}, state="running", progress={"done": 45, "total": 90, "text": "deg"})
    assert render.progress_text(job) == "job 3 resort.go_home: running [##########..........] 45/90 deg"


def test_a_job_that_is_waited_for_shows_its_question_and_how_to_answer() -> None:
    asks = {"kind": "yes_no", "question": "Plate\x1bloaded?"}
    job = {"id": 4, "task": "t", "state": "waiting", "asks": asks}
    assert render.progress_text(job) == "job 4 t: waiting: Plate loaded? (yes | no); `labctl job answer 4 VALUE`"


def test_progress_in_a_pipe_is_one_line_a_change() -> None:
    out = io.StringIO()
    line = render.ProgressLine(out)
    for text in ("a", "a", "b"):
        line.show(text, "1.0 s")
    line.clear()
    assert out.getvalue() == "a\nb\n"


def test_progress_on_a_terminal_writes_over_itself() -> None:
    out = Terminal()
    line = render.ProgressLine(out)
    line.show("long text")
    line.show("x")
    line.clear()
    assert out.getvalue() == "\rlong text\rx        \r \r"


def test_status_names_paused_queues_missing_wings_and_attention() -> None:
    text = summaries.daemon(STATUS)
    assert text.splitlines()[0] == "labd 0.1.0 on bench: serving, up 1 h 2 min, pid 4711 (simulated devices)"
    assert "jobs: 1 queued, 7 succeeded since it started" in text
    assert "yes by unix:alice: maintenance" in text
    assert "wing ot2: off (not configured); install: pip install labd[ot2]" in text
    assert "attention: queue standard is paused" in text


def test_a_latched_stop_stands_in_the_carousel_status_with_its_next_step() -> None:
    latch = {"by": "unix:bob", "at": "2026-01-31T08:00:00.5Z", "reason": "smoke", "durable": True}
    text = carousel_words.status({**RESORT, "stop_latched": True, "latch": latch})
    assert (
        "STOP IS LATCHED by unix:bob at 2026-01-31 08:00:00Z: smoke;"
        " lift it with `labctl resort reset --by NAME --reason TEXT`" in text
    )


def test_an_unconfirmed_stop_says_to_cut_power() -> None:
    text = summaries.stop({**STOPPED, "confirmed": False, "latched_durably": False})
    assert "STOP SENT BUT NOT CONFIRMED" in text
    assert "cut power" in text
    assert "a power cut would not be survived" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.25, "0.2 s"), (75, "1 min 15 s"), (3725, "1 h 2 min"), (200_000, "2 d 7 h")],
)
def test_durations_have_two_units(seconds: float | None, text: str) -> None:
    assert summaries.duration(seconds) == text


def test_a_carousel_that_does_not_answer_is_told_without_old_positions() -> None:
    refused = [{"actions": ["go_home", "hold"], "kind": "not_connected", "message": "resort main: lost"},
               {"actions": ["reset"], "kind": "not_latched", "message": "no stop is latched"}]  # fmt: skip
    text = carousel_words.status({**RESORT, "connected": False, "state": "lost", "refused_actions": refused})
    assert "; where it stands and whether torque is on is not known" in text.splitlines()[0]
    assert "LOST" in text
    assert "refused now: go_home, hold: resort main: lost" in text
    assert "no stop is latched" not in text


def test_a_move_names_its_goal_and_a_stop_that_is_not_confirmed_says_cut_power() -> None:
    moving = {**RESORT, "connected": True, "state": "ready", "moving": True, "hotels": {"A": 0.0, "B": 90.0}}
    assert "MOVING to 359.80 deg (hotel A), torque" in carousel_words.status({**moving, "goal_deg": 359.8})
    assert "MOVING, by no order of labd" in carousel_words.status({**moving, "goal_deg": None})
    stopping = {**moving, "stop_latched": True, "stop_confirmed": False, "latch": {"by": "bob"}}
    assert "cut power if anything moves" in carousel_words.status(stopping)


@pytest.mark.parametrize(
    ("facts", "lines"),
    [
        ({"current_ma": 120.5}, ["current 120.5 mA", "no hardware error, no warning"]),
        ({"load_percent": -3.1}, ["load -3.1 % (inferred by the motor, this model measures no current)"]),
        ({"warnings": ["temperature high: 70 C is above 65 C"]}, ["warning: temperature high: 70 C is above 65 C"]),
        (
            {"hardware_errors": ["overload"], "warnings": ["hardware error: overload"], "torque_enabled": False},
            ["HARDWARE ERROR: overload; the motor has shut itself off until its power is cycled"],
        ),
    ],
)
def test_health_in_words(facts: dict[str, object], lines: list[str]) -> None:
    text = carousel_words.health({"device": "main", "temperature_celsius": 30, "voltage_v": 11.1, **facts})
    assert all(line in text for line in lines), text
    assert text.count("overload") <= 1


def test_a_result_keeps_the_digits_of_a_large_number() -> None:
    assert render.cell(1795233137.905977) == "1795233137.906"
    assert render.cell(123456.0) == "123456"
    assert render.cell(0.1 + 0.2) == "0.3"


def test_a_recorded_result_is_told_as_one() -> None:
    text = summaries.ended({"id": 10, "task": "t", "state": "succeeded", "cached_from": 9, "result": 1}, 0.0)
    assert text == "job 10 t: succeeded after 0.0 s, with the recorded result of job 9; `--no-cache` runs it anew\n  1"


ARGUMENTS = {
    "required": ["wells"],
    "properties": {
        "wells": {"type": "array", "items": {"type": "string"}},
        "R": {"type": "integer", "minimum": 0, "maximum": 300, "default": 3},
        "speed": {"anyOf": [{"type": "number", "maximum": 2.5}, {"type": "null"}], "default": None},
        "spot": {"$ref": "#/$defs/Spot", "description": "Where it goes."},
    },
    "$defs": {"Spot": {"properties": {"row": {"type": "string"}, "next": {"$ref": "#/$defs/Spot"}}}},
}


@pytest.mark.parametrize(
    "line",
    [
        "wells (array of string, needed)",
        "R (integer 0 to 300, else 3)",
        "speed (number at most 2.5, else none)",
        "spot (object with row: string, next: Spot, may be left out) Where it goes.",
    ],
)
def test_a_task_shows_kind_limits_and_default_of_each_argument(line: str) -> None:
    assert f"  {line}" in task.page({"name": "t", "schema": ARGUMENTS}).splitlines()


@pytest.mark.parametrize(
    ("asks", "text"),
    [
        ({"kind": "choice", "choices": ["l", "r"]}, "l | r"),
        ({"kind": "number", "unit": "ul", "minimum": 0.0, "maximum": 10.0}, "0 <= number <= 10 ul"),
        ({"kind": "number", "maximum": 2.5}, "number <= 2.5"),
        ({"kind": "yes_no"}, "yes | no"),
        ({"kind": "text"}, ""),
    ],
)
def test_a_question_says_what_may_be_answered_as_the_daemon_does(asks: dict[str, object], text: str) -> None:
    assert render.answers(asks) == text
    question = msgspec.convert({"ordinal": 0, "question": "Q?", "hash": "h", **asks}, Question)
    assert question.answers == text


def test_the_error_of_a_protocol_is_told_in_full_and_never_drives_the_terminal() -> None:
    error = {"line": 3, "message": "first\x1b[31m\n\n  File x\r\n    def run(:\n"}
    found = {"file": "p.py", "ok": False, "errors": [error]}
    empty = {"command_count": 0, "pipettes": [], "labware": [], "aspirated": [], "dispensed": [], "run_log_left_out": 0}
    text = robot_summaries.analysis({**empty, **found, "run_log": [{"level": 0, "text": "one\x1b[2J\ntwo"}]})
    assert text.splitlines() == [
        "p.py: FAULTY", "  line 3: first [31m", "      File x", "        def run(:", "", "one [2J", "two",
    ]  # fmt: skip
