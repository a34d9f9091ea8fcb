"""Attempts out of a job's moves, and the last sign of a daemon that was gone without a word."""

from __future__ import annotations

import pytest

from labd.engine.timeline import attempts_of, last_sign

FACE = (7, "talk", "standard", "succeeded", '["resort:main"]', None, 0)


def test_every_try_is_an_attempt_with_its_phases() -> None:
    first, second = attempts_of(FACE, [
        (1, 10.0, "job.started", 1), (2, 11.0, "job.waiting", 1), (3, 12.0, "job.resumed", 1),
        (4, 13.0, "job.retrying", 1), (5, 20.0, "job.started", 2), (6, 21.0, "job.succeeded", 2),
    ])  # fmt: skip
    assert (first.attempt, first.state, first.ended_at) == (1, "failed", 13.0)
    assert first.phases == [("running", 10.0), ("waiting", 11.0), ("running", 12.0)]
    assert first.resources == ["resort:main"]
    assert (second.attempt, second.state, second.started_at, second.seq) == (2, "succeeded", 20.0, 5)


def test_what_goes_on_has_the_state_of_its_job() -> None:
    face = (*FACE[:3], "waiting", None, None, 1)
    (going,) = attempts_of(face, [(1, 10.0, "job.started", 1), (2, 11.0, "job.waiting", 1)])
    assert (going.state, going.ended_at, going.simulated, going.resources) == ("waiting", None, True, [])


def test_a_start_without_an_end_before_it_ends_the_attempt() -> None:
    lost, _ = attempts_of(FACE, [(1, 10.0, "job.started", 1), (2, 30.0, "job.started", 2), (3, 31.0, "job.failed", 2)])
    assert (lost.state, lost.ended_at) == ("interrupted", 30.0)


@pytest.mark.parametrize(
    ("signs", "last"),
    [
        ([], None),
        ([50.0], 50.0),
        ([10.0, 20.0, 99.0], 20.0),  # 99: the new daemon's own
        ([10.0, 98.0, 99.5], 10.0),
        ([-900.0, 10.0, 11.0], 11.0),  # a quiet night before it says nothing
        ([10.0, 120.0], 10.0),  # later than the start: not before it
    ],
)
def test_the_last_sign_is_before_the_longest_pause(signs: list[float], last: float | None) -> None:
    assert last_sign(signs, 100.0) == last
