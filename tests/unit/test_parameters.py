"""What a worker tells of its parameters becomes the check of every submission, with messages that name the limit."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from labd.engine.parameters import Parameter, arguments_type
from labd.engine.registry import Registry, TaskSpec
from labd.errors import InvalidArguments


def parameter(name: str, kind: str, *, required: bool = True, **more: Any) -> Parameter:
    form = {key: more.pop(key) for key in ("item", "values", "of", "fields") if key in more}
    return msgspec.convert({"name": name, "type": {"kind": kind, **form}, "required": required, **more}, Parameter)


async def nothing(ctx: Any) -> None:
    """A body."""


def registry(*parameters: Parameter) -> tuple[Registry, TaskSpec]:
    found = Registry()
    spec = TaskSpec("mix_color", nothing, arguments=arguments_type("mix_color", parameters))
    found.add(spec)
    return found, spec


WELL = {"kind": "dataclass", "name": "Well", "fields": [{"name": "row", "type": {"kind": "str"}, "required": True}]}
ALLOWED = [
    (parameter("R", "int"), [0, 300]),
    (parameter("R", "float"), [1, 2.5]),
    (parameter("R", "str"), ["", "red"]),
    (parameter("R", "bool"), [True]),
    (parameter("R", "list", item={"kind": "int"}), [[], [1, 2]]),
    (parameter("R", "dict", item={"kind": "float"}), [{}, {"red": 1.5}]),
    (parameter("R", "any"), [None, 1, "x", [], {}]),
    (parameter("R", "literal", values=["auto", 3]), ["auto", 3]),
    (parameter("R", "literal", values=[True, 1.5, None]), [True, 1.5, None]),
    (parameter("R", "enum", values=["red", "blue"]), ["red"]),
    (parameter("R", "optional", of={"kind": "int"}, minimum=1), [None, 1]),
    (parameter("R", "union", of=[{"kind": "int"}, {"kind": "str"}]), [1, "x"]),
    (parameter("R", "union", of=[{"kind": "str"}, {"kind": "literal", "values": ["auto"]}]), ["auto", "x"]),
    (parameter("R", "union", of=[{"kind": "list"}, {"kind": "list", "item": {"kind": "int"}}]), [[1], ["x"]]),
    (parameter("R", "union", of=[WELL, {"kind": "dict"}]), [{"row": "A"}, {"x": 1}]),
    (parameter("R", "union", of=[{"kind": "optional", "of": {"kind": "int"}}, {"kind": "float"}]), [None, 1, 1.5]),
    (msgspec.convert({"name": "R", "type": WELL}, Parameter), [{"row": "A"}]),
    (parameter("R", "of a newer worker"), [None, 1, {"x": [1, "y"]}]),
]


@pytest.mark.parametrize(("kind", "values"), ALLOWED, ids=lambda value: str(value)[:60])
def test_what_the_annotation_allows_is_taken(kind: Parameter, values: list[Any]) -> None:
    found, spec = registry(kind)
    for value in values:
        assert found.check_args(spec, {"R": value}) == {"R": value}
    assert found.schema(spec)["required"] == ["R"]


R = parameter("R", "int", minimum=0, maximum=300)
REFUSED = [
    ([R], {"R": "x"}, "argument R = 'x': Expected `int`, got `str`"),
    ([R], {"R": 1.5}, "argument R = 1.5: Expected `int`, got `float`"),
    ([R], {"R": True}, "argument R = True: Expected `int`, got `bool`"),
    ([R], {"R": 301}, "argument R = 301: Expected `int` <= 300"),
    ([R], {"R": -1}, "argument R = -1: Expected `int` >= 0"),
    ([R], {}, "Object missing required field `R`"),
    ([R], {"R": 1, "Z": 1}, "Object contains unknown field `Z`"),
    (
        [parameter("well", "literal", values=["A1", "B2"])],
        {"well": "C3"},
        "argument well = 'C3': Invalid enum value 'C3'",
    ),
    ([parameter("f", "float", maximum=0.5)], {"f": 0.6}, "argument f = 0.6: Expected `float` <= 0.5"),
    ([parameter("t", "str", minimum=2)], {"t": "x"}, "argument t = 'x': Expected `str` of length >= 2"),
    ([parameter("o", "optional", of={"kind": "int"}, minimum=1)], {"o": 0}, "argument o = 0: Expected `int` >= 1"),
]


@pytest.mark.parametrize(("parameters", "args", "message"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_it_does_not_allow_is_refused_by_name_and_limit(
    parameters: list[Parameter], args: dict[str, Any], message: str
) -> None:
    found, spec = registry(*parameters)
    with pytest.raises(InvalidArguments) as refusal:
        found.check_args(spec, args)
    assert refusal.value.message == f"mix_color: {message}; `labctl task show mix_color` shows the arguments"


def test_the_schema_has_bounds_defaults_and_descriptions() -> None:
    plates = parameter("plates", "list", required=False, default=[1], item={"kind": "int"})
    speed = parameter("speed", "float", required=False, default=2.0, doc="in rpm")
    found, spec = registry(R, speed, plates)
    assert found.schema(spec)["properties"]["R"] == {"type": "integer", "minimum": 0, "maximum": 300}
    assert found.schema(spec)["properties"]["speed"] == {"type": "number", "default": 2.0, "description": "in rpm"}
    assert msgspec.convert({"R": 1}, spec.arguments or Any).plates == [1]
