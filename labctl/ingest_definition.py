"""A definition of an ingestion from options of a command, or from a TOML or JSON file."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from labd.errors import BadRequest

Json = dict[str, Any]
PLACES: dict[str, tuple[str, ...]] = {
    "description": ("description",), "source": ("source", "url"), "pattern": ("source", "pattern"),
    "exclude": ("source", "exclude"), "credentials": ("source", "credentials"), "settle": ("source", "settle_s"),
    "marker": ("source", "marker"), "lexical": ("source", "lexical"), "form": ("format", "type"),
    "compression": ("format", "compression"), "delimiter": ("format", "delimiter"), "header": ("format", "header"),
    "schema_mode": ("schema", "mode"), "evolution": ("schema", "evolution"),
    "partition_by": ("destination", "partition_by"), "engine": ("engine",), "changed": ("changed",),
    "queue": ("queue",), "min_rows": ("quality", "min_rows"), "max_rows": ("quality", "max_rows"),
    "max_quarantined": ("quality", "max_quarantined_percent"), "max_rescued": ("quality", "max_rescued_percent"),
    "silent_after": ("alerts", "silent_after_s"), "batch_files": ("limits", "batch_files"), "tag": ("tags",),
}  # fmt: skip
"""Where an option of the command line stands in a definition."""


def of_options(given: Mapping[str, Any]) -> Json:
    """What was said, as part of a definition; what was not said is not there.

    Raises:
        BadRequest: A word that is none.
    """
    made: Json = {}
    for option, place in PLACES.items():
        value = given.get(option)
        if value is not None and value != ():
            put(made, place, list(value) if isinstance(value, tuple) else value)
    if given.get("table"):
        made.setdefault("destination", {}).update(table_of(given["table"]))
    _pairs(made, ("source", "options"), given.get("option") or (), "=", "--option NAME=VALUE")
    _pairs(made, ("schema", "hints"), given.get("hint") or (), ":", "--hint NAME:TYPE")
    columns = [_pair(text, ":", "--column NAME:TYPE") for text in given.get("column") or ()]
    if columns:
        put(made, ("schema", "columns"), [{"name": name, "type": kind} for name, kind in columns])
        made["schema"].setdefault("mode", "fixed")
    schedule = {"cron": given.get("cron"), "interval_s": given.get("every"), "timezone": given.get("timezone")}
    said = {key: value for key, value in schedule.items() if value is not None}
    if said:
        made["schedule"] = said
    for text in given.get("settings") or ():
        name, value = _pair(text, "=", "--set KEY=VALUE")
        put(made, tuple(name.split(".")), json_or_text(value))
    for name in given.get("unset") or ():
        put(made, tuple(name.split(".")), None)
    return made


def of_file(path: str) -> Json:
    """A definition in TOML or JSON, by the file's name; a table `[ingest.definition.NAME]` is taken as one.

    Raises:
        BadRequest: Not readable, or several definitions.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        made = tomllib.loads(text) if file.suffix == ".toml" else json.loads(text)
    except OSError as fault:
        raise BadRequest(f"{path}: cannot be read: {fault.strerror}") from None
    except ValueError as fault:
        raise BadRequest(f"{path}: neither TOML nor JSON as its name says: {fault}") from None
    named = ((made.get("ingest") or {}).get("definition") or {}) if isinstance(made, dict) else {}
    if named:
        if len(named) != 1:
            raise BadRequest(f"{path}: has {len(named)} definitions; `create` takes one, `labctl ingest import` a list")
        name, inner = next(iter(named.items()))
        return {"name": name, **inner}
    if not isinstance(made, dict):
        raise BadRequest(f"{path}: is no definition; `labctl ingest export NAME` shows one")
    exported = made.get("ingestions")
    if isinstance(exported, list) and len(exported) == 1:
        made = exported[0]
    definition = made.get("definition", made)
    if not isinstance(definition, dict):
        raise BadRequest(f"{path}: its `definition` is no table")
    return definition


def table_of(text: str) -> Json:
    """`table`, `namespace.table` or `catalog/namespace.table`.

    Raises:
        BadRequest: None of these.
    """
    catalog, slash, rest = text.rpartition("/")
    namespace, dot, table = rest.rpartition(".")
    if not table or (slash and not catalog) or (dot and not namespace):
        raise BadRequest(f"{text}: a table is written namespace.table or catalog/namespace.table")
    return {
        **({"catalog": catalog} if catalog else {}),
        **({"namespace": namespace} if namespace else {}),
        "table": table,
    }


def merged(old: Any, new: Any) -> Any:
    """One definition over another, key by key."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}


def put(made: Json, place: tuple[str, ...], value: Any) -> None:
    """Set a value deep inside."""
    for name in place[:-1]:
        inner = made.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadRequest(f"{'.'.join(place)}: {name} is said twice")
        made = inner
    made[place[-1]] = value


def json_or_text(text: str) -> Any:
    """A JSON value; what is none is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _pairs(made: Json, place: tuple[str, ...], texts: tuple[str, ...], sign: str, how: str) -> None:
    if texts:
        put(made, place, dict(_pair(text, sign, how) for text in texts))


def _pair(text: str, sign: str, how: str) -> tuple[str, str]:
    name, found, value = text.partition(sign)
    if not found or not name:
        raise BadRequest(f"{text}: write {how}")
    return name, value
