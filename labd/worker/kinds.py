"""Kinds of arguments: int, float, str, bool, list, dict, any, literal, enum, optional, union and dataclass.

Why a closed list: every kind must be checkable by the daemon, drawable as a form, and the same at every door. What is
not in it is refused when the file is loaded, with the way out, not when a job has already started.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import pathlib
import typing
from typing import Any, Callable, Dict, List, Optional, Tuple

Convert = Optional[Callable[[Any], Any]]
WAY_OUT = "use int, float, str, bool, list, dict, Optional, Union, Literal, an Enum or a dataclass"
DEPTH_LIMIT = 20


class KindFault(Exception):
    """An annotation that no argument of a task can have."""


class Kind:
    """One kind: its shape on the wire, the way back, and whether a JSON value is of it."""

    __slots__ = ("convert", "fits", "shape")

    def __init__(self, shape: Dict[str, Any], fits: Callable[[Any], bool], convert: Convert = None) -> None:
        self.shape = shape
        self.fits = fits
        self.convert = convert


class Limits:
    """Bounds of a number, both included; None is no bound."""

    __slots__ = ("maximum", "minimum")

    def __init__(self, minimum: Optional[float] = None, maximum: Optional[float] = None) -> None:
        self.minimum = minimum
        self.maximum = maximum

    def check(self, kind: Kind) -> None:
        """Bounds must be numbers, in order, and stand on a number."""
        given = [bound for bound in (self.minimum, self.maximum) if bound is not None]
        if not all(type(bound) in (int, float) for bound in given):
            raise KindFault(f"bounds must be numbers, not {self.minimum!r} and {self.maximum!r}")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise KindFault(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        shape = kind.shape["of"] if kind.shape["kind"] == "optional" else kind.shape
        if given and shape["kind"] not in ("int", "float"):
            raise KindFault(f"bounds stand on a number, and this is {shape['kind']}")


def limits_of(*several: Optional[Limits]) -> Limits:
    """One out of several places where bounds may stand; two that both speak contradict each other."""
    speaking = [one for one in several if one is not None and (one.minimum is not None or one.maximum is not None)]
    if len(speaking) > 1:
        raise KindFault("has bounds twice; keep one of Annotated and @task(bounds=...)")
    return speaking[0] if speaking else Limits()


def split_annotated(annotation: Any) -> Tuple[Any, Limits, str]:
    """`Annotated[int, Bounds(0, 300), "microlitres"]` as `int`, its limits and its text.

    Bounds of other libraries (`annotated_types`, msgspec, pydantic) are read by their attributes `ge` and `le`.
    """
    metadata = getattr(annotation, "__metadata__", None)
    if metadata is None:
        return annotation, Limits(), ""
    limits, said = Limits(), ""
    for item in metadata:
        if isinstance(item, str):
            said = said or item
            continue
        for low in ("minimum", "ge"):
            if getattr(item, low, None) is not None:
                limits.minimum = getattr(item, low)
        for high in ("maximum", "le"):
            if getattr(item, high, None) is not None:
                limits.maximum = getattr(item, high)
    return annotation.__origin__, limits, said


def kind_of(annotation: Any, inside: Tuple[Any, ...], outermost: bool = False) -> Tuple[Kind, Limits]:
    """The kind of an annotation, and the limits found in it (`Optional[Annotated[int, ...]]`).

    Args:
        annotation: Resolved.
        inside: Dataclasses that are being described, to see one that holds itself.
        outermost: Whether the parameter itself is meant: only there the protocol has room for bounds.
    """
    annotation, limits, _said = split_annotated(annotation)
    if not outermost:
        limits.check(ANY)
    while hasattr(annotation, "__supertype__"):
        annotation = annotation.__supertype__  # NewType
    simple = SIMPLE.get(annotation) if isinstance(annotation, collections.abc.Hashable) else None
    if simple is not None:
        return simple, limits
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Union or type(annotation).__name__ == "UnionType":
        found, inner = _union(parts, inside, outermost)
        return found, limits_of(limits, inner)
    if origin is typing.Literal:
        return _literal(parts), limits
    if origin in (list, collections.abc.Sequence, collections.abc.Iterable):
        return _list(parts[:1], inside), limits
    if origin is tuple:
        if len(parts) != 2 or parts[1] is not Ellipsis:
            raise KindFault("a tuple of fixed length has no form; use a dataclass, or Tuple[X, ...]")
        return _list(parts[:1], inside, tuple), limits
    if origin in (dict, collections.abc.Mapping):
        return _dict(parts, inside), limits
    if inspect.isclass(annotation):
        return _class(annotation, inside), limits
    raise KindFault(f"{_text(annotation)} cannot come as JSON; {WAY_OUT}")


def with_none(kind: Kind) -> Kind:
    """The kind or None."""
    convert = kind.convert
    return Kind(
        {"kind": "optional", "of": kind.shape},
        lambda value: value is None or kind.fits(value),
        None if convert is None else lambda value: None if value is None else convert(value),
    )


def _union(parts: Tuple[Any, ...], inside: Tuple[Any, ...], outermost: bool) -> Tuple[Kind, Limits]:
    rest = [part for part in parts if part is not type(None)]
    if len(rest) == 1:
        kind, limits = kind_of(rest[0], inside, outermost)
        return (kind if kind is ANY else with_none(kind)), limits
    kinds = [kind_of(part, inside)[0] for part in rest]
    kinds_in_order = sorted(kinds, key=lambda kind: kind.shape["kind"] == "float")  # 3 is an int before it is a float

    def convert(value: Any) -> Any:
        for kind in kinds_in_order:
            if kind.fits(value):
                return value if kind.convert is None else kind.convert(value)
        raise ValueError(f"{value!r} is none of its kinds")

    shape = {"kind": "union", "of": [kind.shape for kind in kinds]}
    made = Kind(shape, lambda value: any(kind.fits(value) for kind in kinds), convert)
    return (with_none(made) if len(rest) < len(parts) else made), Limits()


def _literal(parts: Tuple[Any, ...]) -> Kind:
    values = [part for part in parts if part is not None]
    if not values or not all(type(value) in (int, str) for value in values):
        raise KindFault(f"Literal{list(parts)} must hold texts and whole numbers only")
    made = Kind({"kind": "literal", "values": values}, lambda value: _among(value, values))
    return with_none(made) if len(values) < len(parts) else made


def _among(value: Any, values: List[Any]) -> bool:
    return any(type(value) is type(one) and value == one for one in values)


def _list(parts: Tuple[Any, ...], inside: Tuple[Any, ...], into: Any = None) -> Kind:
    item = kind_of(parts[0], inside)[0] if parts and not isinstance(parts[0], typing.TypeVar) else ANY
    convert = item.convert
    back: Convert = into
    if convert is not None:
        back = lambda values: (into or list)(convert(value) for value in values)  # noqa: E731
    return Kind({"kind": "list", "item": item.shape}, lambda value: isinstance(value, list), back)


def _dict(parts: Tuple[Any, ...], inside: Tuple[Any, ...]) -> Kind:
    parts = tuple(ANY_TYPE if isinstance(part, typing.TypeVar) else part for part in parts) or (str, ANY_TYPE)
    if parts[0] not in (str, ANY_TYPE):
        raise KindFault(f"JSON has words as keys, not {_text(parts[0])}; use Dict[str, ...]")
    item = kind_of(parts[1], inside)[0]
    convert = item.convert
    back: Convert = None
    if convert is not None:
        back = lambda values: {key: convert(value) for key, value in values.items()}  # noqa: E731
    return Kind({"kind": "dict", "item": item.shape}, lambda value: isinstance(value, dict), back)


def _class(cls: Any, inside: Tuple[Any, ...]) -> Kind:
    if issubclass(cls, enum.Enum):
        values = [member.value for member in cls]
        if not values or not all(type(value) in (int, str) for value in values):
            raise KindFault(f"{cls.__name__} must have texts or whole numbers as values")
        return Kind({"kind": "enum", "name": cls.__name__, "values": values}, lambda value: _among(value, values), cls)
    if dataclasses.is_dataclass(cls):
        return _dataclass(cls, inside)
    if issubclass(cls, pathlib.PurePath):
        return Kind({"kind": "str"}, lambda value: isinstance(value, str), cls)
    if issubclass(cls, dict):
        return SIMPLE[dict]  # a TypedDict is a dict when it runs
    raise KindFault(f"{_text(cls)} cannot come as JSON; {WAY_OUT}")


def _dataclass(cls: Any, inside: Tuple[Any, ...]) -> Kind:
    from labd.worker.parameters import ParameterFault, describe, hints_of

    if cls in inside or len(inside) >= DEPTH_LIMIT:
        raise KindFault(f"{cls.__name__} holds itself; a form has an end")
    fields: List[Dict[str, Any]] = []
    converted: Dict[str, Callable[[Any], Any]] = {}
    try:
        hints = hints_of(cls, f"annotations of {cls.__name__}")
        for field in dataclasses.fields(cls):
            if not field.init:
                continue
            default: Any = inspect.Parameter.empty
            if field.default is not dataclasses.MISSING:
                default = field.default
            elif field.default_factory is not dataclasses.MISSING:
                default = field.default_factory()
            wire, kind = describe(field.name, hints[field.name], default, None, "", (*inside, cls))
            fields.append(wire)
            if kind.convert is not None:
                converted[field.name] = kind.convert
    except ParameterFault as fault:
        raise KindFault(f"{cls.__name__}: {fault}") from None
    names = {field["name"] for field in fields}
    needed = {field["name"] for field in fields if field["required"]}

    def convert(value: Dict[str, Any]) -> Any:
        return cls(**{name: converted[name](item) if name in converted else item for name, item in value.items()})

    def fits(value: Any) -> bool:
        return isinstance(value, dict) and needed <= set(value) <= names

    return Kind({"kind": "dataclass", "name": cls.__name__, "fields": fields}, fits, convert)


def _text(annotation: Any) -> str:
    return str(annotation.__name__) if inspect.isclass(annotation) else str(annotation).replace("typing.", "")


ANY_TYPE: Any = Any
ANY = Kind({"kind": "any"}, lambda value: True)
LIST = Kind({"kind": "list", "item": ANY.shape}, lambda value: isinstance(value, list))
DICT = Kind({"kind": "dict", "item": ANY.shape}, lambda value: isinstance(value, dict))
SIMPLE: Dict[Any, Kind] = {
    Any: ANY,
    object: ANY,
    inspect.Parameter.empty: ANY,
    int: Kind({"kind": "int"}, lambda value: type(value) is int),
    float: Kind({"kind": "float"}, lambda value: type(value) in (int, float), float),
    str: Kind({"kind": "str"}, lambda value: isinstance(value, str)),
    bool: Kind({"kind": "bool"}, lambda value: isinstance(value, bool)),
    list: LIST,
    typing.List: LIST,
    dict: DICT,
    typing.Dict: DICT,
    tuple: Kind(LIST.shape, LIST.fits, tuple),
    typing.Tuple: Kind(LIST.shape, LIST.fits, tuple),
}
