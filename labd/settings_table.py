"""One TOML table to one frozen struct, with every fault collected instead of the first one raised.

Why field by field: msgspec stops at the first fault of a whole struct; a person who edits a file wants all of them at
once, each with its file and key.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class EnvironmentText(str):
    """A value from a `LABD_...` variable: text that may stand for a number or a truth value."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of the settings."""

    where: str
    key: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.key}: {self.problem}"


class Problems:
    """The faults found so far.

    Args:
        origins: Dotted key -> file it came from. A fault is shown with the file its key came from, or else with the
            `where` that the finder gave: after layering one table has keys of several files.
    """

    def __init__(self, origins: Mapping[str, str] | None = None) -> None:
        self._origins = {} if origins is None else origins  # the caller may fill it later
        self._found: list[Problem] = []

    def add(self, where: str, key: str, problem: str) -> None:
        """Note one fault of `key` (dotted, such as `resort.hotels`)."""
        self._found.append(Problem(self._file_of(key) or where, key, problem))

    def _file_of(self, key: str) -> str | None:
        key = key.partition("[")[0]
        if key in self._origins:
            return self._origins[key]
        below = [file for name, file in self._origins.items() if name.startswith(f"{key}.")]
        if below:
            return below[-1]
        parent = key.rpartition(".")[0]
        return self._origins.get(parent) if parent else None

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def lines(self) -> list[str]:
        """Every fault as `file: key: problem`."""
        return [str(problem) for problem in self._found]


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean listen?`, or nothing where no known name is near."""
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def read_table(struct_type: type[T], table: Mapping[str, Any], where: str, prefix: str, problems: Problems) -> T | None:
    """The struct of a table.

    A rule over several keys is a `ValueError` of the struct's `__post_init__`; `"listen: reaches too far"` is shown as
    a fault of the key `listen`.

    Args:
        struct_type: Frozen, keyword-only; a field without a default must be in the table. Limits
            stand in `msgspec.Meta`.
        table: As `tomllib` gives it.
        where: The file, for faults of keys whose file is not known.
        prefix: Dotted name of the table, such as `resort.left`; empty for the top level.
        problems: Where faults go.

    Returns:
        None if the table has a fault; each is in `problems`.
    """
    before = len(problems)
    hints = get_type_hints(struct_type, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct_type)}
    values: dict[str, Any] = {}
    faulty: list[str] = []
    for name in table:
        if name not in fields:
            problems.add(where, _join(prefix, name), f"unknown key{nearest(name, fields)}")
    for name, field in fields.items():
        if name in table:
            found = len(problems)
            value = _read(hints[field.name], table[name], where, _join(prefix, name), problems)
            if len(problems) == found:
                values[field.name] = value
            else:
                faulty.append(name)
        elif field.required:
            problems.add(where, _join(prefix, name), "is missing")
    if all(field.name in values for field in fields.values() if field.required):
        try:
            struct = struct_type(**values)
        except ValueError as fault:  # __post_init__ of the struct: a rule over several keys
            if not any(name in str(fault) for name in faulty):  # a faulty key was left out: the rule cannot judge it
                key, _, text = str(fault).partition(": ")
                if key in fields:
                    problems.add(where, _join(prefix, key), text)
                else:
                    problems.add(where, prefix or "(file)", str(fault))
        else:
            return struct if len(problems) == before else None
    return None


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def _read(kind: Any, value: Any, where: str, key: str, problems: Problems) -> Any:
    """One value; tables and lists part by part, so that each part's fault is named by its own key."""
    kind_of_part, struct = _inside(kind)
    if isinstance(value, EnvironmentText) and kind_of_part is not None and struct is None and not _is_table(kind):
        value = [EnvironmentText(part.strip()) for part in value.split(",") if part.strip()]
    if struct is not None and isinstance(value, Mapping):
        return read_table(struct, value, where, key, problems)
    if struct is not None or (_is_table(kind) and not isinstance(value, Mapping)):
        problems.add(where, key, f"needs a table, got {_shown(value)}")
        return None
    before = len(problems)
    if kind_of_part is not None and isinstance(value, Mapping):
        value = {name: _read(kind_of_part, part, where, _join(key, name), problems) for name, part in value.items()}
    elif kind_of_part is not None and isinstance(value, list):
        value = [_read(kind_of_part, part, where, f"{key}[{at}]", problems) for at, part in enumerate(value)]
    if len(problems) > before:
        return None
    return _convert(kind, value, where, key, problems)


def _convert(kind: Any, value: Any, where: str, key: str, problems: Problems) -> Any:
    from_environment = isinstance(value, EnvironmentText)
    plain = str(value) if from_environment else value
    try:
        return msgspec.convert(plain, kind, strict=not from_environment)
    except msgspec.ValidationError as fault:
        problems.add(where, key, _plain(fault, kind, plain))
        return None


def _plain(fault: msgspec.ValidationError, kind: Any, value: Any) -> str:
    """The message of msgspec in the words of a person, with the value that was found and the choices there are."""
    information = msgspec.inspect.type_info(kind)
    secret = False
    if isinstance(information, msgspec.inspect.UnionType):
        parts = [part for part in information.types if not isinstance(part, msgspec.inspect.NoneType)]
        information = parts[0] if len(parts) == 1 else information
    if isinstance(information, msgspec.inspect.Metadata):
        secret = bool((information.extra or {}).get("secret"))
        information = information.type
    if secret:
        return "needs a reference (env:NAME, file:/path or credential:name), never the secret itself"
    if isinstance(information, msgspec.inspect.LiteralType):
        choices = [str(choice) for choice in information.values]
        return f"must be one of {', '.join(choices)}, got {_shown(value)}{nearest(str(value), choices)}"
    text, _, path = str(fault).partition(" - at `$")
    text = text.replace("`", "")
    text = text[:1].lower() + text[1:]
    part = f" at {path.rstrip('`').lstrip('.')}" if path else ""
    return f"{text}{part}" if ", got" in text else f"{text}{part}, got {_shown(value)}"


def _shown(value: Any) -> str:
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _inside(kind: Any) -> tuple[Any, type[msgspec.Struct] | None]:
    """What a kind is made of: the type of its parts (table or list), or its struct; `X | None` counts as `X`."""
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return None, kind
    parts = get_args(kind)
    if get_origin(kind) is dict:
        return parts[1], None
    if get_origin(kind) in (list, set, frozenset) or (get_origin(kind) is tuple and parts[1:] == (...,)):
        return parts[0], None
    return None, None


def _is_table(kind: Any) -> bool:
    while get_origin(kind) in (Annotated, Union, UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind is dict or get_origin(kind) is dict
