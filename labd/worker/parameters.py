"""Annotations of a task's function as the daemon's parameters, and its JSON arguments back as what the function takes.

Enforcement is the daemon's, at submission, at every door alike. Here a checked value only becomes an enum member, a
dataclass, a tuple or a path again.
"""

from __future__ import annotations

import inspect
import sys
import typing
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from labd.worker.encoding import NotJson, plain
from labd.worker.kinds import Kind, KindFault, Limits, kind_of, limits_of, split_annotated, with_none


class ParameterFault(Exception):
    """A function that cannot be a task; the message names the parameter."""


class Parameters:
    """The parameters of one function.

    Args:
        wire: PARAM objects of the protocol.
    """

    def __init__(self, wire: List[Dict[str, Any]], kinds: Dict[str, Kind], positional: List[str]) -> None:
        self.wire = wire
        self._known = frozenset(kinds)
        self._converted = [(name, kind.convert) for name, kind in kinds.items() if kind.convert is not None]
        self._positional = positional

    def take(self, args: Mapping[str, Any]) -> Tuple[List[Any], Dict[str, Any]]:
        """Arguments for one call.

        Raises:
            ParameterFault: An argument that is not there or not of its kind, though the daemon let it through.
        """
        given = dict(args)
        unknown = set(given) - self._known
        if unknown:
            raise ParameterFault(f"no parameter {', '.join(sorted(unknown))}")
        for name, convert in self._converted:
            if name in given:
                try:
                    given[name] = convert(given[name])
                except Exception as fault:
                    raise ParameterFault(f"argument {name}: {fault}") from fault
        return [given.pop(name) for name in self._positional if name in given], given


def parameters_of(function: Callable[..., Any], bounds: Mapping[str, Any]) -> Parameters:
    """What the function takes.

    Args:
        function: Decorated, of any kind that `inspect.signature` reads.
        bounds: Of `@task(bounds=...)`: name -> `(minimum, maximum)`.

    Raises:
        ParameterFault: A parameter that cannot come as JSON.
    """
    target = inspect.unwrap(function)
    hints = hints_of(target, "annotations")
    docs = _documented(inspect.getdoc(target) or "")
    wire: List[Dict[str, Any]] = []
    kinds: Dict[str, Kind] = {}
    positional: List[str] = []
    for parameter in _signature(function).parameters.values():
        name = parameter.name
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else "**"
            raise ParameterFault(f"{stars}{name} cannot be checked at submission; name every parameter")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            positional.append(name)
        described, kinds[name] = describe(
            name, hints.get(name, Any), parameter.default, bounds.get(name), docs.get(name, "")
        )
        wire.append(described)
    strangers = sorted(set(bounds) - set(kinds))
    if strangers:
        raise ParameterFault(f"@task(bounds=...) names {', '.join(strangers)}, and the function has no such parameter")
    return Parameters(wire, kinds, positional)


def describe(
    name: str, annotation: Any, default: Any, bounds: Any, doc: str, inside: Tuple[Any, ...] = ()
) -> Tuple[Dict[str, Any], Kind]:
    """One PARAM of the protocol with its kind.

    Args:
        name: Of the parameter or field.
        annotation: Resolved.
        default: `inspect.Parameter.empty` where there is none.
        bounds: `(minimum, maximum)`, or None.
        doc: Taken unless `Annotated` says something.
        inside: The dataclasses around a field.

    Raises:
        ParameterFault: Names the parameter.
    """
    annotation, limits, said = split_annotated(annotation)
    try:
        kind, inner = kind_of(annotation, inside, outermost=True)
        limits = limits_of(limits, inner, None if bounds is None else _pair(bounds))
        limits.check(kind)
    except KindFault as fault:
        raise ParameterFault(f"parameter {name}: {fault}") from None
    wire: Dict[str, Any] = {"name": name, "type": kind.shape, "required": default is inspect.Parameter.empty}
    if not wire["required"]:
        if default is None and kind.shape["kind"] not in ("optional", "any"):
            kind = with_none(kind)  # `x: int = None` reads as Optional, as before Python 3.11
            wire["type"] = kind.shape
        try:
            wire["default"] = plain(default, f"the default of {name}")
        except NotJson as fault:
            raise ParameterFault(f"parameter {name}: {fault}") from None
    wire.update(minimum=limits.minimum, maximum=limits.maximum, doc=said or doc)
    return wire, kind


def hints_of(target: Any, subject: str) -> Dict[str, Any]:
    """Resolved annotations, with what `Annotated` carries.

    Raises:
        ParameterFault: An annotation names what is not there, or is too new for this Python.
    """
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    try:
        keep: Dict[str, Any] = {} if sys.version_info < (3, 9) else {"include_extras": True}
        return typing.get_type_hints(target, **keep)
    except Exception as fault:  # noqa: BLE001 annotations are expressions and raise what they like
        raise ParameterFault(f"{subject} cannot be read on Python {version}: {type(fault).__name__}: {fault}") from None


def _signature(function: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError, NameError) as fault:
        raise ParameterFault(f"its parameters cannot be read: {fault}") from None


def _pair(bounds: Any) -> Limits:
    if hasattr(bounds, "minimum") and hasattr(bounds, "maximum"):
        return Limits(bounds.minimum, bounds.maximum)
    if not isinstance(bounds, (tuple, list)) or len(bounds) != 2:
        raise KindFault(f"bounds are (minimum, maximum), either may be None, not {bounds!r}")
    return Limits(bounds[0], bounds[1])


def _documented(doc: str) -> Dict[str, str]:
    """The `Args:` section of a Google docstring: name -> first sentence lines."""
    found: Dict[str, str] = {}
    name: Optional[str] = None
    inside, indent = False, 0
    for line in doc.splitlines():
        stripped = line.strip()
        depth = len(line) - len(line.lstrip())
        if stripped in ("Args:", "Arguments:", "Parameters:"):
            inside, indent, name = True, depth, None
        elif inside and stripped and depth <= indent:
            inside = False
        elif inside and stripped:
            head, colon, text = stripped.partition(":")
            word = head.split("(")[0].strip()
            if colon and word.isidentifier():
                name = word
                found[name] = text.strip()
            elif name is not None:
                found[name] += " " + stripped
    return found
