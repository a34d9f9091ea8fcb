"""States and retries as tables: every pair of states, every kind of error."""

from __future__ import annotations

from random import Random

import pytest

from labd import errors
from labd.engine import registry, retry
from labd.engine.job import ENDED, FINAL, GOING, TRANSITIONS, JobState

ALLOWED = {
    ("queued", "running"), ("queued", "cancelled"),
    ("running", "succeeded"), ("running", "failed"), ("running", "queued"), ("running", "waiting"),
    ("running", "cancelling"), ("running", "interrupted"),
    ("waiting", "running"), ("waiting", "cancelling"), ("waiting", "failed"), ("waiting", "queued"),
    ("waiting", "interrupted"),
    ("cancelling", "cancelled"), ("cancelling", "succeeded"), ("cancelling", "failed"), ("cancelling", "interrupted"),
    ("failed", "queued"), ("cancelled", "queued"), ("interrupted", "queued"), ("interrupted", "cancelled"),
}  # fmt: skip


@pytest.mark.parametrize("old", list(JobState))
@pytest.mark.parametrize("new", list(JobState))
def test_every_pair_of_states_is_allowed_or_not_as_drawn(old: JobState, new: JobState) -> None:
    assert (new in TRANSITIONS[old]) == ((old.value, new.value) in ALLOWED)


def test_every_state_is_waiting_going_or_ended() -> None:
    assert ENDED | GOING | {JobState.QUEUED} == set(JobState)
    assert FINAL < ENDED


@pytest.mark.parametrize(
    ("effect", "attempt", "most", "retryable", "again"),
    [
        ("repeatable", 1, 3, True, True),
        ("repeatable", 3, 3, True, False),
        ("repeatable", 1, 3, False, False),
        ("physical", 1, 3, True, False),
    ],
)
def test_only_repeatable_work_with_attempts_left_and_a_passing_error_is_tried_again(
    effect: errors.Any, attempt: int, most: int, retryable: bool, again: bool
) -> None:
    assert retry.may_retry(effect, attempt, most, retryable) is again


@pytest.mark.parametrize(("attempt", "expected_s"), [(1, 5), (2, 10), (3, 20), (40, 3600)])
def test_exponential_delay_doubles_up_to_an_hour_with_a_fifth_of_jitter(attempt: int, expected_s: float) -> None:
    for seed in range(50):
        assert expected_s * 0.8 <= retry.delay_s(attempt, 5.0, "exponential", Random(seed)) <= expected_s * 1.2


def test_fixed_delay_stays() -> None:
    assert 4.0 <= retry.delay_s(7, 5.0, "fixed", Random(1)) <= 6.0


def test_the_tree_at_the_head_of_errors_is_the_tree_of_classes() -> None:
    drawn = []
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("│", " ").replace("├──", " ").replace("└──", " ").split()
        if len(words) == 2 and words[0][0].isupper() and words[1].replace("_", "").islower():
            drawn.append((words[0], words[1]))
    found = []

    def walk(kind: type[errors.LabdError]) -> None:
        found.append((kind.__name__, kind.code))
        for child in kind.__subclasses__():
            if child.__module__ == "labd.errors":
                walk(child)

    walk(errors.LabdError)
    assert drawn == found


def test_refusals_and_bad_requests_are_never_retried() -> None:
    for kind in (errors.Refused, errors.BadRequest, errors.Conflict, errors.NotFound):
        stack = [kind]
        while stack:
            cls = stack.pop()
            assert not cls.retryable, cls
            stack += cls.__subclasses__()


def test_a_physical_task_is_never_cached() -> None:
    async def move(ctx: registry.JobContext) -> None: ...

    with pytest.raises(ValueError, match=r"task arm\.move is physical; what moved once must not be skipped"):
        registry.TaskSpec("arm.move", move, effect="physical", cached=True)
