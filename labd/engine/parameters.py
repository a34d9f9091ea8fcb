"""From the parameters that a worker tells of its tasks to the type that checks a submission.

Why a msgspec type: `Registry.check_args` has one rule for the tasks of wings and of workers, so every door gives the
same error, and the schema of the forms and of OpenAPI is this type's own.

Why unions are merged: msgspec takes at most one kind of text, list and table in a union. Where annotations name more,
such as `Union[str, Literal["auto"]]`, the wider one stands for both, and the child converts what it gets.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

PLAIN: dict[str, Any] = {"int": int, "float": float, "str": str, "bool": bool}
NUMBERS = (int, float)


class TypeForm(msgspec.Struct):
    """An annotation as the worker tells it (`TYPE` of the protocol)."""

    kind: str = "any"
    item: TypeForm | None = None
    values: list[Any] = []
    of: TypeForm | list[TypeForm] | None = None
    fields: list[Parameter] = []
    name: str = ""


class Parameter(msgspec.Struct):
    """One parameter of a task as the worker tells it (`PARAM` of the protocol)."""

    name: str
    type: TypeForm = msgspec.field(default_factory=TypeForm)
    required: bool = True
    default: Any = None
    minimum: float | None = None
    maximum: float | None = None
    doc: str | None = None


def arguments_type(task: str, parameters: Iterable[Parameter]) -> type[msgspec.Struct]:
    """The type of a task's arguments; unknown names are refused."""
    return _struct("Arguments_" + task.replace(".", "_"), parameters)


def _struct(name: str, parameters: Iterable[Parameter]) -> type[msgspec.Struct]:
    fields: list[Any] = []
    for parameter in parameters:
        kind = _described(_bounded(_kind(parameter.type), parameter), parameter)
        if parameter.required:
            fields.append((parameter.name, kind))
        elif isinstance(parameter.default, list | dict) and parameter.default:
            fields.append((parameter.name, kind, msgspec.field(default_factory=_copier(parameter.default))))
        else:
            fields.append((parameter.name, kind, parameter.default))
    return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)


def _copier(value: Any) -> Any:
    return lambda: copy.deepcopy(value)


def _kind(form: TypeForm) -> Any:
    if form.kind in PLAIN:
        return PLAIN[form.kind]
    if form.kind == "list":
        return list[_kind(form.item)] if form.item is not None else list  # type: ignore[misc]
    if form.kind == "dict":
        return dict[str, _kind(form.item)] if form.item is not None else dict  # type: ignore[misc]
    if form.kind in ("literal", "enum"):
        return _choice(form.values)
    if form.kind == "optional":
        inner = form.of[0] if isinstance(form.of, list) else form.of
        kind = _kind(inner) if inner is not None else Any
        return kind if kind is Any else _union([kind, None])
    if form.kind == "union":
        members = form.of if isinstance(form.of, list) else [form.of] if form.of is not None else []
        return _union([_kind(member) for member in members])
    if form.kind == "dataclass":
        return _struct(form.name or "Fields", form.fields)
    if form.kind == "none":
        return None
    return Any


def _choice(values: list[Any]) -> Any:
    """One of these values; what `Literal` cannot hold (numbers with a fraction, truth values) by its type."""
    texts = tuple(value for value in values if isinstance(value, str | int) and not isinstance(value, bool))
    kinds: list[Any] = [Literal[texts]] if texts else []
    kinds += [bool] if any(isinstance(value, bool) for value in values) else []
    kinds += [float] if any(isinstance(value, float) for value in values) else []
    kinds += [None] if any(value is None for value in values) else []
    return _union(kinds) if kinds else Any


def _union(kinds: list[Any]) -> Any:
    """A union that msgspec takes: of texts, lists and tables at most one each, the widest."""
    if not kinds or Any in kinds:
        return Any
    chosen: dict[str, Any] = {}
    for kind in _flat(kinds):
        family = _family(kind)
        before = chosen.get(family)
        chosen[family] = kind if before is None or before == kind else _wider(family, before, kind)
    if "literal" in chosen and ("text" in chosen or "integer" in chosen):
        for value in _values(chosen.pop("literal")):
            chosen.setdefault("text" if isinstance(value, str) else "integer", type(value))
    return reduce(or_, chosen.values()) if len(chosen) > 1 else next(iter(chosen.values()))


def _flat(kinds: list[Any]) -> Iterable[Any]:
    for kind in kinds:
        if hasattr(kind, "__args__") and _family(kind) == "union":
            yield from _flat(list(kind.__args__))
        else:
            yield type(None) if kind is None else kind


def _family(kind: Any) -> str:
    origin = getattr(kind, "__origin__", kind)
    if origin is Literal:
        return "literal"
    if type(kind).__name__ in ("UnionType", "_UnionGenericAlias"):
        return "union"
    if origin is str:
        return "text"
    if origin is int:
        return "integer"
    if origin is list:
        return "list"
    if origin is dict or (isinstance(origin, type) and issubclass(origin, msgspec.Struct)):
        return "table"
    return repr(origin)


def _wider(family: str, one: Any, other: Any) -> Any:
    if family == "literal":
        return Literal[(*_values(one), *(value for value in _values(other) if value not in _values(one)))]
    return {"list": list, "table": dict}[family]


def _values(kind: Any) -> tuple[Any, ...]:
    found: tuple[Any, ...] = kind.__args__
    return found


def _bounded(kind: Any, parameter: Parameter) -> Any:
    """The kind with its limits: of a number its value, of a text or a list its length."""
    low, high = parameter.minimum, parameter.maximum
    if low is None and high is None:
        return kind
    if _family(kind) == "union":
        return reduce(or_, (_bounded(part, parameter) for part in kind.__args__))
    if kind in NUMBERS:
        whole = kind is int
        return Annotated[kind, Meta(ge=_limit(low, whole), le=_limit(high, whole))]
    if _family(kind) in ("text", "list"):
        return Annotated[kind, Meta(min_length=_limit(low, True), max_length=_limit(high, True))]
    return kind


def _limit(value: float | None, whole: bool) -> Any:
    return int(value) if whole and value is not None and value == int(value) else value


def _described(kind: Any, parameter: Parameter) -> Any:
    return Annotated[kind, Meta(description=parameter.doc)] if parameter.doc else kind
