"""The `[ot2]` table of labd.toml: one robot, or several as `[ot2.left]`, `[ot2.right]`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from labd.settings import Problems, read_table

DEFAULT_INSTANCE = "main"
INSTANCE_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
SLOTS = tuple(str(number) for number in range(1, 12))  # 12 is the fixed trash
Seconds = Annotated[float, Meta(gt=0, le=86400)]


class SimulatedOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The virtual robot of `driver = "simulated"`."""

    time_scale: Annotated[float, Meta(gt=0, le=1e6)] = 1.0
    record: str | None = None


class OT2Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One robot and the interpreter that simulates its protocols."""

    driver: Literal["http", "ssh", "simulated"] = "http"
    url: str | None = None
    ssh_env: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    api_version: Annotated[str, Meta(pattern=r"^(\*|[2-9]|[1-9]\d)$")] = "4"
    env: Annotated[str, Meta(min_length=1, max_length=64)] = "ot2"
    flex_env: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    python: Annotated[str, Meta(min_length=1)] | None = None
    preflight: Literal["required", "robot"] = "required"
    deck: dict[str, str] = {}
    answer_timeout_s: Seconds = 10.0
    home_timeout_s: Seconds = 120.0
    analysis_timeout_s: Seconds = 180.0
    run_timeout_s: Annotated[float, Meta(gt=0, le=7 * 86400)] = 86400.0
    stop_timeout_s: Seconds = 60.0
    poll_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    look_s: Annotated[float, Meta(gt=0, le=600)] = 5.0
    queue: str = "standard"
    simulated: SimulatedOptions = SimulatedOptions()

    def __post_init__(self) -> None:
        for problem in _problems_of(self):
            raise ValueError(problem)


class OT2WingSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Every robot of the host by its name."""

    robots: dict[str, OT2Settings]


def parse(table: Mapping[str, Any], where: str, problems: Problems) -> OT2WingSettings:
    """The robots of the `[ot2]` table; faults go into `problems`, none are raised.

    Keys beside the tables of several robots are the defaults of all of them.
    """
    fields = {field.encode_name for field in msgspec.structs.fields(OT2Settings)}
    instances = {name: part for name, part in table.items() if isinstance(part, Mapping) and name not in fields}
    if not instances:
        settings = read_table(OT2Settings, table, where, "ot2", problems)
        return OT2WingSettings(robots={} if settings is None else {DEFAULT_INSTANCE: settings})
    shared = {name: value for name, value in table.items() if name not in instances}
    robots: dict[str, OT2Settings] = {}
    for name, part in instances.items():
        if not INSTANCE_NAME.fullmatch(name):
            problems.add(where, f"ot2.{name}", "the name of a robot is a-z, 0-9, - and _, at most 32, such as left")
            continue
        settings = read_table(OT2Settings, {**shared, **part}, where, f"ot2.{name}", problems)
        if settings is None:
            continue
        twin = next((other for other, one in robots.items() if one.url and one.url == settings.url), None)
        if twin is not None and settings.driver == "http":
            text = f"{settings.url} is already that of {twin}; one robot has one table"
            problems.add(where, f"ot2.{name}.url", text)
            continue
        robots[name] = settings
    return OT2WingSettings(robots=robots)


def _problems_of(settings: OT2Settings) -> list[str]:
    """Rules over several keys, the first of which is told."""
    found: list[str] = []
    if settings.driver == "http":
        if settings.url is None:
            found.append('url: is missing; driver = "http" needs it, such as "http://169.254.12.34:31950"')
        else:
            parts = urlsplit(settings.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.username:
                found.append(f"url: {settings.url!r} is no address like http://HOST:31950")
    if settings.driver == "ssh" and settings.ssh_env is None:
        found.append('ssh_env: is missing; driver = "ssh" needs the name of an environment with ssh, such as "robot"')
    if settings.driver == "ssh" and settings.preflight != "required":
        found.append("preflight: over ssh the robot has no analysis of its own; leave it at required")
    unknown = [slot for slot in settings.deck if slot not in SLOTS]
    if unknown:
        found.append(f"deck: an OT-2 has the slots 1 to 11, not {', '.join(unknown)}")
    return found
