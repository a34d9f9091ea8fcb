"""Lines of the worker's channel and the JSON in them."""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labd.worker.channel import LINE_LIMIT_BYTES, Channel, ChannelFault, LineTooLong
from labd.worker.encoding import NotJson, encode, plain


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Well:
    name: str
    color: Color


@pytest.fixture
def pipes() -> Iterator[tuple[Channel, int, int]]:
    (read_theirs, write_ours), (read_ours, write_theirs) = os.pipe(), os.pipe()
    yield Channel(read_ours, write_ours), read_theirs, write_theirs
    for fd in (read_theirs, write_ours, read_ours):
        os.close(fd)


def test_messages_come_in_whatever_pieces(pipes: tuple[Channel, int, int]) -> None:
    channel, _, write = pipes
    messages = channel.messages()
    os.write(write, b'{"type":"load"}\n{"ty')
    assert next(messages) == {"type": "load"}
    os.write(write, b'pe":"exit"}\n')
    assert next(messages) == {"type": "exit"}
    os.close(write)
    assert list(messages) == []


@pytest.mark.parametrize("line", [b"{not json\n", b"[1]\n", b"\n", b"\xff\n"])
def test_a_line_that_is_no_message_is_a_fault(pipes: tuple[Channel, int, int], line: bytes) -> None:
    channel, _, write = pipes
    os.write(write, line)
    with pytest.raises(ChannelFault, match="a line that is no"):
        next(channel.messages())
    os.close(write)


def test_a_message_goes_as_a_whole_or_not_at_all(pipes: tuple[Channel, int, int]) -> None:
    channel, read, write = pipes
    with pytest.raises(LineTooLong, match=r"16\.0 MiB of JSON, and at most 16 MiB go through"):
        channel.send({"text": "x" * LINE_LIMIT_BYTES})
    with pytest.raises(NotJson):
        channel.send({"result": object()})
    channel.send({"text": "µl"})
    assert os.read(read, 100) == '{"text":"µl"}\n'.encode()
    os.close(write)


def test_enums_dataclasses_tuples_and_paths_are_written() -> None:
    value = {"well": Well("A1", Color.RED), "pair": (1, 2), "file": Path("/a"), 3: None}
    assert plain(value, "result") == {
        "well": {"name": "A1", "color": "red"}, "pair": [1, 2], "file": "/a", "3": None,
    }  # fmt: skip
    assert encode([1.5, True]) == b"[1.5,true]"


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            {"a": [1, b"x"]},
            "result['a'][1] is of type bytes, which JSON cannot hold; give numbers, texts, lists and dicts",
        ),
        ([float("inf")], "result[0] is inf, which JSON cannot hold; use None for a missing number"),
        ({(1, 2): 3}, "result has the key (1, 2) of type tuple; JSON has words as keys"),
        ("\ud800", "result is a text with a lone surrogate, which UTF-8 cannot hold"),
        (circle(), "is nested more than 200 deep, or holds itself"),
        ({1, 2}, "result is of type set, which JSON cannot hold; give numbers, texts, lists and dicts"),
        (Well, "result is of type type, which JSON cannot hold; give numbers, texts, lists and dicts"),
    ],
)
def test_the_place_is_named_that_json_cannot_hold(value: Any, message: str) -> None:
    with pytest.raises(NotJson) as fault:
        plain(value, "result")
    assert message in str(fault.value)
