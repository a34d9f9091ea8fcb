"""Where snapshots lie and what is in one: `<base>/<customer>/<timestamp>/{nodes,relationships}/<Name>/*.parquet`.

Roles of columns go by position, as the producers write them (nodes: id, labels; relationships: source, target, type),
or by name where `snapshot.toml` in the snapshot's folder or the settings say so:

    [nodes]                 # for all tables of nodes
    id = "person_id"
    labels = ""             # no column tells: the folder's name is the label

    [relationships.KNOWS]   # for one table
    source = "from"
    target = "to"
    type = ""

Only footers are read. What begins with a dot or an underscore, or does not end in `.parquet`, is no data and ignored.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labd.errors import DatasetRefused
from labd.snapshots import names, parquet
from labd.snapshots.port import Dataset, Kind, Table

FOLDERS: Mapping[Kind, str] = {"node": "nodes", "relationship": "relationships"}
ROLES: Mapping[Kind, tuple[str, ...]] = {"node": ("id", "labels"), "relationship": ("source", "target", "type")}
NEEDED = frozenset({"id", "source", "target"})
NAMES_FILE = "snapshot.toml"
NAMES_LIMIT_BYTES = 64 * 1024
Roles = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class SnapshotFolder:
    """One version of one customer, as it lies on disk; its content is not looked at."""

    customer: str
    timestamp: str
    path: Path


@dataclass(frozen=True, slots=True)
class Skipped:
    """A folder that is none of ours, and why."""

    path: Path
    reason: str


def find(base: Path) -> Iterator[SnapshotFolder | Skipped]:
    """All snapshots below a folder, by customer and then by time; blocks.

    Hidden entries and plain files are passed over in silence: producers leave such things. A folder whose name is not
    on the allow-list is told, once for each call.

    Raises:
        OSError: The base folder cannot be read.
    """
    for customer in _folders(base):
        if fault := names.customer_fault(customer.name):
            yield Skipped(customer, fault)
            continue
        found = []
        try:
            inside = _folders(customer)
        except OSError as fault_of_system:
            yield Skipped(customer, fault_of_system.strerror or str(fault_of_system))
            continue
        for version in inside:
            if fault := names.timestamp_fault(version.name):
                yield Skipped(version, fault)
            else:
                found.append(SnapshotFolder(customer.name, version.name, version))
        yield from sorted(found, key=lambda one: int(one.timestamp))


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if not entry.name.startswith(".") and entry.is_dir())


def read(folder: Path, roles: Roles | None = None) -> Dataset:
    """What one snapshot holds, from the footers of its files; blocks.

    Args:
        roles: Of the settings, in the words of `snapshot.toml`, which goes before them.

    Raises:
        DatasetRefused: Names the file or folder and the reason; `details` has both.
    """
    given = _merged(_checked(roles or {}, "settings"), _names_file(folder / NAMES_FILE))
    tables: list[Table] = []
    for kind, name in FOLDERS.items():
        part = folder / name
        try:
            found = _folders(part) if part.is_dir() else []
        except OSError as fault:
            raise _refused(part, fault.strerror or str(fault)) from fault
        tables += [_table(kind, path, _roles_of(given, kind, path.name)) for path in found]
    if not any(table.kind == "node" for table in tables):
        raise _refused(folder / "nodes", "holds no table of nodes; nothing could be loaded")
    return Dataset(tuple(tables))


def _table(kind: Kind, folder: Path, given: Mapping[str, str]) -> Table:
    """One folder of files that must all say the same of their columns."""
    try:
        files = tuple(sorted(path for path in folder.iterdir() if _is_data(path)))
    except OSError as fault:
        raise _refused(folder, fault.strerror or str(fault)) from fault
    if not files:
        raise _refused(folder, "holds no parquet file")
    for path in (folder, *files):
        if not _is_unicode(path.name):
            raise _refused(Path(repr(str(path))), "its name is no UTF-8; rename it")
    footers = []
    for path in files:
        try:
            footers.append(parquet.footer(path))
        except parquet.Unreadable as fault:
            raise _refused(path, f"cannot be read as parquet ({fault})") from fault
    first = footers[0]
    for path, one in zip(files, footers, strict=True):
        if list(one.columns.items()) != list(first.columns.items()):
            raise _refused(path, _difference(one, first, files[0].name))
    found = _roles(kind, first, given, files[0])
    taken = set(found.values())
    return Table(
        kind=kind,
        name=folder.name,
        files=files,
        roles=found,
        rows=sum(one.rows for one in footers),
        size_bytes=sum(one.size_bytes for one in footers),
        columns={name: text for name, text in first.columns.items() if name not in taken},
    )


def _is_unicode(name: str) -> bool:
    """Names that the system cannot decode hold lone surrogates, which no store and no JSON takes."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _is_data(path: Path) -> bool:
    return path.suffix == ".parquet" and path.name[0] not in "._" and path.is_file()


def _difference(one: parquet.Footer, first: parquet.Footer, beside: str) -> str:
    """The first column in which two files of a folder differ."""
    for name in [*one.columns, *first.columns]:
        here, there = one.columns.get(name), first.columns.get(name)
        if here != there:
            return f"column {name!r} is {here or 'missing'} here and {there or 'missing'} in {beside}"
    return f"its columns are in another order than in {beside}"


def _roles(kind: Kind, footer: parquet.Footer, given: Mapping[str, str], path: Path) -> dict[str, str]:
    """Role -> column, by name where it is given, else by position."""
    found: dict[str, str] = {}
    for position, role in enumerate(ROLES[kind]):
        if role in given:
            name = given[role]
            if name and name not in footer.columns:
                raise _refused(path, f"has no column {name!r}, which is named as its {role}")
        else:
            name = list(footer.columns)[position] if position < len(footer.columns) else ""
        if not name and role in NEEDED:
            raise _refused(path, f"has {len(footer.columns)} columns and none for the role {role}")
        if not name:
            continue
        if name in found.values():
            raise _refused(path, f"column {name!r} has two roles; name them in {NAMES_FILE}")
        if name not in _fit(role, footer):
            raise _refused(path, _unfit(role, name, footer.columns[name], position, role in given))
        found[role] = name
    return found


def _fit(role: str, footer: parquet.Footer) -> frozenset[str]:
    """The columns that a role could have."""
    if role in NEEDED:
        return footer.keys
    return footer.texts | footer.text_lists if role == "labels" else footer.texts


def _unfit(role: str, name: str, kind: str, position: int, named: bool) -> str:
    wanted = "whole numbers or text" if role in NEEDED else "text"
    how = (
        ""
        if named
        else f"; it is taken for its place {position + 1}, name the columns in {NAMES_FILE} if it is another"
    )
    return f"column {name!r} is {kind}, and the role {role} needs {wanted}{how}"


def _names_file(path: Path) -> dict[str, dict[str, Any]]:
    """`snapshot.toml`, empty if there is none."""
    try:
        with path.open("rb") as file:
            text = file.read(NAMES_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as fault:
        raise _refused(path, fault.strerror or str(fault)) from fault
    if len(text) > NAMES_LIMIT_BYTES:
        raise _refused(path, f"is longer than {NAMES_LIMIT_BYTES} bytes")
    try:
        return _checked(tomllib.loads(text.decode()), str(path))
    except ValueError as fault:
        raise _refused(path, f"is no TOML ({fault})") from fault


def _checked(given: Mapping[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """Only words that mean something, or a refusal that names the others."""
    for part, table in given.items():
        kind = next((kind for kind, name in FOLDERS.items() if name == part), None)
        if kind is None or not isinstance(table, Mapping):
            raise _refused(Path(where), f"{part}: not known; there are {' and '.join(FOLDERS.values())}")
        for name, value in table.items():
            entries = value.items() if isinstance(value, Mapping) else [(name, value)]
            for role, column in entries:
                if role not in ROLES[kind] or not isinstance(column, str):
                    known = ", ".join(ROLES[kind])
                    raise _refused(Path(where), f"{part}.{name}: not known; roles are {known}, their values columns")
    return {part: dict(table) for part, table in given.items()}


def _merged(first: Roles, later: Roles) -> dict[str, dict[str, Any]]:
    """Both together; the later ones win, role by role."""
    merged: dict[str, dict[str, Any]] = {}
    for part in FOLDERS.values():
        merged[part] = dict(first.get(part, {}))
        for name, given in later.get(part, {}).items():
            value, before = given, merged[part].get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                value = {**before, **value}
            merged[part][name] = value
    return merged


def _roles_of(given: Roles, kind: Kind, name: str) -> dict[str, str]:
    """Of one table: what is said of all, then what is said of this one."""
    part = given[FOLDERS[kind]]
    own = part.get(name, {})
    general = {role: column for role, column in part.items() if isinstance(column, str)}
    return {**general, **(own if isinstance(own, Mapping) else {})}


def _refused(path: Path, reason: str) -> DatasetRefused:
    return DatasetRefused(f"{path}: {reason}", file=str(path), reason=reason)
