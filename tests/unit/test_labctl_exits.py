"""Exit codes: every error of the tree, every state of a job."""

from __future__ import annotations

import pytest

from labctl import exits
from labctl.refusals import classes_by_code, error_of, value_of
from labd import errors

ERRORS = {
    "daemon_unreachable": 3,
    "bad_request": 2,
    "invalid_arguments": 2,
    "settings_invalid": 2,
    "not_found": 4,
    "unknown_task": 4,
    "unknown_job": 4,
    "unknown_queue": 4,
    "unknown_schedule": 4,
    "unknown_device": 4,
    "conflict": 4,
    "idempotency_conflict": 4,
    "job_state_conflict": 4,
    "already_serving": 4,
    "not_authenticated": 4,
    "scope_missing": 4,
    "refused": 4,
    "stop_latched": 4,
    "not_connected": 4,
    "store_full": 4,
    "draining": 4,
    "overloaded": 4,
    "share_taken": 4,
    "store_damaged": 6,
    "stop_unconfirmed": 6,
    "job_interrupted": 6,
    "task_failed": 1,
    "task_timeout": 1,
    "job_cancelled": 1,
    "move_stalled": 1,
    "device_lost": 1,
    "internal": 1,
}


@pytest.mark.parametrize(("code", "expected"), ERRORS.items())
def test_exit_code_of_each_error(code: str, expected: int) -> None:
    assert exits.of_error(error_of(code, "text", {})) == expected


def test_every_code_of_the_tree_has_an_exit_code_other_than_done() -> None:
    for code, kind in classes_by_code().items():
        assert exits.of_error(kind("text")) in {1, 2, 3, 4, 6}, code


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        ({"state": "succeeded"}, 0),
        ({"state": "failed", "error": {"code": "move_stalled"}}, 1),
        ({"state": "failed", "error": {"code": "stop_latched"}}, 4),
        ({"state": "failed", "error": {"code": "job_expired"}}, 1),
        ({"state": "cancelled"}, 1),
        ({"state": "interrupted"}, 6),
        ({"state": "queued", "hold": {"code": "stop", "reason": "r"}}, 6),
        ({"state": "queued"}, 5),
        ({"state": "running"}, 5),
        ({"state": "waiting"}, 5),
        ({"state": "cancelling"}, 5),
    ],
)
def test_exit_code_of_each_state(job: dict[str, object], expected: int) -> None:
    assert exits.of_job(job) == expected


def test_an_error_comes_back_as_the_class_of_its_code_with_its_details() -> None:
    body = b'{"code": "stop_latched", "message": "stopped by bob", "details": {"message": "m", "by": "bob"}}'
    with pytest.raises(errors.StopLatched) as caught:
        value_of(412, "application/json", body)
    assert caught.value.message == "stopped by bob"
    assert caught.value.details == {"message": "m", "by": "bob"}


def test_an_unknown_code_keeps_its_text_under_the_class_of_its_status() -> None:
    with pytest.raises(errors.Refused) as caught:
        value_of(412, "application/json", b'{"code": "too_wet", "message": "floor is wet"}')
    assert caught.value.details["code"] == "too_wet"


def test_an_answer_of_another_program_is_named_as_such() -> None:
    with pytest.raises(errors.NotFound, match=r"HTTP 404 without an error of labd's \(<html>\)"):
        value_of(404, "text/html", b"<html>\nno</html>")
