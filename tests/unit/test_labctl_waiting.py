"""Waiting for a job: its end, a hold, a limit, Ctrl-C."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest

from labctl.render import ProgressLine
from labctl.waiting import Interrupted, OnInterrupt, follow
from labd.errors import DaemonUnreachable
from tests.fakes.fake_daemon import new_job

Json = dict[str, Any]


class Scripted:
    """A client whose job goes through given states; an exception among them is raised."""

    def __init__(self, *looks: Json | BaseException | type[BaseException]) -> None:
        self.looks = list(looks)
        self.cancelled: list[str | None] = []
        self.now = 0.0
        self.current = new_job(5, "resort.go_home", {}, state="running")

    def job(self, job_id: int, wait_s: float | None = None) -> Json:
        self.now += wait_s or 0.0
        look = self.looks.pop(0) if self.looks else {}
        if not isinstance(look, dict):
            raise look
        self.current = {**self.current, **look, "seq": self.current["seq"] + 1}
        return self.current

    def cancel(self, job_id: int, reason: str | None = None) -> Json:
        self.cancelled.append(reason)
        self.current = {**self.current, "state": "cancelling"}
        return self.current

    def close(self) -> None:
        """Nothing is open."""

    def pace(self, asked: float, wait_s: float) -> None:
        """No time passes."""


def wait(
    client: Any,
    timeout_s: float | None = None,
    on_interrupt: OnInterrupt = "ask",
    ask: Callable[[str], str] | None = None,
    told: list[str] | None = None,
) -> Json:
    said = told if told is not None else []
    return follow(
        client,
        client.current,
        timeout_s=timeout_s,
        on_interrupt=on_interrupt,
        progress=ProgressLine(io.StringIO()),
        ask=ask,
        tell=said.append,
        monotonic=lambda: client.now,
    )


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled", "interrupted"])
def test_the_wait_ends_with_the_job(state: str) -> None:
    assert wait(Scripted({}, {"state": state}))["state"] == state


def test_the_wait_ends_where_only_a_person_can_go_on() -> None:
    hold = {"code": "stopped", "reason": "a stop came in between", "since": "2026-01-31T08:00:00Z"}
    assert wait(Scripted({"state": "queued", "hold": hold}))["hold"] == hold


def test_the_wait_ends_when_its_time_is_over() -> None:
    client = Scripted()
    assert wait(client, timeout_s=2.5)["state"] == "running"
    assert client.now == 2.5


def test_ctrl_c_where_nobody_can_be_asked_leaves_the_job_and_says_its_number() -> None:
    told: list[str] = []
    client = Scripted(KeyboardInterrupt)
    with pytest.raises(Interrupted):
        wait(client, told=told)
    assert client.cancelled == []
    assert told == ["job 5 goes on; `labctl job wait 5` waits for it, `labctl job cancel` ends it"]


@pytest.mark.parametrize(("answer", "cancelled"), [("c\n", True), ("L\n", False), ("\n", False), ("", False)])
def test_ctrl_c_asks_a_person(answer: str, cancelled: bool) -> None:
    questions: list[str] = []

    def ask(question: str) -> str:
        questions.append(question)
        return answer

    client = Scripted(KeyboardInterrupt, {"state": "cancelled"})
    with pytest.raises(Interrupted) as caught:
        wait(client, ask=ask)
    assert questions == ["\njob 5 goes on. Cancel it, or leave it running? [c/L] "]
    assert bool(client.cancelled) == cancelled
    assert caught.value.job["state"] == ("cancelled" if cancelled else "running")


def test_a_second_ctrl_c_at_the_question_leaves_the_job() -> None:
    def ask(_: str) -> str:
        raise KeyboardInterrupt

    client = Scripted(KeyboardInterrupt)
    with pytest.raises(Interrupted):
        wait(client, ask=ask)
    assert client.cancelled == []


def test_cancel_on_interrupt_waits_until_the_work_has_ended() -> None:
    told: list[str] = []
    client = Scripted(KeyboardInterrupt, {"state": "cancelling"}, {"state": "cancelled"})
    with pytest.raises(Interrupted) as caught:
        wait(client, on_interrupt="cancel", told=told)
    assert caught.value.job["state"] == "cancelled"
    assert told == ["job 5: cancelled"]


def test_a_daemon_that_goes_away_keeps_the_job() -> None:
    with pytest.raises(DaemonUnreachable, match="job 5 is kept on its disk: `labctl job wait 5` when it is back"):
        wait(Scripted(DaemonUnreachable("unix:/s: the connection broke")))
