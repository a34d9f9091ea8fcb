"""What people type: task arguments, instants, spans, filters."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest

from labctl import arguments, routes
from labd.errors import BadRequest, UnknownTask


class Schemas:
    """A client that knows the schema of one task."""

    def __init__(self, properties: dict[str, Any] | None) -> None:
        self.properties = properties
        self.asked = 0

    def task(self, name: str) -> dict[str, Any]:
        self.asked += 1
        if self.properties is None:
            raise UnknownTask(name)
        return {"schema": {"properties": self.properties}}


def read(pairs: list[str], properties: dict[str, Any] | None = None, whole: str | None = None) -> dict[str, Any]:
    client: Any = Schemas(properties)
    return arguments.task_arguments(client, "t", pairs, whole)


def test_values_that_read_as_json_are_taken_so() -> None:
    assert read(["R=120", "wet=true", "wells=[1,2]", "name=A1", "x=1.5"], {}) == {
        "R": 120,
        "wet": True,
        "wells": [1, 2],
        "name": "A1",
        "x": 1.5,
    }


def test_a_number_stays_text_where_the_schema_wants_text() -> None:
    properties = {"hotel": {"type": "string"}, "lot": {"anyOf": [{"type": "string"}, {"type": "null"}]}}
    assert read(["hotel=12", "lot=007", "n=12"], properties) == {"hotel": "12", "lot": "007", "n": 12}


def test_the_schema_is_asked_for_only_when_it_matters() -> None:
    client: Any = Schemas({})
    arguments.task_arguments(client, "t", ["hotel=B"], None)
    assert client.asked == 0


def test_an_unknown_task_is_left_to_the_submission() -> None:
    assert read(["n=1"], None) == {"n": 1}


def test_words_go_before_the_json_object() -> None:
    assert read(["a=2"], {}, '{"a": 1, "b": 3}') == {"a": 2, "b": 3}


@pytest.mark.parametrize("pair", ["hotel", "=B"])
def test_a_word_without_a_name_is_refused(pair: str) -> None:
    with pytest.raises(BadRequest, match="an argument is written NAME=VALUE"):
        read([pair], {})


@pytest.mark.parametrize("whole", ["[1]", "{", "1"])
def test_arguments_that_are_no_object_are_refused(whole: str) -> None:
    with pytest.raises(BadRequest):
        read([], {}, whole)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90.0), ("10m", 600.0), ("1.5h", 5400.0), ("2d", 172800.0), ("10", None), ("x", None)]
)
def test_spans(text: str, seconds: float | None) -> None:
    assert arguments.span_s(text) == seconds


def test_a_moment_may_be_a_span_ago() -> None:
    now = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
    assert arguments.moment("2h", now) == "2026-01-31T06:00:00Z"
    assert arguments.moment("2026-01-31T08:00:00+01:00", now) == "2026-01-31T07:00:00Z"
    assert arguments.moment(None, now) is None


def test_a_moment_that_is_none_says_how_to_write_one() -> None:
    with pytest.raises(BadRequest, match="yesterday: not a time; write 2026-01-31T08:00"):
        arguments.moment("yesterday")


def test_a_list_of_submissions_needs_tasks() -> None:
    file = io.StringIO('[{"args": {}}]')
    file.name = "jobs.json"
    with pytest.raises(BadRequest, match=r"jobs\.json: a list of submissions is wanted"):
        arguments.submissions(file)


def test_filters_leave_out_what_is_not_said_and_join_lists() -> None:
    request = routes.jobs(state=["queued", "running"], task="resort.go_home", limit=5)
    assert dict(request.query) == {"state": "queued,running", "task": "resort.go_home", "limit": "5"}


def test_names_in_paths_are_escaped() -> None:
    assert routes.get(f"/tasks/{routes.part('a/b c')}").path == "/api/v1/tasks/a%2Fb%20c"
    assert routes.execute("activate-hotel/activate-hotel", {}).path == "/execute/activate-hotel/activate-hotel"
