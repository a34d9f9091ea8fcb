"""The layers of the settings, merged into one table that remembers where each key came from.

Later layers win, key by key: `/etc/labd/labd.toml`, `/etc/labd/labd.d/*.toml` in the order of their names, the user's
`labd.toml`, `LABD_...` variables, the command line. `--config FILE` stands for all files.

Why variables with two underscores: names of keys have single ones. `LABD_API__LISTEN` is `api.listen`,
`LABD_LOG_LEVEL` is the top-level `log_level`, `LABD_QUEUE__HIGH_PRIORITY__CONCURRENCY` is
`queue.high-priority.concurrency`. Lists are separated by commas. Other `LABD_` names without two underscores belong to
others (`LABD_HOST` and `LABD_TOKEN` are labctl's) and are left alone.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labd.settings_table import EnvironmentText, Problems

SYSTEM_FOLDER = Path("/etc/labd")
DEEPEST = 32
FOREIGN_VARIABLES = frozenset({"LABD_HOST", "LABD_TOKEN", "LABD_REQUIRE_ALL", "LABD_PYZ"})


@dataclass(slots=True)
class Layers:
    """The merged table; `origins` has the file or variable of every leaf, by dotted key."""

    table: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def put(self, table: Mapping[str, Any], where: str) -> None:
        """Lay a table over what is there; tables are merged, everything else is replaced."""
        self._merge(self.table, table, where, "")

    def given(self) -> dict[str, Any]:
        """Every leaf by its dotted key, as it was written."""
        found: dict[str, Any] = {}
        for key in self.origins:
            value: Any = self.table
            rest = key
            while rest and isinstance(value, Mapping):  # names may hold dots themselves: the longest that fits
                name = max((name for name in value if rest == name or rest.startswith(f"{name}.")), key=len)
                value, rest = value[name], rest[len(name) + 1 :]
            found[key] = str(value) if isinstance(value, EnvironmentText) else value
        return found

    def _merge(self, into: dict[str, Any], table: Mapping[str, Any], where: str, prefix: str) -> None:
        for name, value in table.items():
            key = f"{prefix}{name}"
            if isinstance(value, Mapping) and isinstance(into.get(name, {}), dict):
                self.origins.pop(key, None)
                self._merge(into.setdefault(name, {}), value, where, f"{key}.")
                if not value:
                    self.origins.setdefault(key, where)  # an empty table is a statement too: [resort]
            else:
                for old in [known for known in self.origins if known.startswith(f"{key}.")]:
                    del self.origins[old]
                into[name] = value
                self.origins[key] = where


def files(
    config: Path | None, environ: Mapping[str, str], *, system_folder: Path = SYSTEM_FOLDER, home: Path | None = None
) -> list[Path]:
    """The settings files in the order they are laid; those that are not there are left out, save `config`."""
    if config is not None:
        return [config]
    found = [system_folder / "labd.toml", *sorted((system_folder / "labd.d").glob("*.toml"))]
    folder = environ.get("XDG_CONFIG_HOME", "")
    user = Path(folder) if folder else home / ".config" if home else None
    if user is not None:
        found.append(user / "labd" / "labd.toml")
    return [path for path in found if path.exists()]


def read_file(path: Path, problems: Problems) -> dict[str, Any]:
    """The table of one file; empty if it cannot be read, with the reason in `problems`."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        if not _is_deeper(table, DEEPEST):
            return table
        problems.add(str(path), "(file)", f"is nested more than {DEEPEST} deep; no table is")
    except OSError as fault:
        problems.add(str(path), "(file)", f"cannot be read: {fault.strerror}")
    except UnicodeDecodeError as fault:
        problems.add(str(path), "(file)", f"is not UTF-8 text: byte {fault.start}")
    except ValueError as fault:  # also a number of more than 4,300 digits, which is none of tomllib's own
        problems.add(str(path), "(file)", f"is not TOML: {fault}")
    except RecursionError:
        problems.add(str(path), "(file)", f"is nested more than {DEEPEST} deep; no table is")
    return {}


def read_environment(
    layers: Layers, environ: Mapping[str, str], top_level: Iterable[str], known: Mapping[str, Any], problems: Problems
) -> None:
    """Lay the `LABD_...` variables over the files.

    Args:
        layers: Where they go.
        environ: The environment.
        top_level: Names of the keys outside tables.
        known: Tables whose names the variables may mean besides those in the files (names with hyphens).
        problems: Where faults go.
    """
    top_level = list(top_level)
    for variable in sorted(environ):
        if not variable.startswith("LABD_") or variable in FOREIGN_VARIABLES:
            continue
        parts = variable.removeprefix("LABD_").lower().split("__")
        if len(parts) == 1 and parts[0] not in top_level:
            near = difflib.get_close_matches(parts[0], top_level, n=1, cutoff=0.85)
            if near:
                problems.add("environment", variable, f"unknown variable; did you mean LABD_{near[0].upper()}?")
            continue
        if not all(parts):
            problems.add("environment", variable, "an empty name between underscores; write LABD_TABLE__KEY")
            continue
        if len(parts) > DEEPEST:
            problems.add("environment", variable[:80], f"names {len(parts)} levels; no table is deeper than {DEEPEST}")
            continue
        if not _is_text(environ[variable]) or not _is_text(variable):
            problems.add("environment", ascii(variable), "is not UTF-8 text")
            continue
        table: dict[str, Any] = {}
        leaf = table
        path = _spelled(parts, layers.table, known)
        for part in path[:-1]:
            leaf = leaf.setdefault(part, {})
        leaf[path[-1]] = EnvironmentText(environ[variable])
        layers.put(table, f"environment {variable}")


def _is_deeper(table: dict[str, Any], limit: int) -> bool:
    """Level by level: dotted keys are nested by the line, and a recursion would meet its own limit."""
    level: list[Any] = [table]
    for _ in range(limit):
        inner = (one.values() if isinstance(one, dict) else one for one in level)
        level = [part for parts in inner for part in parts if isinstance(part, dict | list)]
        if not level:
            return False
    return True


def _is_text(value: str) -> bool:
    """The system gives bytes that are no UTF-8 as halves of surrogate pairs."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _spelled(parts: list[str], table: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    """Names as the files spell them: `high_priority` is `high-priority` where that is the name in use."""
    spelled = []
    here: Any = table
    there: Any = known
    for part in parts:
        names = [*(here if isinstance(here, Mapping) else ()), *(there if isinstance(there, Mapping) else ())]
        name = next((name for name in names if name.lower().replace("-", "_") == part), part)
        here = here.get(name) if isinstance(here, Mapping) else None
        there = there.get(name) if isinstance(there, Mapping) else None
        spelled.append(name)
    return spelled
