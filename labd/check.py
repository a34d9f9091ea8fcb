"""What `labd check` says: every fault of the settings, or that there is none, and where each value comes from."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec

from labd.errors import SettingsFault
from labd.settings import Problems, Settings, load


class CheckedWing(Protocol):
    """What the check asks of a wing's factory (`labd.wing.WingFactory`)."""

    name: str
    extra: str
    modules: tuple[str, ...]

    def parse(self, table: Mapping[str, Any], where: str, problems: Problems) -> Any:
        """The wing's frozen settings; faults go into `problems`."""
        ...


def check(
    factories: Mapping[str, CheckedWing],
    *,
    config: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    show_origin: bool = False,
) -> tuple[list[str], bool]:
    """The lines to print, and whether the settings can be used.

    Args:
        factories: The wings that are there, by name.
        config: One file that stands for all others.
        overrides: Keys of the command line.
        environ: The process's own unless said.
        show_origin: Also one line for every key: value and where it comes from.
    """
    try:
        settings = load(factories, config=config, overrides=overrides, environ=environ)
    except SettingsFault as fault:
        problems = list(fault.details.get("problems", [fault.message]))
        count = f"{len(problems)} fault{'' if len(problems) == 1 else 's'}"
        return [*problems, f"{count}; labd would not start with these settings"], False
    lines = origins(settings) if show_origin else []
    for name, factory in sorted(factories.items()):
        lines.append(f"wing {name}: {wing_state(factory, name in settings.wings)}")
    lines += [
        f"wing {name}: is configured, but this labd has no such wing; it stays off" for name in settings.absent_wings
    ]
    read = ", ".join(str(path) for path in settings.files) or "no file, packaged defaults only"
    lines.append(f"no fault found in the settings ({read})")
    return lines, True


def wing_state(factory: CheckedWing, configured: bool) -> str:
    """Whether a wing would be on, and what is missing if not."""
    missing = [module for module in factory.modules if importlib.util.find_spec(module) is None]
    if not configured:
        return f"off: there is no [{factory.name}] table"
    if missing:
        return f"off: {', '.join(missing)} is not installed; pip install 'labd[{factory.extra}]'"
    return "on"


def origins(settings: Settings) -> list[str]:
    """One line for every key: `key = value  (where it comes from)`; of a wing's table the keys that were set."""
    values: dict[str, Any] = {}
    for name in ("state_dir", "runtime_dir", "socket", "log_level"):
        values[name] = getattr(settings, name)
    for name in ("host", "api", "access", "engine", "tasks"):
        _flatten(name, msgspec.to_builtins(getattr(settings, name)), values)
    _flatten("queue", msgspec.to_builtins(settings.queues), values)
    _flatten("schedule", msgspec.to_builtins(settings.schedules), values)
    _flatten("env", msgspec.to_builtins(settings.environments), values)
    values.update({key: value for key, value in settings.given.items() if key not in values})
    width = max(len(key) for key in values)
    return [f"{key:<{width}} = {_shown(value)}  ({_origin(key, settings)})" for key, value in values.items()]


def _origin(key: str, settings: Settings) -> str:
    while key:
        if key in settings.origin:
            return settings.origin[key]
        key = key.rpartition(".")[0]
    return "default"


def _flatten(prefix: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, dict) and value:
        for name, part in value.items():
            _flatten(f"{prefix}.{name}", part, into)
    else:
        into[prefix] = value


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return json.dumps(value, default=str, ensure_ascii=False)
