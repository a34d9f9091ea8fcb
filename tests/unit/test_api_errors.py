"""One status for every error, and nothing of an unexpected one leaves the host."""

from __future__ import annotations

import json

import pytest
import structlog

from labd import errors
from labd.api.errors import STATUS, answer_error, answer_unexpected, status_of
from labd.errors import DeviceClaimed, LabdError, MethodNotAllowed, NotAuthenticated, Refused, StoreFull


def all_classes(kind: type[LabdError] = LabdError) -> list[type[LabdError]]:
    found = [kind]
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            found += all_classes(child)
    return found


def test_every_error_has_a_status_and_every_status_an_error() -> None:
    assert sorted(STATUS) == sorted({kind.code for kind in all_classes()})


@pytest.mark.parametrize("kind", all_classes(), ids=lambda kind: kind.code)
def test_an_error_is_answered_as_code_message_details(kind: type[LabdError]) -> None:
    answer = answer_error(kind("resort: no", servo=1))
    assert answer.status == STATUS[kind.code]
    assert 400 <= answer.status < 600
    assert json.loads(answer.body) == {"code": kind.code, "message": "resort: no", "details": {"servo": 1}}  # type: ignore[arg-type]
    assert answer.headers["Content-Type"] == "application/json"


def test_an_error_of_a_wing_takes_the_status_of_its_nearest_ancestor() -> None:
    class LidOpen(Refused):
        code = "lid_open"

    assert status_of(LidOpen("the lid is open")) == STATUS["refused"]


def test_headers_that_clients_act_on() -> None:
    assert answer_error(NotAuthenticated("who?")).headers["WWW-Authenticate"].startswith("Bearer")
    assert answer_error(MethodNotAllowed("no", allowed=["GET", "PUT"])).headers["Allow"] == "GET, PUT"
    assert answer_error(DeviceClaimed("claimed", retry_after_s=2.1)).headers["Retry-After"] == "3"
    assert answer_error(DeviceClaimed("claimed", retry_after_s=0.1)).headers["Retry-After"] == "1"
    assert "Retry-After" not in answer_error(StoreFull("full")).headers


def test_an_unexpected_exception_shows_an_id_and_keeps_its_text_in_the_log() -> None:
    with structlog.testing.capture_logs() as lines:
        answer = answer_unexpected(RuntimeError("password is hunter2"), "GET", "/api/v1/status")
    told = json.loads(answer.body)  # type: ignore[arg-type]
    assert (answer.status, told["code"]) == (500, "internal")
    assert "hunter2" not in answer.body.decode()  # type: ignore[union-attr]
    [line] = lines
    assert line["event"] == "api.request_failed"
    assert line["incident"] == told["details"]["incident"]
    assert isinstance(line["exc_info"], RuntimeError)
