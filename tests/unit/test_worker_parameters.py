"""Annotations of a task as parameters on the wire, and arguments back as what the function takes."""

# ruff: noqa: UP007, UP045  Optional and Union are how a file for Python 3.8 spells it

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NewType, Optional, TypedDict, Union

import pytest

from labd import Bounds
from labd.worker.parameters import ParameterFault, parameters_of

ANY = {"kind": "any"}
INT = {"kind": "int"}
STR = {"kind": "str"}
Slot = NewType("Slot", int)


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pause(enum.IntEnum):
    SHORT = 1


class Names(TypedDict):
    first: str


@dataclasses.dataclass
class Well:
    name: str
    volume_ul: float = 1.0
    color: Color | None = None
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Chain:
    next: Optional[Chain]


class OneSided:
    ge = 5


def with_annotation(annotation: Any) -> Callable[..., None]:
    def function(x: Any) -> None:
        pass

    function.__annotations__ = {"x": annotation}
    return function


@pytest.mark.parametrize(
    ("annotation", "shape", "given", "taken"),
    [
        (int, INT, 3, 3),
        (float, {"kind": "float"}, 3, 3.0),
        (bool, {"kind": "bool"}, True, True),
        (Slot, INT, 3, 3),
        (Any, ANY, [1], [1]),
        (list, {"kind": "list", "item": ANY}, [1], [1]),
        (list[int], {"kind": "list", "item": INT}, [1], [1]),
        (list[Color], {"kind": "list", "item": {"kind": "enum", "name": "Color", "values": ["red", "blue"]}}, ["red"],
         [Color.RED]),
        (tuple[str, ...], {"kind": "list", "item": STR}, ["a"], ("a",)),
        (dict[str, float], {"kind": "dict", "item": {"kind": "float"}}, {"a": 1}, {"a": 1.0}),
        (dict, {"kind": "dict", "item": ANY}, {"a": 1}, {"a": 1}),
        (Names, {"kind": "dict", "item": ANY}, {"first": "a"}, {"first": "a"}),
        (Literal["a", 1], {"kind": "literal", "values": ["a", 1]}, "a", "a"),
        (Literal["a", None], {"kind": "optional", "of": {"kind": "literal", "values": ["a"]}}, None, None),
        (Pause, {"kind": "enum", "name": "Pause", "values": [1]}, 1, Pause.SHORT),
        (int | None, {"kind": "optional", "of": INT}, None, None),
        (Optional[Color], {"kind": "optional", "of": {"kind": "enum", "name": "Color", "values": ["red", "blue"]}},
         "red", Color.RED),
        (Union[float, int, str], {"kind": "union", "of": [{"kind": "float"}, INT, STR]}, 3, 3),
        (Union[Color, int, None], {"kind": "optional", "of": {"kind": "union", "of": [
            {"kind": "enum", "name": "Color", "values": ["red", "blue"]}, INT]}}, "blue", Color.BLUE),
        (Path, STR, "/tmp/a", Path("/tmp/a")),
    ],
)  # fmt: skip
def test_kinds_there_and_back(annotation: Any, shape: Any, given: Any, taken: Any) -> None:
    parameters = parameters_of(with_annotation(annotation), {})
    assert parameters.wire[0]["type"] == shape
    positional, named = parameters.take({"x": given})
    assert (positional, named) == ([], {"x": taken})
    assert type(named["x"]) is type(taken)


def test_a_dataclass_has_fields_of_its_own() -> None:
    parameters = parameters_of(with_annotation(Well), {})
    shape = parameters.wire[0]["type"]
    assert (shape["kind"], shape["name"]) == ("dataclass", "Well")
    fields = {
        field["name"]: (field["type"]["kind"], field["required"], field.get("default")) for field in shape["fields"]
    }
    assert fields == {
        "name": ("str", True, None),
        "volume_ul": ("float", False, 1.0),
        "color": ("optional", False, None),
        "tags": ("list", False, []),
    }
    assert parameters.take({"x": {"name": "A1", "color": "red"}}) == ([], {"x": Well("A1", color=Color.RED)})


def test_defaults_bounds_and_texts() -> None:
    def mix(
        R: Annotated[int, Bounds(0, 300), "red in ul"],  # noqa: N803
        Y: Annotated[Optional[int], OneSided()] = None,  # noqa: N803
        B: float = 1.5,  # noqa: N803
        well: str = None,  # type: ignore[assignment]  # noqa: RUF013
        color: Color = Color.RED,
    ) -> None:
        """Mix.

        Args:
            R: not this one
            B (float): blue
                in ul.
            well: where
        Returns:
            color: nothing
        """

    wire = {one["name"]: one for one in parameters_of(mix, {"B": (None, 9.5)}).wire}
    assert wire["R"] == {
        "name": "R", "type": INT, "required": True, "minimum": 0, "maximum": 300, "doc": "red in ul",
    }  # fmt: skip
    assert (wire["Y"]["minimum"], wire["Y"]["maximum"], wire["Y"]["default"]) == (5, None, None)
    assert (wire["B"]["maximum"], wire["B"]["doc"]) == (9.5, "blue in ul.")
    assert wire["well"]["type"] == {"kind": "optional", "of": STR}
    assert (wire["color"]["default"], wire["color"]["doc"]) == ("red", "")


def test_positional_only_parameters_are_given_by_position() -> None:
    def add(a: int, b: int = 2, /, c: int = 3) -> int:
        return a + b + c

    positional, named = parameters_of(add, {}).take({"c": 1, "a": 1})
    assert add(*positional, **named) == 4


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        (complex, "parameter x: complex cannot come as JSON; use int, float, str, bool,"),
        (tuple[int, str], "parameter x: a tuple of fixed length has no form; use a dataclass, or Tuple[X, ...]"),
        (dict[int, str], "parameter x: JSON has words as keys, not int; use Dict[str, ...]"),
        (Literal[True], "parameter x: Literal[True] must hold texts and whole numbers only"),
        (Chain, "parameter x: Chain: parameter next: Chain holds itself; a form has an end"),
        (Annotated[str, Bounds(0, 1)], "parameter x: bounds stand on a number, and this is str"),
        (Annotated[int, Bounds(5, 1)], "parameter x: minimum 5 is above maximum 1"),
        (list[Annotated[int, Bounds(0, 1)]], "parameter x: bounds stand on a number, and this is any"),
        ("Nowhere", "annotations cannot be read on Python 3."),
    ],
)
def test_what_cannot_be_an_argument_is_refused_with_a_way_out(annotation: Any, message: str) -> None:
    with pytest.raises(ParameterFault) as fault:
        parameters_of(with_annotation(annotation), {})
    assert str(fault.value).startswith(message)


def test_functions_that_cannot_be_checked_are_refused() -> None:
    def stars(*args: int) -> None: ...

    def keywords(**options: int) -> None: ...

    def opaque(x: Any = object()) -> None: ...  # noqa: B008

    def plain(x: Annotated[int, Bounds(0, 1)]) -> None: ...

    for function, bounds, message in (
        (stars, {}, "*args cannot be checked at submission; name every parameter"),
        (keywords, {}, "**options cannot be checked at submission; name every parameter"),
        (opaque, {}, "parameter x: the default of x is of type object, which JSON cannot hold; give numbers,"),
        (plain, {"y": (0, 1)}, "@task(bounds=...) names y, and the function has no such parameter"),
        (plain, {"x": (0, 1)}, "parameter x: has bounds twice; keep one of Annotated and @task(bounds=...)"),
        (plain, {"x": 1}, "parameter x: bounds are (minimum, maximum), either may be None, not 1"),
    ):
        with pytest.raises(ParameterFault) as fault:
            parameters_of(function, bounds)
        assert str(fault.value).startswith(message)


def test_arguments_that_the_daemon_let_through_are_still_named() -> None:
    parameters = parameters_of(with_annotation(Color), {})
    with pytest.raises(ParameterFault, match="argument x: 'green' is not a valid Color"):
        parameters.take({"x": "green"})
    with pytest.raises(ParameterFault, match="no parameter y"):
        parameters.take({"y": 1})
