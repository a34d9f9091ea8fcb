"""What the MQTT door takes and refuses, as values."""

from __future__ import annotations

import json

import pytest

from labd import mqtt_messages as messages
from labd.errors import BadRequest, BodyTooLarge, LabdError
from labd.mqtt_messages import Delivery, Topics

TOPICS = Topics("labd", "bench")


@pytest.mark.parametrize(
    ("topic", "asked"),
    [
        ("labd/bench/cmd/alice/mix_color", ("alice", "mix_color")),
        ("labd/bench/cmd/alice/activate-hotel/activate-hotel", ("alice", "activate-hotel/activate-hotel")),
        ("labd/bench/cmd/cmd/cmd", ("cmd", "cmd")),
    ],
)
def test_user_and_task_come_from_the_topic(topic: str, asked: tuple[str, str]) -> None:
    assert TOPICS.asked(topic) == asked


@pytest.mark.parametrize(
    "topic", ["labd/bench/cmd/alice", "labd/bench/cmd/alice/", "labd/bench/cmd//mix", "labd/other/cmd/a/b", "x", ""]
)
def test_a_topic_that_is_no_request(topic: str) -> None:
    with pytest.raises(BadRequest, match="is no request; ask on labd/bench/cmd/<user>/<task>"):
        TOPICS.asked(topic)


@pytest.mark.parametrize("topic", ["labd/bench/reply/alice", "labd/bench/reply/alice/a", "labd/bench/reply/alice/ü/b"])
def test_an_answer_goes_to_the_users_own_topics(topic: str) -> None:
    assert TOPICS.answer_topic("alice", topic) == topic


@pytest.mark.parametrize(
    ("topic", "problem"),
    [
        (None, "has no response topic"),
        ("", "has no response topic"),
        ("labd/bench/reply/alic", "is not under labd/bench/reply/alice/"),
        ("labd/bench/reply/alice2/x", "is not under"),
        ("labd/bench/reply/bob/x", "is not under"),
        ("labd/bench/cmd/alice/stop", "is not under"),
        ("$SYS/broker", "is not under"),
        ("labd/bench/reply/alice/#", "wildcard"),
        ("labd/bench/reply/alice/+/x", "wildcard"),
        ("labd/bench/reply/alice/a\0b", "control character"),
        ("labd/bench/reply/alice/a\nb", "control character"),
        ("labd/bench/reply/alice/\ud800", "control character"),
        ("labd/bench/reply/alice/" + "x" * 600, "has 623 bytes; at most 512"),
    ],
)
def test_a_hostile_response_topic_is_refused(topic: str | None, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        TOPICS.answer_topic("alice", topic)


@pytest.mark.parametrize(
    ("payload", "args"), [(b"", {}), (b" \n", {}), (b"{}", {}), (b'{"R": 120, "well": "B2"}', {"R": 120, "well": "B2"})]
)
def test_the_payload_is_the_arguments(payload: bytes, args: dict[str, object]) -> None:
    assert messages.arguments_of(payload, 1024) == args


@pytest.mark.parametrize(
    ("payload", "problem"),
    [
        (b"{", "is no JSON"),
        (b"[]", "is a JSON list, needs an object"),
        (b"null", "is a JSON NoneType, needs an object"),
        (b"\xff", "is not UTF-8"),
        (b'{"a": NaN}', "NaN is no number"),
        (b'{"a": -Infinity}', "-Infinity is no number"),
        (b'{"a": 1e999}', "1e999 is too large"),
        (b"[" * 200_000, "nested too deep"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_payload_that_is_no_arguments(payload: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        messages.arguments_of(payload, 1 << 20)


def test_a_payload_over_the_limit() -> None:
    with pytest.raises(BodyTooLarge, match="has 2000 bytes, at most 1024"):
        messages.arguments_of(b"x" * 2000, 1024)


def test_correlation_data_is_needed_and_is_the_key() -> None:
    assert messages.correlation_of(Delivery("t", correlation=b"\x01\xff")) == b"\x01\xff"
    assert messages.key_of("alice", b"\x01\xff") == "mqtt:alice:01ff"
    assert len(messages.key_of("u" * 63, b"x" * messages.CORRELATION_LIMIT_BYTES)) <= 200
    for missing in (None, b""):
        with pytest.raises(BadRequest, match="has no correlation data"):
            messages.correlation_of(Delivery("t", correlation=missing))
    with pytest.raises(BadRequest, match="has 65 bytes; at most 64"):
        messages.correlation_of(Delivery("t", correlation=b"x" * 65))


def test_only_what_moves_needs_an_expiry() -> None:
    messages.check_expiry("mix", "repeatable", None)
    messages.check_expiry("move", "physical", 5.0)
    with pytest.raises(BadRequest, match="move is physical and the request has no message expiry"):
        messages.check_expiry("move", "physical", None)


def test_what_a_client_hears_before_the_end() -> None:
    told = messages.news("job.progress", 7, 9, {"task": "x", "done": 1, "total": 4, "text": "half"})
    assert told == {"status": "progress", "job": 7, "done": 1, "total": 4, "text": "half", "seq": 9}
    assert messages.news("job.started", 7, 9, {"attempt": 2}) == {
        "status": "running", "job": 7, "attempt": 2, "seq": 9,
    }  # fmt: skip
    assert messages.news("job.succeeded", 7, 9, {}) is None


def test_a_long_answer_is_sent_without_its_result() -> None:
    answer = {"status": "success", "result": "x" * 5000, "job": 7}
    assert json.loads(messages.encoded(answer, 10_000)) == answer
    short = json.loads(messages.encoded(answer, 1024))
    assert (short["status"], short["job"]) == ("success", 7)
    assert short["omitted_bytes"] > 5000
    assert "result" not in short


def test_a_fault_of_labds_own_says_where_to_look() -> None:
    assert isinstance(messages.unexpected("abc"), LabdError)
    assert messages.unexpected("abc").details == {"incident": "abc"}
